from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orlop.api.body import decode, fields_of, parse
from orlop.errors import InvalidArgument
from orlop.model.api.container import ContainerConfig, ContainerCreate, ContainerUpdate
from orlop.model.api.exec import ExecCreate, ExecStart
from orlop.model.api.volume import VolumeCreate

KINDS = (ContainerCreate, ContainerUpdate, ExecCreate, ExecStart, VolumeCreate)

scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5)
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
names = st.sampled_from(
    [*ContainerCreate.__struct_encode_fields__, *ContainerUpdate.__struct_encode_fields__, "HOSTCONFIG", "env"]
)
bodies = st.dictionaries(names, values, max_size=6)


def _check(error: InvalidArgument) -> None:
    assert error.message.startswith(("invalid JSON: ", "unexpected content after JSON"))


@given(st.sampled_from(KINDS), bodies | st.fixed_dictionaries({"HostConfig": bodies}) | values)
def test_any_json_is_a_body_or_an_invalid_argument(kind: type[Any], value: Any) -> None:
    try:
        assert isinstance(decode(json.dumps(value).encode(), kind), kind)
    except InvalidArgument as error:
        _check(error)


@given(st.sampled_from(KINDS), st.binary(max_size=40))
def test_any_bytes_are_a_body_or_an_invalid_argument(kind: type[Any], data: bytes) -> None:
    try:
        decode(data, kind)
    except InvalidArgument as error:
        _check(error)


def test_a_body_that_is_nested_without_end_is_refused() -> None:
    for opening in (b"[", b'{"HostConfig":'):
        with pytest.raises(InvalidArgument, match="invalid JSON: "):
            decode(opening * 100_000, ContainerCreate)


def create(text: str) -> ContainerCreate:
    return decode(text.encode(), ContainerCreate)


def test_the_case_of_names_does_not_matter_and_unknown_ones_are_dropped() -> None:
    body = create('{"image":"x","hostconfig":{"NETWORKMODE":"host","Unheard":1},"Nothing":{}}')
    assert body.image == "x"
    assert body.host_config
    assert body.host_config.network_mode == "host"


def test_null_is_absent_in_a_structure_and_stays_in_a_map() -> None:
    body = create(
        '{"Tty":null,"Env":null,"ExposedPorts":{"80/tcp":null},"HostConfig":{"Memory":null,"LogConfig":null}}'
    )
    assert (body.tty, body.env, body.exposed_ports) == (False, None, {"80/tcp": None})
    assert body.host_config
    assert body.host_config.memory == 0


def test_null_in_a_list_or_map_of_words_is_the_empty_word() -> None:
    body = create('{"Env":[null,"A=1"],"Labels":{"a":null},"HostConfig":{"Mounts":[null]}}')
    assert (body.env, body.labels) == (["", "A=1"], {"a": ""})
    assert body.host_config
    assert body.host_config.mounts
    assert body.host_config.mounts[0].target == ""


def test_whole_floats_are_integers_and_others_are_not() -> None:
    assert create('{"StopTimeout":10.0}').stop_timeout == 10
    with pytest.raises(InvalidArgument, match=r"\$\.StopTimeout"):
        create('{"StopTimeout":10.5}')


def test_one_word_is_a_list_only_where_docker_takes_it() -> None:
    assert create('{"Cmd":"ls -l","Entrypoint":""}').cmd == ["ls -l"]
    assert create('{"Entrypoint":[]}').entrypoint == []
    with pytest.raises(InvalidArgument, match=r"\$\.Env"):
        create('{"Env":"A=1"}')


@pytest.mark.parametrize(
    ("body", "path"),
    [
        ('{"HostConfig":{"Memory":"1g"}}', "$.HostConfig.Memory"),
        ('{"HostConfig":{"PortBindings":{"80/tcp":[{"HostPort":80}]}}}', "$.HostConfig.PortBindings[...][0].HostPort"),
        ('{"HostConfig":{"Memory":18446744073709551616}}', "$.HostConfig.Memory"),
        ('{"HostConfig":{"Ulimits":[{"Soft":9223372036854775808}]}}', "$.HostConfig.Ulimits[0].Soft"),
        ('{"HostConfig":[]}', "$.HostConfig"),
        ('{"Tty":"true"}', "$.Tty"),
    ],
)
def test_errors_name_the_field(body: str, path: str) -> None:
    with pytest.raises(InvalidArgument) as caught:
        create(body)
    assert f"`{path}`" in caught.value.message


def test_fields_tell_what_a_body_mentions() -> None:
    assert fields_of(parse(b'{"image":null,"HostConfig":{},"x":1}'), ContainerConfig) == {"Image"}
    assert fields_of([], ContainerConfig) == set()
