"""COPY and ADD: where files come from, where they go to, and as whose."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby
from urllib.parse import unquote, urlsplit

from orlop.build.convert.base import git_input
from orlop.build.convert.building import Building
from orlop.build.convert.history import BUILDKIT
from orlop.build.convert.names import upper_first
from orlop.build.convert.paths import destination, within_root
from orlop.build.convert.stages import Bound
from orlop.build.dockerfile import tree
from orlop.build.graph import Context, CopyFiles, Files, Inline, Input, NodeFiles, Url
from orlop.errors import InvalidArgument
from orlop.formats import git_reference
from orlop.formats.digest import Digest
from orlop.formats.git_reference import GitReference
from orlop.formats.template import go_quote

__all__ = ["copy"]

_UNNAMED = "__unnamed__"
_SYMBOLIC = re.compile(r"[ugoa]*(?:[-+=][rwxXstugo]*)+(?:,[ugoa]*(?:[-+=][rwxXstugo]*)+)*")


@dataclass(frozen=True, slots=True)
class _Expanded:
    """An instruction's words, expanded."""

    sources: tuple[str, ...]
    heredocs: tuple[tuple[str, bytes], ...]
    destination: str
    owner: str
    mode: str
    checksum: str


@dataclass(frozen=True, slots=True)
class _Item:
    """A source, and the path in it; `unpack` is whether archives in it are unpacked."""

    source: Input
    path: str
    unpack: bool


def copy(stage: Building, bound: Bound, instruction: tree.Copy) -> None:
    """Append the step of a COPY or ADD. Raises `InvalidArgument`."""
    words = _expanded(stage, instruction)
    _check(instruction, words)
    items = list(_items(stage, bound, instruction, words))
    actions: list[CopyFiles] = []
    for (source, unpack), group in groupby(items, key=lambda item: (item.source, item.unpack)):
        actions.append(
            CopyFiles(
                source,
                tuple(item.path for item in group),
                destination(stage.directory, words.destination),
                words.owner,
                words.mode,
                instruction.parents,
                instruction.exclude,
                unpack,
                instruction.name.upper(),
            )
        )
    linked = instruction.link and not words.mode  # as BuildKit: a mode needs the files that are there
    shown = upper_first(stage.shown(instruction.original))
    stage.grow(bound, Files(stage.node, tuple(actions), linked), shown, _entry(instruction, words))


def _expanded(stage: Building, instruction: tree.Copy) -> _Expanded:
    texts = [stage.expand_heredoc(item.text) if item.expand else item.text for item in instruction.heredocs]
    return _Expanded(
        tuple(stage.expand(source) for source in instruction.sources),
        tuple(
            (heredoc.name, text.encode(errors="replace"))
            for heredoc, text in zip(instruction.heredocs, texts, strict=True)
        ),
        stage.expand(instruction.destination),
        stage.expand(instruction.chown),
        stage.expand(instruction.chmod),
        stage.expand(instruction.checksum),
    )


def _check(instruction: tree.Copy, words: _Expanded) -> None:
    mode = words.mode
    if mode and not _SYMBOLIC.fullmatch(mode) and not (re.fullmatch("[0-7]{1,11}", mode) and int(mode, 8) <= 0o7777):
        message = f"invalid chmod parameter: '{mode}'. it should be octal string and between 0 and 07777"
        raise InvalidArgument(message)
    if instruction.link and not re.fullmatch("(?:[0-9]*|root)(?::(?:[0-9]*|root))?", words.owner):
        raise InvalidArgument(
            f"--chown={words.owner}: user and group names can't be resolved when used with --link, "
            "use numeric uid[:gid] instead"
        )
    if words.checksum:
        if instruction.name != "add":
            raise InvalidArgument("checksum can't be specified for COPY")
        if len(words.sources) != 1:
            raise InvalidArgument("checksum can't be specified for multiple sources")
        if not _is_url(words.sources[0]) and git_reference.parse(words.sources[0]) is None:
            raise InvalidArgument("checksum requires HTTP(S) or Git sources")


def _items(stage: Building, bound: Bound, instruction: tree.Copy, words: _Expanded) -> Iterator[_Item]:
    files: Context | NodeFiles = Context()
    if bound.sources and bound.sources[0] is not None:
        found = stage.source_files(bound.sources[0])
        if found is None:
            which, label = go_quote(instruction.from_), go_quote(stage.plan.label)
            message = f"cannot copy from stage {which}, it needs to be defined before current stage {label}"
            raise InvalidArgument(message)
        files = found
    is_add = instruction.name == "add"
    for text in words.sources:
        git = git_reference.parse(text)
        if git is not None or _is_url(text):
            if not is_add:
                raise InvalidArgument(f"source can't be a {'URL' if git is None else 'git ref'} for COPY")
            yield _fetched(instruction, words, text, git)
        else:
            unpack = is_add if instruction.unpack is None else instruction.unpack
            yield _Item(files, _path(text, parents=instruction.parents), unpack)
    if words.heredocs:
        yield _Item(Inline(words.heredocs), "", False)


def _fetched(instruction: tree.Copy, words: _Expanded, text: str, git: GitReference | None) -> _Item:
    """Return the source that a URL, of a repository or a file, is."""
    if git is None:
        if words.checksum:
            Digest.parse(words.checksum)
        return _Item(Url(text, _file_name(text), words.checksum), "", bool(instruction.unpack))
    keep = instruction.keep_git_dir
    if keep is not None and git.keep_git_dir not in (None, keep):
        raise InvalidArgument("inconsistent keep-git-dir configuration")
    if words.checksum and git.checksum not in ("", words.checksum):
        raise InvalidArgument(f"checksum mismatch {go_quote(words.checksum)} != {go_quote(git.checksum)}")
    return _Item(git_input(git, keep_git_dir=keep, checksum=words.checksum), "", False)


def _is_url(text: str) -> bool:
    return text.startswith(("http://", "https://"))


def _file_name(url: str) -> str:
    try:
        path = unquote(urlsplit(url).path)
    except ValueError:
        return _UNNAMED
    return posixpath.basename(posixpath.normpath("/" + path)) or _UNNAMED


def _path(text: str, *, parents: bool) -> str:
    """Return the path of a local source; with `parents` what stands before ``/./`` is not made at the destination."""
    before, pivot, after = text.partition("/./") if parents else (text, "", "")
    if not pivot:
        return within_root(text)
    return f"{within_root(before)}/./{within_root(after)}".removeprefix("/./")


def _entry(instruction: tree.Copy, words: _Expanded) -> str:
    flags = [
        "--parents" if instruction.parents else "",
        f"--chown={words.owner}" if words.owner else "",
        f"--chmod={words.mode}" if words.mode else "",
    ]
    heredocs = [f"<<{name}" for name, _ in words.heredocs]
    told = [instruction.name.upper(), *filter(None, flags), *words.sources, *heredocs, words.destination]
    return " ".join(told) + BUILDKIT
