"""The messages between orlopd, the launcher and a shim.

A frame is a header of two big-endian 32-bit numbers (bytes of payload, number of descriptors) and a payload of one
JSON object. Descriptors travel as SCM_RIGHTS ancillary data of the frame's bytes, in order. Every message has a
``type``; requests carry a ``seq`` that the answer repeats. Messages are only ever extended: a reader ignores fields
and types that it does not know, because a shim outlives the daemon that made it.

To the launcher::

    start       id, launch…   fds: [ctl, attaches…, ports…, mounts…, outputs…]   (`orlop.runtime.runtime.Launch`)

From a shim, on ``ctl`` and on every connection to its socket::

    hello       version, id, pid (0 before exec), shim_pid, exec_ids
    netns       (on ctl only) the network namespace is made       fds: [netns]
    started     pid, start_ticks, time (ns)
    failed      stage, errno, message, exit_code                  nothing runs, nothing is left
    exited      exit_code, signal, oom_killed, time
    attached / detached     attach_id
    exec_exited exec_id, exit_code, time
    oom

To a shim::

    network     interfaces: [...], sysctls: {...}, files: {...}   answer to netns: configure, go on
    abort                                                         answer to netns: give up
    signal      seq, signal, [exec_id]
    resize      seq, width, height, [exec_id]
    attach      seq, attach_id, stdin, stdout, stderr, logs, stream, framed, detach_keys, tail (base64)   fds: [socket]
    exec        seq, exec_id, process (OCI), seccomp, tty, …, attach as above or null    fds: [socket] or []
    reopen_log  seq
    answer      seq, ok | errno, message, exit_code, and what the request returns
"""

from __future__ import annotations

import json
import struct
from typing import Any

__all__ = ["HEADER", "MAX_PAYLOAD", "VERSION", "Decoder", "Message", "WireError", "encode", "frame"]

VERSION = 1
HEADER = struct.Struct(">II")
MAX_PAYLOAD = 64 << 20
MAX_DESCRIPTORS = 65536

Message = dict[str, Any]


class WireError(Exception):
    """The peer does not speak this protocol."""


def encode(message: Message, descriptors: int = 0) -> bytes:
    """Return the frame of `message`, which travels with `descriptors` file descriptors."""
    return frame(json.dumps(message, separators=(",", ":"), ensure_ascii=True).encode(), descriptors)


def frame(payload: bytes, descriptors: int = 0) -> bytes:
    """Return the frame of a message that is JSON already."""
    if len(payload) > MAX_PAYLOAD:
        raise WireError(f"message of {len(payload)} bytes")
    return HEADER.pack(len(payload), descriptors) + payload


class Decoder:
    """Cuts a stream of bytes and descriptors into messages.

    >>> decoder = Decoder()
    >>> decoder.feed(encode({"type": "oom"}), [])
    [({'type': 'oom'}, [])]
    """

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._descriptors: list[int] = []

    def feed(self, data: bytes, descriptors: list[int]) -> list[tuple[Message, list[int]]]:
        """Take what arrived; return the messages that are whole now, each with its descriptors.

        Raises `WireError` for a frame that cannot be one of ours.
        """
        self._buffer += data
        self._descriptors += descriptors
        messages = []
        while len(self._buffer) >= HEADER.size:
            size, count = HEADER.unpack_from(self._buffer)
            if size > MAX_PAYLOAD or count > MAX_DESCRIPTORS:
                raise WireError(f"frame of {size} bytes and {count} descriptors")
            if len(self._buffer) < HEADER.size + size or len(self._descriptors) < count:
                break
            payload = bytes(self._buffer[HEADER.size : HEADER.size + size])
            del self._buffer[: HEADER.size + size]
            fds, self._descriptors = self._descriptors[:count], self._descriptors[count:]
            try:
                message = json.loads(payload)
            except ValueError as error:
                raise WireError(f"not JSON: {error}") from error
            if not isinstance(message, dict) or not isinstance(message.get("type"), str):
                raise WireError("a message is an object with a type")
            messages.append((message, fds))
        return messages

    @property
    def rest(self) -> bytes:
        """The bytes of a frame that is not whole yet."""
        return bytes(self._buffer)

    def abandoned(self) -> list[int]:
        """Return (and forget) the descriptors that arrived for a frame that never became whole."""
        fds, self._descriptors = self._descriptors, []
        return fds
