"""What an attacker has: the bare API, images of any shape, and a Python inside of containers to attack with."""

from __future__ import annotations

import json
import secrets
import shutil
import sys
from dataclasses import dataclass, field
from pathlib import Path
from tarfile import SYMTYPE
from typing import Any
from urllib.parse import quote

from support.archives import Image, Member, docker_archive, layer, member
from support.daemon import Daemon

__all__ = ["BUSYBOX", "TOOLS", "Attacker", "Json", "Outcome", "python_words", "unframed"]

Json = dict[str, Any]

BUSYBOX = shutil.which("busybox", path="/bin:/usr/bin")
TOOLS = "attack-tools:latest"


@dataclass(frozen=True)
class Outcome:
    """How a container or an exec ended; one that could not be started has the code -1 and the error as its output."""

    code: int
    output: str

    @property
    def lines(self) -> list[str]:
        return self.output.splitlines()

    @property
    def json(self) -> Any:
        assert self.code == 0, self.output
        return json.loads(self.output)


@dataclass
class Attacker:
    """Runs containers through the bare API, so that nothing is checked by a client before."""

    daemon: Daemon
    directory: Path
    made: list[str] = field(default_factory=list)

    def image(self, *members: Member, config: Json | None = None) -> str:
        """Load an image of a static busybox (/bin/busybox) and a hostile layer; return its name."""
        assert BUSYBOX is not None
        base = layer(member("bin/"), member("bin/busybox", Path(BUSYBOX).read_bytes(), mode=0o755))
        name = f"hostile-{secrets.token_hex(4)}:latest"
        return self._load(Image([base, layer(*members)], [f"docker.io/library/{name}"], config or {}), name)

    def create(self, image: str, *words: str, host: Json | None = None, **config: Any) -> tuple[int, Json]:
        """Ask for a container; return status and answer."""
        body = {"Image": image, "Cmd": list(words), **config, "HostConfig": host or {}}
        status, data = self.daemon.request("POST", "/containers/create", body)
        return status, json.loads(data)

    def start(self, image: str, *words: str, host: Json | None = None, **config: Any) -> str:
        """Start a container that has to start; return its id. It is removed behind the test."""
        status, answer = self.create(image, *words, host=host, **config)
        assert status == 201, answer
        self.daemon.json("POST", f"/containers/{answer['Id']}/start")
        return str(answer["Id"])

    def run(self, image: str, *words: str, host: Json | None = None, **config: Any) -> Outcome:
        """Run a container to its end and remove it."""
        status, answer = self.create(image, *words, host=host, **config)
        if status != 201:
            return Outcome(-1, answer["message"])
        container = answer["Id"]
        try:
            status, data = self.daemon.request("POST", f"/containers/{container}/start")
            if status != 204:
                return Outcome(-1, json.loads(data)["message"])
            return self.end_of(container, tty=config.get("Tty", False))
        finally:
            self.daemon.request("DELETE", f"/containers/{container}?force=1&v=1")

    def end_of(self, container: str, *, tty: bool = False) -> Outcome:
        """Wait for a container that runs."""
        code = self.daemon.json("POST", f"/containers/{container}/wait")["StatusCode"]
        return Outcome(code, self.logs(container, tty=tty))

    def logs(self, container: str, *, tty: bool = False) -> str:
        """Return what a container has written."""
        data = self.daemon.request("GET", f"/containers/{container}/logs?stdout=1&stderr=1")[1]
        return (data if tty else unframed(data)).decode(errors="replace")

    def shell(self, script: str, image: str = "busybox", host: Json | None = None, **config: Any) -> Outcome:
        """Run a script of busybox's shell to its end."""
        return self.run(image, "/bin/busybox", "sh", "-c", f"exec 2>&1; {script}", host=host, **config)

    def exec(self, container: str, *words: str, **fields: Any) -> Outcome:
        """Run a further process in a container."""
        body = {"AttachStdout": True, "AttachStderr": True, **fields, "Cmd": list(words)}
        status, data = self.daemon.request("POST", f"/containers/{container}/exec", body)
        answer = json.loads(data)
        if status != 201:
            return Outcome(-1, answer["message"])
        output = self.daemon.request("POST", f"/exec/{answer['Id']}/start", {})[1]
        code = self.daemon.json("GET", f"/exec/{answer['Id']}/json")["ExitCode"]
        return Outcome(code, (output if fields.get("Tty") else unframed(output)).decode(errors="replace"))

    def python(self, script: str, *arguments: str, host: Json | None = None, **config: Any) -> Outcome:
        """Run a script of Python in a container that has nothing but the host's /usr, read-only."""
        return self.run(TOOLS, *python_words(script, *arguments), host=self.with_tools(host), **config)

    def with_tools(self, host: Json | None = None) -> Json:
        """Return a host configuration with the mounts that Python needs, for the image `TOOLS`."""
        host = dict(host or {})
        binds = {f"{path}:{path}:ro" for path in ("/usr", sys.base_prefix)}
        return {**host, "Binds": [*host.get("Binds", []), *sorted(binds)]}

    def load_tools(self) -> None:
        """Load the image `TOOLS`, if it is not there."""
        if self.daemon.request("GET", f"/images/{TOOLS}/json")[0] == 404:
            self._load(Image([layer(*self.tools())], [f"docker.io/library/{TOOLS}"]), TOOLS)

    def tools(self) -> list[Member]:
        """Return what an image needs for `with_tools`."""
        directories = ("dev/", "proc/", "sys/", "etc/", "tmp/", "usr/", "v/")
        links = [
            member(name, kind=SYMTYPE, linkname=f"usr/{name}")
            for name in ("bin", "lib", "lib32", "lib64", "sbin")
            if Path(f"/usr/{name}").is_dir()
        ]
        files = (
            member("etc/passwd", b"root:x:0:0::/root:/bin/sh\nworker:x:1000:1001::/:/bin/sh\n"),
            member("etc/group", b"root:x:0:root\nwheel:x:10:root,worker\nworker:x:1001:\n"),
        )
        return [*map(member, directories), *links, *files]

    def _load(self, image: Image, name: str) -> str:
        path = self.directory / "image.tar"
        path.write_bytes(docker_archive(image))
        self.daemon.load(path)
        path.unlink()
        if name != TOOLS:  # which is kept for the next test
            self.made.append(name)
        return name

    def close(self) -> None:
        self.daemon.remove_everything()
        for name in self.made:
            self.daemon.request("DELETE", f"/images/{quote(name)}?force=1")


def python_words(script: str, *arguments: str) -> list[str]:
    """Return the command of a Python script in a container of `Attacker.with_tools`."""
    return [str(Path(sys.base_prefix) / "bin/python3"), "-I", "-S", "-u", "-c", script, *arguments]


def unframed(data: bytes) -> bytes:
    """Return the payloads of a multiplexed stream."""
    parts = []
    while len(data) >= 8:
        end = 8 + int.from_bytes(data[4:8], "big")
        parts.append(data[8:end])
        data = data[end:]
    return b"".join(parts)
