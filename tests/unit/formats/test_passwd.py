import pytest
from hypothesis import given
from hypothesis import strategies as st

from orlop.formats.passwd import User, UserError, home_of, resolve, resolve_groups

PASSWD = """\
root:x:0:0:root:/root:/bin/sh
# a comment
broken:x:one:0
worker:x:1000:1001:a:b:/home/worker
worker:x:2000:2001::/other:
7:x:3000:3001::/seven:
short:x:5:6
"""
GROUP = """\
root:x:0:
wheel:x:10:root, worker
staff:x:50:worker,worker
worker:x:1001:
12:x:13:
bad:x::worker
"""


@pytest.mark.parametrize(
    ("spec", "user"),
    [
        ("", User(0, 0, (10,), "/root")),
        ("root", User(0, 0, (10,), "/root")),
        ("worker", User(1000, 1001, (10, 50), "b")),
        ("1000", User(1000, 1001, (10, 50), "b")),
        ("worker:wheel", User(1000, 10, (), "b")),
        ("worker:4", User(1000, 4, (), "b")),
        ("7", User(7, 0, (), "")),
        ("4711:4712", User(4711, 4712, (), "")),
        (":staff", User(0, 50, (), "/root")),
        ("short", User(5, 6, (), "")),
    ],
)
def test_users_are_found_as_docker_finds_them(spec: str, user: User) -> None:
    assert resolve(spec, PASSWD, GROUP) == user


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("nobody", "unable to find user nobody: no matching entries in passwd file"),
        ("broken", "unable to find user broken: no matching entries in passwd file"),
        ("root:nope", "unable to find group nope: no matching entries in group file"),
        ("4294967295", "uids and gids must be in range 0-2147483647"),
        ("-1", "uids and gids must be in range 0-2147483647"),
        ("root:-5", "uids and gids must be in range 0-2147483647"),
    ],
)
def test_who_is_not_there_is_refused_in_dockers_words(spec: str, message: str) -> None:
    with pytest.raises(UserError) as error:
        resolve(spec, PASSWD, GROUP)
    assert str(error.value) == message


def test_numbers_need_no_files() -> None:
    assert resolve("5:6", "", "") == User(5, 6, (), "")
    assert resolve_groups(["7", 8], "") == (7, 8)
    assert home_of(5, "") == "/"


def test_additional_groups_are_names_or_numbers() -> None:
    assert resolve_groups(["wheel", "12", 99], GROUP) == (10, 12, 99)
    with pytest.raises(UserError, match="Unable to find group nope"):
        resolve_groups(["nope"], GROUP)


@given(st.text(), st.text(), st.text())
def test_hostile_files_give_a_user_in_range_or_an_error(spec: str, passwd: str, group: str) -> None:
    try:
        user = resolve(spec, passwd, group)
    except UserError:
        return
    assert all(0 <= number <= 2147483647 for number in (user.uid, user.gid, *user.groups))
