"""Ways out of a container that once were open in other engines: descriptors, the runtime's own files, its sockets."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from support.archives import member
from support.attacker import TOOLS, Attacker, Outcome, python_words
from support.daemon import Daemon

pytestmark = pytest.mark.root

Python = Callable[..., Outcome]
DESCRIPTORS = range(3, 21)


@pytest.mark.parametrize("suffix", ["", "/../../../../../.."])
def test_a_working_directory_at_a_leaked_descriptor_is_refused(attacker: Attacker, suffix: str) -> None:
    """CVE-2024-21626: `-w /proc/self/fd/7` of run and of exec."""
    container = attacker.start("busybox", "sleep", "1000")
    for number in DESCRIPTORS:
        path = f"/proc/self/fd/{number}{suffix}"
        # The path that a container is created with is cleaned: with dots it is the root, and nothing to be refused.
        run = attacker.run("busybox", "ls", WorkingDir=path) if number % 4 == 3 and not suffix else None
        for outcome in (run, attacker.exec(container, "ls", WorkingDir=path)):
            assert outcome is None or (outcome.code != 0 and "chdir to cwd" in outcome.output), outcome
    assert attacker.exec(container, "true").code == 0


@pytest.mark.parametrize("path", ["/proc/self/fd/3", "/proc/self/fd/8/../../../etc", "/proc/1/cwd", "/link", "/proc"])
def test_a_working_directory_of_the_image_does_not_lead_out(attacker: Attacker, secret: Path, path: str) -> None:
    """CVE-2024-21626 by WORKDIR, and by links of the image."""
    link = member("link", kind=b"2", linkname="../../../../../.." + str(secret.parent))
    image = attacker.image(link, member("proc", kind=b"2", linkname="etc") if path == "x" else member("proc/"))
    outcome = attacker.run(image, "/bin/busybox", "cat", "secret", WorkingDir=path)
    assert outcome.code != 0
    assert secret.read_text() not in outcome.output


def test_a_working_directory_with_dots_stays_inside(attacker: Attacker, secret: Path) -> None:
    outcome = attacker.shell("pwd; ls", WorkingDir="/../../.." + str(secret.parent))
    assert outcome == Outcome(0, f"{secret.parent}\n")
    assert attacker.shell("pwd", WorkingDir="/missing/../../..").output == "/\n"


@pytest.mark.parametrize("user", ["", "1000"])
def test_a_process_has_its_streams_and_no_other_descriptor(attacker: Attacker, python: Python, user: str) -> None:
    """CVE-2024-21626, CVE-2016-9962: what the runtime had open, seen from inside, in init and in an exec."""
    script = (
        "import os, time\nfor fd in os.listdir('/proc/self/fd'):\n  try: print(fd, os.readlink(f'/proc/self/fd/{fd}'))"
    )
    script += "\n  except OSError: pass"
    host = attacker.with_tools()
    container = attacker.start(TOOLS, *python_words(script + "\ntime.sleep(1000)"), host=host, User=user)
    executed = attacker.exec(container, *python_words(script), User=user)
    for words in (executed.output.split(), attacker.logs(container).split()):
        seen = dict(zip(words[::2], words[1::2], strict=True))
        assert set(seen) == {"0", "1", "2"}
        assert seen["0"] in ("/null", "/dev/null")
        assert all(seen[number].startswith("pipe:") for number in ("1", "2"))


WATCHER = """
import os, sys, time
seen, end = set(), time.monotonic() + float(sys.argv[1])
while time.monotonic() < end:
    for pid in filter(str.isdigit, os.listdir("/proc")):
        if int(pid) <= os.getpid():
            continue
        for what in ("root", "cwd"):
            try: seen.add(open(f"/proc/{pid}/{what}{sys.argv[2]}").read())
            except OSError: pass
        for what in ("exe", "mem"):
            try: os.close(os.open(f"/proc/{pid}/{what}", os.O_WRONLY)); seen.add(what)
            except OSError: pass
        try:
            for fd in os.listdir(f"/proc/{pid}/fd"):
                seen.add("fd " + os.readlink(f"/proc/{pid}/fd/{fd}").partition(":")[0])
        except OSError: pass
print("\\n".join(sorted(seen)))
"""


def test_a_process_on_its_way_in_cannot_be_looked_into(attacker: Attacker, python: Python, secret: Path) -> None:
    """CVE-2016-9962, CVE-2019-5736: the container races for /proc/PID/{exe,mem,root,cwd,fd} of entering processes."""
    host = attacker.with_tools()
    container = attacker.start(TOOLS, *python_words(WATCHER, "3", str(secret)), host=host)
    threads = [
        threading.Thread(target=lambda: [attacker.exec(container, "/usr/bin/true") for _ in range(6)]) for _ in range(2)
    ]
    for thread in threads:
        thread.start()
    seen = set(attacker.end_of(container).lines)
    for thread in threads:
        thread.join()
    of_programs = {
        "fd /null",
        "fd /dev/null",
        "fd pipe",
        "mem",
    }  # of executed programs
    assert {item for item in seen if not item.startswith("fd /usr/")} <= of_programs


TRACER = """
import os, sys, time
seen, entering, end = set(), 0, time.monotonic() + float(sys.argv[1])
def entered(pid):
    return os.readlink(f"/proc/{pid}/exe").endswith("/true")
def look(pid):
    found = set()
    status = dict(line.split(":\\t", 1) for line in open(f"/proc/{pid}/status").read().splitlines() if ":\\t" in line)
    for name in ("CapEff", "CapPrm", "CapBnd", "Seccomp"):
        found.add(f"{name} {status[name]}")
    for what in ("root", "cwd"):
        try: found.add(open(f"/proc/{pid}/{what}{sys.argv[2]}").read())
        except OSError: pass
    for fd in os.listdir(f"/proc/{pid}/fd"):
        target = os.readlink(f"/proc/{pid}/fd/{fd}")
        if os.path.isdir(f"/proc/{pid}/fd/{fd}"):
            found.add("directory " + target)
        elif not target.startswith(("pipe:", "socket:", "/null", "/dev/null")):
            found.add("file " + os.path.basename(target))
    return found
while time.monotonic() < end:
    for pid in filter(str.isdigit, os.listdir("/proc")):
        if int(pid) > os.getpid():
            try:
                found = set() if entered(pid) else look(pid)
                if found and not entered(pid):  # else it was the program that we saw, a part of it
                    seen |= found
                    entering += 1
            except OSError: pass
print("entering", int(entering > 0))
print("own", *[line.split()[1] for line in open("/proc/self/status") if line.startswith(("CapEff", "CapBnd"))])
print("\\n".join(sorted(seen)))
"""


def test_who_may_trace_finds_nothing_more_in_an_entering_process_than_he_has(
    attacker: Attacker, python: Python, secret: Path
) -> None:
    """A process of `docker exec` was visible with the host's descriptors and every capability until its exec."""
    host = attacker.with_tools({"CapAdd": ["SYS_PTRACE"]})
    container = attacker.start(TOOLS, *python_words(TRACER, "4", str(secret)), host=host)
    ended = threading.Event()

    def enter() -> None:
        while not ended.is_set():
            attacker.exec(container, "/usr/bin/true")

    threads = [threading.Thread(target=enter) for _ in range(2)]
    for thread in threads:
        thread.start()
    lines = attacker.end_of(container).lines
    ended.set()
    for thread in threads:
        thread.join()
    assert lines[0] == "entering 1"  # it was quick enough to see some
    own = lines[1].split()[1]
    found = set(lines[2:])
    allowed = {f"{name} {own}" for name in ("CapEff", "CapPrm", "CapBnd")}
    cgroup = {"file tasks", "file cgroup.procs"}  # the entrances to the container's own
    assert found <= allowed | cgroup | {"Seccomp 2"}


EXECUTABLE = """
import errno, os, sys
print(os.readlink("/proc/self/exe"), bool(os.statvfs("/proc/self/exe").f_flag & os.ST_RDONLY))
fd = os.open("/proc/self/exe", os.O_RDONLY)
for path in ("/proc/self/exe", f"/proc/self/fd/{fd}"):
    try: os.open(path, os.O_WRONLY); print("OPENED")
    except OSError as error: print(errno.errorcode[error.errno])
"""


@pytest.mark.parametrize("entry", ["/proc/self/exe", "script"])
def test_the_runtimes_program_that_a_container_executes_cannot_be_written(
    attacker: Attacker, python: Python, entry: str
) -> None:
    """CVE-2019-5736: /proc/self/exe as the program, or as the interpreter of one, is the runtime's own."""
    host = attacker.with_tools()
    if entry == "script":
        image = attacker.image(
            member("run", b"#!/proc/self/exe\n" + EXECUTABLE.encode(), mode=0o755), *attacker.tools()
        )
        outcome = attacker.run(image, "/run", host=host)
    else:
        outcome = attacker.run(TOOLS, entry, "-I", "-S", "-c", EXECUTABLE, host=host)
    assert outcome.code == 0, outcome
    assert "True" in outcome.lines[0]
    assert set(outcome.lines[1:]) <= {"ETXTBSY", "EROFS"}


EVERY_EXECUTABLE = """
import errno, os, sys
for pid in sys.argv[1:]:
    for what in ("exe", "mem", "root", "cwd", "ns/mnt", "environ"):
        try: fd = os.open(f"/proc/{pid}/{what}", os.O_RDONLY)
        except OSError as error: print(what, errno.errorcode[error.errno])
        else: print(what, "read-only" if os.fstatvfs(fd).f_flag & os.ST_RDONLY else "OPENED")
    try: os.open(f"/proc/{pid}/exe", os.O_WRONLY); print("exe WRITTEN")
    except OSError: pass
"""


def parent(pid: int | str) -> str:
    return Path(f"/proc/{pid}/status").read_text().partition("PPid:\t")[2].split()[0]


def test_the_engines_processes_are_closed_to_containers_that_see_them(
    attacker: Attacker, python: Python, orlopd: Daemon
) -> None:
    """CVE-2019-5736 with --pid host; with CAP_SYS_PTRACE the programs can be read, on a read-only mount."""
    container = attacker.start("busybox", "sleep", "1000")
    first = attacker.daemon.json("GET", f"/containers/{container}/json")["State"]["Pid"]
    pids = [parent(first), parent(parent(first))]  # its shim and the launcher
    assert int(parent(pids[1])) == orlopd.pid
    answers = {line.split()[1] for line in python(EVERY_EXECUTABLE, *pids, host={"PidMode": "host"}).lines}
    assert answers == {"EACCES"}
    lines = python(EVERY_EXECUTABLE, *pids, host={"PidMode": "host", "CapAdd": ["SYS_PTRACE"]}).lines
    assert {line for line in lines if line.startswith("exe")} == {"exe read-only"}


def test_no_process_of_the_host_can_be_traced(attacker: Attacker, python: Python, orlopd: Daemon) -> None:
    script = """
import ctypes, os, sys
libc = ctypes.CDLL(None, use_errno=True)
for pid in map(int, sys.argv[1:]):
    print(libc.ptrace(16, pid, 0, 0), os.strerror(ctypes.get_errno()))
    try: os.kill(pid, 0); print("exists")
    except ProcessLookupError: print("unseen")
"""
    lines = python(script, str(orlopd.pid), str(os.getpid())).lines
    assert lines == ["-1 No such process", "unseen"] * 2
    lines = python(script, str(orlopd.pid), host={"PidMode": "host"}).lines
    assert lines == ["-1 Operation not permitted", "exists"]


def test_the_engine_has_no_abstract_sockets(attacker: Attacker, python: Python, orlopd: Daemon) -> None:
    """CVE-2020-15257: a container in the host's network could talk to the shim by its abstract socket."""
    container = attacker.start("busybox", "sleep", "1000")
    script = """
import socket
names = {line.split()[7] for line in open("/proc/net/unix").readlines()[1:] if len(line.split()) > 7}
for name in sorted(names):
    for address in (name, "\\0" + name.lstrip("@")):
        for kind in (socket.SOCK_STREAM, socket.SOCK_SEQPACKET, socket.SOCK_DGRAM):
            try: socket.socket(socket.AF_UNIX, kind).connect(address); print("CONNECTED", name)
            except OSError: pass
    print(name)
"""
    lines = python(script, host={"NetworkMode": "host"}).lines
    assert any(line.endswith("shim.sock") for line in lines)
    assert str(orlopd.socket) in lines
    assert not [line for line in lines if line.startswith(("CONNECTED", "@"))]
    assert attacker.exec(container, "true").code == 0
