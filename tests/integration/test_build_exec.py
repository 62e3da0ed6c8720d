"""RUN steps on a real kernel: what they see, what they leave, how they end, what is kept of them."""

from __future__ import annotations

import asyncio
import os
import secrets
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from orlop.build.graph import Context, Exec, Mount, NodeFiles
from orlop.build.request import Limits
from orlop.build.worker import ExecFailed
from orlop.engine.builds.execute import Executor
from orlop.errors import Conflict, Forbidden, InvalidArgument, NotFound, StartFailed
from support.build_lab import Lab, RecordingSink, build_lab
from support.netns import network_namespace

pytestmark = pytest.mark.root

EMPTY_LAYER = "sha256:5f70bf18a086007016e948b04aed3b82103a36bea41755b6cddfaf10ace3c6ef"


@pytest.fixture(scope="module")
def opened(image_archive: Path) -> Iterator[Lab]:
    if os.geteuid() != 0:
        pytest.skip("needs root")
    with build_lab(image_archive) as found:
        yield found


@pytest.fixture
def lab(opened: Lab) -> Iterator[Lab]:
    yield opened
    opened.settle()


def _run(lab: Lab, script: str, **fields: Any) -> tuple[dict[str, Any], str]:
    """Run a script; return the entries of its layer and its standard output."""
    made, sink = lab.do(lab.run(script, **fields))
    return lab.entries(made.layer), sink.text()


def _files(lab: Lab, script: str) -> dict[int, Any]:
    """Return, as node 1, the file system that a script makes of the image."""
    made, _ = lab.do(lab.run(script))
    return {1: (*lab.base, made.layer)}


def _execute(lab: Lab, node: Exec, **fields: Any) -> tuple[dict[str, Any], str]:
    sink = RecordingSink()
    made = lab.do(lab.execute(node, fields.pop("base", None), sink, **fields))
    return lab.entries(made.layer), sink.text()


def _lines(text: str) -> dict[str, str]:
    return dict(line.split(":\t", 1) for line in text.splitlines() if ":\t" in line)


# What a step sees


def test_a_step_writes_to_its_sink_and_leaves_what_it_has_changed(lab: Lab) -> None:
    made, sink = lab.do(lab.run("echo out; echo err >&2; echo data > /tmp/file; rm /etc/group"))
    assert (sink.text(1), sink.text(2)) == ("out\n", "err\n")
    assert set(lab.entries(made.layer)) == {"tmp", "tmp/file", "etc", "etc/.wh.group"}
    assert len(sink.containers) == 1
    assert len(sink.containers[0]) == 64
    assert made.seconds > 0


def test_the_next_step_stands_on_the_layer_of_the_last(lab: Lab) -> None:
    first, _ = lab.do(lab.run("echo one > /first"))
    _, sink = lab.do(lab.run("cat /first", (*lab.base, first.layer)))
    assert sink.text() == "one\n"


def test_the_environment_is_the_steps_own_with_a_home_from_passwd(lab: Lab) -> None:
    node = lab.step("env", environment=("B=2", "A=1 1"), proxies=("http_proxy=http://p",), user="daemon")
    _, text = _execute(lab, node)
    found = set(text.splitlines()) - {"PWD=/", "SHLVL=1"}
    path = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
    assert found == {"A=1 1", "B=2", "http_proxy=http://p", "HOME=/usr/sbin", path}


def test_a_step_has_the_isolation_of_a_container(lab: Lab) -> None:
    _, text = _run(lab, "cat /proc/self/status; echo; head -c1 /proc/kcore | wc -c; echo $$; hostname")
    status = _lines(text)
    assert (status["CapEff"], status["CapBnd"], status["Seccomp"]) == ("00000000a80425fb", "00000000a80425fb", "2")
    assert text.splitlines()[-3:] == ["0", "1", "buildkitsandbox"]


def test_no_list_and_no_event_shows_a_step(lab: Lab) -> None:
    async def look() -> tuple[int, list[Any]]:
        heard: list[Any] = []
        running = asyncio.ensure_future(lab.run("echo; sleep 0.2"))
        await asyncio.sleep(0.15)
        count = len(lab.engine.containers)
        await running
        return count, heard

    assert lab.do(look()) == (0, [])


def test_networks_are_the_default_bridge_none_or_the_hosts(lab: Lab) -> None:
    script = "ls /sys/class/net; ip -4 -o addr; ping -c1 -W2 $(ip route | sed -n 's/default via //p' | cut -d' ' -f1)"
    _, default = _run(lab, f"{script}; cat /etc/hosts", hosts=("db:10.1.2.3",))
    assert "eth0" in default
    assert "1 packets received" in default
    assert "10.1.2.3\tdb\n" in default
    _, none = _run(lab, "ls /sys/class/net", network="none")
    assert none == "lo\n"
    _, host = _run(lab, "ls /sys/class/net", network="host")
    assert "orlop0" in host


def test_limits_hold_and_an_end_for_want_of_memory_is_told(lab: Lab) -> None:
    limits = Limits(memory=32 << 20, cpu_shares=77)
    limited = Executor(lab.engine, lab.contexts, limits, lab.caches, lab.kept)
    script = "ulimit -n; df -k /dev/shm | tail -1; cat /proc/self/cgroup"
    node = lab.step(script, ulimits=("nofile=77:88",), shm_size=3 << 20)
    _, text = _execute(lab, node, executor=limited)
    assert text.splitlines()[0] == "77"
    assert text.splitlines()[1].split()[1] == "3072"
    if "0::/\n" not in text:  # with cgroup v2 a step has a namespace of its own, and sees itself at the root
        assert f"/orlop-{lab.engine.instance}/" in text
    with pytest.raises(ExecFailed) as failure:
        _execute(lab, lab.step("exec tail /dev/zero"), executor=limited)
    assert (failure.value.code, failure.value.oom_killed) == (137, True)


def test_more_privileges_have_to_be_allowed(lab: Lab) -> None:
    with pytest.raises(Forbidden, match=r"^security\.insecure is not allowed$"):
        _run(lab, "true", insecure=True)
    config = lab.engine.config
    lab.engine.config = replace(config, build_insecure=True)
    try:
        _, text = _run(lab, "cat /proc/self/status", insecure=True)
    finally:
        lab.engine.config = config
    assert _lines(text)["Seccomp"] == "0"
    assert _lines(text)["CapEff"] != "00000000a80425fb"


def test_a_step_for_another_architecture_says_that_no_emulator_is_there(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("orlop.engine.builds.exec_platform._registered", list)
    with pytest.raises(InvalidArgument, match="no emulator is registered for linux/s390x"):
        _run(lab, "true", platform="linux/s390x")


# What a step leaves


def test_a_step_that_changes_nothing_makes_an_empty_layer(lab: Lab) -> None:
    made, _ = lab.do(lab.run("true"))
    assert (made.layer.diff_id, lab.entries(made.layer)) == (EMPTY_LAYER, {})


def test_what_stands_for_mounts_is_in_no_layer(lab: Lab) -> None:
    nodes = {1: lab.base}
    shell = Mount("bind", "/deep/er/tools", "/bin", NodeFiles(1), read_only=True)
    node = Exec(0, ("/deep/er/tools/busybox", "true"), (), "/", mounts=(shell, Mount("cache", "/var/cache", id="x")))
    entries, _ = _execute(lab, node, base=(), nodes=nodes)
    assert entries == {}
    touching = replace(node, arguments=("/deep/er/tools/busybox", "touch", "/deep/file"))
    entries, _ = _execute(lab, touching, base=(), nodes=nodes)
    assert set(entries) == {"deep", "deep/file"}


def test_a_directory_that_only_got_a_mount_point_keeps_its_time(lab: Lab) -> None:
    made, _ = lab.do(lab.run("mkdir /old && touch -d @1000 /old"))
    base = (*lab.base, made.layer)
    entries, text = _execute(
        lab, lab.step("mkdir /old/mount/x; ls /old", mounts=(Mount("tmpfs", "/old/mount"),)), base=base
    )
    assert (entries, text) == ({}, "mount\n")


def test_the_host_name_file_is_the_steps_own_and_hosts_is_not(lab: Lab) -> None:
    entries, _ = _run(lab, "echo box > /etc/hostname; echo 1.2.3.4 x >> /etc/hosts; echo >> /etc/resolv.conf")
    assert set(entries) == {"etc", "etc/hostname"}


def test_no_file_is_younger_than_the_source_date_epoch(lab: Lab) -> None:
    node = lab.step("mkdir /d; touch /d/new; touch -d @500 /d/old; ln -s x /d/link; mkfifo /d/fifo")
    first, _ = _execute(lab, node, epoch=1000)
    assert {name: entry.mtime for name, entry in first.items()} == {
        **dict.fromkeys(("d", "d/fifo", "d/link", "d/new"), 1000),
        "d/old": 500,
    }


def test_output_of_any_length_comes_whole_and_holds_nothing_up(lab: Lab) -> None:
    _, text = _run(lab, "yes 0123456789abcde | head -n 1000000; echo end")
    assert len(text) == 16 * 1_000_000 + 4
    assert text.endswith("e\nend\n")


# How a step ends


def test_a_command_that_fails_is_told_with_its_code_and_leaves_nothing(lab: Lab) -> None:
    with pytest.raises(ExecFailed) as failure:
        _run(lab, "echo > /file; exit 9")
    assert (failure.value.code, failure.value.kept) == (9, "")


def test_a_program_that_is_not_there_fails_the_start(lab: Lab) -> None:
    with pytest.raises(StartFailed, match='exec: "/no/such": stat /no/such: no such file or directory') as failure:
        _execute(lab, Exec(0, ("/no/such",), (), "/"))
    assert failure.value.exit_code == 127


def test_the_whole_process_tree_ends_with_its_first_process(lab: Lab) -> None:
    before = set(lab.netns.processes())
    _run(lab, "sleep 1000 & setsid sleep 1000 & echo", network="host")
    lab.settle()
    assert not any(_command(pid).startswith("sleep") for pid in set(lab.netns.processes()) - before)


@pytest.mark.parametrize("after", [0.0, 0.01, 0.02, 0.05, 0.3])
def test_a_cancelled_step_ends_and_leaves_nothing(lab: Lab, after: float) -> None:
    async def cancel() -> None:
        step = asyncio.ensure_future(lab.run("sleep 1000 & trap '' TERM INT; sleep 1000; sleep 1000"))
        await asyncio.sleep(after)
        step.cancel()
        with pytest.raises(asyncio.CancelledError):
            await step

    lab.do(cancel())


def test_cancelling_while_a_layer_is_read_stops_the_reading(lab: Lab) -> None:
    async def cancel() -> None:
        sink = RecordingSink()
        script = "for i in $(seq 3000); do echo $i > /tmp/$i; done; truncate -s 2G /tmp/large; echo written"
        step = asyncio.ensure_future(lab.execute(lab.step(script), None, sink))
        while "written" not in sink.text():
            await sink.heard.wait()
            sink.heard.clear()
        await asyncio.sleep(0.05)
        step.cancel()
        with pytest.raises(asyncio.CancelledError):
            await step

    lab.do(cancel())
    lab.engine.images.scratch.settle(10)
    assert not [name for name in os.listdir(lab.root / "data/tmp") if name != "partial" and "layer" in name]


def test_steps_run_side_by_side(lab: Lab) -> None:
    """Each waits for the two others, so that one after the other they would never end."""
    shared = (Mount("cache", "/c", id="meeting"),)
    script = "touch /c/{}; until test -e /c/1 -a -e /c/2 -a -e /c/3; do sleep 0.02; done"

    async def all_three() -> None:
        await asyncio.gather(*(lab.run(script.format(number), mounts=shared) for number in (1, 2, 3)))

    lab.do(all_three())


@pytest.mark.parametrize("parent", ["", "orlop-test-parent"])
def test_a_step_dies_with_its_engine_and_the_next_one_finds_nothing(image_archive: Path, parent: str) -> None:
    seconds = str(100_000 + secrets.randbelow(100_000))
    with network_namespace() as netns, tempfile.TemporaryDirectory(prefix="orlop-build-") as directory:
        root = Path(directory)
        command = netns.command(sys.executable, "-m", "support.build_lab", root, image_archive, parent, seconds)
        environment = os.environ | {"PYTHONPATH": str(Path(__file__).parent.parent)}
        with subprocess.Popen(command, stdout=subprocess.PIPE, env=environment) as engine:
            assert engine.stdout is not None
            try:
                assert engine.stdout.readline() == b"running\n"
                _eventually(lambda: len(_sleepers(seconds)) == 2, "the steps do not run")
            finally:
                engine.kill()
        _eventually(lambda: not _sleepers(seconds) and not netns.processes(), "a process outlives the engine")
        with build_lab(image_archive, root=root, netns=netns) as lab:
            lab.settle()
        assert not list(Path("/sys/fs/cgroup").glob("**/orlop-test-parent/orlop-*"))
    for place in Path("/sys/fs/cgroup").glob("**/orlop-test-parent"):
        place.rmdir()


# Mounts


def test_a_context_is_mounted_and_never_written_to(lab: Lab) -> None:
    context = lab.root / "context/sub"
    context.mkdir(parents=True, exist_ok=True)
    (context / "file").write_text("content")
    whole = Mount("bind", "/src", "", Context(), read_only=True)
    _, text = _run(lab, "cat /src/sub/file; touch /src/x 2>&1 || echo $?", mounts=(whole,))
    assert text == "contenttouch: /src/x: Read-only file system\n1\n"
    entries, text = _run(lab, "echo new > /src/file; cat /src/file", mounts=(Mount("bind", "/src", "sub", Context()),))
    assert (entries, text) == ({}, "new\n")
    _, text = _run(lab, "echo >> /f; wc -l < /f", mounts=(Mount("bind", "/f", "sub/file", Context()),))
    assert text == "1\n"
    assert (context / "file").read_text() == "content"
    assert os.listdir(context) == ["file"]


def test_another_file_system_is_mounted_and_never_written_to(lab: Lab) -> None:
    nodes = _files(lab, "mkdir -p /tool/bin; echo one > /tool/bin/one; chown 7 /tool")
    source = Mount("bind", "/m/t", "/tool", NodeFiles(1))
    script = "echo two > /m/t/bin/two && ls /m/t/bin && stat -c %u /m/t"
    entries, text = _execute(lab, lab.step(script, mounts=(source,)), nodes=nodes)
    assert (entries, text) == ({}, "one\ntwo\n7\n")
    read_only = lab.step("ls /m/t/bin; touch /m/t/x 2>/dev/null || echo no", mounts=(replace(source, read_only=True),))
    assert _execute(lab, read_only, nodes=nodes)[1] == "one\nno\n"
    file = Mount("bind", "/one", "tool/bin/one", NodeFiles(1), read_only=True)
    assert _execute(lab, lab.step("cat /one", mounts=(file,)), nodes=nodes)[1] == "one\n"


def test_a_source_that_is_not_there_is_not_found(lab: Lab) -> None:
    missing = Mount("bind", "/m", "/nope", NodeFiles(1), read_only=True)
    with pytest.raises(NotFound, match=r'^"/nope": not found$'):
        _execute(lab, lab.step("true", mounts=(missing,)), nodes={1: lab.base})


def test_a_mount_below_another_comes_after_it(lab: Lab) -> None:
    inner, outer = Mount("tmpfs", "/a/b/c", size=1 << 20), Mount("tmpfs", "/a", size=2 << 20)
    entries, text = _run(lab, "df -k /a /a/b/c | awk 'NR>1 {print $2, $6}'", mounts=(inner, outer))
    assert (entries, text) == ({}, "2048 /a\n1024 /a/b/c\n")


def test_what_no_client_has_brought_is_left_out_unless_it_is_required(lab: Lab) -> None:
    secret, ssh = Mount("secret", "/run/secrets/key", id="key"), Mount("ssh", "/agent")
    assert _run(lab, "ls /run", mounts=(secret, ssh)) == ({}, "")
    with pytest.raises(InvalidArgument, match=r"^secret key: not found$"):
        _run(lab, "true", mounts=(replace(secret, required=True),))
    with pytest.raises(InvalidArgument, match=r'^no SSH key "default" forwarded from the client$'):
        _run(lab, "true", mounts=(replace(ssh, required=True),))


def test_a_script_is_executed_where_it_is_mounted(lab: Lab) -> None:
    script = ("/dev/pipes/EOF", b"#!/bin/sh\necho $0; echo > $0 || echo $A\n")
    assert _execute(lab, Exec(0, ("/dev/pipes/EOF",), ("A=1",), "/", script=script)) == ({}, "/dev/pipes/EOF\n1\n")


# Caches


def test_a_cache_outlives_its_step_and_is_in_no_layer(lab: Lab) -> None:
    cache = Mount("cache", "/c", id="outlives", uid=3, mode=0o750)
    assert _run(lab, "stat -c %u:%a /c; echo 1 > /c/file", mounts=(cache,)) == ({}, "3:750\n")
    assert _run(lab, "cat /d/file", mounts=(replace(cache, target="/d"),)) == ({}, "1\n")
    assert _run(lab, "ls /c", mounts=(replace(cache, id="other"),)) == ({}, "")


def test_a_cache_begins_with_the_content_it_is_given(lab: Lab) -> None:
    nodes = _files(lab, "mkdir -p /seed/sub; echo seed > /seed/sub/file; chmod 711 /seed")
    cache = Mount("cache", "/c", "/seed", NodeFiles(1), id="begins")
    step = lab.step("stat -c %a /c; cat /c/sub/file; echo more >> /c/sub/file", mounts=(cache,))
    assert _execute(lab, step, nodes=nodes)[1] == "711\nseed\n"
    assert _execute(lab, step, nodes=nodes)[1] == "711\nseed\nmore\n"


def test_a_cache_is_shared_kept_private_or_locked(lab: Lab) -> None:
    async def both(sharing: Any) -> list[str]:
        cache = Mount("cache", "/c", id=f"both-{sharing}", sharing=sharing)
        script = "cat /c/* 2>/dev/null; echo $$ >> /c/in; sleep 0.5; cat /c/in | wc -l"
        done = await asyncio.gather(*(lab.run(script, mounts=(cache,)) for _ in range(2)))
        return sorted(sink.text().splitlines()[-1] for _, sink in done)

    assert lab.do(both("shared")) == ["2", "2"]
    assert lab.do(both("private")) == ["1", "1"]
    assert lab.do(both("locked")) == ["1", "2"]
    assert len([mount for mount in lab.caches.all() if mount.id == "both-private"]) == 2


def test_steps_that_lock_several_caches_do_not_wait_for_each_other_for_ever(lab: Lab) -> None:
    one, two = (Mount("cache", f"/{id}", id=id, sharing="locked") for id in ("one", "two"))

    async def crossed() -> None:
        orders = ((one, two), (two, one, replace(one, target="/again"))) * 3
        await asyncio.gather(*(lab.run("true", mounts=mounts) for mounts in orders))

    lab.do(crossed())


# What is kept


class _Terminal:
    """A client's connection: its socket, and what the engine sees of it (`hijack.Hijackable`)."""

    def __init__(self) -> None:
        self.ours, self._theirs = socket.socketpair()
        self.ours.setblocking(False)

    async def upgrade(self, *, tty: bool) -> tuple[int, bytes]:
        return self._theirs.detach(), b""

    async def talk(self, text: str) -> str:
        """Send `text` and return all that comes."""
        loop, answer = asyncio.get_running_loop(), b""
        if text:
            await loop.sock_sendall(self.ours, text.encode())
        while block := await loop.sock_recv(self.ours, 4096):
            answer += block
        self.ours.close()
        return answer.decode()


async def _fail(lab: Lab, script: str, **fields: Any) -> str:
    with pytest.raises(ExecFailed) as failure:
        await lab.execute(lab.step(script, **fields), None, RecordingSink(), keep_failed=True)
    return failure.value.kept


def test_a_shell_opens_in_a_failed_steps_file_system(lab: Lab) -> None:
    async def look() -> None:
        cache = Mount("cache", "/c", id="shell", uid=1)
        kept = await _fail(
            lab,
            "echo made > /tmp/made; echo 1 > /c/x; exit 3",
            environment=("A=hello",),
            mounts=(cache,),
            user="daemon",
        )
        assert [(step.id, step.code) for step in lab.kept.all()] == [(kept, 3)]
        for expected in ("made", "made\r\nagain"):
            terminal = _Terminal()
            shell = asyncio.ensure_future(lab.kept.shell(kept[:12], terminal, tty=True, size=(33, 77)))
            script = 'echo "<$A $(stty size) $(id -un) $(cat /c/x)>"; cat /tmp/made; echo again >> /tmp/made; exit 5\n'
            text = await terminal.talk(script)
            assert "<hello 33 77 daemon 1>\r\n" + expected in text
            assert await shell == 5
        await lab.kept.dismiss(kept)

    lab.do(look())


def test_a_shell_without_a_terminal_reads_its_commands_to_their_end(lab: Lab) -> None:
    async def look() -> None:
        kept = await _fail(lab, "exit 3")
        terminal = _Terminal()
        shell = asyncio.ensure_future(lab.kept.shell(kept, terminal, tty=False))
        await asyncio.get_running_loop().sock_sendall(terminal.ours, b"echo out; echo err >&2; exit 4\n")
        terminal.ours.shutdown(socket.SHUT_WR)
        text = await terminal.talk("")
        assert "\x01\0\0\0\0\0\0\x04out\n" in text
        assert "\x02\0\0\0\0\0\0\x04err\n" in text
        assert await shell == 4
        await lab.kept.dismiss(kept)

    lab.do(look())


def test_a_shell_ends_with_its_client_or_with_what_it_looks_at(lab: Lab) -> None:
    async def look() -> None:
        kept = await _fail(lab, "exit 3")
        client, other = _Terminal(), _Terminal()
        shell = asyncio.ensure_future(lab.kept.shell(kept, client, tty=True))
        await asyncio.get_running_loop().sock_recv(client.ours, 1)
        with pytest.raises(Conflict):
            await lab.kept.shell(kept, other, tty=True)
        client.ours.close()
        assert await shell == 128 + signal.SIGKILL
        shell = asyncio.ensure_future(lab.kept.shell(kept, other, tty=True))
        await asyncio.get_running_loop().sock_recv(other.ours, 1)
        await lab.kept.dismiss(kept)
        assert await shell == 128 + signal.SIGKILL
        with pytest.raises(NotFound):
            await lab.kept.dismiss(kept)

    lab.do(look())


def test_a_finished_step_is_kept_to_look_at(lab: Lab) -> None:
    async def look() -> str:
        made, _ = await lab.run("echo made > /made")
        base = (*lab.base, made.layer)
        node = lab.step("echo made > /made", directory="/tmp")
        kept = lab.kept.stop_after(node, base, {}, limits=Limits(), contexts=lab.contexts)
        terminal = _Terminal()
        shell = asyncio.ensure_future(lab.kept.shell(kept, terminal, tty=True))
        text = await terminal.talk("pwd; cat /made; exit\n")
        await shell
        await lab.kept.close()
        return text

    text = lab.do(look())
    assert "\r\n/tmp\r\nmade\r\n" in text.replace("/tmp # ", "")


def _command(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
    except OSError:
        return ""


def _sleepers(seconds: str) -> list[int]:
    pids = [int(entry) for entry in os.listdir("/proc") if entry.isdecimal()]
    return [pid for pid in pids if _command(pid) == f"sleep {seconds} "]


def _eventually(holds: Callable[[], bool], complaint: str) -> None:
    deadline = time.monotonic() + 10
    while not holds():
        assert time.monotonic() < deadline, complaint
        time.sleep(0.01)
