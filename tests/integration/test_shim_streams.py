"""Attached clients, terminals, exec and the journal, by a shim alone."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from orlop.formats.journal import HEADER, records
from support.shim_lab import BUSYBOX, Attached, Lab, Running, eventually, specification

pytestmark = pytest.mark.root


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    if not BUSYBOX.exists():
        pytest.skip("needs busybox-static")
    bench = Lab(tmp_path_factory.mktemp("shim"))
    yield bench
    bench.close()


@pytest.fixture
def sleeper(lab: Lab) -> Iterator[Running]:
    """A container that waits."""
    running = lab.start(specification("sleep", "1000"))
    assert running.await_start()["type"] == "started"
    yield running
    running.ctl.send("signal", signal=signal.SIGKILL)
    assert running.gone()


def test_a_client_that_attached_before_the_start_misses_nothing(lab: Lab) -> None:
    client = Attached()
    running = lab.start(specification("sh", "-c", "seq 1 20000; echo err >&2"), attaches=(client,))
    running.await_start()
    assert client.read_all() == {1: b"".join(b"%d\n" % n for n in range(1, 20001)), 2: b"err\n"}
    assert running.await_exit()["exit_code"] == 0


def test_input_reaches_the_program_and_its_end_closes_it(lab: Lab) -> None:
    client = Attached(stdin=True, tail=b"from the tail, ")
    running = lab.start(specification("cat"), attaches=(client,), stdin=True, stdin_once=True)
    running.await_start()
    payload = bytes(range(256)) * 4096  # with the detach keys in it: a pipe has none
    client.sock.sendall(payload)
    client.sock.shutdown(1)
    assert client.read_all() == {1: b"from the tail, " + payload}
    assert running.await_exit()["exit_code"] == 0


def test_open_stdin_outlives_its_clients_unless_it_is_open_once(lab: Lab) -> None:
    running = lab.start(specification("cat"), stdin=True)
    running.await_start()
    for line in (b"one\n", b"two\n"):
        client = running.attach(stdin=True)
        client.sock.sendall(line)
        client.sock.shutdown(1)
        assert eventually(lambda line=line: line in running.journal())
        client.close()
    running.signal(signal.SIGKILL)
    assert running.await_exit()["exit_code"] == 137


def test_a_client_gets_the_streams_that_it_asked_for(lab: Lab) -> None:
    out, err = Attached(stderr=False), Attached(stdout=False)
    lab.start(specification("sh", "-c", "echo out; echo err >&2"), attaches=(out, err)).await_start()
    assert out.read_all() == {1: b"out\n"}
    assert err.read_all() == {2: b"err\n"}


def test_a_terminal_has_its_size_its_console_and_its_signals(lab: Lab) -> None:
    script = "tty; stty size; stat -c %t:%T /dev/console; trap 'echo int' INT; echo ready; read x"
    client = Attached(stdin=True, framed=False)
    running = lab.start(specification("sh", "-c", script), attaches=(client,), tty=True, stdin=True, size=[33, 101])
    assert running.await_start()["type"] == "started"
    assert client.read_until(b"ready").split() == [b"/dev/pts/0", b"33", b"101", b"88:0", b"ready"]
    assert running.ctl.request("resize", width=80, height=24)["ok"]
    client.sock.sendall(b"\x03")
    client.read_until(b"int")
    client.sock.sendall(b"\n")
    assert running.await_exit()["exit_code"] in (0, 1, 130)


def test_detach_keys_take_the_client_off_and_another_may_come(lab: Lab) -> None:
    client = Attached(stdin=True, framed=False)
    running = lab.start(specification("cat"), attaches=(client,), tty=True, stdin=True, stdin_once=True)
    running.await_start()
    client.sock.sendall(b"abc\x10")
    client.read_until(b"abc")
    client.sock.sendall(b"\x11")
    assert running.ctl.wait("detached")["attach_id"] == client.id
    client.read_all()
    again = running.attach(stdin=True, framed=False)
    again.sock.sendall(b"back\n")
    again.read_until(b"back\r\n")
    running.signal(signal.SIGKILL)
    running.await_exit()


def test_replay_and_live_output_join_without_loss_or_repetition(lab: Lab) -> None:
    script = "i=0; while [ $i -lt 150000 ]; do echo $i; i=$((i+1)); done"
    running = lab.start(specification("sh", "-c", script), log={"max_bytes": 16384, "max_files": 1000})
    running.await_start()
    clients = []
    for _ in range(8):
        time.sleep(0.002)
        clients.append(running.attach(logs=True))
    expected = b"".join(b"%d\n" % n for n in range(150000))
    for client in clients:
        assert client.read_all() == {1: expected}
    assert running.journal() == expected


def test_replay_alone_ends_where_the_journal_ends(sleeper: Running, lab: Lab) -> None:
    running = lab.start(specification("sh", "-c", "echo one; sleep 1000"))
    running.await_start()
    assert eventually(lambda: running.journal() == b"one\n")
    assert running.attach(logs=True, stream=False).read_all() == {1: b"one\n"}
    running.signal(signal.SIGKILL)
    running.await_exit()


def test_a_client_that_does_not_read_stops_nobody_and_costs_no_memory(lab: Lab) -> None:
    stuck = Attached()
    script = "dd if=/dev/zero bs=64k count=1000 2>/dev/null; echo done >&2"
    running = lab.start(specification("sh", "-c", script), attaches=(stuck,))
    running.await_start()
    assert running.await_exit()["exit_code"] == 0
    assert b"done\n" in running.journal()[-100:]
    rss = int(Path(f"/proc/{running.shim_pid}/statm").read_text().split()[1]) * 4096
    assert rss < 40 << 20
    assert len(stuck.read_all()[1]) == 1000 << 16  # what it missed comes from the journal, when it reads
    assert running.gone()


@pytest.mark.parametrize("log", [{"directory": None}, {"max_bytes": 1 << 20, "max_files": 2}])
def test_a_slow_reader_loses_nothing_however_small_the_journal(lab: Lab, log: dict[str, object]) -> None:
    size = 24 << 20
    client = Attached(framed=False, stderr=False)
    running = lab.start(
        specification("dd", "if=/dev/zero", "bs=64k", f"count={size >> 16}"), attaches=(client,), log=log
    )
    running.await_start()
    received = 0
    while data := client.sock.recv(1 << 20):
        received += len(data)
        if received < 2 << 20:
            time.sleep(0.02)
    assert received == size
    running.await_exit()


def test_rotation_keeps_the_journal_small_and_whole(lab: Lab) -> None:
    running = lab.start(specification("seq", "1", "200000"), log={"max_bytes": 100_000, "max_files": 3})
    running.await_start()
    running.await_exit()
    files = sorted((running.directory / "log").glob("journal*"))
    assert [file.name for file in files] == ["journal", "journal.1", "journal.2"]
    assert all(file.stat().st_size <= 100_000 for file in files)
    for file in files:
        data = file.read_bytes()
        assert sum(HEADER.size + len(record.payload) for record in records(memoryview(data))) == len(data)
    assert running.journal().endswith(b"199999\n200000\n")


def test_exec_joins_the_container(sleeper: Running) -> None:
    code, output = sleeper.run(
        "sh", "-c", "hostname; ps | wc -l; cat /proc/self/cgroup | head -1; pwd; exit 4", cwd="/tmp"
    )
    assert code == 4
    assert output.split()[0] == "box"
    assert output.split()[-1] == "/tmp"
    assert sleeper.run("sh", "-c", "readlink /proc/self/ns/net; readlink /proc/1/ns/net")[1].split()[0]


def test_exec_has_input_and_a_terminal_of_its_own(sleeper: Running) -> None:
    piped = Attached(stdin=True)
    answer = sleeper.exec("cat", attach=piped)
    piped.sock.sendall(b"hello")
    piped.sock.shutdown(1)
    assert piped.read_all() == {1: b"hello"}
    assert sleeper.ctl.wait("exec_exited", exec_id=answer["exec_id"])["exit_code"] == 0
    terminal = Attached(stdin=True, framed=False)
    answer = sleeper.exec("sh", "-c", "tty; stty size; read x; exit 9", attach=terminal, tty=True)
    assert sleeper.ctl.request("resize", exec_id=answer["exec_id"], height=10, width=20)["ok"]
    terminal.sock.sendall(b"\n")
    assert b"/dev/pts/" in terminal.read_all()[1]
    assert sleeper.ctl.wait("exec_exited", exec_id=answer["exec_id"])["exit_code"] == 9


def test_exec_of_a_missing_program_is_answered_and_written_into_the_stream(sleeper: Running) -> None:
    client = Attached()
    answer = sleeper.exec("nope", attach=client)
    text = 'exec: "nope": executable file not found in $PATH: unknown'
    assert not answer["ok"]
    assert answer["exit_code"] == 127
    assert answer["message"] == f"OCI runtime exec failed: exec failed: unable to start container process: {text}"
    assert client.read_all()[1].decode() == answer["message"] + "\r\n"


def test_exec_without_a_client_and_with_signals(sleeper: Running) -> None:
    answer = sleeper.exec("sleep", "1000")
    assert answer["ok"]
    assert sleeper.connect().wait("hello")["exec_ids"] == [answer["exec_id"]]
    assert sleeper.ctl.request("signal", exec_id=answer["exec_id"], signal=15)["ok"]
    assert sleeper.ctl.wait("exec_exited", exec_id=answer["exec_id"])["exit_code"] == 143


def test_the_container_ends_although_execs_run_in_it(lab: Lab) -> None:
    running = lab.start(specification("sleep", "1000"))
    running.await_start()
    execs = [running.exec("sleep", "1000")["exec_id"] for _ in range(3)]
    running.signal(signal.SIGKILL)
    running.await_exit()
    ended = [message["exec_id"] for message in running.ctl.log if message["type"] == "exec_exited"]
    assert sorted(ended) == sorted(execs)
    assert running.gone()


def test_a_grandchild_that_holds_the_pipe_does_not_hold_the_exec(sleeper: Running) -> None:
    started = time.monotonic()
    assert sleeper.run("sh", "-c", "echo now; sleep 1000 &") == (0, "now\n")
    assert time.monotonic() - started < 10


def test_unknown_and_malformed_requests_are_refused(sleeper: Running) -> None:
    assert not sleeper.ctl.request("dance")["ok"]
    assert sleeper.ctl.request("signal")["errno"] == 22
    assert sleeper.ctl.request("resize", height=1, width=1)["errno"] == 25
    assert sleeper.signal(0)["ok"]
