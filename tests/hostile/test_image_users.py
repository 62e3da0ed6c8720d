"""Users and groups are looked up in files that the image made: they may be anything, and lie about anybody."""

from __future__ import annotations

from pathlib import Path
from tarfile import CHRTYPE, FIFOTYPE, SYMTYPE

import pytest

from support.archives import Member, member
from support.attacker import Attacker, Outcome

pytestmark = pytest.mark.root

ID = ("/bin/busybox", "id")
NUMBERS = ("/bin/busybox", "grep", "-E", "^(Uid|Gid|Groups):", "/proc/self/status")  # looks nothing up
PASSWD = b"root:x:0:0::/root:/bin/sh\nworker:x:1000:1001::/home:/bin/sh\n"
GROUP = b"root:x:0:root\nwheel:x:10:root,worker\nworker:x:1001:\ndocker:x:999:worker\n"


@pytest.fixture
def outside(attacker: Attacker, tmp_path: Path) -> Path:
    """A file of the host by which somebody called evil would be root."""
    (tmp_path / "accounts").write_text("evil:x:0:0::/:/bin/sh\nevil:x:0:\n")
    return tmp_path / "accounts"


def odd_files(name: str, outside: Path) -> dict[str, Member]:
    return {
        "fifo": member(name, kind=FIFOTYPE),
        "endless device": member(name, kind=CHRTYPE, devmajor=1, devminor=5),
        "terminal": member(name, kind=CHRTYPE, devmajor=5, devminor=0),
        "directory": member(f"{name}/"),
        "link outside": member(name, kind=SYMTYPE, linkname="/" + "../" * 12 + str(outside)[1:]),
        "magic link": member(name, kind=SYMTYPE, linkname="/proc/self/fd/0"),
        "link to itself": member(name, kind=SYMTYPE, linkname=Path(name).name),
        "kernel file": member(name, kind=SYMTYPE, linkname="/proc/kmsg"),
        "huge": member(name, b"evil:x:0:0::/:/bin/sh\n" * 250_000),
        "no lines": member(name, b"\xff\0:::" * 1000),
    }


def numbers(uid: int, gid: int) -> Outcome:
    ids = [f"{name}:\t" + "\t".join([str(number)] * 4) for name, number in (("Uid", uid), ("Gid", gid))]
    return Outcome(0, "\n".join([*ids, f"Groups:\t{gid} \n"]))


@pytest.mark.parametrize("kind", list(odd_files("x", Path("/"))))
def test_a_passwd_file_that_is_none_neither_blocks_nor_leads_out(attacker: Attacker, outside: Path, kind: str) -> None:
    image = attacker.image(member("etc/"), odd_files("etc/passwd", outside)[kind])
    too_large = "larger than" if kind == "huge" else "no matching entries in passwd file"
    refused = attacker.run(image, *NUMBERS, User="evil")
    assert (refused.code, too_large in refused.output) == (-1, True), refused
    if kind == "huge":
        return
    assert attacker.run(image, *NUMBERS, User="1000") == numbers(1000, 0)
    container = attacker.start(image, "/bin/busybox", "sleep", "1000")
    assert attacker.exec(container, *NUMBERS, User="evil").code != 0
    assert attacker.exec(container, *NUMBERS, User="1000") == numbers(1000, 0)


@pytest.mark.parametrize("kind", ["fifo", "endless device", "link outside", "huge", "no lines"])
def test_a_group_file_that_is_none_neither_blocks_nor_leads_out(attacker: Attacker, outside: Path, kind: str) -> None:
    image = attacker.image(member("etc/passwd", PASSWD), odd_files("etc/group", outside)[kind])
    for user, host in (("worker:evil", {}), ("worker", {"GroupAdd": ["evil"]})):
        outcome = attacker.run(image, *NUMBERS, User=user, host=host)
        assert (outcome.code, "group" in outcome.output) == (-1, True), outcome
    if kind != "huge":
        assert attacker.run(image, *NUMBERS, User="worker") == numbers(1000, 1001)


def test_the_files_are_changed_under_an_exec(attacker: Attacker) -> None:
    """The container of a running process makes its /etc/passwd a FIFO, a device, a link; no exec hangs on it."""
    container = attacker.start("busybox", "sleep", "1000")
    for change in ("mkfifo /etc/passwd", "mknod /etc/passwd c 1 5", "ln -s /dev/zero /etc/passwd", "mkdir /etc/passwd"):
        assert attacker.exec(container, "sh", "-c", f"rm -rf /etc/passwd; {change}").code == 0
        assert attacker.exec(container, *NUMBERS, User="nobody").code != 0
        assert attacker.exec(container, *NUMBERS, User="5:6") == numbers(5, 6)


@pytest.mark.parametrize(
    ("user", "added", "groups"),
    [
        ("1000", [], "uid=1000(worker) gid=1001(worker) groups=10(wheel),999(docker),1001(worker)"),
        ("1000:7", [], "uid=1000(worker) gid=7 groups=7"),
        ("1234", [], "uid=1234 gid=0(root) groups=0(root)"),
        ("1234:5", ["77"], "uid=1234 gid=5 groups=5,77"),
        ("worker:worker", [], "uid=1000(worker) gid=1001(worker) groups=1001(worker)"),
    ],
)
def test_a_user_does_not_keep_groups_of_root(attacker: Attacker, user: str, added: list[str], groups: str) -> None:
    """CVE-2023-25173, CVE-2022-36109: the supplementary groups of a start and of an exec are the user's alone."""
    image = attacker.image(member("etc/passwd", PASSWD), member("etc/group", GROUP))
    expected = Outcome(0, groups + "\n")
    assert attacker.run(image, *ID, User=user, host={"GroupAdd": added}) == expected
    container = attacker.start(image, "/bin/busybox", "sleep", "1000", host={"GroupAdd": added})
    assert attacker.exec(container, *ID, User=user) == expected


def test_the_primary_group_is_a_group_of_the_process(attacker: Attacker) -> None:
    """CVE-2022-36109, CVE-2022-2990: a file that a group may *not* read is not read by leaving that group out."""
    image = attacker.image(
        member("etc/passwd", PASSWD), member("etc/group", GROUP), member("denied", b"x", mode=0o604, gid=1001)
    )
    assert "ermission denied" in attacker.run(image, "/bin/busybox", "cat", "/denied", User="worker").output
    shed = attacker.run(image, "/bin/busybox", "grep", "Groups", "/proc/self/status", User="worker")
    assert "1001" in shed.output.split()


@pytest.mark.parametrize(
    "user",
    ["-1", "4294967295", "4294967296", "99999999999999999999", "0:-1", "0x0", " 0", "a\nb", "a:b:c", "١", "root\0"],
)
def test_users_that_are_none_are_refused(attacker: Attacker, user: str) -> None:
    outcome = attacker.shell("id", User=user)
    assert outcome.code == -1, outcome
    container = attacker.start("busybox", "sleep", "1000")
    assert attacker.exec(container, "id", User=user).code != 0


def test_a_name_in_numbers_is_no_way_to_root(attacker: Attacker) -> None:
    """An account called 1000 with the id 0 wins, as in Docker, but only as a name of the image, never of the host."""
    image = attacker.image(member("etc/passwd", b"1000:x:0:0::/:/bin/sh\n"), member("etc/group", GROUP))
    assert attacker.run(image, *ID, User="1000:1001").output.startswith(("uid=0", "uid=1000"))
    assert "root" not in attacker.run(image, *ID, User="1001").output.replace("gid=0(root) groups=0(root)", "")
