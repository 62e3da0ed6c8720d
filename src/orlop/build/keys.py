"""Keys of steps: what of a step its result depends on, as one hash. Pure.

A key is the SHA-256 of a canonical JSON document: the node's own fields, all but those marked ``compare=False``; the
chain id of the layers below, which is a result and no definition, so that a step which is carried out again and gives
the same layer invalidates nothing above it; and a digest of the content that it takes. Where content comes from does
not matter, nor do times or the owners of a context.

The same document, taken to pieces (`Key.parts`), tells later which input of a step has changed.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import MISSING, dataclass, fields, is_dataclass
from typing import Any

from orlop.build.graph import Context, CopyFiles, Exec, Files, Git, Inline, Input, MakeDirectory, Mount, NodeFiles, Url

__all__ = ["Key", "content_label", "exec_key", "files_key", "mount_label", "names_owner", "printable"]

Json = dict[str, Any]

_VERSION = b"orlop build step 1\n"
_LONGEST = 400  # characters of a part; more is cut, and told apart by its hash
_MOST = 500  # parts of one sort that are told apart


@dataclass(frozen=True, slots=True)
class Key:
    """A step's key, and the inputs that it was made of, by ``sort:name``. Equal keys have equal parts.

    The sorts are those of `progress.Change`.
    """

    key: str
    parts: Mapping[str, str]


def files_key(node: Files, base: str, contents: Sequence[str], owners: str = "", epoch: int | None = None) -> Key:
    """Return the key of a `Files` node on a base with the chain id `base`, "" for an empty one.

    `contents` has for each action the digest of what it takes, "" where its definition says that. `owners` is the
    digest of the base's users, if an owner is a name (`names_owner`).
    """
    base = "" if node.link else base
    actions = [_action(action, content) for action, content in zip(node.actions, contents, strict=True)]
    document: Json = {"operation": "files", "base": base, "link": node.link, "actions": actions, "owners": owners}
    parts = {"base:": base, "option:users of the base": owners, "option:link": _text(node.link)}
    for number, (action, content) in enumerate(zip(node.actions, contents, strict=True)):
        parts.update(_action_parts(action, content, "" if number == 0 else f" #{number + 1}"))
    return _key(document, parts, epoch)


def exec_key(node: Exec, base: str, contents: Sequence[str], epoch: int | None = None) -> Key:
    """Return the key of an `Exec` node; `contents` has for each mount the digest of what it shows, "" for nothing."""
    mounts = [_mount(mount, content) for mount, content in zip(node.mounts, contents, strict=True)]
    document = {"operation": "exec", **_own(node, "base", "mounts"), "base": base, "mounts": mounts}
    script = "" if node.script is None else f" <<{node.script[0]}\n{node.script[1].decode(errors='replace')}"
    parts = {
        "base:": base,
        "instruction:": _text(_words(node.arguments) + script),
        "directory:": _text(node.directory),
        "user:": _text(node.user),
        **_options(node, "base", "mounts", "arguments", "script", "environment", "directory", "user"),
        **_variables(node),
    }
    for mount, content in zip(node.mounts, contents, strict=True):
        parts[f"mount:{printable(mount.target or mount.env)}"] = _text(_describe(mount))
        if content:
            parts[f"file:{mount_label(mount)}"] = content
    return _key(document, parts, epoch)


def names_owner(node: Files) -> bool:
    """Tell whether an owner is given by a name, so that the base's users enter the key."""
    owners = [action.owner for action in node.actions]
    return any(not part.isdecimal() for owner in owners if owner for part in owner.split(":"))


def content_label(source: Input) -> str:
    """Return what a source of files is called where a change in it is told."""
    match source:
        case Context(name=name):
            return f"context {printable(name)}" if name else "context"
        case NodeFiles():
            return "stage"
        case Url(url=url) | Git(url=url):
            return printable(url)
        case Inline():
            return "heredoc"


def mount_label(mount: Mount) -> str:
    """Return what the content of a mount is called."""
    return f"mount {printable(mount.target)}"


def printable(text: str) -> str:
    """Return `text` as UTF-8 can have it: bytes of a name that make no sense become question marks."""
    return text.encode("utf-8", "replace").decode()


def _key(document: Json, parts: Mapping[str, str], epoch: int | None) -> Key:
    if epoch is not None:  # files of the layer are no younger
        document |= {"epoch": epoch}
        parts = {**parts, "argument:SOURCE_DATE_EPOCH": str(epoch)}
    digest = hashlib.sha256(_VERSION + _canonical(document)).hexdigest()
    return Key(f"sha256:{digest}", {name: value for name, value in parts.items() if value})


def _action(action: CopyFiles | MakeDirectory, content: str) -> Json:
    if isinstance(action, MakeDirectory):
        return {"make": _own(action)}
    return {"copy": _own(action, "source"), "source": _source(action.source, content), "content": content}


def _source(source: Input, content: str) -> Json:
    """Return what of a source enters a key beside the digest of its content, or instead of it."""
    kind = type(source).__name__
    match source:
        case Url() if content:
            return {"kind": kind, "filename": source.filename}
        case Url():
            return {"kind": kind, "filename": source.filename, "checksum": source.checksum}
        case Git() if content:
            return {"kind": kind}
        case Git() | Inline():
            return {"kind": kind, **_own(source)}
    return {"kind": kind}


def _action_parts(action: CopyFiles | MakeDirectory, content: str, suffix: str) -> dict[str, str]:
    if isinstance(action, MakeDirectory):
        options = _options(action, "path", suffix=suffix)
        return {f"instruction:{suffix}": _text(f"WORKDIR {action.path}"), **options}
    return {
        f"instruction:{suffix}": _text(_words((action.instruction, *action.paths, action.destination))),
        **_options(action, "source", "paths", "destination", suffix=suffix),
        f"option:source{suffix}": _text(json.dumps(_source(action.source, content), default=_plain)),
        f"file:{content_label(action.source)}{suffix}": content,
    }


def _mount(mount: Mount, content: str) -> Json:
    kind = None if mount.input is None else type(mount.input).__name__
    return {**_own(mount, "input"), "input": kind, "content": content}


def _describe(mount: Mount) -> str:
    origin = "" if mount.input is None else f",from={content_label(mount.input)}"
    options = "".join(f",{name}={_text(value)}" for name, value in _own(mount, "kind", "target", "input").items())
    return f"type={mount.kind}{origin}{options}"


def _variables(node: Exec) -> dict[str, str]:
    """Return the parts of the environment; build arguments have a sort of their own."""
    parts: dict[str, str] = {}
    for entry in node.environment[:_MOST]:
        name, _, value = entry.partition("=")
        sort = "argument" if name in node.argument_names else "environment"
        parts[f"{sort}:{printable(name)}"] = _text(value) or '""'
    if len(node.environment) > _MOST:
        parts["environment:and more"] = _digest(node.environment[_MOST:])
    if len(parts) > 1:
        parts["environment:order"] = _digest(entry.partition("=")[0] for entry in node.environment)
    return parts


def _options(value: Any, *without: str, suffix: str = "") -> dict[str, str]:
    """Return a part for each field that is not what it is by default."""
    options = _own(value, *without).items()
    return {f"option:{name.replace('_', ' ')}{suffix}": _text(item) for name, item in options}


def _own(value: Any, *without: str) -> Json:
    """Return the fields of a dataclass that enter keys, as JSON has them.

    What is as it is by default is left out, so that a field that comes with a new release changes no key.
    """
    own: Json = {}
    for item in fields(value):
        content = getattr(value, item.name)
        if item.compare and item.name not in without and (item.default is MISSING or content != item.default):
            own[item.name] = _plain(content)
    return own


def _plain(value: Any) -> Any:
    if isinstance(value, bytes):
        return f"sha256:{hashlib.sha256(value).hexdigest()}"
    if isinstance(value, tuple | list):
        return [_plain(item) for item in value]
    if is_dataclass(value):
        return {"kind": type(value).__name__, **_own(value)}
    return value


def _words(words: Iterable[str]) -> str:
    """Return words as a line, those with spaces or quotes in quotes."""
    return " ".join(word if word and not set(word) & set(" \n\t\"'") else json.dumps(word) for word in words)


def _text(value: Any) -> str:
    """Return a value as a part has it: readable, and never long."""
    text = value if isinstance(value, str) else "" if value in (None, False) else json.dumps(_plain(value))
    if len(text) <= _LONGEST:
        return printable(text)
    return f"{printable(text[:_LONGEST])}… ({_digest([text])})"


def _digest(values: Iterable[str]) -> str:
    return f"sha256:{hashlib.sha256(_canonical(list(values))).hexdigest()}"


def _canonical(value: Any) -> bytes:
    return json.dumps(value, sort_keys=True, separators=(",", ":")).encode()
