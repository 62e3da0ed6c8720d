"""Whether this host can run programs of another architecture: binfmt_misc (the kernel's ``admin-guide/binfmt-misc``).

An emulator has to be opened when it is registered (flag F), so that it need not be in a step's own root.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable
from pathlib import Path

from orlop.errors import InvalidArgument
from orlop.formats.platform import Platform

__all__ = ["check", "handles", "header"]

_DIRECTORY = Path("/proc/sys/fs/binfmt_misc")
# Architecture: 64 bits, big-endian, ``e_machine`` (elf.h).
_MACHINES = {
    "386": (False, False, 3),
    "amd64": (True, False, 62),
    "arm": (False, False, 40),
    "arm64": (True, False, 183),
    "loong64": (True, False, 258),
    "mips64": (True, True, 8),
    "mips64le": (True, False, 8),
    "ppc64": (True, True, 21),
    "ppc64le": (True, False, 21),
    "riscv64": (True, False, 243),
    "s390x": (True, True, 22),
}
_ALSO_NATIVE = {("amd64", "386"), ("arm64", "arm")}


def check(platform: Platform, host: Platform) -> None:
    """Raise `InvalidArgument` if a step for `platform` cannot run on `host`."""
    if platform.os != host.os:
        raise InvalidArgument(f"a step for {platform} cannot run on {host}")
    wanted = platform.architecture
    if wanted == host.architecture or (host.architecture, wanted) in _ALSO_NATIVE:
        return
    if wanted not in _MACHINES or not handles(_registered(), header(wanted)):
        raise InvalidArgument(
            f"no emulator is registered for {platform}, and this host is {host}: RUN needs one (binfmt_misc with the "
            "flag F, as packages of qemu-user-static register it)"
        )


def header(architecture: str) -> bytes:
    """Return how an executable of `architecture` begins."""
    wide, big, machine = _MACHINES[architecture]
    ident = bytes((0x7F, *b"ELF", 2 if wide else 1, 2 if big else 1, 1)).ljust(16, b"\0")
    return ident + struct.pack(">HH" if big else "<HH", 2, machine)


def handles(entries: Iterable[str], start: bytes) -> bool:
    """Tell whether one of the `entries` of binfmt_misc takes a file that begins with `start`.

    >>> entry = "enabled\\ninterpreter /usr/bin/qemu\\nflags: F\\noffset 0\\nmagic 7f454c46"
    >>> handles([entry], header("arm64"))
    True
    """
    return any(_handles(entry, start) for entry in entries)


def _handles(entry: str, start: bytes) -> bool:
    fields = dict(line.partition(" ")[::2] for line in entry.splitlines())
    if "enabled" not in fields or "F" not in fields.get("flags:", "") or "magic" not in fields:
        return False
    magic = bytes.fromhex(fields["magic"])
    mask = bytes.fromhex(fields["mask"]) if "mask" in fields else b"\xff" * len(magic)
    offset = int(fields.get("offset", "0"))
    part = start[offset : offset + len(magic)]
    return len(part) == len(magic) and all(
        (byte ^ wanted) & bits == 0 for byte, wanted, bits in zip(part, magic, mask, strict=True)
    )


def _registered() -> list[str]:
    try:
        paths = [path for path in _DIRECTORY.iterdir() if path.name not in ("register", "status")]
        return [path.read_text() for path in paths]
    except OSError:  # it is not mounted
        return []
