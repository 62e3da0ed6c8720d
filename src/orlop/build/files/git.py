"""Git repositories as sources: checked out by git(1) into a directory, with nothing of this host's own settings.

What a repository or its URL says is hostile: only the network's own protocols are allowed, no hook, filter or helper
of the host runs, and nothing asks for a password.
"""

from __future__ import annotations

import asyncio
import os
import re
import shutil
from pathlib import Path

from orlop.build.graph import Git
from orlop.errors import InvalidArgument, NotFound, Unavailable
from orlop.image.scratch import Scratch
from orlop.linux.openat2 import open_in_root

__all__ = ["checkout", "is_commit"]

_COMMIT = re.compile(r"[0-9a-f]{40}(?:[0-9a-f]{24})?")
_SCHEMES = ("https://", "http://", "git://", "ssh://")
_SCP = re.compile(r"[A-Za-z0-9_.-]+@[A-Za-z0-9_.-]+:.*")
_SECONDS = 600.0
_SHOWN = 2000
_SETTINGS = (
    "protocol.allow=never",
    "protocol.https.allow=always",
    "protocol.http.allow=always",
    "protocol.git.allow=always",
    "protocol.ssh.allow=always",
    "core.hooksPath=/dev/null",
    "core.symlinks=true",
    "core.fsmonitor=false",
    "credential.helper=",
    "advice.detachedHead=false",
    "submodule.recurse=false",
    "init.defaultBranch=main",
    "gc.auto=0",
)


def is_commit(text: str) -> bool:
    """Tell whether `text` is the whole name of a commit."""
    return _COMMIT.fullmatch(text) is not None


async def checkout(source: Git, scratch: Scratch) -> Path:
    """Return a new directory with what `source` means. Raises `InvalidArgument`, `NotFound` and `Unavailable`."""
    _check(source)
    if shutil.which("git") is None:
        raise Unavailable("git repositories as sources need the git command on the daemon's host")
    place = scratch.directory("git")
    try:
        return await _checkout(source, place, scratch)
    finally:
        scratch.discard(place)


async def _checkout(source: Git, place: Path, scratch: Scratch) -> Path:
    work = place / "work"
    work.mkdir()
    await _git(work, "init", "-q")
    wanted = source.ref or "HEAD"
    await _git(work, "fetch", "-q", "--depth=1", "--no-tags", "--", source.url, wanted)
    commit = (await _git(work, "rev-parse", "FETCH_HEAD^{commit}")).strip()
    if source.checksum and not commit.startswith(source.checksum):
        raise InvalidArgument(f"expected checksum to match {source.checksum}, got {commit}")
    await _git(work, "checkout", "-q", commit, "--")
    if source.submodules:
        await _git(work, "submodule", "update", "-q", "--init", "--recursive", "--depth=1")
    if not source.keep_git_dir:
        for name in (".git",):
            scratch.discard(work / name)
    return await asyncio.to_thread(_moved, work, source.subdirectory, scratch)


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


async def _git(work: Path, *arguments: str) -> str:
    settings = [word for setting in _SETTINGS for word in ("-c", setting)]
    environment = {
        "PATH": os.environ.get("PATH", "/usr/bin:/bin"),
        "HOME": "/nonexistent",
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_CONFIG_GLOBAL": "/dev/null",
        "GIT_TERMINAL_PROMPT": "0",
        "GIT_SSH_COMMAND": "ssh -F none -o BatchMode=yes -o StrictHostKeyChecking=accept-new",
        "GIT_LFS_SKIP_SMUDGE": "1",
        "LC_ALL": "C.UTF-8",
        **{name: os.environ[name] for name in ("https_proxy", "http_proxy", "no_proxy") if name in os.environ},
    }
    process = await asyncio.create_subprocess_exec(
        "git",
        *settings,
        *arguments,
        cwd=work,
        env=environment,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        start_new_session=True,
    )
    try:
        out, err = await asyncio.wait_for(process.communicate(), _SECONDS)
    except BaseException:
        if process.returncode is None:
            os.killpg(process.pid, 9)
            await process.wait()
        raise
    if process.returncode:
        message = err.decode(errors="replace").strip()[-_SHOWN:]
        raise Unavailable(f"failed to load git repository: {message}")
    return out.decode(errors="replace")


def _check(source: Git) -> None:
    url = source.url
    if not (url.startswith(_SCHEMES) or _SCP.fullmatch(url)) or url.startswith("-"):
        raise InvalidArgument(f"unsupported git repository: {url}")
    if source.ref.startswith("-") or any(char in source.ref for char in " ~^:?*[\\\n"):
        raise InvalidArgument(f"invalid git reference: {source.ref}")
