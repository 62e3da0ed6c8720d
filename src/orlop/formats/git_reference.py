"""References to Git repositories as builders write them: ``https://host/repo.git#branch:directory`` and its like.

A URL of http or https is one only if its path ends in ``.git``; ``git://``, ``ssh://`` and ``user@host:path`` always
are. The fragment is ``ref:directory``; the query has the same and more by name (``ref``, ``tag``, ``branch``,
``subdir``, ``checksum``, ``keep-git-dir``, ``submodules``).
"""

from __future__ import annotations

import posixpath
import re
from dataclasses import dataclass
from urllib.parse import SplitResult, parse_qs, urlsplit

from orlop.errors import InvalidArgument
from orlop.formats.template import go_quote

__all__ = ["GitReference", "parse"]

_SCHEME = re.compile(r"([a-zA-Z0-9]+)://", re.ASCII)
_SCP = re.compile(r"([a-zA-Z0-9_-]+)@([a-zA-Z0-9.-]+):(.*?)(?:\?(.*?))?(?:#(.*))?", re.ASCII | re.DOTALL)
_TRUE = frozenset(("1", "t", "T", "TRUE", "true", "True"))
_FALSE = frozenset(("0", "f", "F", "FALSE", "false", "False"))
_SWITCHES = frozenset(("keep-git-dir", "submodules"))
_KEYS = frozenset(("ref", "tag", "branch", "subdir", "checksum", "commit")) | _SWITCHES


@dataclass(frozen=True, slots=True)
class GitReference:
    """A repository and what of it is meant.

    `remote` is what git(1) is given. `ref` is a branch, tag or commit, "" for the default; `checksum` the commit that
    it must be, as far as it is written. None says that the reference is silent about it.
    """

    remote: str
    ref: str = ""
    subdirectory: str = ""
    checksum: str = ""
    keep_git_dir: bool | None = None
    submodules: bool | None = None


def parse(text: str, *, context: bool = False) -> GitReference | None:
    """Return the reference that `text` is, None if it is none. Raises `InvalidArgument` for a query that is wrong.

    With `context` also ``github.com/owner/repository`` is one, which elsewhere is a path.
    """
    if text.startswith("github.com/"):
        return _url(f"https://{text}", any_path=True) if context else None
    scheme = _SCHEME.match(text)
    if scheme is None:
        return _scp(text)
    return _url(text, any_path=scheme[1].lower() in ("ssh", "git"))


def _url(text: str, *, any_path: bool) -> GitReference | None:
    try:
        url = urlsplit(text)
    except ValueError:
        return None
    if not any_path and not (url.scheme in ("http", "https") and url.path.endswith(".git")):
        return None
    remote = SplitResult(url.scheme, url.netloc, url.path, "", "").geturl()
    return _with_query(_with_fragment(remote, url.fragment), url.query)


def _scp(text: str) -> GitReference | None:
    match = _SCP.fullmatch(text)
    if match is None:
        return None
    user, host, path, query, fragment = match.groups()
    return _with_query(_with_fragment(f"{user}@{host}:{path}", fragment or ""), query or "")


def _with_fragment(remote: str, fragment: str) -> GitReference:
    ref, _, directory = fragment.partition(":")
    return GitReference(remote, ref, _subdirectory(directory))


def _subdirectory(path: str) -> str:
    return posixpath.normpath("/" + path).lstrip("/")


def _with_query(reference: GitReference, query: str) -> GitReference:
    values = _values(query)
    ref = reference.ref
    tag, branch = _prefixed(values.get("tag", ""), "refs/tags/"), _prefixed(values.get("branch", ""), "refs/heads/")
    for word in (values.get("ref", ""), tag, branch):
        if word and ref and ref != word:
            if word == branch and tag:
                raise InvalidArgument("branch conflicts with tag")
            raise InvalidArgument(f"ref conflicts: {go_quote(ref)} vs {go_quote(word)}")
        ref = ref or word
    directory = _subdirectory(values.get("subdir", ""))
    if directory and reference.subdirectory not in ("", directory):
        conflict = f"{go_quote(reference.subdirectory)} vs {go_quote(values['subdir'])}"
        raise InvalidArgument(f"subdir conflicts: {conflict}")
    return GitReference(
        reference.remote,
        ref,
        reference.subdirectory or directory,
        values.get("checksum", "") or values.get("commit", ""),
        _switch(values, "keep-git-dir"),
        _switch(values, "submodules"),
    )


def _prefixed(name: str, prefix: str) -> str:
    return name if not name or name.startswith(prefix) else prefix + name


def _values(query: str) -> dict[str, str]:
    try:
        values = parse_qs(query, keep_blank_values=True, max_num_fields=100)
    except ValueError:
        raise InvalidArgument(f"invalid query {go_quote(query)}") from None
    for key, words in values.items():
        if len(words) > 1:
            raise InvalidArgument(f"query {go_quote(key)} has multiple values")
        if not words[0] and key not in _SWITCHES:
            raise InvalidArgument(f"query {go_quote(key)} has no value")
        if key not in _KEYS:
            raise InvalidArgument(f"unexpected query {go_quote(key)}")
    return {key: words[0] for key, words in values.items()}


def _switch(values: dict[str, str], key: str) -> bool | None:
    if key not in values:
        return None
    value = values[key] or "true"
    if value not in _TRUE and value not in _FALSE:
        raise InvalidArgument(f"invalid {key} value: {go_quote(value)}")
    return value in _TRUE
