"""A proxy in front of a registry that writes down what is asked for, and sends no faster than a file says.

Run as a program, in the network namespace of the registry: ``registry_proxy.py LISTEN_PORT REGISTRY_PORT DIRECTORY``.
``DIRECTORY/requests`` gets a line for each request; ``DIRECTORY/rate`` may hold the bytes a second that the body of a
blob is sent with. The standard library alone.
"""

from __future__ import annotations

import http.client
import sys
import threading
import time
from email.message import Message
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

_PIECE = 16 << 10
_DROPPED = ("connection", "transfer-encoding", "host")


class Proxy(ThreadingHTTPServer):
    """The server; `registry` is the port of the one behind it."""

    daemon_threads = True

    def __init__(self, port: int, registry: int, directory: Path) -> None:
        super().__init__(("127.0.0.1", port), Handler)
        self.registry = registry
        self.directory = directory
        self.lock = threading.Lock()

    def note(self, line: str) -> None:
        with self.lock, (self.directory / "requests").open("a") as file:
            file.write(line + "\n")

    def rate(self) -> float:
        try:
            return float((self.directory / "rate").read_text())
        except (FileNotFoundError, ValueError):
            return 0.0


class Handler(BaseHTTPRequestHandler):
    """One connection of a client."""

    protocol_version = "HTTP/1.1"
    server: Proxy

    def do_GET(self) -> None:
        self.server.note(f"{self.command} {self.path} {self.headers.get('Range', '')}".strip())
        upstream = http.client.HTTPConnection("127.0.0.1", self.server.registry)
        upstream.request(self.command, self.path, headers={"Host": self.headers["Host"], **self._kept(self.headers)})
        answer = upstream.getresponse()
        self.send_response_only(answer.status, answer.reason)
        for name, value in self._kept(answer.headers).items():
            self.send_header(name, value)
        self.end_headers()
        while piece := answer.read(_PIECE):
            self.wfile.write(piece)
            if "/blobs/" in self.path and (rate := self.server.rate()):
                time.sleep(len(piece) / rate)
        upstream.close()

    do_HEAD = do_GET

    def log_message(self, format: str, *arguments: object) -> None:
        return

    @staticmethod
    def _kept(headers: Message) -> dict[str, str]:
        return {name: value for name, value in headers.items() if name.lower() not in _DROPPED}


if __name__ == "__main__":
    Proxy(int(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3])).serve_forever()
