#!/usr/bin/env python3
"""Write the base image: a busybox that needs no registry.

``base_image.py [--busybox PROGRAM] [--tag NAME] FILE`` writes a `docker save` archive (with an OCI layout inside, as
Docker 25 and newer write it) of one layer: the static busybox program, a link for each of its applets, and the few
files that programs expect. Its bytes depend on the program and its date alone, so that the image has the same id
wherever the same package is installed; the environment's SOURCE_DATE_EPOCH (seconds) stands for the date if it is set.
Needs nothing but the standard library; FILE may be ``-``.
"""

from __future__ import annotations

import argparse
import gzip
import hashlib
import io
import json
import os
import platform
import shutil
import subprocess
import sys
import tarfile
import time
from pathlib import Path

DIRECTORIES = {
    **dict.fromkeys(("bin", "dev", "etc", "home", "proc", "root", "sys", "usr", "usr/bin", "usr/sbin", "var"), 0o755),
    **dict.fromkeys(("sbin", "lib", "mnt", "opt", "run", "srv", "var/lib", "var/log", "var/www"), 0o755),
    "tmp": 0o1777,
    "var/tmp": 0o1777,
    "var/spool": 0o755,
}
FILES = {
    "etc/passwd": (
        "root:x:0:0:root:/root:/bin/sh\n"
        "daemon:x:1:1:daemon:/usr/sbin:/bin/false\n"
        "bin:x:2:2:bin:/bin:/bin/false\n"
        "sys:x:3:3:sys:/dev:/bin/false\n"
        "mail:x:8:8:mail:/var/spool/mail:/bin/false\n"
        "www-data:x:33:33:www-data:/var/www:/bin/false\n"
        "operator:x:37:37:Operator:/var:/bin/false\n"
        "nobody:x:65534:65534:nobody:/home:/bin/false\n"
    ),
    "etc/group": (
        "root:x:0:\ndaemon:x:1:\nbin:x:2:\nsys:x:3:\nadm:x:4:\ntty:x:5:\ndisk:x:6:\nlp:x:7:\nmail:x:8:\n"
        "wheel:x:10:root\ncdrom:x:24:\ndialout:x:18:\nfloppy:x:25:\nvideo:x:28:\naudio:x:29:\nwww-data:x:33:\n"
        "utmp:x:43:\nplugdev:x:46:\nstaff:x:50:\nusers:x:100:\nnetdev:x:82:\nnogroup:x:65534:\n"
    ),
    "etc/shadow": "root:*:::::::\ndaemon:*:::::::\nnobody:*:::::::\n",
    "etc/nsswitch.conf": "passwd: files\ngroup: files\nhosts: files dns\n",
    "etc/os-release": 'NAME="busybox"\nID=busybox\nPRETTY_NAME="busybox"\n',
}
MODES = {"etc/shadow": 0o640}
GO_NAMES = {"x86_64": "amd64", "aarch64": "arm64", "i686": "386", "armv7l": "arm"}


def layer(busybox: bytes, applets: list[str]) -> bytes:
    """Return the layer as a tar: sorted names, no times, no owners but root."""
    entries: dict[str, tuple[int, bytes, bytes, str]] = {}  # path: mode, type, content, link
    for path, mode in DIRECTORIES.items():
        entries[path] = (mode, tarfile.DIRTYPE, b"", "")
    for path, text in FILES.items():
        entries[path] = (MODES.get(path, 0o644), tarfile.REGTYPE, text.encode(), "")
    entries["bin/busybox"] = (0o755, tarfile.REGTYPE, busybox, "")
    for applet in applets:
        if applet != "busybox":
            entries[f"bin/{applet}"] = (0o777, tarfile.SYMTYPE, b"", "busybox")
    entries["usr/bin/env"] = (0o777, tarfile.SYMTYPE, b"", "../../bin/busybox")
    return tar([(path, *entry) for path, entry in sorted(entries.items())])


def tar(entries: list[tuple[str, int, bytes, bytes, str]]) -> bytes:
    """Return a tar of entries (path, mode, type, content, link)."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        for path, mode, kind, content, link in entries:
            info = tarfile.TarInfo(path)
            info.mode, info.type, info.size, info.linkname = mode, kind, len(content), link
            archive.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


def archive(busybox: bytes, applets: list[str], tag: str, seconds: int) -> bytes:
    """Return the image as an archive that `docker load` and `orlop load` take; it was made at a unix time."""
    created = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(seconds))
    uncompressed = layer(busybox, applets)
    packed = gzip.compress(uncompressed, 9, mtime=0)
    config = document(
        {
            "architecture": GO_NAMES.get(platform.machine(), platform.machine()),
            "config": {"Cmd": ["sh"], "Env": ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"]},
            "created": created,
            "history": [{"created": created, "created_by": "busybox with its applets", "comment": "base image"}],
            "os": "linux",
            "rootfs": {"type": "layers", "diff_ids": [digest(uncompressed)]},
        }
    )
    manifest = document(
        {
            "schemaVersion": 2,
            "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "config": descriptor("application/vnd.oci.image.config.v1+json", config),
            "layers": [descriptor("application/vnd.oci.image.layer.v1.tar+gzip", packed)],
        }
    )
    name, _, version = tag.rpartition(":")
    annotations = {"io.containerd.image.name": f"docker.io/library/{tag}", "org.opencontainers.image.ref.name": version}
    index = document(
        {
            "schemaVersion": 2,
            "mediaType": "application/vnd.oci.image.index.v1+json",
            "manifests": [
                descriptor("application/vnd.oci.image.manifest.v1+json", manifest) | {"annotations": annotations}
            ],
        }
    )
    docker = document([{"Config": blob(config), "RepoTags": [f"{name}:{version}"], "Layers": [blob(packed)]}])
    files = {blob(data): data for data in (config, manifest, packed)}
    files |= {"index.json": index, "manifest.json": docker, "oci-layout": document({"imageLayoutVersion": "1.0.0"})}
    directories = [(path, 0o755, tarfile.DIRTYPE, b"", "") for path in ("blobs", "blobs/sha256")]
    return tar(directories + [(path, 0o644, tarfile.REGTYPE, data, "") for path, data in sorted(files.items())])


def document(value: object) -> bytes:
    return json.dumps(value, separators=(",", ":"), sort_keys=True).encode()


def digest(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def blob(data: bytes) -> str:
    return f"blobs/{digest(data).replace(':', '/')}"


def descriptor(media_type: str, data: bytes) -> dict[str, object]:
    return {"mediaType": media_type, "digest": digest(data), "size": len(data)}


def find_busybox(name: str) -> Path:
    """Return the path of a static busybox; leave with an error if there is none."""
    found = shutil.which(name, path="/bin:/usr/bin:/usr/local/bin")
    if found is None:
        sys.exit(f"base_image: {name} was not found (Debian's package busybox-static has it)")
    program = Path(found)
    if b"/ld-linux" in program.read_bytes()[:4096]:
        sys.exit(f"base_image: {program} is not a static program (Debian's package busybox-static has one)")
    return program


def date(program: Path) -> int:
    """Return the image's date as a unix time: that of the program, which Debian's packages carry with them."""
    given = os.environ.get("SOURCE_DATE_EPOCH", "")
    if given and not (given.isascii() and given.isdecimal()):
        sys.exit(f"base_image: SOURCE_DATE_EPOCH is not a number of seconds: {given}")
    return int(given) if given else int(program.stat().st_mtime)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--busybox", default="busybox", help="the static busybox program")
    parser.add_argument("--tag", default="busybox:latest", help="the image's name")
    parser.add_argument("file", help="where to write the archive; - for standard output")
    arguments = parser.parse_args()
    program = find_busybox(arguments.busybox)
    applets = subprocess.run([program, "--list"], capture_output=True, text=True, check=True).stdout.split()
    data = archive(program.read_bytes(), sorted(set(applets)), arguments.tag, date(program))
    if arguments.file == "-":
        if sys.stdout.isatty():
            sys.exit("base_image: not writing an archive to a terminal")
        sys.stdout.buffer.write(data)
    else:
        Path(arguments.file).write_bytes(data)


if __name__ == "__main__":
    main()
