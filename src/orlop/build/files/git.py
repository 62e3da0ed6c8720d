"""Git repositories as sources: checked out by git(1) into a directory, with nothing of this host's own settings.

What a repository or its URL says is hostile: only the network's own protocols are allowed, no hook, filter, helper or
key of the host is used, and nothing asks for a password. One in the URL stays out of messages, command lines and files.
"""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import signal
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from orlop.build.graph import Git
from orlop.errors import InvalidArgument, NotFound, Unavailable
from orlop.image.scratch import Scratch
from orlop.linux.openat2 import open_in_root

__all__ = ["Checkout", "checkout", "is_commit"]

_COMMIT = re.compile(r"[0-9a-f]{40}(?:[0-9a-f]{24})?")
_SCHEMES = ("https://", "http://", "git://", "ssh://")
_SCP = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*@[A-Za-z0-9_][A-Za-z0-9_.-]*:[^-].*")
_UNFIT = re.compile(r"[\x00-\x20\x7f]")
_UNFIT_REF = re.compile(r"[\x00-\x20\x7f~^:?*\[\\]|^[-+]|\.\.|@\{")
_SECONDS = 1800.0
_SHOWN = 2000  # bytes of what git says
_MOST_OUTPUT = 1 << 20
_FETCHED = re.compile(r"([0-9a-f]+)\t(?:not-for-merge)?\t(branch|tag) '([^']+)' of")
_SETTINGS = (
    "core.hooksPath=/dev/null",
    "core.symlinks=true",
    "core.fsmonitor=false",
    "credential.helper=",
    "advice.detachedHead=false",
    "submodule.recurse=false",
    "init.defaultBranch=main",
    "gc.auto=0",
)
_SSH = (
    "ssh -F none -o BatchMode=yes -o IdentityFile=none -o IdentityAgent=none -o UserKnownHostsFile=/dev/null "
    "-o StrictHostKeyChecking=yes"
)
_TAKEN = ("https_proxy", "http_proxy", "all_proxy", "no_proxy", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY")
_TAKEN_TOO = ("GIT_SSL_CAINFO", "SSL_CERT_FILE", "SSL_CERT_DIR")
_OF_THE_FETCH = ("FETCH_HEAD", "ORIG_HEAD", "logs")


@dataclass(frozen=True, slots=True)
class Checkout:
    """What was checked out: a directory, which its owner discards, and the commit."""

    path: Path
    commit: str


class _Failed(Exception):
    """git ended with an error, and said this."""


def is_commit(text: str) -> bool:
    """Tell whether `text` is the whole name of a commit."""
    return _COMMIT.fullmatch(text) is not None


async def checkout(source: Git, scratch: Scratch) -> Checkout:
    """Check out what `source` means. Raises `InvalidArgument`, `NotFound` and `Unavailable`; then nothing is left."""
    _check(source)
    if shutil.which("git") is None:
        raise Unavailable("git repositories as sources need the git command on the daemon's host")
    place = scratch.directory("git")
    try:
        return await _Repository(source, place / "work").checked_out(scratch)
    finally:
        scratch.discard(place)


class _Repository:
    """A repository in a directory of its own. `remote` is its URL without a password."""

    def __init__(self, source: Git, work: Path) -> None:
        self._source = source
        self._work = work
        self._secret, self.remote = _parted(source.url)
        work.mkdir()

    async def checked_out(self, scratch: Scratch) -> Checkout:
        source = self._source
        try:
            await self._git("init", "-q", "--template=")
            await self._git("remote", "add", "--", "origin", self.remote)
            await self._fetch(source.ref or "HEAD")
            commit = (await self._git("rev-parse", "FETCH_HEAD^{commit}")).strip()
            if source.checksum and not commit.startswith(source.checksum):
                raise InvalidArgument(f"expected checksum to match {source.checksum}, got {commit}")
            await self._git("checkout", "-q", commit, "--")
            if source.submodules and (self._work / ".gitmodules").is_file():
                await self._submodules()
            if source.keep_git_dir:
                await self._tidy(commit)
        except _Failed as failed:
            raise Unavailable(f"failed to load git repository {self.remote}: {failed}") from None
        if not source.keep_git_dir:
            _without_git(self._work, scratch)
        return Checkout(_moved(self._work, source.subdirectory, scratch), commit)

    async def _fetch(self, ref: str) -> None:
        """Fetch a branch, a tag or a commit: just that where the server can do so, else all branches and tags."""
        try:
            await self._git("fetch", "-q", "--depth=1", "--no-tags", "--", "origin", ref)
            return
        except _Failed as failed:
            if "couldn't find remote ref" in str(failed):
                raise NotFound(f"repository does not contain ref {ref}") from None
            if not is_commit(ref) and "dumb http" not in str(failed):
                raise
        if not is_commit(ref):
            await self._git("fetch", "-q", "--no-tags", "--", "origin", ref)
            return
        await self._git("fetch", "-q", "--tags", "--", "origin", "+refs/heads/*:refs/remotes/origin/*")
        try:
            await self._git("rev-parse", "-q", "--verify", f"{ref}^{{commit}}")
        except _Failed:
            raise NotFound(f"repository does not contain ref {ref}") from None
        (self._work / ".git/FETCH_HEAD").write_text(f"{ref}\t\t{self.remote}\n")

    async def _submodules(self) -> None:
        update = ("submodule", "update", "-q", "--init", "--recursive")
        try:
            await self._git(*update, "--depth=1")
        except _Failed:  # not every server can send a part, or a commit that is no branch's last
            await self._git(*update)

    async def _tidy(self, commit: str) -> None:
        """Leave in ``.git`` what a clone has, and nothing of when and how it was made."""
        directory = self._work / ".git"
        found = _FETCHED.match((directory / "FETCH_HEAD").read_text(errors="replace"))
        if found is not None:
            await self._git("update-ref", f"refs/{'heads' if found[2] == 'branch' else 'tags'}/{found[3]}", found[1])
        await self._git("read-tree", commit)  # an index without times and inodes
        for name in _OF_THE_FETCH:
            path = directory / name
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink(missing_ok=True)

    async def _git(self, *arguments: str) -> str:
        settings = [word for setting in _SETTINGS for word in ("-c", setting)]
        process = await asyncio.create_subprocess_exec(
            "git",
            *settings,
            *arguments,
            cwd=self._work,
            env=self._environment(),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            start_new_session=True,
            umask=0o022,
        )
        assert process.stdout is not None and process.stderr is not None  # noqa: PT018 both are pipes
        try:
            async with asyncio.timeout(_SECONDS):
                out, err = await asyncio.gather(_first(process.stdout), _last(process.stderr))
                await process.wait()
        except TimeoutError:
            raise Unavailable(
                f"failed to load git repository {self.remote}: git takes longer than {_SECONDS:.0f} seconds"
            ) from None
        finally:
            if process.returncode is None:
                with suppress(ProcessLookupError):  # it ended just now
                    os.killpg(process.pid, signal.SIGKILL)
                await process.wait()
        if process.returncode:
            raise _Failed(self._public(err.decode(errors="replace").strip()) or f"exit status {process.returncode}")
        return out.decode(errors="replace")

    def _environment(self) -> dict[str, str]:
        environment = {
            "PATH": os.environ.get("PATH", "/usr/bin:/bin"),
            "HOME": "/nonexistent",
            "GIT_ALLOW_PROTOCOL": "https:http:git:ssh",
            "GIT_CONFIG_NOSYSTEM": "1",
            "GIT_CONFIG_GLOBAL": "/dev/null",
            "GIT_TERMINAL_PROMPT": "0",
            "GIT_SSH_COMMAND": _SSH,
            "GIT_LFS_SKIP_SMUDGE": "1",
            "LC_ALL": "C.UTF-8",
            **{name: os.environ[name] for name in (*_TAKEN, *_TAKEN_TOO) if name in os.environ},
        }
        if self._secret:  # for this host alone
            parts = urlsplit(self.remote)
            environment["GIT_CONFIG_COUNT"] = "1"
            environment["GIT_CONFIG_KEY_0"] = f"url.{parts.scheme}://{self._secret}@{parts.netloc}/.insteadOf"
            environment["GIT_CONFIG_VALUE_0"] = f"{parts.scheme}://{parts.netloc}/"
        return environment

    def _public(self, text: str) -> str:
        """Return what git says without passwords, and without where it was said."""
        text = text.replace(f"{self._work}/", "")
        if self._secret:
            text = text.replace(self._secret, "xxxxx").replace(self._secret.partition(":")[2] or self._secret, "xxxxx")
        return text


def _parted(url: str) -> tuple[str, str]:
    """Part a URL of http or https: return its user and password, and the URL without them."""
    if not url.startswith(("http://", "https://")):
        return "", url
    parts = urlsplit(url)
    secret, _, host = parts.netloc.rpartition("@")
    return secret, parts._replace(netloc=host).geturl()


def _without_git(work: Path, scratch: Scratch) -> None:
    """Remove what git keeps of a repository, and of those in it, which are told by a file that says where that is."""
    nested = (work / ".git/modules").is_dir()
    scratch.discard(work / ".git")
    for directory, _, names in os.walk(work) if nested else ():
        if ".git" in names:
            (Path(directory) / ".git").unlink()


def _moved(work: Path, subdirectory: str, scratch: Scratch) -> Path:
    """Move the wanted directory out; links in its path lead nowhere out of the repository."""
    root = os.open(work, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fd = open_in_root(root, subdirectory or "/", os.O_PATH | os.O_DIRECTORY)
        try:
            found = Path(os.readlink(f"/proc/self/fd/{fd}"))
        finally:
            os.close(fd)
    except OSError:
        raise NotFound(f"subdir not found: {subdirectory}") from None
    finally:
        os.close(root)
    target = scratch.name("checkout")
    found.rename(target)
    return target


async def _first(stream: asyncio.StreamReader) -> bytes:
    """Read a stream to its end; return the beginning."""
    kept = b""
    while block := await stream.read(1 << 16):
        kept += block[: _MOST_OUTPUT - len(kept)]
    return kept


async def _last(stream: asyncio.StreamReader) -> bytes:
    """Read a stream to its end; return the last of it."""
    kept = b""
    while block := await stream.read(1 << 16):
        kept = (kept + block)[-_SHOWN:]
    return kept


def _check(source: Git) -> None:
    url = source.url
    if not (url.startswith(_SCHEMES) or _SCP.fullmatch(url)) or _UNFIT.search(url):
        raise InvalidArgument(f"unsupported git repository: {url}")
    if _UNFIT_REF.search(source.ref):
        raise InvalidArgument(f"invalid git reference: {source.ref}")
