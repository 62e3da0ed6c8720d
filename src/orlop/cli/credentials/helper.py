"""Credential helpers: programs ``docker-credential-NAME`` that keep credentials in a keychain.

Each is started with an action as its argument; input and answer go through its standard streams (protocol of
docker-credential-helpers). What it writes to standard error is for the user. Secrets are never part of a message.
"""

from __future__ import annotations

import json
import os
from typing import Any

from orlop.errors import Error
from orlop.formats.template import go_json

__all__ = ["Helper", "helper_installed", "on_path"]

_PREFIX = "docker-credential-"
_NOT_FOUND = "credentials not found in native keychain"
_COMPLAINTS = ("no credentials server URL", "no credentials username")


def helper_installed(name: str) -> bool:
    """Say whether there is a helper `name`."""
    return on_path(_PREFIX + name)


def on_path(program: str) -> bool:
    """Say whether a program is on PATH."""
    places = [os.path.join(directory, program) for directory in os.environ.get("PATH", os.defpath).split(os.pathsep)]
    return any(os.path.isfile(place) and os.access(place, os.X_OK) for place in places)


class Helper:
    """One credential helper, by the last part of its name."""

    def __init__(self, name: str) -> None:
        self._program = _PREFIX + name

    def get(self, server: str) -> tuple[str, str] | None:
        """Return user name and secret for a server, None when there are none."""
        answer, failure = self._run("get", server)
        if failure:
            if answer == _NOT_FOUND:
                return None
            raise Error(f"error getting credentials - {failure}")
        found = self._decode(answer)
        return str(found.get("Username") or ""), str(found.get("Secret") or "")

    def store(self, server: str, username: str, secret: str) -> None:
        """Keep a user name and a secret for a server."""
        credentials = {"ServerURL": server, "Username": username, "Secret": secret}
        _, failure = self._run("store", go_json(credentials, escape_html=True) + "\n")
        if failure:
            raise Error(f"error storing credentials - {failure}")

    def erase(self, server: str) -> None:
        """Forget a server's credentials."""
        _, failure = self._run("erase", server)
        if failure:
            raise Error(f"error erasing credentials - {failure}")

    def list(self) -> dict[str, str]:
        """Return the servers that there are credentials for, with the user names."""
        answer, failure = self._run("list", "unused")
        if failure:
            raise Error(f"error listing credentials - {failure}")
        return {str(server): str(name) for server, name in self._decode(answer).items()}

    def _decode(self, answer: str) -> dict[str, Any]:
        try:
            found = json.loads(answer)
        except ValueError:
            found = None
        if not isinstance(found, dict):
            raise Error(f"{self._program}: its answer is no JSON object")
        return found

    def _run(self, action: str, data: str) -> tuple[str, str]:
        """Return what the program printed and how it failed; the second is empty when it did not."""
        import subprocess

        try:
            done = subprocess.run([self._program, action], input=data.encode(), stdout=subprocess.PIPE, check=False)
        except FileNotFoundError:
            return "", f'err: exec: "{self._program}": executable file not found in $PATH, out: ``'
        except OSError as error:
            reason = (error.strerror or str(error)).lower()
            return "", f"err: fork/exec {self._program}: {reason}, out: ``"
        answer = done.stdout.decode(errors="replace").strip()
        if done.returncode == 0:
            return answer, ""
        return answer, f"err: {_reason(done.returncode, answer)}, out: `{answer}`"


def _reason(status: int, answer: str) -> str:
    if answer in _COMPLAINTS:
        return answer
    if status < 0:
        import signal

        return f"signal: {signal.strsignal(-status) or os.strerror(-status)}".lower()
    return f"exit status {status}"
