"""Asking the user for a name and a password."""

from __future__ import annotations

import os
import sys

from orlop.cli.credentials.auth import INDEX_SERVER, Auth
from orlop.cli.failure import CommandError
from orlop.cli.flags import parse_bool
from orlop.cli.note import write_note
from orlop.cli.terminal import silent_input

__all__ = ["ask_credentials"]

_REGISTER = (
    "Log in with your Docker ID or email address to push and pull images from Docker Hub. "
    "If you don't have a Docker ID, head over to https://hub.docker.com/ to create one."
)
_TOKENS = (
    "You can log in with your password or a Personal Access Token (PAT). Using a limited-scope PAT grants better "
    "security and is required for organizations using SSO. Learn more at https://docs.docker.com/go/access-tokens/"
)


def ask_credentials(username: str, password: str, known: str, server: str) -> Auth:
    """Return credentials for `server`: what was given, and answers to questions for the rest.

    `known` is the user name that an empty answer stands for.
    """
    return Auth(
        username.strip() or _ask_username(known.strip(), server), password.strip() or _ask_password(server), "", server
    )


def _ask_username(known: str, server: str) -> str:
    if server == INDEX_SERVER:
        print(_REGISTER)
        if _hints():
            print(f"{_TOKENS}\n")
    username = _read(f"Username ({known}): " if known else "Username: ") or known
    if not username:
        raise CommandError("Error: Non-null Username Required")
    return username


def _ask_password(server: str) -> str:
    with silent_input(0):
        if server == INDEX_SERVER:
            address = "https://app.docker.com/settings"
            shown = f"\033[4m{address}\033[0m"
            write_note(f"A Personal Access Token (PAT) can be used instead.\nTo create a PAT, visit {shown}\n\n", 2)
        password = _read("Password: ")
        print()
    if not password:
        raise CommandError("Error: Password Required")
    return password


def _hints() -> bool:
    try:
        return parse_bool(os.environ.get("DOCKER_CLI_HINTS") or "true")
    except ValueError:
        return True


def _read(question: str) -> str:
    """Ask, and return a line without blanks around it, empty at the end of the input."""
    sys.stdout.write(question)
    sys.stdout.flush()
    try:
        return sys.stdin.readline().strip()
    except KeyboardInterrupt:
        sys.stdout.write("\n")
        raise
