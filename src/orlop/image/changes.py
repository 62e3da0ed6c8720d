"""Changes to a configuration in the words of a Dockerfile, as `docker import --change` and `commit` take them.

Variables stand for what the configuration's environment has at that point, as in a Dockerfile.
"""

from __future__ import annotations

import json
import posixpath
import re
from collections.abc import Mapping
from typing import Any

from orlop.errors import InvalidArgument
from orlop.formats.duration import parse_duration
from orlop.formats.shellwords import raw_words, split_words, whole_word

__all__ = ["apply_changes"]

Json = dict[str, Any]

_ALLOWED = {
    "cmd",
    "entrypoint",
    "env",
    "expose",
    "healthcheck",
    "label",
    "onbuild",
    "stopsignal",
    "user",
    "volume",
    "workdir",
}
_SHELL = ["/bin/sh", "-c"]
_PORT = re.compile(r"([0-9]{1,5})(?:-([0-9]{1,5}))?(?:/(tcp|udp|sctp))?", re.ASCII)


def apply_changes(config: Json, changes: list[str]) -> Json:
    """Return `config` (the ``config`` object of an image) with each of `changes` applied. Raises `InvalidArgument`."""
    config = dict(config)
    given: set[str] = set()
    for change in changes:
        for line in re.sub(r"\\\r?\n", "", change).splitlines():
            if line.strip():
                _apply(config, line.strip(), given)
    return config


def _apply(config: Json, line: str, given: set[str]) -> None:
    """Apply one line; `given` notes the instructions so far."""
    word, _, rest = line.partition(" ")
    instruction, rest = word.lower(), rest.strip()
    if instruction not in _ALLOWED:
        raise InvalidArgument(f"{word} is not a valid change command")
    if not rest:
        raise InvalidArgument(f"{word.upper()} requires at least one argument")
    given.add(instruction)
    variables = {name: value for name, _, value in (entry.partition("=") for entry in config.get("Env") or [])}
    match instruction:
        case "cmd" | "entrypoint":
            key = "Cmd" if instruction == "cmd" else "Entrypoint"
            config[key] = _command(rest, config.get("Shell") or _SHELL)
            if instruction == "entrypoint" and "cmd" not in given:
                config["Cmd"] = None  # it was meant for the entrypoint before
        case "env":
            config["Env"] = _merged_env(config.get("Env") or [], _pairs(rest, word, variables))
        case "label":
            config["Labels"] = {**(config.get("Labels") or {}), **dict(_pairs(rest, word, variables))}
        case "expose":
            ports: Json = {port: {} for text in split_words(rest, variables) for port in _ports(text)}
            config["ExposedPorts"] = {**(config.get("ExposedPorts") or {}), **ports}
        case "volume":
            config["Volumes"] = {**(config.get("Volumes") or {}), **{path: {} for path in _list(rest, variables)}}
        case "user":
            config["User"] = whole_word(rest, variables)
        case "stopsignal":
            config["StopSignal"] = whole_word(rest, variables)
        case "workdir":
            path = posixpath.join(config.get("WorkingDir") or "/", whole_word(rest, variables))
            config["WorkingDir"] = posixpath.normpath(f"/{path.lstrip('/')}")
        case "onbuild":
            config["OnBuild"] = [*(config.get("OnBuild") or []), rest]
        case "healthcheck":
            config["Healthcheck"] = _health(rest)


def _command(text: str, shell: list[str]) -> list[str]:
    """Return the words of the JSON form, or the line for a shell."""
    words = _json_words(text)
    return [*shell, text] if words is None else words


def _list(text: str, variables: Mapping[str, str]) -> list[str]:
    words = _json_words(text)
    if words is None:
        return split_words(text, variables)
    return [whole_word(word, variables) for word in words]


def _json_words(text: str) -> list[str] | None:
    if not text.startswith("["):
        return None
    try:
        words = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return words if isinstance(words, list) and all(isinstance(word, str) for word in words) else None


def _pairs(text: str, instruction: str, variables: Mapping[str, str]) -> list[tuple[str, str]]:
    """Return the pairs of ``name=value …``, or of the old form ``name value``."""
    name, _, value = text.partition(" ")
    if "=" not in name:
        if not value:
            raise InvalidArgument(f"{instruction.upper()} must have two arguments")
        return [(name, whole_word(value.strip(), variables))]
    pairs = [whole_word(word, variables).partition("=") for word in raw_words(text)]
    if any(not name or not equals for name, equals, _ in pairs):
        raise InvalidArgument(f"Syntax error - can't find = in {text!r}. Must be of the form: name=value")
    return [(name, value) for name, _, value in pairs]


def _merged_env(env: list[str], pairs: list[tuple[str, str]]) -> list[str]:
    merged = {entry.partition("=")[0]: entry for entry in env}
    merged.update((name, f"{name}={value}") for name, value in pairs)
    return list(merged.values())


def _ports(text: str) -> list[str]:
    match = _PORT.fullmatch(text.lower())
    first = int(match[1]) if match else 0
    last = int(match[2]) if match and match[2] else first
    if match is None or not 0 < first <= last <= 65535:
        raise InvalidArgument(f"invalid containerPort: {text}")
    return [f"{port}/{match[3] or 'tcp'}" for port in range(first, last + 1)]


def _health(text: str) -> Json:
    if text.upper() == "NONE":
        return {"Test": ["NONE"]}
    keys = {
        "interval": "Interval",
        "timeout": "Timeout",
        "start-period": "StartPeriod",
        "start-interval": "StartInterval",
    }
    health: Json = {}
    while text.startswith("--"):
        flag, _, text = text.partition(" ")
        text = text.strip()
        name, _, value = flag[2:].partition("=")
        if name in keys:
            health[keys[name]] = _duration(value)
        elif name == "retries" and value.isdecimal():
            health["Retries"] = int(value)
        else:
            raise InvalidArgument(f"unknown flag: {flag}")
    kind, _, command = text.partition(" ")
    if kind.upper() != "CMD" or not command.strip():
        raise InvalidArgument(f"Unknown type {kind!r} in HEALTHCHECK (try CMD)")
    words = _json_words(command.strip())
    health["Test"] = ["CMD-SHELL", command.strip()] if words is None else ["CMD", *words]
    return health


def _duration(text: str) -> int:
    value = parse_duration(text)
    if value < 1_000_000:
        raise InvalidArgument(f"Interval {text} cannot be less than 1ms")
    return value
