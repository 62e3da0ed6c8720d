import os
import socket

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orlop.linux import descriptors, proc, process, syscall


def test_descriptors_arrive_close_on_exec() -> None:
    ours, theirs = socket.socketpair()
    read, write = os.pipe()
    assert descriptors.send(ours, b"x", [read, write]) == 1
    data, fds = descriptors.recv(theirs, 16, 4)
    assert (data, len(fds)) == (b"x", 2)
    assert not any(os.get_inheritable(fd) for fd in fds)
    os.write(write, b"through")
    assert os.read(fds[0], 16) == b"through"
    descriptors.close_all([*fds, read, write])
    ours.close()
    assert descriptors.recv(theirs, 16) == (b"", [])
    theirs.close()


def test_descriptors_that_do_not_fit_are_an_error_and_none_is_left() -> None:
    ours, theirs = socket.socketpair()
    pipes = [fd for _ in range(8) for fd in os.pipe()]
    descriptors.send(ours, b"x", pipes)
    before = len(os.listdir("/proc/self/fd"))
    with pytest.raises(OSError, match="lost"):
        descriptors.recv(theirs, 16, 1)
    assert len(os.listdir("/proc/self/fd")) == before
    descriptors.close_all(pipes)
    ours.close()
    theirs.close()


def test_all_but_some_are_closed_in_a_child() -> None:
    pid = os.fork()
    if pid == 0:
        kept = os.open("/proc/self/fd", os.O_RDONLY)
        descriptors.close_all_but((1, kept))
        found = {int(name) for name in os.listdir(kept)}  # which opens one more for the time being
        os._exit(0 if {1, kept} <= found and len(found) == 3 else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0


@given(st.binary())
def test_a_line_of_proc_stat_is_parsed_or_refused(line: bytes) -> None:
    with pytest.raises(ValueError):
        proc.parse_stat(line)


def test_the_name_of_a_process_may_look_like_the_rest_of_its_line() -> None:
    fields = b" ".join(b"%d" % number for number in range(4, 60))
    stat = proc.parse_stat(b"7 (a) R 1 (b) S " + fields)
    assert (stat.pid, stat.name, stat.state, stat.parent, stat.start_ticks) == (7, "a) R 1 (b", "S", 4, 22)
    assert proc.stat().pid == os.getpid()


def test_unknown_calls_and_failing_calls_are_os_errors() -> None:
    with pytest.raises(OSError, match="no number"):
        syscall.call("frobnicate")
    with pytest.raises(FileNotFoundError):
        process.can_execute("/no/such")
    assert process.current_directory() == os.getcwd()
