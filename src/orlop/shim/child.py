"""The last part of every start, of a first process as of a further one: from a shim's fork to the container's program.

The child runs a list of steps and ends in execve(2). Whatever fails is told to the shim, and the child is gone; it
never comes back into the shim's code. Until the exec nobody else may look into it, and at the exec it holds standard
streams and the socket to the shim, which closes itself: no descriptor of the host is left by which a path could lead
out (CVE-2024-21626).
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from typing import Any, NoReturn

from orlop.linux import process, pty
from orlop.linux.seccomp import load
from orlop.shim import identity, program
from orlop.shim.failure import StartError
from orlop.shim.identity import Identity
from orlop.shim.sync import ChildSide, ShimGone

__all__ = [
    "SYNC",
    "become_program",
    "begin",
    "control_terminal",
    "execute",
    "open_apparmor",
    "open_proc",
    "run_steps",
    "take_streams",
    "write_label",
]

SYNC = 3  # the descriptor of the socket to the shim, once all others are closed


def run_steps(sync: ChildSide, steps: Callable[[], NoReturn]) -> NoReturn:
    """Run `steps` in a child that was just forked. Never returns."""
    try:
        begin()
        steps()
    except StartError as error:
        _tell(sync, error)
    except ShimGone:
        os._exit(1)
    except BaseException as error:  # noqa: BLE001
        # A mistake of ours must be told as well: whoever starts the container waits for an answer.
        _tell(sync, StartError("internal", f"{type(error).__name__}: {error}"))
    finally:
        os._exit(1)


def begin() -> None:
    """Become a session leader of its own that ends with the shim and that nobody looks into."""
    process.set_death_signal(signal.SIGKILL)
    process.set_dumpable(False)
    process.default_signals()
    os.setsid()
    os.umask(0)


def open_proc() -> tuple[int, int]:
    """Return descriptors of the host's /proc/self and /proc/self/fd, while the host's procfs can be seen."""
    flags = os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC
    return os.open("/proc/self", flags), os.open("/proc/self/fd", flags)


def open_apparmor(proc_fd: int, spec: dict[str, Any]) -> int:
    """Open the file that takes the AppArmor profile of the exec; -1 if none is asked for. Raises `StartError`."""
    if not spec.get("apparmorProfile"):
        return -1
    for name in ("attr/apparmor/exec", "attr/exec"):
        try:
            return os.open(name, os.O_WRONLY | os.O_CLOEXEC, dir_fd=proc_fd)
        except FileNotFoundError:
            continue
        except OSError as error:
            raise StartError.from_os("apparmor", "unable to apply apparmor profile", error) from error
    raise StartError("apparmor", "unable to apply apparmor profile: the kernel has no AppArmor")


def take_streams(streams: tuple[int, int, int], who: Identity, *, terminal: bool) -> None:
    """Put `streams` at descriptors 0, 1 and 2, owned by the user. Raises `StartError`."""
    try:
        for number, fd in enumerate(streams):
            os.dup2(fd, number)
        for number in range(3):
            if terminal or number:
                os.fchown(number, who.uid, -1)
    except OSError as error:
        raise StartError.from_os("stdio", "unable to set up the standard streams", error) from error


def control_terminal() -> None:
    """Let the terminal at descriptor 0 be the session's. Raises `StartError`."""
    try:
        pty.make_controlling(0)
    except OSError as error:
        raise StartError.from_os("stdio", "unable to set up the standard streams", error) from error


def become_program(sync: ChildSide, spec: dict[str, Any], who: Identity, seccomp: bytes | None, label: int) -> NoReturn:
    """Take on the identity and execute ``process.args``; `label` is what `open_apparmor` gave."""
    locked = bool(spec.get("noNewPrivileges"))
    if label >= 0:
        write_label(label, spec["apparmorProfile"])
    sync.keep_only(SYNC)
    os.umask(0o022)
    if locked:
        process.no_new_privileges()
    identity.become(who, spec.get("capabilities"), None if locked else seccomp)
    execute(sync, spec, who, seccomp if locked else None)


def execute(sync: ChildSide, spec: dict[str, Any], who: Identity, seccomp: bytes | None) -> NoReturn:
    """Execute ``process.args`` as who we are by now, under the program `seccomp` if it was not loaded yet."""
    sync.check_shim()
    variables = program.environment(spec.get("env") or (), who.home)
    arguments = spec["args"]
    path = program.find(arguments[0], variables)
    if seccomp:
        load.load(seccomp)
    sync.write("executing")
    program.execute(path, arguments, variables)


def write_label(fd: int, profile: str) -> None:
    """Ask for the AppArmor profile at the exec; a fork takes the wish along. Raises `StartError`."""
    try:
        os.write(fd, f"exec {profile}".encode())
    except OSError as error:
        raise StartError.from_os("apparmor", f'unable to apply apparmor profile "{profile}"', error) from error


def _tell(sync: ChildSide, error: StartError) -> None:
    try:
        sync.write("failed", **error.fields())
    except ShimGone:
        os._exit(1)
