"""Listening sockets: bound with the right owner and mode, taken from systemd, removed when the daemon ends.

A unix socket is bound while its directory is locked (flock(2)), so that of two daemons that start at once only one
finds the path free; a path that somebody serves is never taken away.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import grp
import logging
import os
import socket
import stat
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from orlop.daemon.config import TLSFiles
from orlop.daemon.hosts import Host
from orlop.errors import Error, InvalidArgument, Unavailable

if TYPE_CHECKING:
    import ssl

__all__ = ["Listener", "bind", "close", "tls_context"]

log = logging.getLogger(__name__)

_FIRST_PASSED_FD = 3  # sd_listen_fds(3)
_DEFAULT_GROUP = "docker"


@dataclass(frozen=True, slots=True)
class Listener:
    """A bound socket; `inode` is that of a unix socket which this daemon made, 0 for others."""

    host: Host
    socket: socket.socket
    inode: int = 0


def bind(hosts: Iterable[Host], *, group: str, group_chosen: bool, secured: bool, plain_tcp: bool) -> list[Listener]:
    """Bind every host; nothing stays bound after an error.

    `secured`: clients of TCP need a certificate. Without that TCP is bound only if `plain_tcp` was asked for.
    """
    with contextlib.ExitStack() as undo:
        listeners: list[Listener] = []
        undo.callback(close, listeners)
        passed = _passed_sockets()
        for host in hosts:
            if host.scheme == "fd":
                listeners += [Listener(host, sock) for sock in _choose(passed, host.address)]
            elif host.scheme == "tcp":
                _check_tcp(host, secured, plain_tcp)
                listeners += [Listener(host, sock) for sock in _bind_tcp(host)]
            else:
                listeners.append(_bind_unix(host, group, group_chosen))
        undo.pop_all()
        return listeners


def close(listeners: Iterable[Listener]) -> None:
    """Close the sockets, and remove the paths that are still those which this daemon made."""
    for listener in listeners:
        listener.socket.close()
        if not listener.inode:
            continue
        path = Path(listener.host.address)
        with contextlib.suppress(FileNotFoundError):
            if path.lstat().st_ino == listener.inode:
                path.unlink()


def tls_context(files: TLSFiles) -> ssl.SSLContext:
    """Return the server's TLS settings: 1.2 or newer, client certificates of `files.ca` where there is one."""
    import ssl

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        context.load_cert_chain(files.certificate, files.key)
    except (OSError, ssl.SSLError) as error:
        raise InvalidArgument(
            "invalid TLS configuration: could not load X509 key pair "
            f'(cert: "{files.certificate}", key: "{files.key}"): {error}'
        ) from None
    if files.ca:
        try:
            context.load_verify_locations(files.ca)
        except (OSError, ssl.SSLError) as error:
            raise InvalidArgument(
                f'invalid TLS configuration: could not read CA certificate "{files.ca}": {error}'
            ) from None
        context.verify_mode = ssl.CERT_REQUIRED
    return context


def _check_tcp(host: Host, secured: bool, plain_tcp: bool) -> None:
    if secured:
        return
    if not plain_tcp:
        raise InvalidArgument(
            f"{host}: a TCP socket without --tlsverify gives root access on this machine to everyone who reaches it. "
            "Set --tlsverify with --tlscacert, --tlscert and --tlskey, or say --tls=false if you really want this"
        )
    log.warning(
        "listening on TCP without client certificates: whoever reaches it, web pages in a local browser included, "
        "has root access on this machine",
        extra={"host": str(host)},
    )


def _bind_tcp(host: Host) -> list[socket.socket]:
    sockets: list[socket.socket] = []
    try:
        found = socket.getaddrinfo(host.address, host.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        for family, kind, protocol, _, address in dict.fromkeys(found):
            sock = socket.socket(family, kind, protocol)
            sockets.append(sock)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:
                sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            sock.bind(address)
    except OSError as error:
        for sock in sockets:
            sock.close()
        raise Unavailable(f"failed to load listeners: listen {host}: {error.strerror or error}") from None
    return sockets


def _bind_unix(host: Host, group: str, group_chosen: bool) -> Listener:
    path = Path(host.address)
    path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        with _locked(path.parent):
            _remove_stale(path)
            old_mask = os.umask(0o177)
            try:
                sock.bind(str(path))
            finally:
                os.umask(old_mask)
            os.chown(path, os.geteuid(), _group_id(group, group_chosen, path))
            path.chmod(0o660)
            sock.listen(socket.SOMAXCONN)  # a client that looks while we start waits in the queue
            return Listener(host, sock, path.lstat().st_ino)
    except OSError as error:
        sock.close()
        raise Unavailable(f"failed to load listeners: can't create unix socket {path}: {error.strerror}") from None
    except BaseException:
        sock.close()
        raise


@contextlib.contextmanager
def _locked(directory: Path) -> Iterator[None]:
    fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
        yield
    finally:
        os.close(fd)


def _remove_stale(path: Path) -> None:
    """Remove a socket that nobody serves. Raises `Unavailable` when somebody does, or when it is no socket."""
    try:
        mode = path.lstat().st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(mode):
        raise Unavailable(f"failed to load listeners: {path} exists and is not a socket")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.setblocking(False)
        code = probe.connect_ex(str(path))
    if code not in (errno.ECONNREFUSED, errno.ENOENT):
        raise Unavailable(f"failed to load listeners: another process serves {path}")
    path.unlink(missing_ok=True)


def _group_id(group: str, chosen: bool, path: Path) -> int:
    if not group:
        return os.getegid()
    if group.isascii() and group.isdigit():
        return int(group)
    try:
        return grp.getgrnam(group).gr_gid
    except KeyError:
        if chosen or group != _DEFAULT_GROUP:
            raise InvalidArgument(f"could not change group {path} to {group}: group {group} not found") from None
        log.info("there is no group %s: only root may use %s", group, path)
        return 0


def _passed_sockets() -> list[tuple[str, socket.socket]]:
    """Return the sockets that systemd passed, with their names (sd_listen_fds(3)); they are taken once."""
    count, process = os.environ.pop("LISTEN_FDS", ""), os.environ.pop("LISTEN_PID", "")
    names = os.environ.pop("LISTEN_FDNAMES", "").split(":")
    if not count.isdigit() or process != str(os.getpid()):
        return []
    sockets = []
    for index in range(int(count)):
        fd = _FIRST_PASSED_FD + index
        os.set_inheritable(fd, False)
        sockets.append((names[index] if index < len(names) else "", socket.socket(fileno=fd)))
    return sockets


def _choose(passed: list[tuple[str, socket.socket]], address: str) -> list[socket.socket]:
    """Return the passed sockets that ``fd://address`` means: all, the one of a number, those of a name."""
    if not passed:
        raise Error(
            "failed to load listeners: no sockets found via socket activation: "
            "make sure the service was started by systemd"
        )
    if address == "*":
        return [sock for _, sock in passed]
    if address.isascii() and address.isdigit():
        index = int(address) - _FIRST_PASSED_FD
        if not 0 <= index < len(passed):
            raise Error("failed to load listeners: too few socket activated files passed in by systemd")
        return [passed[index][1]]
    chosen = [sock for name, sock in passed if name == address]
    if not chosen:
        raise Error(f"failed to load listeners: failed to find socket activated files named {address}")
    return chosen
