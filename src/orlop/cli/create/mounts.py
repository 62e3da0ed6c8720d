"""``--mount``, ``--volume`` and ``--tmpfs``."""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import Any

from orlop.cli.create.values import parse_fields
from orlop.cli.flags import parse_bool
from orlop.cli.kinds import ram_bytes

__all__ = ["parse_mount", "parse_tmpfs", "parse_volumes"]

Json = dict[str, Any]

_RECURSION = {
    "enabled": "",
    "disabled": "NonRecursive",
    "writable": "ReadOnlyNonRecursive",
    "readonly": "ReadOnlyForceRecursive",
}
_OPTIONS = (("volume", "VolumeOptions"), ("image", "ImageOptions"), ("bind", "BindOptions"), ("tmpfs", "TmpfsOptions"))


def parse_mount(text: str) -> Json:
    """Return a mount from ``type=bind,source=/a,target=/b,readonly,…``; ValueError has docker's message."""
    mount: Json = {"Type": "volume"}
    for field in parse_fields(text):
        key, separator, value = field.partition("=")
        key = key.lower()
        if separator:
            _set(mount, key, value, field)
        elif key in ("readonly", "ro"):
            mount["ReadOnly"] = True
        elif key == "volume-nocopy":
            _volume(mount)["NoCopy"] = True
        elif key == "bind-nonrecursive":
            _part(mount, "BindOptions")["NonRecursive"] = True
        else:
            raise ValueError(f"invalid field '{field}' must be a key=value pair")
    _check(mount)
    return mount


def _absolute(path: str) -> str:
    # Symbolic links are left as they are: the daemon follows them when it mounts.
    return os.path.normpath(os.path.join(os.getcwd(), path))


def _part(mount: Json, name: str) -> Json:
    part: Json = mount.setdefault(name, {})
    return part


def _volume(mount: Json) -> Json:
    options = _part(mount, "VolumeOptions")
    options.setdefault("Labels", {})
    options.setdefault("DriverConfig", {})
    return options


def _boolean(key: str, value: str) -> bool:
    try:
        return parse_bool(value)
    except ValueError:
        raise ValueError(f"invalid value for {key}: {value}") from None


def _set(mount: Json, key: str, value: str, field: str) -> None:
    if key == "type":
        mount["Type"] = value.lower()
    elif key in ("source", "src"):
        mount["Source"] = _absolute(value) if value.startswith(".") else value
    elif key in ("target", "dst", "destination"):
        mount["Target"] = value
    elif key in ("readonly", "ro"):
        mount["ReadOnly"] = _boolean(key, value)
    elif key == "consistency":
        mount["Consistency"] = value.lower()
    elif key.startswith("bind-"):
        _set_bind(_part(mount, "BindOptions"), key, value, field)
    elif key.startswith("volume-"):
        _set_volume(_volume(mount), key, value, field)
    elif key == "image-subpath":
        _part(mount, "ImageOptions")["Subpath"] = value
    elif key == "tmpfs-size":
        _part(mount, "TmpfsOptions")["SizeBytes"] = _number(key, value, ram_bytes)
    elif key == "tmpfs-mode":
        _part(mount, "TmpfsOptions")["Mode"] = _number(key, value, _octal)
    else:
        raise ValueError(f"unexpected key '{key}' in '{field}'")


def _octal(text: str) -> int:
    if not text.isdecimal():
        raise ValueError(text)
    return int(text, 8)


def _number(key: str, value: str, parse: Any) -> int:
    try:
        return int(parse(value))
    except ValueError:
        raise ValueError(f"invalid value for {key}: {value}") from None


def _set_bind(options: Json, key: str, value: str, field: str) -> None:
    if key == "bind-propagation":
        options["Propagation"] = value.lower()
    elif key == "bind-nonrecursive":
        options["NonRecursive"] = _boolean(key, value)
    elif key == "bind-recursive":
        if value not in _RECURSION:
            choices = '"enabled", "disabled", "writable", or "readonly"'
            raise ValueError(f"invalid value for {key}: {value} (must be {choices})")
        if _RECURSION[value]:
            options[_RECURSION[value]] = True
    else:
        raise ValueError(f"unexpected key '{key}' in '{field}'")


def _set_volume(options: Json, key: str, value: str, field: str) -> None:
    name, _, rest = value.partition("=")
    if key == "volume-subpath":
        options["Subpath"] = value
    elif key == "volume-nocopy":
        options["NoCopy"] = _boolean(key, value)
    elif key == "volume-label":
        options["Labels"].update({name: rest} if name else {})
    elif key == "volume-driver":
        options["DriverConfig"]["Name"] = value
    elif key == "volume-opt":
        options["DriverConfig"].setdefault("Options", {}).update({name: rest} if name else {})
    else:
        raise ValueError(f"unexpected key '{key}' in '{field}'")


def _check(mount: Json) -> None:
    if not mount["Type"]:
        raise ValueError("type is required")
    if not mount.get("Target"):
        raise ValueError("target is required")
    for kind, part in _OPTIONS:
        if part in mount and mount["Type"] != kind:
            raise ValueError(f"cannot mix '{kind}-*' options with mount type '{mount['Type']}'")
    bind = mount.get("BindOptions", {})
    for name in ("writable", "readonly"):
        if bind.get(_RECURSION[name]) and not mount.get("ReadOnly"):
            raise ValueError(f"option 'bind-recursive={name}' requires 'readonly' to be specified in conjunction")
    if bind.get("ReadOnlyForceRecursive") and bind.get("Propagation") != "rprivate":
        raise ValueError(
            "option 'bind-recursive=readonly' requires 'bind-propagation=rprivate' to be specified in conjunction"
        )


def parse_volumes(specs: Iterable[str]) -> tuple[list[str], dict[str, Any]]:
    """Sort the texts of ``-v`` into binds (host directories and named volumes) and anonymous volumes."""
    binds: list[str] = []
    anonymous: dict[str, Any] = {}
    for spec in dict.fromkeys(specs):
        source, rest = _split_volume(spec)
        if not source:
            anonymous[spec] = {}
        elif source.startswith("."):
            binds.append(f"{_absolute(source)}:{rest}")
        else:
            binds.append(spec)
    return binds, anonymous


def _split_volume(spec: str) -> tuple[str, str]:
    """Return the source (empty for an anonymous volume) and the rest of ``[source:]target[:options]``."""
    if not spec:
        raise ValueError("invalid empty volume spec")
    if len(spec) < 3:
        return "", spec
    words: list[str] = []
    for word in spec.split(":"):
        # As docker's client, which does not know what the daemon runs on: one letter is a drive of Windows.
        if words and len(words[-1]) == 1 and words[-1].isalpha():
            words[-1] += f":{word}"
        else:
            words.append(word)
    if "" in words:
        raise ValueError(f"invalid spec: {spec}: empty section between colons")
    if len(words) > 3:
        raise ValueError(f"invalid spec: {spec}: too many colons")
    return (words[0], ":".join(words[1:])) if len(words) > 1 else ("", spec)


def parse_tmpfs(specs: Iterable[str]) -> dict[str, str]:
    """Return the options of each ``--tmpfs /path[:options]`` by its path."""
    return {path: options for path, _, options in (spec.partition(":") for spec in specs)}
