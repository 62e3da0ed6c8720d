"""Talking to the kernel by netlink: several requests in one send, every acknowledgement checked.

A socket belongs to the network namespace in which its thread was when it was made. A `Netlink` is used by one thread
at a time. The shim uses it too: nothing here needs asyncio or a thread.
"""

from __future__ import annotations

import contextlib
import errno
import os
import socket
from collections.abc import Sequence
from typing import Self

from orlop.formats.netlink import (
    NLM_F_ACK,
    NLM_F_DUMP,
    NLM_F_DUMP_INTR,
    NLMSG_DONE,
    NLMSG_ERROR,
    NetlinkMessage,
    Request,
    decode,
    encode,
    outcome,
)

__all__ = ["NETLINK_NETFILTER", "NETLINK_ROUTE", "Netlink", "NetlinkError"]

NETLINK_ROUTE, NETLINK_NETFILTER = 0, 12
SOL_NETLINK, NETLINK_CAP_ACK, NETLINK_EXT_ACK = 270, 10, 11
BATCH = 64  # their acknowledgements fit into the default receive buffer
DATAGRAM = 1 << 17
DUMP_ATTEMPTS = 10
RECEIVE_TIMEOUT = 30.0  # seconds; the kernel answers within the send, so that this is only met when it lost a message


class NetlinkError(OSError):
    """The kernel refused a request; `errno` is its reason, the text also says what was asked."""

    def __init__(self, number: int, what: str, explanation: str = "") -> None:
        super().__init__(number, f"{what}: {os.strerror(number)}" + (f" ({explanation})" if explanation else ""))

    def __str__(self) -> str:
        return str(self.strerror)


class Netlink:
    """A netlink socket of one protocol (NETLINK_ROUTE, NETLINK_NETFILTER)."""

    def __init__(self, protocol: int = NETLINK_ROUTE) -> None:
        self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, protocol)
        try:
            self._socket.bind((0, 0))
            self._socket.settimeout(RECEIVE_TIMEOUT)
            for option in (NETLINK_CAP_ACK, NETLINK_EXT_ACK):
                with contextlib.suppress(OSError):  # kernels before 4.12 explain less
                    self._socket.setsockopt(SOL_NETLINK, option, 1)
        except OSError:
            self._socket.close()
            raise
        self._sequence = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._socket.close()

    def perform(self, requests: Sequence[Request]) -> None:
        """Carry out `requests` in order. Raises `NetlinkError` for the first that failed.

        The kernel goes on after a failure within one send of up to `BATCH` requests; none is sent after that.
        """
        for start in range(0, len(requests), BATCH):
            for request, (number, explanation) in zip(
                batch := requests[start : start + BATCH], self._exchange(batch), strict=True
            ):
                if number:
                    raise NetlinkError(number, request.what, explanation)

    def attempt(self, requests: Sequence[Request]) -> list[int]:
        """Carry out `requests` in order, whatever becomes of each; return their errnos (0: done)."""
        numbers = []
        for start in range(0, len(requests), BATCH):
            numbers += [number for number, _ in self._exchange(requests[start : start + BATCH])]
        return numbers

    def dump(self, request: Request) -> list[NetlinkMessage]:
        """Return the messages that answer a request for a list; asked again when it changed meanwhile."""
        for _ in range(DUMP_ATTEMPTS):
            messages, whole = self._dump(request)
            if whole:
                return messages
        raise NetlinkError(errno.EAGAIN, request.what, "the list kept changing")

    def _exchange(self, requests: Sequence[Request]) -> list[tuple[int, str]]:
        first = self._sequence + 1
        self._sequence += len(requests)
        frames = [encode(request, first + i, NLM_F_ACK) for i, request in enumerate(requests)]
        self._socket.send(b"".join(frames))
        answers: dict[int, tuple[int, str]] = {}
        while len(answers) < len(requests):
            for message in self._receive():
                if message.type == NLMSG_ERROR and first <= message.sequence <= self._sequence:
                    answers.setdefault(message.sequence, outcome(message))
        return [answers[first + i] for i in range(len(requests))]

    def _dump(self, request: Request) -> tuple[list[NetlinkMessage], bool]:
        self._sequence += 1
        self._socket.send(encode(request, self._sequence, NLM_F_DUMP))
        messages: list[NetlinkMessage] = []
        whole = True
        while True:
            for message in self._receive():
                if message.sequence != self._sequence:
                    continue
                whole = whole and not message.flags & NLM_F_DUMP_INTR
                if message.type in (NLMSG_DONE, NLMSG_ERROR):
                    number, explanation = outcome(message)
                    if number:
                        raise NetlinkError(number, request.what, explanation)
                    return messages, whole
                messages.append(message)

    def _receive(self) -> list[NetlinkMessage]:
        while True:
            data, _, flags, (port, _) = self._socket.recvmsg(DATAGRAM)
            if port == 0 and not flags & socket.MSG_TRUNC:  # anybody may write to us, only the kernel is believed
                return decode(data)
