"""What a client asks a build for, whatever the route it came by."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from orlop.formats.platform import Platform
from orlop.formats.reference import Reference

__all__ = ["BuildRequest", "Limits"]


@dataclass(frozen=True, slots=True)
class Limits:
    """Limits of the steps' containers, in the units of Docker's HostConfig; 0 and "" are none."""

    memory: int = 0
    memory_swap: int = 0
    cpu_shares: int = 0
    cpu_period: int = 0
    cpu_quota: int = 0
    cpuset_cpus: str = ""
    cpuset_mems: str = ""
    cgroup_parent: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildRequest:
    """A build. `dockerfile` is its text; the contexts are known to the worker by their names.

    `arguments` are the build arguments, None for one that was named without a value. `named` are the contexts that
    stand for a stage or an image by name: ``context`` for one that the client sent, else an image's reference.
    `no_cache_stages` are stages whose cache is not used, `no_cache` says that of all. `hosts` are ``name:address``.
    `origin` says where the context comes from (a directory of the client, a URL), which tells this build from others
    when it is asked what changed since the last one. `ignore` is the context's ``.dockerignore``, for the checks alone.
    """

    dockerfile: str
    dockerfile_name: str = "Dockerfile"
    target: str = ""
    arguments: Mapping[str, str | None] = field(default_factory=dict)
    labels: Mapping[str, str] = field(default_factory=dict)
    names: tuple[Reference, ...] = ()
    platform: Platform | None = None
    named: Mapping[str, str] = field(default_factory=dict)
    no_cache: bool = False
    no_cache_stages: tuple[str, ...] = ()
    pull: bool = False
    cache_from: tuple[str, ...] = ()
    network: str = ""
    hosts: tuple[str, ...] = ()
    ulimits: tuple[str, ...] = ()
    shm_size: int = 0
    limits: Limits = Limits()
    keep_failed: bool = False
    stop_after: str = ""
    check: bool = False
    origin: str = ""
    ignore: str | None = None
