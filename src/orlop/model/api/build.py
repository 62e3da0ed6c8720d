"""Bodies of the build routes: the own one, and the JSON in the query of Docker's."""

from __future__ import annotations

from typing import Any

from orlop.model.api.base import Body

__all__ = ["BuildCreate", "BuildLimits"]


class BuildLimits(Body, frozen=True, kw_only=True):
    """Limits of a build's steps, in the units of ``HostConfig``."""

    memory: int = 0
    memory_swap: int = 0
    cpu_shares: int = 0
    cpu_period: int = 0
    cpu_quota: int = 0
    cpuset_cpus: str = ""
    cpuset_mems: str = ""
    cgroup_parent: str = ""


class BuildCreate(Body, frozen=True, kw_only=True):
    """The body of `POST /orlop/build`.

    `context` is the id of a context that was sent, or there is a `remote` one; `dockerfile` is its text unless it lies
    in that under `dockerfile_name`. `contexts` are named ones: an id, or a reference of an image. `origin` tells this
    build from others, for explaining what changed since the last one. `ignore` is the text of the ``.dockerignore``: it
    stands for that of a remote context; one that was sent has been chosen by it already. `call` is ``build``,
    ``check``, ``outline`` or ``targets``.
    """

    dockerfile: str | None = None
    dockerfile_name: str = ""
    context: str = ""
    remote: str = ""
    contexts: dict[str, str] | None = None
    origin: str = ""
    target: str = ""
    args: dict[str, str | None] | None = None
    labels: dict[str, str] | None = None
    names: list[str] | None = None
    platform: str = ""
    no_cache: bool = False
    no_cache_stages: list[str] | None = None
    pull: bool = False
    cache_from: list[str] | None = None
    network: str = ""
    hosts: list[str] | None = None
    ulimits: list[Any] | None = None
    shm_size: int = 0
    limits: BuildLimits | None = None
    keep_failed: bool = False
    stop_after: str = ""
    check: bool = False
    call: str = "build"
    ignore: str | None = None
    id: str = ""
