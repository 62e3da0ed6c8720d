"""Telling systemd where the daemon is in its life (sd_notify(3)); nothing happens where it does not ask."""

from __future__ import annotations

import logging
import os
import socket
import time

__all__ = ["notify_ready", "notify_reloading", "notify_stopping"]

log = logging.getLogger(__name__)


def notify_ready() -> None:
    """The API answers."""
    _notify("READY=1")


def notify_reloading() -> None:
    """The configuration is being read; `notify_ready` ends that."""
    _notify(f"RELOADING=1\nMONOTONIC_USEC={time.monotonic_ns() // 1000}")


def notify_stopping() -> None:
    """The daemon is going down."""
    _notify("STOPPING=1")


def _notify(message: str) -> None:
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address.startswith(("/", "@")):
        return
    if address.startswith("@"):
        address = "\0" + address[1:]
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
            sock.sendto(message.encode(), address)
    except OSError as error:
        log.warning("systemd could not be told: %s", error)
