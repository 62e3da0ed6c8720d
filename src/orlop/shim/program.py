"""Finding the program of a process, as runc does (Go's ``exec.LookPath``), and executing it.

A program that cannot be found or executed fails the start; the search is done as the process's own user. Once found,
an execve(2) that fails (a wrong format, a missing interpreter) is the process's own end: its standard error says why
and its exit status is 255, as with runc.
"""

from __future__ import annotations

import errno as numbers
import os
import stat
from collections.abc import Mapping, Sequence
from typing import NoReturn

from orlop.linux import errno, process
from orlop.shim.failure import CANNOT_EXECUTE, NOT_FOUND, StartError

__all__ = ["environment", "execute", "find"]

_EXEC_FAILED = 255


def environment(words: Sequence[str], home: str) -> dict[str, str]:
    """Return the variables of an OCI ``process.env``; of one name the last counts. HOME is added if it is missing."""
    variables = dict(word.split("=", 1) for word in words if "=" in word[1:])
    if not variables.get("HOME"):
        variables["HOME"] = home
    return variables


def find(name: str, variables: Mapping[str, str]) -> str:
    """Return the path of the program `name` in this root. Raises `StartError` with exit code 127 or 126."""
    if "/" in name:
        _check(name, name)
        return name
    for directory in variables.get("PATH", "").split(":"):
        path = f"{directory or '.'}/{name}"
        try:
            _check(path, name)
        except StartError:
            continue
        if not path.startswith("/"):
            raise StartError("exec", f'exec: "{name}": cannot run executable found relative to current directory')
        return path
    text = f'exec: "{name}": executable file not found in $PATH'
    raise StartError("exec", text, errno=numbers.ENOENT, exit_code=NOT_FOUND)


def execute(path: str, arguments: Sequence[str], variables: Mapping[str, str]) -> NoReturn:
    """Become the program; see above for what happens when the kernel will not."""
    try:
        os.execve(path, list(arguments), variables)
    except OSError as error:
        os.write(2, os.fsencode(f"exec {path}: {errno.text(error)}\n"))
    except ValueError as error:  # a NUL byte in an argument
        os.write(2, os.fsencode(f"exec {path}: {error}\n"))
    os._exit(_EXEC_FAILED)


def _check(path: str, name: str) -> None:
    try:
        mode = os.stat(path).st_mode
    except OSError as error:
        code = CANNOT_EXECUTE if error.errno == numbers.EACCES else NOT_FOUND
        text = f'exec: "{name}": stat {path}: {errno.text(error)}'
        raise StartError("exec", text, errno=error.errno or 0, exit_code=code) from error
    except ValueError as error:
        raise StartError("exec", f'exec: "{name}": invalid argument', exit_code=NOT_FOUND) from error
    if stat.S_ISDIR(mode):
        text = f'exec: "{name}": is a directory'
        raise StartError("exec", text, errno=numbers.EISDIR, exit_code=CANNOT_EXECUTE)
    try:
        process.can_execute(path)
    except OSError as error:
        # A profile, or an old kernel, may refuse the question itself: then the mode answers it.
        if error.errno in (numbers.ENOSYS, numbers.EPERM) and mode & 0o111:
            return
        text = f'exec: "{name}": {errno.text(numbers.EACCES)}'
        raise StartError("exec", text, errno=numbers.EACCES, exit_code=CANNOT_EXECUTE) from error
