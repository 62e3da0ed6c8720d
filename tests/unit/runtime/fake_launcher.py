"""A launcher whose shims only play their part of the conversation; run as a program by the tests.

``spec["play"]`` says how: ``run``, ``fail``, ``die`` (after hello), ``silent`` (die before it), ``deaf`` (never goes
on), ``quick`` (ends at once), ``launcher`` (the launcher itself dies, once for the file named in ``spec["once"]``).
"""

from __future__ import annotations

import os
import socket
import sys
from pathlib import Path
from typing import Any

from orlop.formats.shim_wire import Decoder, Message, encode
from orlop.linux import descriptors


class Peer:
    """Blocking conversation."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._decoder = Decoder()
        self._messages: list[tuple[Message, list[int]]] = []

    def receive(self) -> tuple[Message, list[int]] | None:
        while not self._messages:
            data, fds = descriptors.recv(self._sock, 65536)
            if not data:
                return None
            self._messages = self._decoder.feed(data, fds)
        return self._messages.pop(0)

    def send(self, message: Message, fds: tuple[int, ...] = ()) -> None:
        descriptors.send(self._sock, encode(message, len(fds)), fds)


def main() -> None:
    daemon = Peer(socket.socket(fileno=int(sys.argv[1])))
    while request := daemon.receive():
        message, fds = request
        launch = message["launch"]
        once = launch["spec"].get("once")
        if once and not Path(once).exists():
            Path(once).touch()
            os._exit(3)
        if os.fork() == 0:
            os.close(int(sys.argv[1]))
            play(launch["spec"]["play"], message["id"], launch, fds)
            os._exit(0)
        descriptors.close_all(fds)


def play(how: str, container_id: str, launch: dict[str, Any], fds: list[int]) -> None:
    ctl = Peer(socket.socket(fileno=fds[0]))
    if how == "silent":
        return
    ctl.send({"type": "hello", "version": 1, "id": container_id, "pid": 0, "shim_pid": os.getpid(), "exec_ids": []})
    if how == "die":
        return
    if launch["network"]:
        ctl.send({"type": "netns"}, (fds[0],))
    if launch["network"] or how == "deaf":
        while True:
            got = ctl.receive()
            if got is None:
                return
            if how != "deaf" and got[0]["type"] == "abort":
                ctl.send({"type": "failed", "stage": "network", "errno": 0, "message": "aborted", "exit_code": 128})
                return
            if how != "deaf" and got[0]["type"] == "network":
                break
    if how == "fail":
        ctl.send({"type": "failed", "stage": "exec", "errno": 2, "message": 'exec: "x": not found', "exit_code": 127})
        return
    started = {"type": "started", "pid": os.getpid(), "start_ticks": 1, "time": 42}
    if how == "quick":
        ended = {"type": "exited", "exit_code": 0, "signal": 0, "oom_killed": False, "time": 43}
        descriptors.send(fds_socket(fds[0]), encode(started) + encode(ended))
        return
    ctl.send(started)
    for fd in fds[1:]:
        os.write(fd, b"attached")
        os.close(fd)
    serve(ctl)


def fds_socket(fd: int) -> socket.socket:
    return socket.socket(fileno=os.dup(fd))


def serve(ctl: Peer) -> None:
    """Answer requests until SIGKILL is asked for: that ends the container."""
    while got := ctl.receive():
        request, fds = got
        answer = {"type": "answer", "seq": request["seq"], "ok": True}
        match request["type"]:
            case "signal" if request["signal"] == 9:
                ctl.send(answer)
                ctl.send({"type": "exited", "exit_code": 0, "signal": 9, "oom_killed": True, "time": 44})
                return
            case "signal" if request["signal"] == 6:  # the shim dies
                return
            case "exec" if request["process"].get("bad"):
                answer |= {"ok": False, "errno": 13, "message": "permission denied", "exit_code": 126}
            case "exec":
                answer["pid"] = 77
                ctl.send({"type": "exec_exited", "exec_id": request["exec_id"], "exit_code": 5, "time": 45})
            case "attach":
                os.write(fds[0], f"hello {request['attach_id']}".encode())
                ctl.send({"type": "detached", "attach_id": request["attach_id"]})
        descriptors.close_all(fds)
        ctl.send(answer)


if __name__ == "__main__":
    main()
