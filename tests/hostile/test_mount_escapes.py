"""Mounts that lead out of a container: links in images and in shared volumes, at the target and at the source."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from pathlib import Path
from tarfile import CHRTYPE, FIFOTYPE, SYMTYPE

import pytest

from support.archives import Member, member
from support.attacker import TOOLS, Attacker, Json, Outcome, python_words
from support.daemon import Daemon

pytestmark = pytest.mark.root

Python = Callable[..., Outcome]
SHELL = ("/bin/busybox", "sh", "-c")
WRITE = "for f in /etc/hosts /etc/hostname /etc/resolv.conf /dev/shm/x /dev/x /etc/x; do echo evil > $f; done; exit 0"


def link(name: str, target: Path | str) -> Member:
    return member(name, kind=SYMTYPE, linkname=str(target))


def inside(outcome: Outcome) -> bool:
    """Whether a container ran, or its start was refused for a reason that is told."""
    refusals = (
        *("must be mounted on ordinary directory", "too many levels of symbolic links", "not a directory"),
        *("it is inside /proc", "not of type proc", "file exists", "is not a devpts"),
    )
    return outcome.code == 0 or (outcome.code == -1 and any(text in outcome.output for text in refusals))


@pytest.mark.parametrize("name", ["proc", "sys", "dev", "etc"])
def test_directories_of_an_image_that_are_links_lead_nowhere_outside(
    attacker: Attacker, secret: Path, name: str
) -> None:
    """CVE-2019-19921, CVE-2023-27561, CVE-2023-28642: /proc, /sys, /dev and /etc as links."""
    for target in (secret.parent, "../" * 12 + str(secret.parent).lstrip("/"), "/proc/self/root/etc"):
        outcome = attacker.run(attacker.image(link(name, target)), *SHELL, WRITE)
        assert inside(outcome), outcome
        assert outcome.code != 0 or name not in ("proc", "sys")
    for odd in (member(name, b"x"), member(name, kind=FIFOTYPE), link(name, name)):
        outcome = attacker.run(attacker.image(odd), *SHELL, "exit 0")
        assert inside(outcome), outcome


@pytest.mark.parametrize("name", ["etc/hosts", "etc/hostname", "etc/resolv.conf", "dev/shm", "dev/pts", "dev/console"])
def test_mount_targets_of_an_image_that_are_links_lead_nowhere_outside(
    attacker: Attacker, secret: Path, name: str
) -> None:
    """CVE-2021-30465, CVE-2025-52565: the places of the engine's own mounts as links, files, devices."""
    odd = [link(name, target) for target in (secret, secret.parent / "new", "../" * 12 + str(secret)[1:], "/dev/null")]
    odd += [link(name, "/proc/sys/kernel/core_pattern"), link(name, "/proc/self/fd/3"), member(f"{name}/")]
    odd += [member(name, kind=FIFOTYPE), member(name, kind=CHRTYPE, devmajor=1, devminor=3)]
    for entry in odd if name == "etc/hosts" else odd[1:5:2]:
        for tty in (False, True) if name.startswith("dev/") else (False,):
            image = attacker.image(entry)
            outcome = attacker.run(image, *SHELL, WRITE, Tty=tty)
            assert inside(outcome), (entry.linkname, outcome)


def test_the_place_of_the_init_program_may_be_a_link(attacker: Attacker, secret: Path) -> None:
    for entry in (link("sbin", secret.parent), link("sbin/docker-init", secret.parent / "init")):
        outcome = attacker.run(attacker.image(entry), *SHELL, "exit 7", host={"Init": True})
        assert outcome.code == 7 or "--init needs" in outcome.output


FLIP = """
import ctypes, os
libc = ctypes.CDLL(None)
os.makedirs("/v/real", exist_ok=True)
os.symlink("/" + "../" * 12, "/v/link")
print("flipping")
while True: libc.renameat2(-100, b"/v/real", -100, b"/v/link", 2)
"""


def test_a_volume_whose_directories_are_exchanged_meanwhile_does_not_lead_out(
    attacker: Attacker, python: Python, secret: Path
) -> None:
    """CVE-2021-30465: one container swaps a directory for a link to / while others start with mounts beneath it."""
    attacker.start(TOOLS, *python_words(FLIP), host=attacker.with_tools({"Binds": ["race:/v"]}))
    place = f"/v/real{secret.parent}"
    refused = 0
    for _ in range(25):
        mounts = [{"Type": "tmpfs", "Target": place}, {"Type": "volume", "Source": "plain", "Target": f"{place}/b"}]
        outcome = attacker.shell(f"cat /v/real{secret}", host={"Binds": ["race:/v"], "Mounts": mounts})
        assert secret.read_text() not in outcome.output
        refused += outcome.code == -1
    assert refused < 25


def test_masks_and_proc_are_put_past_a_volume_that_is_exchanged_meanwhile(attacker: Attacker, python: Python) -> None:
    """CVE-2025-52881: a shared mount that redirects what the runtime writes to /proc; the sysctl has to arrive."""
    attacker.start(TOOLS, *python_words(FLIP), host=attacker.with_tools({"Binds": ["race:/v"]}))
    script = "cat /proc/sys/net/ipv4/ip_default_ttl; head -c1 /proc/timer_list | wc -c; "
    script += "echo 1 > /proc/sys/net/ipv4/ip_forward"
    for target in ("/v/real/proc", "/v/link/proc/sys", "/v/link/proc/self/attr"):
        host: Json = {"Binds": ["race:/v", f"other:{target}"], "Sysctls": {"net.ipv4.ip_default_ttl": "77"}}
        for _ in range(4):
            outcome = attacker.shell(script, host=host)
            if outcome.code == -1:
                assert "inside /proc" in outcome.output or "symbolic links" in outcome.output, outcome
            else:
                assert outcome.lines[:2] == ["77", "0"]
                assert "Read-only file system" in outcome.output


@pytest.mark.parametrize("target", ["/proc", "/proc/", "/x/../proc"])
def test_nothing_but_procfs_is_mounted_on_proc(attacker: Attacker, target: str) -> None:
    """CVE-2019-16884, CVE-2019-19921: a fake /proc takes what was meant for the kernel, and has no masks."""
    for host in ({"Binds": [f"fake:{target}"]}, {"Tmpfs": {target: ""}}):
        outcome = attacker.shell("ls /proc", host=host)
        assert (outcome.code, "not of type proc" in outcome.output) == (-1, True), outcome
    outcome = attacker.shell("echo x > /proc/sys/kernel/core_pattern", host={"Binds": [f"/proc:{target}"]})
    assert "Read-only file system" in outcome.output


@pytest.mark.parametrize("target", ["/proc/self", "/proc/self/attr", "/proc/sys/kernel", "/proc/1/ns", "/proc/kcore"])
def test_nothing_is_mounted_inside_proc(attacker: Attacker, target: str) -> None:
    """CVE-2019-16884: by a volume of the image or of the user."""
    outcome = attacker.shell("true", host={"Binds": [f"fake:{target}"]})
    assert (outcome.code, "cannot be mounted" in outcome.output or "/proc" in outcome.output) == (-1, True)
    image = attacker.image(member("proc/"), config={"Volumes": {target: {}}})
    assert attacker.run(image, *SHELL, "true").code == -1


def test_masks_do_not_come_from_the_image(attacker: Attacker) -> None:
    """CVE-2025-31133: an image whose /dev/null is a link or a file, shown through a volume or not."""
    script = "/bin/busybox cat /proc/timer_list /proc/interrupts | /bin/busybox wc -c"
    for null in (link("dev/null", "/proc/sys/kernel/core_pattern"), member("dev/null", b"x" * 99)):
        image = attacker.image(null)
        assert attacker.run(image, *SHELL, script).lines == ["0"]
        assert attacker.run(image, *SHELL, script, host={"Binds": ["dev:/dev"]}).lines == ["0"]
        attacker.daemon.remove_everything()


def test_a_terminal_is_of_the_containers_own_devpts(attacker: Attacker, secret: Path) -> None:
    """CVE-2025-52565: /dev/pts and /dev/console are replaced through volumes; in a start and in an exec."""
    for path in ("/dev", "/dev/pts", "/dev/console", "/dev/pts/0"):
        outcome = attacker.shell("tty", host={"Binds": [f"fake:{path}"]}, Tty=True)
        assert outcome.code in (-1, 0), outcome
        assert secret.read_text() not in outcome.output
    image = attacker.image(link("dev/pts", "/"), link("dev/ptmx", secret), link("dev/console", secret))
    container = attacker.start(image, "/bin/busybox", "sleep", "1000", host={"Binds": ["pty:/dev"]})
    refused = attacker.exec(container, "/bin/busybox", "tty", Tty=True)
    assert "/dev/pts is not a devpts file system" in refused.output
    assert attacker.exec(container, "/bin/busybox", "true").code == 0


def test_the_subpath_of_a_volume_is_all_that_is_seen_of_it(attacker: Attacker, secret: Path) -> None:
    """CVE-2017-1002101, CVE-2021-25741 (of Kubernetes): links in a volume lead a subpath out of it."""
    made = attacker.shell(
        "cd /v; mkdir sub; touch sub/mark; ln -s sub alias; ln -s / top; "
        f"ln -s {secret.parent} out; ln -s {'../' * 12} up",
        host={"Binds": ["data:/v"]},
    )
    assert made.code == 0

    def show(subpath: str) -> Outcome:
        options = {"Subpath": subpath}
        mount = {"Type": "volume", "Source": "data", "Target": "/v", "VolumeOptions": options}
        return attacker.shell(f"ls -A /v; cat /v/secret /v{secret}", host={"Mounts": [mount]})

    for name in ("sub", "alias", "./sub/"):
        assert show(name).lines[0] == "mark", name
    for name in ("out", "up/etc", "up/sub", "top", "top/sub", f"top{secret.parent}", "sub/../../..", "missing"):
        assert show(name).code == -1, name


def test_a_subpath_that_is_exchanged_after_the_creation_does_not_lead_out(attacker: Attacker, secret: Path) -> None:
    """CVE-2021-25741: what was checked when the container was created is a link when it starts."""
    attacker.shell("mkdir /v/sub", host={"Binds": ["data:/v"]})
    mount = {"Type": "volume", "Source": "data", "Target": "/v", "VolumeOptions": {"Subpath": "sub"}}
    status, answer = attacker.create("busybox", "cat", "/v/secret", host={"Mounts": [mount]})
    assert status == 201
    attacker.shell(f"rmdir /v/sub; ln -s {secret.parent} /v/sub", host={"Binds": ["data:/v"]})
    status, data = attacker.daemon.request("POST", f"/containers/{answer['Id']}/start")
    assert status >= 400
    assert b"escapes the base directory" in data


def test_a_shared_dev_shm_that_is_a_link_does_not_lead_out(attacker: Attacker, secret: Path) -> None:
    """The donor of --ipc container: decides what its /dev/shm is, but not beyond its own root."""
    attacker.shell(f"ln -s {secret.parent} /v/shm", host={"Binds": ["dev:/v"]})
    donor = attacker.start("busybox", "sleep", "1000", host={"IpcMode": "shareable", "Binds": ["dev:/dev"]})
    outcome = attacker.shell("cat /dev/shm/secret; echo evil > /dev/shm/evil", host={"IpcMode": f"container:{donor}"})
    assert outcome.code == -1
    honest = attacker.start("busybox", "sh", "-c", "echo 1 > /dev/shm/a; sleep 9", host={"IpcMode": "shareable"})
    assert attacker.shell("until cat /dev/shm/a; do :; done", host={"IpcMode": f"container:{honest}"}).code == 0
    private = attacker.start("busybox", "sleep", "1000")
    assert "non-shareable IPC" in attacker.shell("true", host={"IpcMode": f"container:{private}"}).output


def test_a_volume_is_filled_without_following_links_of_the_image(attacker: Attacker, secret: Path) -> None:
    """Copy-up reads and writes as root of the host."""
    image = attacker.image(
        member("data/"),
        link("data/out", secret.parent),
        link("alias", secret.parent),
        member("data/fifo", kind=FIFOTYPE),
    )
    outcome = attacker.run(image, *SHELL, "cat /data/out/secret; echo x > /data/out/x", host={"Binds": ["v1:/data"]})
    assert outcome.code != 0
    outcome = attacker.run(image, *SHELL, "/bin/busybox ls -A /alias", host={"Binds": ["v2:/alias/deep", "v3:/alias"]})
    assert secret.read_text() not in outcome.output
    assert "secret" not in outcome.output


@pytest.mark.parametrize("name", ["../x", "a/b", "..", ".", "a\nb", "-x", "x" * 300, "a\0b", "/", "%2e%2e", "é"])
def test_names_of_volumes_are_names(attacker: Attacker, name: str) -> None:
    before = sorted(path.name for path in attacker.daemon.data_root.iterdir())
    for host in ({"Binds": [f"{name}:/v"]}, {"Mounts": [{"Type": "volume", "Source": name, "Target": "/v"}]}):
        assert attacker.shell("true", host=host).code == -1 or name == "/"
    assert attacker.daemon.request("POST", "/volumes/create", {"Name": name})[0] == 400
    assert sorted(path.name for path in attacker.daemon.data_root.iterdir()) == before


@pytest.mark.parametrize("target", ["/", "/..", "/v/../..", "", "relative", "/v\0"])
def test_targets_of_mounts_are_below_the_root(attacker: Attacker, target: str) -> None:
    status, answer = attacker.create("busybox", "true", host={"Mounts": [{"Type": "tmpfs", "Target": target}]})
    assert (status, "mount" in answer["message"] or "NUL" in answer["message"]) == (400, True)


def test_sources_of_binds_may_be_sockets_links_and_devices(attacker: Attacker, secret: Path, tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(tmp_path / "socket"))
        os.mkfifo(tmp_path / "fifo")
        (tmp_path / "link").symlink_to("nowhere")
        (tmp_path / "deep").symlink_to("deep")
        for name, kind in (("socket", "socket"), ("fifo", "fifo")):
            outcome = attacker.shell("stat -c %F /v/x", host={"Binds": [f"{tmp_path / name}:/v/x"]})
            assert outcome.lines == [kind]
            assert attacker.shell("true", host={"Binds": [f"{tmp_path / name}:/etc"]}).code == -1
        for name in ("link", "deep"):
            mount = {"Type": "bind", "Source": str(tmp_path / name), "Target": "/v"}
            assert "bind source path does not exist" in attacker.shell("true", host={"Mounts": [mount]}).output


def test_the_hosts_devices_cannot_be_opened_through_nodes(attacker: Attacker, python: Python, orlopd: Daemon) -> None:
    """A node may be made; the device cgroup keeps it closed, in an exec, too."""
    disk = os.stat(orlopd.data_root).st_dev
    nodes = [("b", os.major(disk), os.minor(disk)), ("c", 1, 1), ("c", 1, 2), ("c", 1, 4), ("c", 1, 11), ("c", 10, 200)]
    script = "; ".join(
        f"mknod /n{i} {kind} {major} {minor}; head -c1 /n{i}" for i, (kind, major, minor) in enumerate(nodes)
    )
    container = attacker.start("busybox", "sleep", "1000")
    for outcome in (attacker.shell(script), attacker.exec(container, "sh", "-c", f"exec 2>&1; {script}")):
        assert outcome.output.count("Operation not permitted") == len(nodes), outcome.output
    image = attacker.image(member("disk", kind=b"4", devmajor=os.major(disk), devminor=os.minor(disk), mode=0o666))
    assert "Operation not permitted" in attacker.run(image, *SHELL, "/bin/busybox head -c1 /disk 2>&1").output
