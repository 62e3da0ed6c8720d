"""What clients ask builds for: queries and bodies, checked and brought into the form of `BuildRequest`. Pure."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

from orlop.build.request import BuildRequest, Limits
from orlop.errors import InvalidArgument, NotImplementedYet
from orlop.formats import gojson, reference
from orlop.formats import platform as platforms
from orlop.formats.hosts import parse_extra_host
from orlop.formats.platform import Platform
from orlop.formats.reference import Reference
from orlop.model.api.build import BuildCreate, BuildLimits

__all__ = ["BUILDKIT_MISSING", "DEFAULT_NAME", "ClassicBuild", "Fields", "classic_build", "names_of", "own_build"]

Json = dict[str, Any]
T = TypeVar("T")

DEFAULT_NAME = "Dockerfile"
BUILDKIT_MISSING = (
    "BuildKit's API is not implemented by this version of Orlop. Set DOCKER_BUILDKIT=0 to build with the docker "
    "command, or use orlop build, which has all of it"
)
_CALLS = ("build", "check", "outline", "targets")
_OUTPUTS = ("", "moby", "image", "docker")


class Fields(Protocol):
    """A query."""

    def text(self, name: str) -> str: ...

    def all(self, name: str) -> tuple[str, ...]: ...

    def flag(self, name: str, default: bool = False) -> bool: ...

    def integer(self, name: str) -> int | None: ...


@dataclass(frozen=True, slots=True)
class ClassicBuild:
    """A `POST /build`. In `request` the text of the Dockerfile is still missing, which lies in the context under
    `path`."""

    request: BuildRequest
    path: str
    remote: str
    id: str
    quiet: bool
    remove: bool
    force_remove: bool


def classic_build(fields: Fields, machine: str) -> ClassicBuild:
    """Return what the query of `POST /build` asks for; `machine` is this one's architecture.

    Raises `InvalidArgument`, and `NotImplementedYet` for what only BuildKit does.
    """
    _check_version(fields.text("version"))
    _check_outputs(fields.text("outputs"))
    if fields.flag("squash"):
        raise InvalidArgument("squash is only supported with experimental mode")
    if fields.all("securityopt"):
        raise InvalidArgument("security options are not supported on linux")
    if (isolation := fields.text("isolation")) not in ("", "default"):
        raise InvalidArgument(f'unsupported isolation: "{isolation}"')
    path, remote = fields.text("dockerfile") or DEFAULT_NAME, fields.text("remote")
    if remote == "client-session":
        raise InvalidArgument(
            "experimental session with v1 builder is no longer supported, use builder version v2 (BuildKit) instead"
        )
    request = BuildRequest(
        dockerfile="",
        dockerfile_name=path,
        target=fields.text("target"),
        arguments=_words(fields.text("buildargs"), "build args", nulls=True),
        labels={name: value or "" for name, value in _words(fields.text("labels"), "labels").items()},
        names=names_of(fields.all("t")),
        platform=_platform(fields.text("platform"), machine),
        no_cache=fields.flag("nocache"),
        pull=fields.flag("pull"),
        cache_from=tuple(_json(fields.text("cachefrom"), "error reading cache-from", _list_of_words) or ()),
        network=fields.text("networkmode"),
        hosts=_hosts(fields.all("extrahosts")),
        ulimits=_ulimits(_json(fields.text("ulimits"), "error reading ulimit settings", _list) or ()),
        shm_size=_shm_size(fields.integer("shmsize") or 0),
        limits=Limits(
            memory=fields.integer("memory") or 0,
            memory_swap=fields.integer("memswap") or 0,
            cpu_shares=fields.integer("cpushares") or 0,
            cpu_period=fields.integer("cpuperiod") or 0,
            cpu_quota=fields.integer("cpuquota") or 0,
            cpuset_cpus=fields.text("cpusetcpus"),
            cpuset_mems=fields.text("cpusetmems"),
            cgroup_parent=fields.text("cgroupparent"),
        ),
        origin=remote,
    )
    return ClassicBuild(
        request,
        path,
        remote,
        id=fields.text("buildid"),
        quiet=fields.flag("q"),
        remove=fields.flag("rm", default=True) if fields.text("rm") else True,
        force_remove=fields.flag("forcerm"),
    )


def own_build(body: BuildCreate, dockerfile: str, named: Mapping[str, str], machine: str) -> BuildRequest:
    """Return what the body of `POST /orlop/build` asks for. `named` are the contexts that stand for a stage or an
    image, as `BuildRequest` has them. Raises `InvalidArgument`."""
    if body.call not in _CALLS:
        raise InvalidArgument(f'invalid call "{body.call}": must be one of {", ".join(_CALLS)}')
    limits = body.limits or BuildLimits()
    return BuildRequest(
        dockerfile=dockerfile,
        dockerfile_name=body.dockerfile_name or DEFAULT_NAME,
        target=body.target,
        arguments=body.args or {},
        labels=body.labels or {},
        names=names_of(body.names or ()),
        platform=_platform(body.platform, machine),
        named=named,
        no_cache=body.no_cache,
        no_cache_stages=tuple(body.no_cache_stages or ()),
        pull=body.pull,
        cache_from=tuple(body.cache_from or ()),
        network=body.network,
        hosts=_hosts(body.hosts or ()),
        ulimits=_ulimits(body.ulimits or ()),
        shm_size=_shm_size(body.shm_size),
        limits=Limits(**{name: getattr(limits, name) for name in BuildLimits.__struct_fields__}),
        keep_failed=body.keep_failed,
        stop_after=body.stop_after,
        check=body.check or body.call == "check",
        origin=body.origin or body.remote,
        ignore=body.ignore,
    )


def names_of(texts: Iterable[str]) -> tuple[Reference, ...]:
    """Return the names that an image is to have, each once; empty ones are none. Raises `InvalidArgument`."""
    names: dict[Reference, None] = {}
    for text in filter(None, texts):
        name = reference.parse(text)
        if name.digest is not None:
            raise InvalidArgument("build tag cannot contain a digest")
        names[name.tagged()] = None
    return tuple(names)


def _check_version(text: str) -> None:
    if text == "2":
        raise NotImplementedYet(BUILDKIT_MISSING)
    if text not in ("", "1"):
        raise InvalidArgument(f"invalid version: {text}")


def _check_outputs(text: str) -> None:
    """Let pass what asks for an image in this store, which is what a build makes."""
    for output in _json(text, "invalid outputs specified", _list) or ():
        kind = output.get("Type", "") if isinstance(output, dict) else None
        if kind not in _OUTPUTS:
            raise NotImplementedYet(f"output {json.dumps(kind)} needs BuildKit. {BUILDKIT_MISSING}")


def _platform(text: str, machine: str) -> Platform | None:
    return platforms.parse(text, machine=machine) if text else None


def _hosts(texts: Iterable[str]) -> tuple[str, ...]:
    hosts = []
    for text in texts:
        try:
            hosts.append(":".join(parse_extra_host(text)))
        except ValueError as error:
            raise InvalidArgument(str(error)) from None
    return tuple(hosts)


def _ulimits(values: Iterable[Any]) -> tuple[str, ...]:
    """Return limits as ``name=soft:hard``, given as Docker's objects or as the flag's words."""
    ulimits = []
    for value in values:
        if isinstance(value, str):
            ulimits.append(value)
            continue
        fields = {key.lower(): item for key, item in value.items()} if isinstance(value, dict) else {}
        name, soft, hard = fields.get("name"), fields.get("soft", 0), fields.get("hard", 0)
        if not isinstance(name, str) or not all(type(number) is int for number in (soft, hard)):
            raise InvalidArgument(f"error reading ulimit settings: {json.dumps(value)[:256]}")
        ulimits.append(f"{name}={soft}:{hard}")
    return tuple(ulimits)


def _shm_size(size: int) -> int:
    if size < 0:
        raise InvalidArgument("SHM size can not be less than 0")
    return size


# JSON in a query


def _json(text: str, what: str, shape: Callable[[Any], T]) -> T | None:
    """Return JSON in the form that `shape` checks, None for nothing. Raises `InvalidArgument`."""
    if not text:
        return None
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as error:
        wrong = gojson.explain(text.encode("utf-8", "replace"))
        wrong = "unexpected end of JSON input" if wrong == "unexpected EOF" else wrong  # a text, not a stream
        raise InvalidArgument(f"{what}: {wrong or error}") from None
    if value is None:
        return None
    try:
        return shape(value)
    except TypeError as error:
        raise InvalidArgument(f"{what}: {error}") from None


def _words(text: str, what: str, *, nulls: bool = False) -> dict[str, str | None]:
    found = _json(text, f"error reading {what}", _map_of_words) or {}
    return found if nulls else {name: value or "" for name, value in found.items()}


def _map_of_words(value: Any) -> dict[str, str | None]:
    if not isinstance(value, dict):
        raise TypeError(f"json: cannot unmarshal {_kind(value)} into Go value of type map[string]string")
    for name, item in value.items():
        if not isinstance(item, str | None):
            raise TypeError(f"json: cannot unmarshal {_kind(item)} into Go value of type string")
        if "\0" in name or "\0" in (item or ""):
            raise TypeError("it holds a NUL character")
    return value


def _list(value: Any) -> list[Any]:
    if not isinstance(value, list):
        raise TypeError(f"json: cannot unmarshal {_kind(value)} into Go value of type []string")
    return value


def _list_of_words(value: Any) -> list[str]:
    for item in _list(value):
        if not isinstance(item, str):
            raise TypeError(f"json: cannot unmarshal {_kind(item)} into Go value of type string")
    return list(value)


def _kind(value: Any) -> str:
    kinds = {dict: "object", list: "array", str: "string", bool: "bool", type(None): "null"}
    return kinds.get(type(value), "number")
