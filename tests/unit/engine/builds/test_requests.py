"""What clients ask builds for."""

from __future__ import annotations

from contextlib import suppress
from typing import Any
from urllib.parse import urlencode

import pytest

from orlop.api.query import Query
from orlop.engine.builds.requests import classic_build, own_build
from orlop.errors import InvalidArgument, NotImplementedYet
from orlop.formats.platform import Platform
from orlop.model.api.build import BuildCreate, BuildLimits

GO = "json: cannot unmarshal"


def classic(**fields: Any) -> Any:
    return classic_build(Query(urlencode(fields, doseq=True)), "x86_64")


def test_an_empty_query_means_the_defaults() -> None:
    asked = classic()
    assert (asked.path, asked.remote, asked.quiet, asked.remove, asked.force_remove) == (
        "Dockerfile",
        "",
        False,
        True,
        False,
    )
    assert not asked.request.names
    assert asked.request.platform is None


def test_every_parameter_finds_its_place() -> None:
    asked = classic(
        dockerfile="a/Dockerfile.b",
        t=["app", "reg:5000/app:2", "app", ""],
        extrahosts=["a:1.2.3.4", "b:::1"],
        remote="https://example.com/x.git",
        q="1",
        nocache="true",
        cachefrom='["one","two"]',
        pull="1",
        rm="0",
        forcerm="1",
        memory="1000",
        memswap="-1",
        cpushares="2",
        cpusetcpus="0-1",
        cpusetmems="0",
        cpuperiod="3",
        cpuquota="4",
        cgroupparent="/x",
        buildargs='{"A":"1","B":null}',
        shmsize="5",
        labels='{"l":"m"}',
        networkmode="none",
        platform="linux/arm64",
        target="final",
        ulimits='[{"Name":"nofile","Soft":1,"Hard":2}]',
        version="1",
        outputs="[]",
        buildid="me",
    )
    request, limits = asked.request, asked.request.limits
    assert (asked.path, asked.remote, asked.id) == ("a/Dockerfile.b", "https://example.com/x.git", "me")
    assert (asked.quiet, asked.remove, asked.force_remove) == (True, False, True)
    assert [name.familiar() for name in request.names] == ["app:latest", "reg:5000/app:2"]
    assert request.hosts == ("a:1.2.3.4", "b:::1")
    assert (request.no_cache, request.pull, request.cache_from) == (True, True, ("one", "two"))
    assert (limits.memory, limits.memory_swap, limits.cpu_shares) == (1000, -1, 2)
    assert (limits.cpuset_cpus, limits.cpuset_mems, limits.cpu_period, limits.cpu_quota) == ("0-1", "0", 3, 4)
    assert limits.cgroup_parent == "/x"
    assert (request.arguments, request.labels) == ({"A": "1", "B": None}, {"l": "m"})
    assert (request.shm_size, request.network, request.target) == (5, "none", "final")
    assert request.platform == Platform("linux", "arm64")
    assert request.ulimits == ("nofile=1:2",)
    assert request.origin == "https://example.com/x.git"


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"t": "UPPER"}, "invalid reference format: repository name (library/UPPER) must be lowercase"),
        ({"t": "a@sha256:" + "a" * 64}, "build tag cannot contain a digest"),
        ({"squash": "1"}, "squash is only supported with experimental mode"),
        ({"securityopt": "x"}, "security options are not supported on linux"),
        ({"isolation": "hyperv"}, 'unsupported isolation: "hyperv"'),
        ({"version": "3"}, "invalid version: 3"),
        ({"extrahosts": "a"}, 'bad format for add-host: "a"'),
        ({"shmsize": "-1"}, "SHM size can not be less than 0"),
        ({"memory": "much"}, 'strconv.Atoi: parsing "much": invalid syntax'),
        ({"buildargs": "[]"}, f"error reading build args: {GO} array into Go value of type map[string]string"),
        ({"buildargs": '{"a":1}'}, f"error reading build args: {GO} number into Go value of type string"),
        ({"buildargs": '{"a":"\\u0000"}'}, "error reading build args: it holds a NUL character"),
        ({"labels": "{"}, "error reading labels: unexpected end of JSON input"),
        ({"cachefrom": '{"a":1}'}, f"error reading cache-from: {GO} object into Go value of type []string"),
        ({"ulimits": "[1]"}, "error reading ulimit settings: 1"),
        ({"outputs": "x"}, "invalid outputs specified: invalid character 'x' looking for beginning of value"),
    ],
)  # fmt: skip
def test_what_makes_no_sense_is_refused_with_dockerd_s_words(fields: dict[str, str], message: str) -> None:
    with pytest.raises(InvalidArgument) as caught:
        classic(**fields)
    assert caught.value.message == message


@pytest.mark.parametrize("fields", [{"version": "2"}, {"outputs": '[{"Type":"local","Attrs":{"dest":"/x"}}]'}])
def test_what_only_buildkit_does_is_refused_with_advice(fields: dict[str, str]) -> None:
    with pytest.raises(NotImplementedYet, match="Set DOCKER_BUILDKIT=0"):
        classic(**fields)


@pytest.mark.parametrize("word", ["null", "[]", "{}", "[[]]", '"', "[" * 100_000, '{"a":{}}', "NaN", "1e999"])
@pytest.mark.parametrize("name", ["buildargs", "labels", "cachefrom", "ulimits", "outputs"])
def test_no_json_makes_anything_but_an_error_of_ours(name: str, word: str) -> None:
    with suppress(InvalidArgument, NotImplementedYet):
        classic(**{name: word})


def test_the_own_body_says_all_that_a_build_can_be_asked() -> None:
    body = BuildCreate(
        dockerfile_name="D",
        origin="/src",
        target="t",
        args={"A": None},
        labels={"l": "m"},
        names=["app"],
        platform="linux/arm64",
        no_cache_stages=["one"],
        hosts=["a:host-gateway"],
        ulimits=["nofile=1:2"],
        limits=BuildLimits(memory=7, cpuset_cpus="1"),
        keep_failed=True,
        stop_after="one:2",
        call="check",
    )
    request = own_build(body, "FROM x", {"alpine": "context"}, "x86_64")
    assert (request.dockerfile, request.dockerfile_name, request.origin) == ("FROM x", "D", "/src")
    assert (request.named, request.no_cache_stages) == ({"alpine": "context"}, ("one",))
    assert (request.hosts, request.ulimits) == (("a:host-gateway",), ("nofile=1:2",))
    assert (request.limits.memory, request.limits.cpuset_cpus) == (7, "1")
    assert (request.keep_failed, request.stop_after, request.check) == (True, "one:2", True)
    with pytest.raises(InvalidArgument, match='invalid call "dance"'):
        own_build(BuildCreate(call="dance"), "", {}, "x86_64")
