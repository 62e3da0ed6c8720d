from __future__ import annotations

import contextlib
import os
import socket
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from orlop.daemon import sockets
from orlop.daemon.config import TLSFiles
from orlop.daemon.hosts import Host, parse_host
from orlop.daemon.locks import lock_root, pid_file
from orlop.errors import Error, InvalidArgument, Unavailable


@pytest.mark.parametrize(
    ("text", "host"),
    [
        ("", "unix:///default"),
        ("unix://", "unix:///default"),
        ("unix:///a/b", "unix:///a/b"),
        ("/a/b", "unix:///a/b"),
        ("tcp://1.2.3.4:5", "tcp://1.2.3.4:5"),
        ("tcp://", "tcp://localhost:2375"),
        ("tcp://:99", "tcp://localhost:99"),
        ("tcp://[::1]:99", "tcp://[::1]:99"),
        ("tcp://[::1]", "tcp://[::1]:2375"),
        ("0.0.0.0:5", "tcp://0.0.0.0:5"),
        ("fd://", "fd://*"),
        ("fd://3", "fd://3"),
    ],
)
def test_hosts_are_read_with_dockerds_defaults(text: str, host: str) -> None:
    assert str(parse_host(text, default_socket="/default")) == host


@pytest.mark.parametrize(
    "text", ["http://a", "unix://a", "tcp://a:b", "tcp://a:99999", "tcp://::1:5", "tcp://a:1/path"]
)
def test_hosts_that_make_no_sense_are_refused(text: str) -> None:
    with pytest.raises(InvalidArgument, match="invalid bind address"):
        parse_host(text, default_socket="/default")


def test_with_tls_the_port_is_another_one() -> None:
    assert parse_host("tcp://h", default_socket="/d", tls=True).port == 2376


def test_a_path_that_the_kernel_does_not_take_is_refused_with_its_length() -> None:
    with pytest.raises(InvalidArgument, match="has 121 bytes, and the kernel takes 107"):
        parse_host("unix:///" + "x" * 120, default_socket="/d")


@contextlib.contextmanager
def bound(
    *hosts: Host, group: str = "", secured: bool = False, plain_tcp: bool = False
) -> Iterator[list[sockets.Listener]]:
    listeners = sockets.bind(hosts, group=group, group_chosen=True, secured=secured, plain_tcp=plain_tcp)
    try:
        yield listeners
    finally:
        sockets.close(listeners)


pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="changes owners")


def test_a_unix_socket_is_for_its_group_and_goes_with_the_daemon(tmp_path: Path) -> None:
    path = tmp_path / "deep/er/s"
    with bound(Host("unix", str(path)), group="12345"):
        status = path.lstat()
        assert stat.filemode(status.st_mode) == "srw-rw----"
        assert (status.st_uid, status.st_gid) == (0, 12345)
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(str(path))
    assert not path.exists()


def test_a_group_that_does_not_exist_is_an_error_only_when_it_was_chosen(tmp_path: Path) -> None:
    host = Host("unix", str(tmp_path / "s"))
    with pytest.raises(InvalidArgument, match="group no-such-group not found"), bound(host, group="no-such-group"):
        pass
    listeners = sockets.bind([host], group="docker", group_chosen=False, secured=False, plain_tcp=False)
    sockets.close(listeners)


def test_a_stale_socket_is_replaced_and_a_served_one_is_not(tmp_path: Path) -> None:
    path = tmp_path / "s"
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
    with bound(Host("unix", str(path))):
        with pytest.raises(Unavailable, match=f"another process serves {path}"), bound(Host("unix", str(path))):
            pass
        assert path.exists()


def test_a_file_in_the_place_of_a_socket_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "s"
    path.write_text("precious")
    with pytest.raises(Unavailable, match="exists and is not a socket"), bound(Host("unix", str(path))):
        pass
    assert path.read_text() == "precious"


def test_a_socket_that_another_daemon_put_in_our_place_is_not_removed(tmp_path: Path) -> None:
    path = tmp_path / "s"
    with bound(Host("unix", str(path))):
        path.unlink()
        path.write_text("another's")
    assert path.exists()


def test_tcp_without_client_certificates_has_to_be_asked_for(caplog: pytest.LogCaptureFixture) -> None:
    host = Host("tcp", "127.0.0.1", 0)
    with pytest.raises(InvalidArgument, match="--tls=false"), bound(host):
        pass
    with bound(host, plain_tcp=True) as listeners:
        assert len(listeners) == 1
        assert "root access" in caplog.text
    with bound(host, secured=True):
        pass


def test_after_an_error_nothing_stays_bound(tmp_path: Path) -> None:
    path = tmp_path / "s"
    with pytest.raises(InvalidArgument), bound(Host("unix", str(path)), Host("tcp", "127.0.0.1", 0)):
        pass
    assert not path.exists()


def test_a_taken_port_is_told() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        host = Host("tcp", "127.0.0.1", taken.getsockname()[1])
        with pytest.raises(Unavailable, match="Address already in use"), bound(host, plain_tcp=True):
            pass


def test_without_passed_sockets_fd_hosts_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("LISTEN_FDS", raising=False)
    with pytest.raises(Error, match="no sockets found via socket activation"), bound(Host("fd", "*")):
        pass


def test_tls_files_that_are_missing_are_named(tmp_path: Path) -> None:
    with pytest.raises(InvalidArgument, match="could not load X509 key pair"):
        sockets.tls_context(TLSFiles(str(tmp_path / "c"), str(tmp_path / "k"), ""))


def test_a_root_has_one_daemon_and_the_error_names_it(tmp_path: Path) -> None:
    root = tmp_path / "root"
    with lock_root(root, "data root"):
        with (
            pytest.raises(Unavailable, match=rf"another orlopd \(process {os.getpid()}\) uses the data root {root}"),
            lock_root(root, "data root"),
        ):
            pass
    with lock_root(root, "data root"):
        pass


def test_a_pid_file_of_a_running_process_is_respected(tmp_path: Path) -> None:
    path = tmp_path / "run/pid"
    with pid_file(path):
        assert path.read_text() == str(os.getpid())
    assert not path.exists()
    path.write_text("1")
    with pytest.raises(Unavailable, match="process with PID 1 is still running"), pid_file(path):
        pass
    path.write_text("999999999")
    with pid_file(path):
        pass
