"""``RUN --mount``: its fields, checked and with defaults, and the mount that comes of them (Dockerfile reference).

A mount is read twice: first for its ``from`` alone, before anything is known of the stage, then as a whole, when its
values can be expanded.
"""

from __future__ import annotations

import posixpath
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from orlop.build.convert.paths import within_root
from orlop.build.dockerfile.suggest import suggested
from orlop.build.graph import Context, Mount, NodeFiles
from orlop.errors import InvalidArgument
from orlop.formats.template import go_quote
from orlop.formats.units import parse_binary_size

__all__ = ["MountFields", "made", "parse", "source_name"]

Kind = Literal["bind", "cache", "tmpfs", "secret", "ssh"]
Sharing = Literal["shared", "private", "locked"]

_KINDS: dict[str, Kind] = {"bind": "bind", "cache": "cache", "tmpfs": "tmpfs", "secret": "secret", "ssh": "ssh"}
_SHARINGS: dict[str, Sharing] = {"shared": "shared", "private": "private", "locked": "locked"}
_KEYS = ("type", "from", "source", "target", "readonly", "id", "sharing", "required", "size", "mode", "uid", "gid")
_ALIASES = {"src": "source", "dst": "target", "destination": "target", "ro": "readonly", "rw": "readwrite"}
_ALL_KEYS = (*_KEYS, "src", "dst", "destination", "ro", "rw", "readwrite", "env")
_TRUE = frozenset(("1", "t", "T", "TRUE", "true", "True"))
_FALSE = frozenset(("0", "f", "F", "FALSE", "false", "False"))


@dataclass(slots=True)
class MountFields:
    """What a ``--mount`` says; None, or "", where it says nothing."""

    kind: Kind = "bind"
    from_: str = ""
    source: str = ""
    target: str = ""
    read_only: bool | None = None
    size: int = 0
    id: str = ""
    sharing: Sharing | None = None
    required: bool = False
    env: str | None = None
    mode: int | None = None
    uid: int | None = None
    gid: int | None = None


def source_name(text: str) -> str:
    """Return the ``from`` of a mount as it is written, "" without one. Raises `InvalidArgument`."""
    name = ""
    for field in _fields(text):
        key, equals, value = field.partition("=")
        if equals and key.lower() == "from":
            if "$" in value[:-1]:
                raise InvalidArgument("'from' doesn't support variable expansion, define alias stage instead")
            name = value
    return name


def parse(text: str, expand: Callable[[str], str]) -> MountFields:
    """Read a mount's fields, each value expanded. Raises `InvalidArgument` with BuildKit's words."""
    mount = MountFields()
    for field in _fields(text):
        key, equals, value = field.partition("=")
        if equals:
            _set(mount, key.lower(), expand(value), field)
        else:
            _set_flag(mount, key.lower(), field)
    _check(mount)
    return mount


def _set_flag(mount: MountFields, key: str, field: str) -> None:
    match _ALIASES.get(key, key):
        case "readonly":
            mount.read_only = True
        case "readwrite":
            mount.read_only = False
        case "required":
            _only(mount, key, ("secret", "ssh"))
            mount.required = True
        case _:
            raise InvalidArgument(f"invalid field '{field}' must be a key=value pair")


def _set(mount: MountFields, key: str, value: str, field: str) -> None:
    match _ALIASES.get(key, key):
        case "type":
            if value.lower() not in _KINDS:
                raise InvalidArgument(suggested(f"unsupported mount type {go_quote(value)}", value, list(_KINDS)))
            mount.kind = _KINDS[value.lower()]
        case "from":
            mount.from_ = value
        case "source":
            mount.source = value
        case "target":
            mount.target = value
        case "readonly":
            mount.read_only = _boolean(key, value)
        case "readwrite":
            mount.read_only = not _boolean(key, value)
        case "required":
            _only(mount, key, ("secret", "ssh"))
            mount.required = _boolean(key, value)
        case "size":
            _only(mount, key, ("tmpfs",))
            mount.size = _size(key, value)
        case "id":
            mount.id = value
        case "sharing":
            if value.lower() not in _SHARINGS:
                raise InvalidArgument(suggested(f"unsupported sharing value {go_quote(value)}", value, list(_SHARINGS)))
            mount.sharing = _SHARINGS[value.lower()]
        case "mode":
            mount.mode = _number(key, value, 8)
        case "uid":
            mount.uid = _number(key, value, 10)
        case "gid":
            mount.gid = _number(key, value, 10)
        case "env":
            mount.env = value
        case _:
            raise InvalidArgument(suggested(f"unexpected key '{key}' in '{field}'", key, _ALL_KEYS))


def _check(mount: MountFields) -> None:
    """Refuse what makes no sense together."""
    if mount.kind in ("bind", "tmpfs"):
        for key in ("mode", "uid", "gid"):
            if getattr(mount, key) is not None:
                raise InvalidArgument(f'{key} not allowed for "{mount.kind}" type mounts')
    if mount.kind == "secret":
        if mount.from_:
            raise InvalidArgument("secret mount should not have a from")
        if mount.sharing is not None:
            raise InvalidArgument("secret mount should not define sharing")
        if not (mount.source or mount.target or mount.id):
            raise InvalidArgument("invalid secret mount. one of source, target required")
        if mount.source and mount.id:
            raise InvalidArgument("both source and id can't be set")
    if mount.kind == "ssh" and mount.source:
        raise InvalidArgument("ssh does not support source")
    if mount.sharing is not None and mount.kind != "cache":
        raise InvalidArgument(f"invalid cache sharing set for {mount.kind} mount")


def made(mount: MountFields, input: Context | NodeFiles | None, directory: str, namespace: str, sockets: int) -> Mount:
    """Return the mount itself.

    A relative target starts at the step's `directory`. `namespace` sets apart the ids of caches, `sockets` counts the
    ssh mounts before this one. Raises `InvalidArgument`.
    """
    if mount.kind == "secret":
        return _secret(mount)
    if mount.kind == "ssh":
        return _ssh(mount, sockets)
    target = posixpath.normpath(posixpath.join("/", directory, mount.target))
    target = "/" + target.lstrip("/")
    if target == "/":
        raise InvalidArgument(f"invalid mount target {go_quote(target)}")
    if mount.kind == "tmpfs":
        return Mount("tmpfs", target, size=mount.size, read_only=bool(mount.read_only))
    source = within_root(mount.source)
    if mount.kind == "bind":
        return Mount("bind", target, source, input, read_only=mount.read_only is not False)
    name = mount.id or posixpath.normpath(mount.target or ".")
    return Mount(
        "cache",
        target,
        source,
        input,
        read_only=bool(mount.read_only),
        id=f"{namespace}/{name}" if namespace else name,
        sharing=mount.sharing or "shared",
        mode=mount.mode,
        uid=mount.uid or 0,
        gid=mount.gid or 0,
    )


def _secret(mount: MountFields) -> Mount:
    name = mount.source or mount.id or posixpath.basename(mount.target.rstrip("/"))
    target = mount.target
    if not target and mount.env is None:
        target = "/run/secrets/" + posixpath.basename(name)
    return Mount(
        "secret",
        f"/{within_root(target)}" if target else "",
        id=name,
        read_only=True,
        required=mount.required,
        env=name if mount.env == "" else mount.env or "",
        mode=0o400 if mount.mode is None else mount.mode,
        uid=mount.uid or 0,
        gid=mount.gid or 0,
    )


def _ssh(mount: MountFields, sockets: int) -> Mount:
    target = f"/{within_root(mount.target)}" if mount.target else f"/run/buildkit/ssh_agent.{sockets}"
    return Mount(
        "ssh",
        target,
        id=mount.id or "default",
        read_only=True,
        required=mount.required,
        mode=0o600 if mount.mode is None else mount.mode,
        uid=mount.uid or 0,
        gid=mount.gid or 0,
    )


def _only(mount: MountFields, key: str, kinds: Sequence[str]) -> None:
    if mount.kind not in kinds:
        raise InvalidArgument(f"unexpected key '{key}' for mount type '{mount.kind}'")


def _boolean(key: str, value: str) -> bool:
    if value not in _TRUE and value not in _FALSE:
        raise InvalidArgument(f"invalid value for {key}: {value}")
    return value in _TRUE


def _size(key: str, value: str) -> int:
    try:
        return parse_binary_size(value)
    except InvalidArgument:
        raise InvalidArgument(f"invalid value for {key}: {value}") from None


def _number(key: str, value: str, base: int) -> int:
    digits = "01234567" if base == 8 else "0123456789"
    if not value or len(value) > 11 or value.strip(digits) or int(value, base) >= 1 << 32:
        raise InvalidArgument(f"invalid value {value} for {key}")
    return int(value, base)


def _fields(text: str) -> list[str]:
    """Split a line of comma-separated values (RFC 4180). Raises `InvalidArgument`."""
    fields: list[str] = []
    position = 0
    while True:
        if text.startswith('"', position):
            value, position = _quoted(text, position + 1)
        else:
            end = text.find(",", position)
            end = len(text) if end < 0 else end
            value, position = text[position:end], end
            if '"' in value:
                raise InvalidArgument('failed to parse csv mounts: bare " in non-quoted-field')
        fields.append(value)
        if position == len(text):
            return fields
        if text[position] != ",":
            raise InvalidArgument('failed to parse csv mounts: extraneous or missing " in quoted-field')
        position += 1


def _quoted(text: str, position: int) -> tuple[str, int]:
    """Return the value of a quoted field that begins at `position`, and where it ends."""
    parts: list[str] = []
    while (end := text.find('"', position)) >= 0:
        parts.append(text[position:end])
        if not text.startswith('""', end):
            return "".join(parts), end + 1
        parts.append('"')
        position = end + 2
    raise InvalidArgument('failed to parse csv mounts: extraneous or missing " in quoted-field')
