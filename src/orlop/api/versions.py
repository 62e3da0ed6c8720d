"""Versions of the API: which are spoken, and what older ones say differently.

An answer is made in the form of the newest version. `adjust` then applies, newest first, every change that a version
after the client's brought, so that each entry of the table knows one version only. Changes before 1.40 are not kept.
What older versions *ask* differently stands in `orlop.api.requests`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from orlop.engine.system.version import API_VERSION, MINIMUM_API_VERSION
from orlop.errors import InvalidArgument
from orlop.model.api.base import Json

__all__ = ["Version", "adjust", "parse_version"]

Version = tuple[int, ...]


def parse_version(text: str) -> Version:
    """Return the version of a path's prefix (``1.43``), the newest for an empty one.

    Raises `InvalidArgument` with dockerd's texts when it is too old or too new.
    """
    if not text:
        return _NEWEST
    version = tuple(int(part[:9]) for part in text.split(".") if part) or (0,)
    if version < _OLDEST:
        raise InvalidArgument(
            f"client version {text} is too old. Minimum supported API version is {MINIMUM_API_VERSION}, "
            "please upgrade your client to a newer version"
        )
    if version > _NEWEST:
        raise InvalidArgument(f"client version {text} is too new. Maximum supported API version is {API_VERSION}")
    return version


@dataclass(frozen=True, slots=True)
class _Change:
    """What a version changed in a kind of answer, undone by `undo` for clients of an older one."""

    version: Version
    kind: str
    undo: Callable[[Json], Json]


def adjust(kind: str, version: Version, answer: Json) -> Json:
    """Return `answer`, which is of a `kind`, as clients of `version` expect it. The given one stays as it is."""
    for change in _CHANGES.get(kind, ()):
        if version >= change.version:
            break
        answer = change.undo(answer)
    return answer


def _without(answer: Json, *names: str) -> Json:
    return {name: value for name, value in answer.items() if name not in names}


def _virtual_size(image: Json) -> Json:
    return image | {"VirtualSize": image.get("Size", 0)}


def _no_names(image: Json) -> Json:
    if image.get("RepoTags") or image.get("RepoDigests"):
        return image
    return image | {"RepoTags": ["<none>:<none>"], "RepoDigests": ["<none>@<none>"]}


def _image_times(image: Json) -> Json:
    return _virtual_size(image) | {"Created": image.get("Created") or "0001-01-01T00:00:00Z"}


_LEGACY_CONFIG: Json = {
    "Hostname": "",
    "Domainname": "",
    "User": "",
    "AttachStdin": False,
    "AttachStdout": False,
    "AttachStderr": False,
    "Tty": False,
    "OpenStdin": False,
    "StdinOnce": False,
    "Env": None,
    "Cmd": None,
    "Image": "",
    "Volumes": None,
    "WorkingDir": "",
    "Entrypoint": None,
    "OnBuild": None,
    "Labels": None,
}


def _image_config(image: Json) -> Json:
    return image | {"Config": _LEGACY_CONFIG | (image.get("Config") or {})}


def _image_container(image: Json) -> Json:
    return image | {"Container": "", "ContainerConfig": dict(_LEGACY_CONFIG)}


def _endpoint_aliases(container: Json) -> Json:
    """Before 1.45 the aliases of an endpoint held the short id and the host name."""
    settings = container.get("NetworkSettings") or {}
    own = [container.get("Id", "")[:12], (container.get("Config") or {}).get("Hostname", "")]
    networks = {
        name: endpoint if _predefined(name) else endpoint | {"Aliases": _merged(endpoint.get("Aliases"), own)}
        for name, endpoint in (settings.get("Networks") or {}).items()
    }
    return container | {"NetworkSettings": settings | {"Networks": networks}}


def _predefined(network: str) -> bool:
    return network in ("bridge", "host", "none", "default")


def _merged(first: Any, second: list[str]) -> list[str]:
    return list(dict.fromkeys([*(first or ()), *(item for item in second if item)]))


def _no_annotations(summary: Json) -> Json:
    return summary | {"HostConfig": _without(summary.get("HostConfig") or {}, "Annotations")}


def _runtimes_without_status(info: Json) -> Json:
    runtimes = info.get("Runtimes") or {}
    return info | {"Runtimes": {name: _without(runtime, "status") for name, runtime in runtimes.items()}}


def _registry_lists(info: Json) -> Json:
    lists = {"AllowNondistributableArtifactsCIDRs": None, "AllowNondistributableArtifactsHostnames": None}
    return info | {"RegistryConfig": lists | (info.get("RegistryConfig") or {})}


def _expected_commits(info: Json) -> Json:
    names = ("ContainerdCommit", "RuncCommit", "InitCommit")
    commits = {name: info[name] | {"Expected": info[name].get("ID", "")} for name in names if info.get(name)}
    return _without(info, "FirewallBackend") | commits


def _bridge_filters(info: Json) -> Json:
    return _without(info, "DiscoveredDevices") | {"BridgeNfIptables": False, "BridgeNfIp6tables": False}


def _usage_sizes(usage: Json) -> Json:
    return usage | {"Images": [_virtual_size(image) for image in usage.get("Images") or []]}


def _builder_size(usage: Json) -> Json:
    """Before 1.42 the size of the build cache stood in a field of its own, and a record had one parent at most."""
    records = usage.get("BuildCache") or []
    older = [
        _without(record, "Parents") | ({"Parent": record["Parents"][0]} if record.get("Parents") else {})
        for record in records
    ]
    return usage | {"BuildCache": older, "BuilderSize": sum(record.get("Size", 0) for record in records)}


_TABLE = (
    _Change((1, 51), "image-summary", lambda image: image | {"Containers": -1}),
    _Change((1, 50), "image", _image_config),
    _Change((1, 50), "info", _bridge_filters),
    _Change((1, 49), "info", _expected_commits),
    _Change((1, 48), "container", lambda container: _without(container, "ImageManifestDescriptor")),
    _Change((1, 48), "container-summary", lambda summary: _without(summary, "ImageManifestDescriptor")),
    _Change((1, 48), "image", lambda image: _without(image, "Descriptor")),
    _Change((1, 48), "image-summary", lambda image: _without(image, "Descriptor")),
    _Change((1, 47), "info", _registry_lists),
    _Change((1, 46), "container-summary", _no_annotations),
    _Change((1, 46), "info", lambda info: _without(info, "Containerd")),
    _Change((1, 45), "container", _endpoint_aliases),
    _Change((1, 45), "image", _image_container),
    _Change((1, 44), "image", _image_times),
    _Change((1, 44), "image-summary", _virtual_size),
    _Change((1, 44), "info", _runtimes_without_status),
    _Change((1, 44), "usage", _usage_sizes),
    _Change((1, 43), "image-summary", _no_names),
    _Change((1, 42), "usage", _builder_size),
)

_NEWEST: Version = tuple(int(part) for part in API_VERSION.split("."))
_OLDEST: Version = tuple(int(part) for part in MINIMUM_API_VERSION.split("."))
_CHANGES = {kind: [change for change in _TABLE if change.kind == kind] for kind in {change.kind for change in _TABLE}}
