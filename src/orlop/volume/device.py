"""Volumes with ``type``, ``device`` and ``o``: what of their options makes a mount, by mount(8)'s words. No I/O."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import ip_address
from urllib.parse import urlsplit

from orlop.errors import InvalidArgument
from orlop.linux import mount

__all__ = ["DeviceMount", "check_device", "device_mount", "named_host", "needs_mount"]

_FLAGS = {
    "ro": (mount.MS_RDONLY, True),
    "rw": (mount.MS_RDONLY, False),
    "nosuid": (mount.MS_NOSUID, True),
    "suid": (mount.MS_NOSUID, False),
    "nodev": (mount.MS_NODEV, True),
    "dev": (mount.MS_NODEV, False),
    "noexec": (mount.MS_NOEXEC, True),
    "exec": (mount.MS_NOEXEC, False),
    "sync": (mount.MS_SYNCHRONOUS, True),
    "async": (mount.MS_SYNCHRONOUS, False),
    "dirsync": (mount.MS_DIRSYNC, True),
    "remount": (mount.MS_REMOUNT, True),
    "mand": (mount.MS_MANDLOCK, True),
    "nomand": (mount.MS_MANDLOCK, False),
    "noatime": (mount.MS_NOATIME, True),
    "atime": (mount.MS_NOATIME, False),
    "nodiratime": (mount.MS_NODIRATIME, True),
    "diratime": (mount.MS_NODIRATIME, False),
    "relatime": (mount.MS_RELATIME, True),
    "norelatime": (mount.MS_RELATIME, False),
    "strictatime": (mount.MS_STRICTATIME, True),
    "nostrictatime": (mount.MS_STRICTATIME, False),
    "bind": (mount.MS_BIND, True),
    "rbind": (mount.MS_BIND | mount.MS_REC, True),
    "defaults": (0, True),
}
_PROPAGATION = {
    "private": mount.MS_PRIVATE,
    "rprivate": mount.MS_PRIVATE | mount.MS_REC,
    "shared": mount.MS_SHARED,
    "rshared": mount.MS_SHARED | mount.MS_REC,
    "slave": mount.MS_SLAVE,
    "rslave": mount.MS_SLAVE | mount.MS_REC,
    "unbindable": mount.MS_UNBINDABLE,
    "runbindable": mount.MS_UNBINDABLE | mount.MS_REC,
}
_NETWORKED = ("nfs", "cifs")
_READ_ONLY_BIND = mount.MS_BIND | mount.MS_RDONLY


@dataclass(frozen=True, slots=True)
class DeviceMount:
    """The arguments of mount(2), and the propagation that is set behind it (0: none)."""

    device: str
    kind: str
    flags: int = 0
    data: str = ""
    propagation: int = 0

    @property
    def read_only_bind(self) -> bool:
        """Whether a second step has to make it read-only: a bind mount ignores that at first."""
        return self.flags & _READ_ONLY_BIND == _READ_ONLY_BIND

    def failure(self, target: str, reason: str) -> str:
        """Return what is told of a mount that failed; a password stays secret."""
        parts = [f"mount {self.device}:{target}" if self.device else f"mount {target}"]
        if self.flags:
            parts.append(f"flags: {self.flags:#x}")
        if self.data:
            shown = ("password=********" if word.startswith("password=") else word for word in self.data.split(","))
            parts.append(f"data: {','.join(shown)}")
        return f"failed to mount local volume: {', '.join(parts)}: {reason}"


def needs_mount(options: Mapping[str, str]) -> bool:
    """Tell whether a volume's options ask for a mount."""
    return bool(options.get("device") or options.get("type"))


def check_device(options: Mapping[str, str]) -> None:
    """Raise `InvalidArgument` for a device that no mount can be of."""
    if options.get("type") == "cifs" and _url_has_port(options.get("device", "")):
        raise InvalidArgument("port not allowed in CIFS device URL, include 'port' in 'o='")


def named_host(options: Mapping[str, str]) -> str:
    """Return the host that the kernel has to be told the address of, "" if there is none or it is an address."""
    if options.get("type") not in _NETWORKED:
        return ""
    host = _words(options).get("addr", "")
    if not host and options.get("type") == "cifs":
        host = urlsplit(options.get("device", "")).netloc.rpartition("@")[2]
    return "" if not host or _is_address(host) else host


def device_mount(options: Mapping[str, str], address: str = "") -> DeviceMount:
    """Return the mount that a volume's options ask for; `address` is that of `named_host`."""
    device, host = options.get("device", ""), named_host(options)
    flags, propagation, data = 0, 0, []
    for word in options.get("o", "").split(","):
        if word in _FLAGS:
            bits, on = _FLAGS[word]
            flags = flags | bits if on else flags & ~bits
        elif word in _PROPAGATION:
            propagation |= _PROPAGATION[word]
        elif word == f"addr={host}" and host:
            data.append(f"addr={address}")
        elif word:
            data.append(word)
    if host and options.get("type") == "cifs" and "addr" not in _words(options):
        device = device.replace(host, address, 1)
    return DeviceMount(device, options.get("type", ""), flags, ",".join(data), propagation)


def _words(options: Mapping[str, str]) -> dict[str, str]:
    return dict(word.partition("=")[::2] for word in options.get("o", "").split(","))


def _is_address(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return False
    return True


def _url_has_port(device: str) -> bool:
    try:
        return urlsplit(device).port is not None
    except ValueError as error:
        raise InvalidArgument(f"error parsing mount device url: {error}") from None
