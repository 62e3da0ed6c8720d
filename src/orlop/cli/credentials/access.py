"""Requests that a daemon passes on to a registry: with the user's credentials, asked for when they do not do."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import TypeVar

from orlop.cli.credentials.auth import Auth, key_of
from orlop.cli.credentials.stores import auth_header, store_for
from orlop.cli.session import Session
from orlop.errors import Error, Unauthorized

__all__ = ["with_access"]

T = TypeVar("T")


def with_access(session: Session, domain: str, purpose: str, attempt: Callable[[str], T]) -> T:
    """Return what `attempt` returns for the credentials of a reference's domain.

    A daemon that answers "unauthorized" is asked once more, with credentials that the user enters.
    """
    try:
        return attempt(auth_header(session.config, domain))
    except Unauthorized:
        sys.stdout.write(f"\nLogin prior to {purpose}:\n")
    from orlop.cli.credentials.prompt import ask_credentials

    key = key_of(domain)
    return attempt(ask_credentials("", "", _known(session, key).username, key).header())


def _known(session: Session, key: str) -> Auth:
    try:
        return store_for(session.config, key).get(key)
    except Error as error:
        session.warn(f"Unable to retrieve stored credentials for {key}, error: {error.message}.")
        return Auth()
