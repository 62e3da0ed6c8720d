"""How twenty-five well-known images are made, in small and on a busybox: for builds beside other builders.

The Dockerfiles beside this take what is hard for a builder from what they are named after; here is what they are built
with.
"""

from __future__ import annotations

import gzip
import hashlib
import lzma
import tarfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from support.archives import Member, layer, member
from support.trees import CAPABILITY

__all__ = ["PATTERNS", "Pattern", "pattern_context"]


@dataclass(frozen=True)
class Pattern:
    """A Dockerfile and what it is built with. `contexts` are named contexts: directories of the context."""

    text: str
    target: str = ""
    arguments: Mapping[str, str] = field(default_factory=dict)
    contexts: Mapping[str, str] = field(default_factory=dict)


_OPTIONS: dict[str, dict[str, Any]] = {
    "moby": {"arguments": {"SYSTEMD": "true"}},
    "buildkit": {"contexts": {"extra": "html/deep"}},
    "compose": {"target": "binary"},
    "pause": {"arguments": {"ARCH": "amd64"}},
}
PATTERNS = {
    path.stem: Pattern(path.read_text(), **_OPTIONS.get(path.stem, {}))
    for path in sorted((Path(__file__).parent / "dockerfiles").glob("*.Dockerfile"))
}


def pattern_context(place: Path) -> None:
    """Write what these Dockerfiles copy into a new directory."""
    (place / "html/deep").mkdir(parents=True)
    texts = {
        "html/index.html": "index\n",
        "html/deep/page.html": "page\n",
        "package.json": '{"name": "app"}\n',
        "package-lock.json": '{"lock": 3}\n',
        "left.log": "ignored\n",
    }
    for name, text in texts.items():
        (place / name).write_text(text)
    for name in ("gosu-amd64", "gosu-other", "entrypoint.sh"):
        (place / name).write_text('#!/bin/sh\nexec "$@"\n')
        (place / name).chmod(0o755)
    (place / "html/deep").chmod(0o2775)
    (place / ".dockerignore").write_text("*.log\nDockerfile\n.dockerignore\n")
    program = {"mode": 0o755}
    node = lzma.compress(
        layer(member("node-v24/"), member("node-v24/bin/"), member("node-v24/bin/node", b"n", **program))
    )
    (place / "node.tar.xz").write_bytes(node)
    (place / "SHASUMS256.txt").write_text(f"{'0' * 64}  other\n{hashlib.sha256(node).hexdigest()}  node.tar.xz\n")
    overlays = {
        "noarch": (
            member("etc/"),
            member("etc/s6/"),
            member("etc/s6/rc", b"rc"),
            member("init", b"#!/bin/sh", **program),
        ),
        "arch": (member("command/"), member("command/s6-svc", b"s6", **program), member("package/x", b"x")),
        "symlinks": (_link("bin/s6-svc", "/command/s6-svc"), _link("usr/bin/s6-rc", "../../command/s6-svc")),
    }
    for name, members in overlays.items():
        (place / f"s6-overlay-{name}.tar.xz").write_bytes(lzma.compress(layer(*members)))
    capability = {"SCHILY.xattr.security.capability": CAPABILITY.decode("utf-8", "surrogateescape")}
    (place / "caddy.tar").write_bytes(layer(member("caddy", b"caddy", pax_headers=capability, **program)))
    rootfs = (
        *(
            member("bin/"),
            member("bin/sh", b"sh", **program),
            member("bin/ash", kind=tarfile.LNKTYPE, linkname="bin/sh", **program),
        ),
        *(member("etc/shadow", b"root:*:::::::", mode=0o640, gid=42), member("tmp/", mode=0o1777)),
        *(member("lib/apk/db", b"db"), _link("usr/bin/sh", "/bin/sh")),
    )
    (place / "rootfs.tar.gz").write_bytes(gzip.compress(layer(*rootfs), mtime=0))


def _link(name: str, target: str) -> Member:
    return member(name, kind=tarfile.SYMTYPE, linkname=target)
