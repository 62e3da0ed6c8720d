"""Keys of steps: what enters them and what does not."""

from __future__ import annotations

import dataclasses
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orlop.build.graph import Context, CopyFiles, Exec, Files, Git, Inline, MakeDirectory, Mount, NodeFiles, Url
from orlop.build.keys import exec_key, files_key, names_owner

BASE = "sha256:" + "b" * 64
RUN = Exec(0, ("/bin/sh", "-c", "make"), ("PATH=/bin", "A=1"), "/src", mounts=(Mount("bind", "/in", "", Context()),))
COPY = CopyFiles(Context(), ("a",), "/b")


def key_of(node: Exec | Files, **given: Any) -> str:
    given.setdefault("contents", ("sha256:1",) * len(node.mounts if isinstance(node, Exec) else node.actions))
    contents = given.pop("contents")
    base = given.pop("base", BASE)
    if isinstance(node, Exec):
        return exec_key(node, base, contents, **given).key
    return files_key(node, base, contents, **given).key


def test_a_key_is_the_same_in_every_release() -> None:
    assert key_of(Exec(0, ("true",), (), "/")) == (
        "sha256:ef7ccf7c15fb9ec2a3e265c18d9f27a76d4e2444f73f394eb533ed8c98324134"
    )


CHANGES = {
    "arguments": ("/bin/sh", "-c", "make all"),
    "environment": ("A=1", "PATH=/bin"),
    "directory": "/",
    "user": "app",
    "script": ("/s", b"#!/bin/sh"),
    "mounts": (replace(RUN.mounts[0], read_only=True),),
    "network": "none",
    "insecure": True,
    "host_names": ("db",),
    "ulimits": ("nofile=1:2",),
    "shm_size": 1,
    "platform": "linux/arm64",
    "hostname": "h",
}
NO_CHANGES = {
    "base": 7,
    "proxies": ("HTTP_PROXY=x",),
    "hosts": ("db:10.0.0.1",),
    "argument_names": frozenset({"A"}),
    "mounts": (replace(RUN.mounts[0], id="other", sharing="locked", input=Context("other")),),
}


@pytest.mark.parametrize("name", CHANGES)
def test_what_a_command_depends_on_changes_its_key(name: str) -> None:
    changed = replace(RUN, **{name: CHANGES[name]})
    assert key_of(changed) != key_of(RUN)
    old, new = (exec_key(node, BASE, ("sha256:1",)).parts for node in (RUN, changed))
    assert old != new  # so that it can be told


def test_every_field_of_a_command_was_thought_of() -> None:
    assert {field.name for field in dataclasses.fields(Exec)} == CHANGES.keys() | NO_CHANGES.keys()
    assert {field.name for field in dataclasses.fields(Exec) if not field.compare} == NO_CHANGES.keys() - {
        "base",
        "mounts",
    }


@pytest.mark.parametrize("name", NO_CHANGES)
def test_what_changes_nothing_of_a_result_is_not_in_the_key(name: str) -> None:
    assert key_of(replace(RUN, **{name: NO_CHANGES[name]})) == key_of(RUN)


def test_content_base_and_epoch_are_in_the_key() -> None:
    keys = {
        key_of(RUN),
        key_of(RUN, base="sha256:" + "c" * 64),
        key_of(RUN, contents=("sha256:2",)),
        key_of(RUN, epoch=0),
        key_of(RUN, epoch=1),
    }
    assert len(keys) == 5


@pytest.mark.parametrize(
    "action",
    [
        replace(COPY, paths=("c",)),
        replace(COPY, paths=("a", "b")),
        replace(COPY, destination="/b/"),
        replace(COPY, owner="1:1"),
        replace(COPY, mode="644"),
        replace(COPY, parents=True),
        replace(COPY, exclude=("*.o",)),
        replace(COPY, unpack=True),
        replace(COPY, source=NodeFiles(1)),
        MakeDirectory("/b"),
    ],
)
def test_what_a_copy_does_is_in_its_key(action: CopyFiles | MakeDirectory) -> None:
    assert key_of(Files(0, (action,))) != key_of(Files(0, (COPY,)))
    old, new = (files_key(Files(0, (each,)), BASE, ("sha256:1",)).parts for each in (COPY, action))
    assert old != new


@pytest.mark.parametrize("action", [replace(COPY, source=Context("other")), replace(COPY, instruction="ADD")])
def test_where_content_comes_from_is_not_in_the_key_of_a_copy(action: CopyFiles) -> None:
    assert key_of(Files(0, (action,))) == key_of(Files(0, (COPY,)))


def test_a_stage_s_number_is_not_in_the_key() -> None:
    one, other = (Files(0, (replace(COPY, source=NodeFiles(number)),)) for number in (1, 2))
    assert key_of(one) == key_of(other)


def test_a_linked_layer_does_not_know_its_base() -> None:
    linked = Files(0, (COPY,), link=True)
    assert key_of(linked) == key_of(linked, base="") != key_of(Files(0, (COPY,)), base="")


def test_a_source_that_is_fixed_is_known_by_its_definition() -> None:
    sources = [
        Url("https://a.test/x", "x", "sha256:1"),
        Url("https://a.test/x", "x", "sha256:2"),
        Url("https://a.test/x", "y", "sha256:1"),
        Git("https://a.test/x.git", "1" * 40),
        Git("https://a.test/x.git", "1" * 40, subdirectory="d"),
        Inline((("f", b"1"),)),
        Inline((("f", b"2"),)),
    ]
    keys = [key_of(Files(0, (replace(COPY, source=source, paths=("",)),)), contents=("",)) for source in sources]
    assert len(set(keys)) == len(sources)
    moved = replace(COPY, source=Url("https://mirror.test/x", "x", "sha256:1"), paths=("",))
    assert key_of(Files(0, (moved,)), contents=("",)) == keys[0]


@pytest.mark.parametrize(
    ("owner", "named"), [("", False), ("0", False), ("10:20", False), ("app", True), ("10:app", True), ("app:10", True)]
)
def test_the_users_of_the_base_matter_where_an_owner_is_a_name(owner: str, named: bool) -> None:
    assert names_owner(Files(0, (MakeDirectory("/a"), replace(COPY, owner=owner)))) is named


TEXTS = st.text(max_size=8)


@given(
    st.builds(Exec, st.just(0), st.lists(TEXTS, max_size=3).map(tuple), st.lists(TEXTS, max_size=3).map(tuple), TEXTS)
)
def test_any_text_has_a_key_and_parts_that_can_be_written(node: Exec) -> None:
    found = exec_key(node, BASE, ())
    assert exec_key(replace(node), BASE, ()) == found
    for name, value in found.parts.items():
        assert f"{name}{value}".encode()


def test_parts_are_never_long_and_still_differ() -> None:
    one, other = (replace(RUN, arguments=("x" * 100_000 + end,)) for end in "ab")
    parts = [exec_key(node, BASE, ("",)).parts for node in (one, other)]
    assert parts[0]["instruction:"] != parts[1]["instruction:"]
    assert max(len(value) for value in parts[0].values()) < 600
    crowd = replace(RUN, environment=tuple(f"V{number}=1" for number in range(10_000)))
    assert len(exec_key(crowd, BASE, ("",)).parts) < 600
