"""What a container with default settings can ask of the kernel: system calls, /proc and /sys, cgroups, capabilities."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from orlop.linux import capability
from support.archives import member
from support.attacker import TOOLS, Attacker, Outcome, python_words

pytestmark = pytest.mark.root

Python = Callable[..., Outcome]

# System calls by libc's name where it has one, else by the number that is the same on every architecture since 5.1.
CALLS = """
import ctypes, errno, json, os, platform, socket
libc = ctypes.CDLL(None, use_errno=True)
old = {"x86_64": dict(keyctl=250, add_key=248, request_key=249, bpf=321, perf_event_open=298, userfaultfd=323,
    open_by_handle_at=304, init_module=175, finit_module=313, kexec_load=246, kcmp=312, acct=163, mount=165,
    pivot_root=155, swapon=167, reboot=169, settimeofday=164, quotactl=179, syslog=103,
    unshare=272, setns=308, lookup_dcookie=212, nfsservctl=180, iopl=172, ioperm=173, clone=56)}
old = old.get(platform.machine(), {})
new = dict(io_uring_setup=425, io_uring_enter=426, io_uring_register=427, open_tree=428, move_mount=429, fsopen=430,
    fsconfig=431, fsmount=432, fspick=433, pidfd_getfd=438, mount_setattr=442, quotactl_fd=443)
answers = {}
for name, number in {**old, **new}.items():
    arguments = (0x10000000 | 17,) if name == "clone" else (0x10000000,) if name == "unshare" else (0, 0, 0, 0, 0)
    ctypes.set_errno(0)
    result = libc.syscall(number, *map(ctypes.c_long, arguments))
    if name == "clone" and result == 0: os._exit(0)
    answers[name] = errno.errorcode[ctypes.get_errno()] if result < 0 else "done"
for kind in ("user", "mnt", "net", "pid", "uts", "ipc", "cgroup"):
    flag = dict(user=0x10000000, mnt=0x20000, net=0x40000000, pid=0x20000000, uts=0x4000000, ipc=0x8000000,
        cgroup=0x2000000)[kind]
    ctypes.set_errno(0)
    answers["unshare " + kind] = "done" if libc.unshare(flag) == 0 else errno.errorcode[ctypes.get_errno()]
for family in ("AF_VSOCK", "AF_ALG"):
    try: socket.socket(getattr(socket, family), socket.SOCK_SEQPACKET if family == "AF_ALG" else socket.SOCK_STREAM)
    except OSError as error: answers[family] = errno.errorcode[error.errno]
    else: answers[family] = "done"
answers["clone3"] = errno.errorcode[ctypes.get_errno()] if libc.syscall(435, 0, 0) < 0 else "done"
answers["future"] = errno.errorcode[ctypes.get_errno()] if libc.syscall(4000, 0) < 0 else "done"
print(json.dumps(answers))
"""


@pytest.mark.parametrize("user", ["", "1000"])
def test_system_calls_that_broke_kernels_are_closed(attacker: Attacker, python: Python, user: str) -> None:
    """CVE-2022-0185 (fsopen), -0492 (unshare), CVE-2021-31440 (bpf), io_uring, keyrings, AF_VSOCK; in an exec, too."""
    answers = python(CALLS, User=user).json
    container = attacker.start(TOOLS, *python_words("import time; time.sleep(1000)"), host=attacker.with_tools())
    assert attacker.exec(container, *python_words(CALLS), User=user).json == answers
    assert (answers.pop("clone3"), answers.pop("future")) == ("ENOSYS", "ENOSYS")
    del answers["AF_ALG"]  # open in some profiles
    assert {name: answer for name, answer in answers.items() if answer not in ("EPERM", "ENOSYS")} == {}


def test_a_privileged_exec_in_an_ordinary_container_keeps_its_profile(attacker: Attacker, python: Python) -> None:
    container = attacker.start(TOOLS, *python_words("import time; time.sleep(1000)"), host=attacker.with_tools())
    assert attacker.exec(container, *python_words(CALLS), Privileged=True).json["io_uring_setup"] == "EPERM"


def test_what_tells_of_the_host_is_masked(attacker: Attacker) -> None:
    """CVE-2018-10892 (acpi), powercap (Platypus, CVE-2020-8694), thermal counters, interrupts."""
    files = ["/proc/kcore", "/proc/keys", "/proc/timer_list", "/proc/sched_debug", "/proc/interrupts"]
    directories = ["/proc/acpi", "/proc/scsi", "/proc/asound", "/sys/firmware", "/sys/devices/virtual/powercap"]
    directories.append("/sys/devices/system/cpu/cpu0/thermal_throttle")
    container = attacker.start("busybox", "sleep", "1000")
    script = f"for f in {' '.join(files)}; do [ -e $f ] && cat $f; done; "
    script += f"for d in {' '.join(directories)}; do [ -d $d ] && ls -A $d && touch $d/x; done; exit 0"
    for outcome in (attacker.shell(script), attacker.exec(container, "sh", "-c", f"exec 2>&1; {script}")):
        lines = [line for line in outcome.lines if "Read-only file system" not in line]
        assert (outcome.code, lines) == (0, [])


def test_masks_cannot_be_taken_off(attacker: Attacker) -> None:
    script = (
        "umount /proc/timer_list; umount /sys/firmware; mount -o remount,rw /proc/sys; mount -o bind,remount,rw /sys;"
    )
    script += (
        "mount -t proc proc /mnt; mv /proc /x; rm -rf /proc/timer_list; mount --move /proc /mnt; cat /proc/timer_list"
    )
    outcome = attacker.shell(script)
    assert "now at" not in outcome.output
    assert outcome.output.count("ermi") + outcome.output.count("busy") + outcome.output.count("Read-only") >= 6, outcome


@pytest.mark.parametrize(
    "path",
    [
        "/proc/sys/kernel/core_pattern",
        "/proc/sys/kernel/modprobe",
        "/proc/sys/fs/binfmt_misc/register",
        "/proc/sys/vm/panic_on_oom",
        "/proc/sysrq-trigger",
        "/proc/irq/default_smp_affinity",
        "/sys/kernel/uevent_helper",
        "/sys/module/nf_conntrack/parameters/hashsize",
        "/sys/power/state",
    ],
)
def test_the_hosts_switches_cannot_be_thrown(attacker: Attacker, path: str) -> None:
    """core_pattern, modprobe, uevent_helper and binfmt_misc run programs as root of the host."""
    outcome = attacker.shell(f"[ -e {path} ] || exit 9; echo '|/evil' > {path} && echo WRITTEN")
    if outcome.code == 9:
        pytest.skip(f"this kernel has no {path}")
    assert "Read-only file system" in outcome.output or "ermission denied" in outcome.output


@pytest.mark.parametrize("mode", ["private", "host"])
def test_release_agents_cannot_be_set(attacker: Attacker, mode: str) -> None:
    """CVE-2022-0492: cgroup v1 runs the release agent as root of the host; it is neither written nor mounted anew."""
    script = (
        "mkdir /m; for c in memory pids rdma misc; do mount -t cgroup -o $c cgroup /m && echo MOUNTED; done;"
        "mount -t cgroup2 cgroup2 /m && echo MOUNTED;"
        "unshare -UrmC sh -c 'mount -t cgroup -o rdma c /m && echo MOUNTED';"
        "for f in $(find /sys/fs/cgroup -name release_agent) /sys/fs/cgroup/*/notify_on_release"
        " /sys/fs/cgroup/cgroup.procs /sys/fs/cgroup/*/cgroup.procs; do [ -e $f ] && echo 1 > $f && echo WRITTEN; done;"
        "for d in /sys/fs/cgroup /sys/fs/cgroup/*/; do mkdir $d/evil && echo MADE; done; exit 0"
    )
    outcome = attacker.shell(script, host={"CgroupnsMode": mode})
    assert outcome.code == 0
    assert not {"MOUNTED", "WRITTEN", "MADE"} & set(outcome.lines), outcome
    assert "Read-only file system" in outcome.output


def test_a_private_cgroup_namespace_shows_nothing_above(attacker: Attacker) -> None:
    outcome = attacker.shell(
        "cat /proc/self/cgroup; find /sys/fs/cgroup -name release_agent", host={"CgroupnsMode": "private"}
    )
    assert {line.rpartition(":")[2] for line in outcome.lines} == {"/"}


@pytest.mark.parametrize(
    "parent", ["..", "../../evil", "/a/../../evil", "a/..", "evil\nx", "evil\0", "evil" * 99, "evil/" * 99]
)
def test_cgroup_parents_stay_below_the_root(attacker: Attacker, parent: str) -> None:
    outcome = attacker.shell("true", host={"CgroupParent": parent})
    assert outcome.code == -1
    assert "cgroup" in outcome.output or "NUL" in outcome.output
    assert not [*Path("/sys/fs/cgroup").glob("evil*"), *Path("/sys/fs/cgroup").glob("*/evil*")]


@pytest.mark.parametrize(
    "name",
    [
        "kernel.core_pattern",
        "kernel/core_pattern",
        "vm.panic_on_oom",
        "net.ipv4/../../kernel/core_pattern",
        "net...kernel.core_pattern",
        "net.ipv4.ip_forward\nkernel.core_pattern",
        "net/../kernel/core_pattern",
        "fs.mqueue./../../kernel/core_pattern",
        "kernel.hostname",
        "",
    ],
)
def test_kernel_parameters_of_the_host_are_not_set(attacker: Attacker, name: str) -> None:
    outcome = attacker.shell("true", host={"Sysctls": {name: "|/evil"}})
    assert (outcome.code, "sysctl" in outcome.output) == (-1, True)


def test_kernel_parameters_of_a_joined_namespace_are_not_set(attacker: Attacker) -> None:
    for host in (
        {"NetworkMode": "host", "Sysctls": {"net.ipv4.ip_forward": "1"}},
        {"IpcMode": "host", "Sysctls": {"kernel.shmmax": "1"}},
        {"UTSMode": "host", "Sysctls": {"kernel.domainname": "evil"}},
    ):
        outcome = attacker.shell("true", host=host)
        assert (outcome.code, "allowed" in outcome.output) == (-1, True)


STATUS = """
import json
fields = dict(line.split(":", 1) for line in open("/proc/self/status"))
print(json.dumps({name: fields[name].strip() for name in fields}))
"""


@pytest.mark.parametrize("user", ["", "1000", "worker"])
def test_no_capability_is_inheritable_or_ambient(attacker: Attacker, python: Python, user: str) -> None:
    """CVE-2022-24769, CVE-2022-29162: in a start and in an exec; a user has none in effect, whatever was added."""
    full, none = f"{capability.mask(capability.DEFAULT):016x}", "0" * 16
    container = attacker.start(TOOLS, *python_words("import time; time.sleep(1000)"), host=attacker.with_tools())
    for outcome in (python(STATUS, User=user), attacker.exec(container, *python_words(STATUS), User=user)):
        status = outcome.json
        effective = none if user else full
        assert [status[f"Cap{kind}"] for kind in ("Inh", "Prm", "Eff", "Bnd", "Amb")] == [
            *(none, effective, effective, full, none)
        ]
        assert status["Seccomp"] == "2"
    added = python(STATUS, host={"CapAdd": ["ALL"]}, User="1000").json
    assert [added[f"Cap{kind}"] for kind in ("Inh", "Prm", "Eff", "Amb")] == [none] * 4


def test_privileges_are_not_regained(attacker: Attacker, python: Python) -> None:
    """no-new-privileges: a set-user-id program of the image stays what its caller is."""
    interpreter = Path(sys.executable).resolve().read_bytes()
    image = attacker.image(*attacker.tools(), member("python", interpreter, mode=0o4755))
    words = ("/python", "-I", "-S", "-c", "import os; print(os.geteuid())")

    def user(**security: list[str]) -> list[Outcome]:
        host = attacker.with_tools(security)
        container = attacker.start(image, *python_words("import time; time.sleep(1000)"), host=host)
        run = attacker.run(image, *words, User="1000", host=host)
        return [run, attacker.exec(container, *words, User="1000")]

    assert user() == [Outcome(0, "0\n")] * 2
    assert user(SecurityOpt=["no-new-privileges"]) == [Outcome(0, "1000\n")] * 2
    assert python(STATUS, host={"SecurityOpt": ["no-new-privileges"]}).json["NoNewPrivs"] == "1"


def test_the_engines_namespaces_are_not_the_containers(attacker: Attacker, python: Python) -> None:
    script = "import json, os\nnames = os.listdir('/proc/self/ns')\n"
    script += "print(json.dumps({name: os.readlink('/proc/self/ns/' + name) for name in names}))"
    inside = python(script, host={"CgroupnsMode": "private"}).json
    own = {name: (Path("/proc/self/ns") / name).readlink() for name in inside}
    same = {name for name in inside if inside[name] == str(own[name])}
    assert same <= {"user", "time", "time_for_children"}
