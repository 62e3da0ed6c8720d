"""The container of a RUN step as a record, made up: it is in no store, and `runtime.spec` reads it as any other. Pure.

A step has what a container has by default: capabilities, seccomp profile, masked paths, the daemon's limits. What
differs is its environment, which is the step's own to the letter, and that nothing of it goes into the image.
"""

from __future__ import annotations

import time
from pathlib import PurePosixPath

from orlop.build.graph import Exec
from orlop.build.request import Limits
from orlop.engine.config import EngineConfig
from orlop.engine.containers import defaults
from orlop.errors import Forbidden, InvalidArgument
from orlop.model.api.container import ContainerConfig, HostConfig, Ulimit
from orlop.model.record import ContainerRecord
from orlop.runtime import validate
from orlop.runtime.facts import HostFacts
from orlop.runtime.process import DEFAULT_PATH

__all__ = ["HOSTNAME", "environment", "make", "shell"]

HOSTNAME = "buildkitsandbox"
"""What steps are called elsewhere, too: a file into which a step writes its host name is the same."""

_NETWORKS = {"default": "bridge", "none": "none", "host": "host"}


def make(
    node: Exec, container_id: str, limits: Limits, config: EngineConfig, facts: HostFacts, *, tty: bool = False
) -> ContainerRecord:
    """Return the record of a step's container.

    Raises `InvalidArgument` for limits that make no sense and `Forbidden` for a step that wants more than steps may.
    """
    if node.insecure and not config.build_insecure:
        raise Forbidden("security.insecure is not allowed")
    host = HostConfig(
        memory=limits.memory,
        memory_swap=limits.memory_swap,
        cpu_shares=limits.cpu_shares,
        cpu_period=limits.cpu_period,
        cpu_quota=limits.cpu_quota,
        cpuset_cpus=limits.cpuset_cpus,
        cpuset_mems=limits.cpuset_mems,
        cgroup_parent=limits.cgroup_parent,
        network_mode=_NETWORKS[node.network],
        ulimits=[_ulimit(text) for text in node.ulimits] or None,
        shm_size=node.shm_size,
        extra_hosts=list(node.hosts) or None,
        privileged=node.insecure,
        init=False,
    )
    settings = ContainerConfig(hostname=node.hostname or HOSTNAME, user=node.user, working_dir=node.directory, tty=tty)
    validate.validate(settings, host, facts)
    return ContainerRecord(
        id=container_id,
        name=container_id[:12],
        created_at=time.time_ns(),
        image_id="",
        config=settings,
        host_config=defaults.fill(host, config, facts),
        path=node.arguments[0],
        args=node.arguments[1:],
    )


def environment(node: Exec, *, tty: bool = False) -> list[str]:
    """Return the variables of a step: its own, the proxies that it may see, and a PATH if it has none."""
    words = [*node.environment, *node.proxies]
    names = {word.partition("=")[0] for word in words}
    if "PATH" not in names:
        words.insert(0, f"PATH={DEFAULT_PATH}")
    if tty and "TERM" not in names:
        words.append("TERM=xterm")
    return words


def shell(node: Exec) -> str:
    """Return the shell to look around with where `node` ran: the one that runs its command, else ``/bin/sh``."""
    program = node.arguments[0] if node.arguments else ""
    runs_text = len(node.arguments) > 2 and node.arguments[-2].startswith("-") and node.arguments[-2].endswith("c")
    return program if runs_text and PurePosixPath(program).name.endswith("sh") else "/bin/sh"


def _ulimit(text: str) -> Ulimit:
    name, _, values = text.partition("=")
    soft, _, hard = values.partition(":")
    try:
        return Ulimit(name=name, soft=int(soft), hard=int(hard or soft))
    except ValueError:
        raise InvalidArgument(f"invalid ulimit argument: {text}") from None
