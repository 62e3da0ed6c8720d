"""A container of the made-up engine: it runs when it is started, and its process is a function of a test."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Callable
from typing import Any

from support.fake_engine import Answer, FakeEngine, Request

ID = "c0ffee" + "0" * 58

Process = Callable[[socket.socket], int]


def frame(number: int, text: bytes) -> bytes:
    return bytes((number, 0, 0, 0)) + len(text).to_bytes(4, "big") + text


def read_all(connection: socket.socket) -> bytes:
    """Return what a client sends until it closes its side."""
    parts = []
    while data := connection.recv(1 << 16):
        parts.append(data)
    return b"".join(parts)


class FakeContainer:
    """Creates, attaches, starts and waits; `process` talks on the attached connection and returns the exit status."""

    def __init__(self, engine: FakeEngine, process: Process, *, tty: bool = False, running: bool = False) -> None:
        self._process = process
        self._started = threading.Event()
        self._ended = threading.Event()
        self.tty = tty
        self.status = 0
        self.signals: list[str] = []
        self.sizes: list[tuple[str, str]] = []
        self.signalled = threading.Event()
        if running:
            self._started.set()
        base = f"/containers/(web|{ID})"
        engine.on("POST", "/containers/create", Answer({"Id": ID, "Warnings": []}, 201))
        engine.on("GET", f"{base}/json", lambda _: Answer(self._document()))
        engine.on("POST", f"{base}/attach", Answer(raw=self._attach, tty=tty))
        engine.on("POST", f"{base}/wait", lambda _: Answer(later=self._wait))
        engine.on("POST", f"{base}/start", self._start)
        engine.on("POST", f"{base}/kill", self._kill)
        engine.on("POST", f"{base}/resize", self._resize)
        engine.on("POST", f"{base}/exec", Answer({"Id": "e1"}, 201))
        engine.on("POST", "/exec/e1/start", Answer(raw=self._attach, tty=tty))
        engine.on("POST", "/exec/e1/resize", self._resize)
        engine.on("GET", "/exec/e1/json", lambda _: Answer({"ExitCode": self.status, "Running": False}))

    def _document(self) -> dict[str, Any]:
        running = self._started.is_set() and not self._ended.is_set()
        return {
            "Id": ID,
            "State": {"Running": running, "Paused": False, "Restarting": False},
            "Config": {"Tty": self.tty, "OpenStdin": True},
            "HostConfig": {"AutoRemove": False},
        }

    def _start(self, request: Request) -> Answer:
        self._started.set()
        return Answer(status=204)

    def _attach(self, connection: socket.socket) -> None:
        self._started.wait(20)
        self.status = self._process(connection)
        connection.shutdown(socket.SHUT_RDWR)
        self._ended.set()

    def _wait(self) -> bytes:
        self._ended.wait(20)
        return json.dumps({"StatusCode": self.status}).encode()

    def _kill(self, request: Request) -> Answer:
        self.signals.append(request.query["signal"][0])
        self.signalled.set()
        return Answer(status=204)

    def _resize(self, request: Request) -> Answer:
        self.sizes.append((request.query["h"][0], request.query["w"][0]))
        return Answer(status=200)
