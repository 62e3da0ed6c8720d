"""TLS over a plain socket with a half-close, which `ssl.SSLSocket` does not have.

A client that has sent all of its input says so with a close_notify and goes on reading. `SSLSocket.unwrap` waits for
the peer's close_notify instead, so the protocol is run here over memory buffers.
"""

from __future__ import annotations

import socket
import ssl

from orlop.client.endpoint import TLSFiles

__all__ = ["TLSSocket", "client_context"]

_RECEIVE = 1 << 16
_RECORD = 1 << 14


def client_context(files: TLSFiles) -> ssl.SSLContext:
    """Return a context for `files`; raises OSError or ssl.SSLError when a file is missing or not PEM."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if not files.verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    if files.ca:
        context.load_verify_locations(files.ca)
    elif files.verify:
        context.load_default_certs()
    if files.certificate:
        context.load_cert_chain(files.certificate, files.key or None)
    return context


class TLSSocket:
    """The part of a socket that the client uses, encrypted. Blocking."""

    def __init__(self, plain: socket.socket, context: ssl.SSLContext, server_name: str) -> None:
        self._plain = plain
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()
        self._unsent = b""
        self._tls = context.wrap_bio(self._incoming, self._outgoing, server_hostname=server_name)
        while True:
            try:
                self._tls.do_handshake()
                self._flush()
                return
            except ssl.SSLWantReadError:
                self._flush()
                self._fill()

    def _flush(self) -> None:
        if data := self._unsent + self._outgoing.read():
            self._unsent = b""
            self._plain.sendall(data)

    def _fill(self) -> None:
        if data := self._plain.recv(_RECEIVE):
            self._incoming.write(data)
        else:
            self._incoming.write_eof()

    def recv(self, size: int) -> bytes:
        """Return up to `size` bytes; empty at the peer's close_notify or end of file."""
        while True:
            try:
                return self._tls.read(size)
            except ssl.SSLWantReadError:
                self._flush()
                self._fill()
            except (ssl.SSLZeroReturnError, ssl.SSLEOFError):
                return b""

    def sendall(self, data: bytes) -> None:
        """Encrypt and send all of `data`."""
        view = memoryview(data)
        while view:
            view = view[self._tls.write(view) :]
            self._flush()

    def send_some(self, data: bytes) -> int:
        """Take a part of `data` if everything taken before could be sent without waiting; return its size."""
        self._flush_some()
        if self._unsent or not data:
            return 0
        taken = self._tls.write(data[:_RECORD])
        self._unsent = self._outgoing.read()
        self._flush_some()
        return taken

    def unsent(self) -> bool:
        """Say whether something that was taken waits to be sent; `send_some` of nothing goes on with it."""
        return bool(self._unsent)

    def _flush_some(self) -> None:
        try:
            while self._unsent:
                self._unsent = self._unsent[self._plain.send(self._unsent, socket.MSG_DONTWAIT) :]
        except BlockingIOError:
            pass

    def pending(self) -> bool:
        """Say whether decrypted bytes wait here that the descriptor does not announce."""
        return self._tls.pending() > 0 or self._incoming.pending > 0

    def fileno(self) -> int:
        return self._plain.fileno()

    def shutdown(self, how: int) -> None:
        """Say that nothing more will be sent (`socket.SHUT_WR`), and go on reading."""
        del how
        try:
            self._tls.unwrap()
        except ssl.SSLWantReadError:  # it waits for the peer's word, which may come much later
            pass
        self._flush()

    def close(self) -> None:
        self._plain.close()
