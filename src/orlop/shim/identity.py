"""Who a process is: user, groups, capabilities, limits, privileges.

The container's own /etc/passwd and /etc/group are looked up, and nothing else about them is believed: they are opened
beneath the container's root, only if they are regular files, and only so much of them is read.
"""

from __future__ import annotations

import os
import signal
from typing import Any, NamedTuple

from orlop.formats import passwd
from orlop.linux import capability, openat2, process, rlimit
from orlop.linux.seccomp import load
from orlop.shim.failure import StartError

__all__ = ["Identity", "become", "look_up", "set_limits", "set_oom_score"]

_MAX_FILE = 4 << 20
_SETS = ("bounding", "effective", "permitted", "inheritable", "ambient")


class Identity(NamedTuple):
    """Ids as numbers, and the home directory for HOME."""

    uid: int
    gid: int
    groups: tuple[int, ...]
    home: str


def look_up(user: dict[str, Any], root_fd: int, proc_fds: int) -> Identity:
    """Find out who ``process.user`` is, in the files beneath `root_fd`. Raises `StartError`.

    `username` ("user[:group]") is looked up; without it `uid` and `gid` count. `additionalGroups` are names or numbers.
    """
    accounts = _read(root_fd, "/etc/passwd", proc_fds)
    more = user.get("additionalGroups") or ()
    wanted = user.get("username")
    try:
        if wanted is None:
            uid, gid = int(user.get("uid", 0)), int(user.get("gid", 0))
            group_file = "" if all(isinstance(name, int) for name in more) else _read(root_fd, "/etc/group", proc_fds)
            found = passwd.User(uid, gid, (), passwd.home_of(uid, accounts))
            first: tuple[int, ...] = ()
        else:
            group_file = _read(root_fd, "/etc/group", proc_fds)
            found = passwd.resolve(wanted, accounts, group_file)
            first = (found.gid,)
        extra = passwd.resolve_groups(more, group_file)
    except passwd.UserError as error:
        raise StartError("user", str(error), plain=True) from error
    groups = tuple(dict.fromkeys((*first, *found.groups, *extra)))
    return Identity(found.uid, found.gid, groups, found.home or "/")


def set_limits(rlimits: list[dict[str, Any]]) -> None:
    """Set ``process.rlimits``. Raises `StartError`."""
    for limit in rlimits:
        try:
            rlimit.set_limit(limit["type"], int(limit["soft"]), int(limit["hard"]))
        except OSError as error:
            raise StartError.from_os("rlimits", f"error setting rlimit type {limit['type']}", error) from error
        except KeyError as error:
            raise StartError("rlimits", f"invalid rlimit type {limit['type']}") from error


def set_oom_score(wanted: int, proc_fd: int) -> None:
    """Set how readily the kernel kills this process for want of memory; `proc_fd` is the host's /proc/self.

    Without CAP_SYS_RESOURCE it can only be raised: then it stays what the engine's own is.
    """
    fd = os.open("oom_score_adj", os.O_RDWR | os.O_CLOEXEC, dir_fd=proc_fd)
    try:
        if int(os.read(fd, 16)) != wanted:
            os.write(fd, b"%d" % wanted)
    except PermissionError:
        return
    finally:
        os.close(fd)


def become(who: Identity, capabilities: dict[str, Any] | None, program: bytes | None) -> None:
    """Take on user, groups and capabilities, and come under the seccomp `program` if it is given. Raises `StartError`.

    The ids come first, with the permitted set kept; the program while there still is the capability to load it. From
    then on the profile counts: it may forbid whatever is not needed any more. The signal at the shim's death is set
    behind the ids, whose change clears it; giving up capabilities does not.
    """
    try:
        capability.keep_across_setuid()
        os.setgroups(who.groups)
        os.setresgid(who.gid, who.gid, who.gid)
        os.setresuid(who.uid, who.uid, who.uid)
        capability.raise_effective()
        process.set_death_signal(signal.SIGKILL)
        if program:
            load.load(program)
        if capabilities is not None:
            sets = {name: frozenset(capabilities.get(name) or ()) & _KNOWN for name in _SETS}
            capability.apply(**sets)
    except OSError as error:
        raise StartError.from_os("identity", f"unable to set up user {who.uid}:{who.gid}", error) from error


def _read(root_fd: int, path: str, proc_fds: int) -> str:
    """Return the text of a file; nothing for one that is missing or no regular file. Raises `StartError`."""
    try:
        fd = openat2.open_regular(root_fd, path, proc_fds)
    except OSError:
        return ""
    with open(fd, "rb") as file:
        data = file.read(_MAX_FILE + 1)
    if len(data) > _MAX_FILE:
        raise StartError("user", f"{path} is larger than {_MAX_FILE} bytes", plain=True)
    return data.decode(errors="surrogateescape")


_KNOWN = frozenset(capability.NAMES)
