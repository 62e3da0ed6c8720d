"""What a container can see and do, and the attacks that broke engines."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from orlop.linux import capability
from orlop.linux.seccomp import compile as seccomp
from support.shim_lab import BUSYBOX, Attached, Lab, eventually, make_tree, process, specification

pytestmark = pytest.mark.root

Json = dict[str, Any]
MASKED = ["/proc/interrupts", "/proc/acpi", "/proc/keys", "/sys/firmware", "/tmp/file", "/not/there"]
READ_ONLY = ["/proc/sys", "/proc/sysrq-trigger", "/not/there"]
_RENAME_EXCHANGE = 2


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    if not BUSYBOX.exists():
        pytest.skip("needs busybox-static")
    bench = Lab(tmp_path_factory.mktemp("shim"))
    yield bench
    bench.close()


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A root file system that a test may spoil."""
    return make_tree(tmp_path / "image")


def shell(script: str, **fields: Any) -> Json:
    return specification("sh", "-c", f"exec 2>&1; {script}", **fields)


def bind(source: Path | str, destination: str, *options: str) -> Json:
    return {"type": "bind", "source": str(source), "destination": destination, "options": ["rbind", *options]}


def test_masked_paths_are_a_null_device_or_an_empty_directory_and_cannot_be_changed(lab: Lab) -> None:
    spec = shell(
        "stat -c '%F %t:%T' /proc/interrupts /tmp/file; ls -A /sys/firmware | wc -l; wc -c < /proc/keys;"
        "touch /sys/firmware/x; chmod 0 /proc/interrupts; echo x > /tmp/file && echo swallowed"
    )
    (lab.tree / "tmp/file").write_text("secret")
    spec["linux"]["maskedPaths"] = MASKED
    code, text = lab.run(spec)
    assert code == 0
    assert text.splitlines()[:4] == ["character special file 1:3", "character special file 1:3", "0", "0"]
    assert text.count("Read-only file system") == 2
    assert text.endswith("swallowed\n")


def test_masks_do_not_come_from_the_image(lab: Lab, tree: Path) -> None:
    """CVE-2025-31133: an image whose /dev/null is something else."""
    spec = shell("cat /proc/interrupts /tmp/file; echo end")
    spec["mounts"] = [entry for entry in spec["mounts"] if entry["destination"] == "/proc"]
    (tree / "dev/null").symlink_to("/proc/sys/kernel/core_pattern")
    (tree / "tmp/file").write_text("secret")
    spec["linux"]["maskedPaths"] = MASKED
    assert "error creating device nodes" in lab.run(spec, lower=[str(tree)])[1]
    (tree / "dev/null").unlink()
    assert lab.run(spec, lower=[str(tree)]) == (0, "end\n")


def test_read_only_paths_and_a_read_only_root_cannot_be_written(lab: Lab) -> None:
    spec = shell("echo 1 > /proc/sys/kernel/msgmax; touch /x; touch /tmp/x && echo tmp")
    spec["linux"]["readonlyPaths"] = READ_ONLY
    spec["root"]["readonly"] = True
    spec["mounts"].append({"destination": "/tmp", "type": "tmpfs", "source": "tmpfs", "options": ["mode=1777"]})
    code, text = lab.run(spec)
    assert code == 0
    assert text.count("Read-only file system") == 2
    assert text.endswith("tmp\n")


def _descriptors(pid: int) -> list[str]:
    return sorted(os.listdir(f"/proc/{pid}/fd"))


def test_no_descriptor_of_the_host_is_left(lab: Lab) -> None:
    running = lab.start(shell("ls /proc/$$/fd; read x", user={"username": "worker"}), stdin=True)
    running.await_start()
    assert eventually(lambda: _descriptors(running.pid) == ["0", "1", "2"])  # a shell has more while it redirects
    client = Attached(stdin=True)
    answer = running.exec("sh", "-c", "read x", attach=client)
    assert eventually(lambda: _descriptors(answer["pid"]) == ["0", "1", "2"])
    client.close()
    running.signal(signal.SIGKILL)
    running.await_exit()


def test_a_working_directory_through_a_descriptor_does_not_lead_out(lab: Lab) -> None:
    """CVE-2024-21626, the working directory of a start and of an exec, and the path of the program."""
    running = lab.start(shell("sleep 1000"))
    running.await_start()
    for number in range(3, 16):
        code, text = lab.run(specification("pwd", cwd=f"/proc/self/fd/{number}"))
        assert (code, "failed" in text) == (128, True) or code == 127, text
        assert not running.exec("pwd", cwd=f"/proc/self/fd/{number}")["ok"]
        assert lab.run(specification(f"/proc/self/fd/{number}/../../../../../bin/cat", "/etc/shadow"))[0] == 127
    running.signal(signal.SIGKILL)
    running.await_exit()


def test_links_in_mount_targets_stay_inside(lab: Lab, tree: Path, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (tree / "absolute").symlink_to(outside)
    (tree / "relative").symlink_to("../../../../../../.." + str(outside))
    (tree / "plain").mkdir()
    (tree / "inside").symlink_to("/plain")
    source = tmp_path / "source"
    source.mkdir()
    (source / "mark").touch()
    spec = shell("ls /plain/deep /absolute/deep /relative/deep")
    spec["mounts"] += [bind(source, f"/{name}/deep") for name in ("absolute", "relative", "inside")]
    code, text = lab.run(spec, lower=[str(tree)])
    assert (code, text.count("mark")) == (0, 3)
    assert list(outside.iterdir()) == []


def test_a_mount_target_that_is_exchanged_meanwhile_does_not_lead_out(lab: Lab, tmp_path: Path) -> None:
    """CVE-2021-30465: another container flips a directory and a link in a shared volume while this one starts."""
    volume, outside = tmp_path / "volume", tmp_path / "outside"
    (volume / "real").mkdir(parents=True)
    outside.mkdir()
    (volume / "link").symlink_to("/" + "../" * 12 + str(outside).lstrip("/"))
    code = (
        "import ctypes, sys\n"
        "libc = ctypes.CDLL(None)\n"
        "a, b = (name.encode() for name in sys.argv[1:])\n"
        f"while True: libc.renameat2(-100, a, -100, b, {_RENAME_EXCHANGE})\n"
    )
    flipper = subprocess.Popen([sys.executable, "-c", code, str(volume / "real"), str(volume / "link")])
    try:
        for _ in range(40):
            spec = specification("true")
            spec["mounts"] += [
                bind(volume, "/v"),
                {"destination": "/v/real/deep", "type": "tmpfs", "source": "tmpfs", "options": []},
            ]
            lab.run(spec)
            assert list(outside.iterdir()) == []
    finally:
        flipper.kill()
        flipper.wait()


def test_proc_and_sys_are_mounted_on_real_directories_only(lab: Lab, tree: Path) -> None:
    (tree / "proc").rmdir()
    (tree / "proc").symlink_to("/etc")
    assert "must be mounted on ordinary directory" in lab.run(specification("true"), lower=[str(tree)])[1]


def test_nothing_is_mounted_over_proc_but_what_programs_fake(lab: Lab, tmp_path: Path) -> None:
    (tmp_path / "fake").write_text("fake\n")
    spec = shell("cat /proc/uptime")
    spec["mounts"].append(bind(tmp_path / "fake", "/proc/uptime"))
    assert lab.run(spec) == (0, "fake\n")
    (lab.tree / "alias").symlink_to("/proc")
    for destination in ("/proc/self/attr", "/alias/sys", "/proc/./self"):
        spec["mounts"][-1] = bind(tmp_path, destination)
        assert "because it is inside /proc" in lab.run(spec)[1]
    (lab.tree / "alias").unlink()


@pytest.mark.parametrize("kind", ["fifo", "device", "directory", "link outside", "dangling", "endless", "huge", "kmsg"])
def test_a_hostile_passwd_file_neither_blocks_nor_leads_out(lab: Lab, tree: Path, tmp_path: Path, kind: str) -> None:
    path = tree / "etc/passwd"
    path.unlink()
    if kind == "fifo":
        os.mkfifo(path)
    elif kind == "device":
        os.mknod(path, 0o20666, os.makedev(1, 5))
    elif kind == "directory":
        path.mkdir()
    elif kind == "link outside":
        (tmp_path / "passwd").write_text("foo:x:5:5::/:\n")
        path.symlink_to(tmp_path / "passwd")
    elif kind == "kmsg":
        path.symlink_to("/proc/kmsg")
    elif kind == "dangling":
        path.symlink_to("nowhere")
    elif kind == "endless":
        path.symlink_to("passwd")
    else:
        path.write_text("")
        os.truncate(path, 1 << 40)
    code, text = lab.run(specification("id", user={"username": "foo"}), lower=[str(tree)])
    assert code == 128
    assert text in (
        "unable to find user foo: no matching entries in passwd file",
        "/etc/passwd is larger than 4194304 bytes",
    )


@pytest.mark.parametrize(
    ("user", "output"),
    [
        ({"username": "worker"}, "uid=1000(worker) gid=1001(worker) groups=10(wheel),1001(worker)"),
        ({"username": "worker:audio"}, "uid=1000(worker) gid=29(audio) groups=29(audio)"),
        ({"username": "4711"}, "uid=4711 gid=0(root) groups=0(root)"),
        ({"username": "0:77"}, "uid=0(root) gid=77 groups=77"),
        (
            {"username": "", "additionalGroups": ["audio", "99"]},
            "uid=0(root) gid=0(root) groups=0(root),10(wheel),29(audio),99",
        ),
        ({"uid": 5, "gid": 6, "additionalGroups": [7]}, "uid=5 gid=6 groups=7"),
    ],
)  # fmt: skip
def test_users_and_groups_are_looked_up_in_the_container(lab: Lab, user: Json, output: str) -> None:
    assert lab.run(specification("id", user=user))[1].strip() == output


def test_home_comes_from_passwd_unless_the_environment_has_it(lab: Lab) -> None:
    assert lab.run(shell("echo $HOME", user={"username": "worker"})) == (0, "/home/worker\n")
    env = [*process()["env"], "HOME=/elsewhere"]
    assert lab.run(shell("echo $HOME", user={"username": "worker"}, env=env)) == (0, "/elsewhere\n")


def test_capabilities_are_those_asked_for(lab: Lab) -> None:
    names = sorted(capability.DEFAULT)
    wanted = {"bounding": names, "effective": names, "permitted": names, "inheritable": [], "ambient": []}
    root = lab.run(shell("grep Cap /proc/self/status", capabilities=wanted))[1].split()
    user = lab.run(shell("grep Cap /proc/self/status", capabilities=wanted, user={"username": "worker"}))[1].split()
    mask, none = f"{capability.mask(names):016x}", "0" * 16
    assert root[1::2] == [none, mask, mask, mask, none]
    assert user[1::2] == [none, none, none, mask, none]


@pytest.mark.parametrize("locked", [False, True])
@pytest.mark.parametrize("user", ["", "worker"])
def test_the_seccomp_program_and_no_new_privileges_hold(lab: Lab, locked: bool, user: str) -> None:
    profile = {
        "defaultAction": "SCMP_ACT_ALLOW",
        "syscalls": [{"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO", "errnoRet": 95}],
    }
    names = sorted(capability.DEFAULT)
    spec = shell(
        "mkdir /tmp/d; grep -E 'NoNewPrivs|Seccomp:' /proc/self/status",
        noNewPrivileges=locked,
        user={"username": user},
        capabilities={"bounding": names, "effective": names, "permitted": names},
    )
    code, text = lab.run(spec, seccomp=seccomp.compile_profile(profile))
    assert "Operation not supported" in text or "Not supported" in text
    assert text.split()[-4:] == ["NoNewPrivs:", str(int(locked)), "Seccomp:", "2"]
    assert code == 0


def test_a_profile_that_forbids_sockets_does_not_stop_the_start(lab: Lab) -> None:
    forbidden = ["sendmsg", "sendto", "recvmsg", "setuid", "umask", "socket"]
    rule = {"names": forbidden, "action": "SCMP_ACT_KILL_PROCESS"}
    profile = {"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [rule]}
    names = sorted(capability.DEFAULT)
    capabilities = {"bounding": names, "effective": names, "permitted": names}
    assert lab.run(
        specification("echo", "hi", capabilities=capabilities), seccomp=seccomp.compile_profile(profile)
    ) == (
        0,
        "hi\n",
    )


@pytest.mark.parametrize("locked", [False, True])
@pytest.mark.parametrize("forbidden", ["mkdir", "clone", "setsid", "ioctl"])
def test_an_exec_is_under_its_profile_whether_that_lets_processes_fork_or_not(
    lab: Lab, locked: bool, forbidden: str
) -> None:
    rule = {"names": [forbidden], "action": "SCMP_ACT_ERRNO", "errnoRet": 95}
    program = seccomp.compile_profile({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [rule]})
    names = sorted(capability.DEFAULT)
    fields = {
        "noNewPrivileges": locked,
        "user": {"username": "worker"},
        "capabilities": {"bounding": names, "effective": names, "permitted": names},
    }
    running = lab.start(specification("sleep", "1000"))
    running.await_start()
    words = ("grep", "-E", "NoNewPrivs|Seccomp:|CapEff|NSsid|NStgid", "/proc/self/status")
    code, text = running.run(*words, seccomp=program, **fields)
    assert code == 0, text
    status = dict(line.split(":\t") for line in text.splitlines())
    assert status["Seccomp"] == "2"
    assert status["NoNewPrivs"] == str(int(locked))
    assert status["CapEff"] == "0" * 16
    assert status["NSsid"] == status["NStgid"]  # a session of its own
    terminal = Attached(stdin=True, framed=False)
    answer = running.exec("sh", "-c", "tty </dev/tty", attach=terminal, tty=True, seccomp=program, **fields)
    assert answer["ok"]
    assert terminal.read_all()[1] == (b"not a tty\r\n" if forbidden == "ioctl" else b"/dev/tty\r\n")
    running.ctl.wait("exec_exited", exec_id=answer["exec_id"])


def test_an_exec_goes_into_a_container_that_may_have_no_more_processes(lab: Lab) -> None:
    spec = specification("sleep", "1000")
    spec["linux"] |= {"cgroupsPath": f"/orlop-test-{os.getpid()}-p", "resources": {"pids": {"limit": 1}}}
    running = lab.start(spec)
    running.await_start()
    assert running.run("echo", "hi") == (0, "hi\n")
    assert "can't fork" in running.run("sh", "-c", "true & true")[1]
    children = Path(f"/proc/{running.shim_pid}/task/{running.shim_pid}/children")
    assert eventually(lambda: children.read_text().split() == [str(running.pid)])


def test_bind_mounts_are_read_only_as_deep_as_asked(lab: Lab, tmp_path: Path) -> None:
    source = tmp_path / "source"
    (source / "below").mkdir(parents=True)
    subprocess.run(["mount", "-t", "tmpfs", "tmpfs", source / "below"], check=True)
    try:
        for option, expected in (("rw", "ab"), ("ro", "b"), ("rro", "")):
            spec = shell("touch /m/a 2>/dev/null && echo -n a; touch /m/below/b 2>/dev/null && echo -n b; true")
            spec["mounts"].append(bind(source, "/m", option))
            assert lab.run(spec) == (0, expected)
    finally:
        subprocess.run(["umount", source / "below"], check=True)


def test_mounts_propagate_only_where_it_was_asked(lab: Lab, tmp_path: Path) -> None:
    source = tmp_path / "source"
    (source / "below").mkdir(parents=True)
    subprocess.run(["mount", "--bind", source, source], check=True)
    subprocess.run(["mount", "--make-shared", source], check=True)
    spec = shell("sleep 1000")
    spec["mounts"] += [bind(source, "/slave", "rslave"), bind(source, "/private", "rprivate"), bind(source, "/none")]
    running = lab.start(spec)
    running.await_start()
    try:
        subprocess.run(["mount", "-t", "tmpfs", "tmpfs", source / "below"], check=True)
        mounts = Path(f"/proc/{running.pid}/mounts").read_text()
        assert [name for name in ("slave", "private", "none") if f" /{name}/below " in mounts] == ["slave"]
    finally:
        running.signal(signal.SIGKILL)
        running.await_exit()
        subprocess.run(["umount", source / "below"], check=True)
        subprocess.run(["umount", source], check=True)


def test_nothing_of_the_container_is_mounted_on_the_host(lab: Lab) -> None:
    before = Path("/proc/self/mounts").read_text()
    running = lab.start(shell("sleep 1000"))
    running.await_start()
    assert Path("/proc/self/mounts").read_text() == before
    mounts = Path(f"/proc/{running.pid}/mounts").read_text()
    assert "/dev/vda" not in mounts
    running.signal(signal.SIGKILL)
    running.await_exit()


def test_devices_are_made_as_asked(lab: Lab) -> None:
    spec = shell("stat -c '%F %a %u %g %t:%T' /dev/deep/thing")
    device = {"path": "/dev/deep/thing", "type": "c", "major": 1, "minor": 5, "fileMode": 0o640, "uid": 1000, "gid": 7}
    spec["linux"]["devices"] = [device]
    assert lab.run(spec) == (0, "character special file 640 1000 7 1:5\n")


def test_a_user_owns_its_streams(lab: Lab) -> None:
    script = "echo out > /dev/stdout; echo err > /dev/stderr; stat -L -c %u /proc/self/fd/0"
    code, text = lab.run(shell(script, user={"username": "worker"}))
    assert code == 0
    assert sorted(text.split()) == ["0", "err", "out"]


def test_many_layers_are_mounted(lab: Lab, tmp_path: Path) -> None:
    layers = []
    for number in range(200):
        layer = tmp_path / f"{number:064d}"
        layer.mkdir()
        (layer / f"f{number}").touch()
        layers.append(str(layer))
    assert lab.run(shell("ls -d /f* | wc -l"), lower=[*layers, str(lab.tree)]) == (0, "200\n")
    shutil.rmtree(tmp_path)


def test_sockets_in_the_run_directory_are_for_root_alone(lab: Lab) -> None:
    running = lab.start(shell("sleep 1000"))
    running.await_start()
    assert (running.run_dir / "shim.sock").stat().st_mode & 0o777 == 0o600
    assert isinstance(running.connect().sock, socket.socket)
    running.signal(signal.SIGKILL)
    running.await_exit()
