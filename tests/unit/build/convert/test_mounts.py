"""``RUN --mount``: fields, defaults, and what is refused."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orlop.build.convert import mounts
from orlop.build.graph import Context, Mount, NodeFiles
from orlop.errors import InvalidArgument


def made(text: str, *, directory: str = "/work", input: Context | NodeFiles | None = None, **rest: Any) -> Mount:
    fields = mounts.parse(text, lambda word: word.replace("$X", "x"))
    return mounts.made(fields, input, directory, rest.get("namespace", ""), rest.get("sockets", 0))


@pytest.mark.parametrize(
    ("text", "mount"),
    [
        ("target=/a", Mount("bind", "/a", input=Context(), read_only=True)),
        ("type=bind,src=./x/../y,dst=/a,rw", Mount("bind", "/a", "y", Context())),
        ("type=bind,destination=rel,ro=false", Mount("bind", "/work/rel", "", Context())),
        ("type=bind,target=/a,readwrite=false", Mount("bind", "/a", "", Context(), read_only=True)),
        ("source=/", Mount("bind", "/work", "", Context(), read_only=True)),
        ('"type=bind","target=/a,b"', Mount("bind", "/a,b", "", Context(), read_only=True)),
        ("type=bind,target=/$X/../..//b", Mount("bind", "/b", "", Context(), read_only=True)),
        ("TYPE=BIND,Target=/a", Mount("bind", "/a", "", Context(), read_only=True)),
    ],
)
def test_a_bind_is_read_only_and_starts_at_the_working_directory(text: str, mount: Mount) -> None:
    assert made(text, input=Context()) == mount


@pytest.mark.parametrize(
    ("text", "mount", "name", "sharing"),
    [
        ("type=cache,target=/root/.cache/", Mount("cache", "/root/.cache"), "/root/.cache", "shared"),
        ("type=cache,target=rel", Mount("cache", "/work/rel"), "rel", "shared"),
        ("type=cache,id=apt,sharing=LOCKED,target=/a", Mount("cache", "/a"), "apt", "locked"),
        (
            "type=cache,target=/a,mode=0700,uid=1000,gid=100,ro",
            Mount("cache", "/a", mode=0o700, uid=1000, gid=100, read_only=True),
            "/a",
            "shared",
        ),
    ],
)
def test_a_cache_is_called_by_its_target_unless_it_has_an_id(text: str, mount: Mount, name: str, sharing: str) -> None:
    found = made(text)
    assert (found, found.id, found.sharing) == (mount, name, sharing)


def test_a_namespace_sets_the_ids_of_caches_apart() -> None:
    assert made("type=cache,target=/a,id=x", namespace="mine").id == "mine/x"


def test_a_tmpfs_is_writable_and_may_have_a_size() -> None:
    assert made("type=tmpfs,target=/t,size=64m") == Mount("tmpfs", "/t", size=64 << 20)


@pytest.mark.parametrize(
    ("text", "mount", "name"),
    [
        ("type=secret,id=key", Mount("secret", "/run/secrets/key", mode=0o400), "key"),
        ("type=secret,source=a/key", Mount("secret", "/run/secrets/key", mode=0o400), "a/key"),
        ("type=secret,target=/etc/key", Mount("secret", "/etc/key", mode=0o400), "key"),
        ("type=secret,target=rel/key", Mount("secret", "/rel/key", mode=0o400), "key"),
        ("type=secret,id=k,required", Mount("secret", "/run/secrets/k", mode=0o400, required=True), "k"),
        ("type=secret,id=k,mode=440,uid=7", Mount("secret", "/run/secrets/k", mode=0o440, uid=7), "k"),
        ("type=secret,id=k,env=KEY", Mount("secret", "", env="KEY", mode=0o400), "k"),
        ("type=secret,id=k,env=", Mount("secret", "", env="k", mode=0o400), "k"),
        ("type=secret,id=k,env=KEY,target=/k", Mount("secret", "/k", env="KEY", mode=0o400), "k"),
    ],
)
def test_a_secret_is_a_file_or_a_variable_or_both(text: str, mount: Mount, name: str) -> None:
    found = made(text)
    assert found.read_only
    assert (found.target, found.env, found.mode, found.uid, found.required) == (
        mount.target,
        mount.env,
        mount.mode,
        mount.uid,
        mount.required,
    )
    assert found.id == name


def test_an_ssh_agent_has_a_socket_of_its_own_number() -> None:
    found = made("type=ssh", sockets=1)
    assert (found.id, found.target, found.mode) == ("default", "/run/buildkit/ssh_agent.1", 0o600)
    assert made("type=ssh,id=git,target=/s,required=true").required


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "invalid field '' must be a key=value pair"),
        ("type=bind,nope", "invalid field 'nope' must be a key=value pair"),
        ("type=volume,target=/a", 'unsupported mount type "volume"'),
        ("type=cahe,target=/a", 'unsupported mount type "cahe" (did you mean cache?)'),
        ("type=cache,sharing=lock,target=/a", 'unsupported sharing value "lock" (did you mean locked?)'),
        ("tarket=/a", "unexpected key 'tarket' in 'tarket=/a' (did you mean target?)"),
        ("target=/", 'invalid mount target "/"'),
        ("target=/a/..", 'invalid mount target "/"'),
        ("target=/a,ro=maybe", "invalid value for ro: maybe"),
        ("required,target=/a", "unexpected key 'required' for mount type 'bind'"),
        ("size=1m,target=/a", "unexpected key 'size' for mount type 'bind'"),
        ("type=tmpfs,target=/a,size=big", "invalid value for size: big"),
        ("type=cache,target=/a,mode=8", "invalid value 8 for mode"),
        ("type=cache,target=/a,uid=-1", "invalid value -1 for uid"),
        ("type=cache,target=/a,gid=4294967296", "invalid value 4294967296 for gid"),
        ("type=bind,target=/a,uid=1", 'uid not allowed for "bind" type mounts'),
        ("type=bind,target=/a,sharing=shared", "invalid cache sharing set for bind mount"),
        ("type=secret", "invalid secret mount. one of source, target required"),
        ("type=secret,id=a,source=b", "both source and id can't be set"),
        ("type=secret,id=a,from=b", "secret mount should not have a from"),
        ("type=secret,id=a,sharing=shared", "secret mount should not define sharing"),
        ("type=ssh,source=a", "ssh does not support source"),
        ('target="/a"', 'failed to parse csv mounts: bare " in non-quoted-field'),
        ('"target=/a', 'failed to parse csv mounts: extraneous or missing " in quoted-field'),
        ('"target=/a"b', 'failed to parse csv mounts: extraneous or missing " in quoted-field'),
    ],
)
def test_what_makes_no_sense_is_refused_in_buildkits_words(text: str, message: str) -> None:
    with pytest.raises(InvalidArgument) as caught:
        made(text, directory="/")
    assert caught.value.message == message


def test_the_source_of_a_mount_is_read_before_anything_can_be_expanded() -> None:
    assert mounts.source_name("type=$T,from=build,target=/a") == "build"
    assert mounts.source_name("target=/a") == ""
    assert mounts.source_name("from=a$") == "a$"
    with pytest.raises(InvalidArgument, match="'from' doesn't support variable expansion"):
        mounts.source_name("from=$STAGE")


@given(st.text() | st.text('=,"typebindcargsou/$', max_size=40))
def test_any_text_is_a_mount_or_refused(text: str) -> None:
    try:
        made(text)
        mounts.source_name(text)
    except InvalidArgument:
        pass


@given(st.lists(st.text(st.characters(blacklist_categories=["Cs"]), max_size=5), min_size=1, max_size=5))
def test_quoted_fields_hold_any_text(values: list[str]) -> None:
    fields = ["type=cache", "target=/a", *(f"id={value}" for value in values)]
    text = ",".join('"' + field.replace('"', '""') + '"' for field in fields)
    assert mounts.parse(text, lambda word: word).id == values[-1]
