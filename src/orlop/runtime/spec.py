"""From a container's record to an OCI runtime specification (config.json): pure, so it can be tested and printed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from orlop.model.api.container import Ulimit
from orlop.model.api.exec import ExecCreate
from orlop.model.record import ContainerRecord
from orlop.runtime import devices as device_plans
from orlop.runtime import mounts, namespaces, process, resources, security, sysctls
from orlop.runtime.devices import DeviceLister, host_devices, number
from orlop.runtime.facts import HostFacts

__all__ = ["VERSION", "SpecContext", "build_spec", "exec_process"]

Json = dict[str, Any]

VERSION = "1.2.1"  # of the OCI runtime specification


@dataclass(frozen=True, slots=True, kw_only=True)
class SpecContext:
    """What has to be known beside the record. The callables are the only way to the host; tests hand in others.

    `files` maps paths in the container to files of the host. `namespaces` maps a kind to the path of the namespace
    to join, or to an empty string for the host's; a kind that is missing is new, or as the record's modes say.
    `shm` is the path of another's ``/dev/shm``, on the host or in the mount namespace `shm_namespace`.
    `seccomp_default` is the daemon's profile in Docker's format.
    """

    facts: HostFacts
    cgroup_path: str
    files: Mapping[str, str] = field(default_factory=dict)
    namespaces: Mapping[str, str] = field(default_factory=dict)
    shm: str | None = None
    shm_namespace: str = ""
    init_binary: str | None = None
    seccomp_default: Json | None = None
    no_new_privileges: bool = False
    default_ulimits: Mapping[str, Ulimit] = field(default_factory=dict)
    devices: DeviceLister = host_devices
    device_number: Callable[[str], tuple[int, int]] = number
    mountinfo: Callable[[], str] | None = None


def build_spec(record: ContainerRecord, context: SpecContext) -> Json:
    """Return the specification of a container.

    Raises `orlop.errors.Error` with dockerd's text where the host does not have what was asked (a device, a driver).
    """
    config, host, facts = record.config, record.host_config, context.facts
    chosen = security.options(host.security_opt, no_new_privileges=context.no_new_privileges)
    spaces = namespaces.plan(host, dict(context.namespaces))
    own_pids = namespaces.owned(spaces, "pid")
    init = context.init_binary if own_pids else None
    nodes, rules = device_plans.plan(host, context.devices)
    limits = resources.plan(host, facts, context.device_number)
    linux: Json = {
        "namespaces": spaces,
        "cgroupsPath": context.cgroup_path,
        "resources": {"devices": rules, **limits},
        "devices": nodes,
        "sysctl": sysctls.plan(host.sysctls, spaces, facts.sysctls),
        "maskedPaths": security.masked_paths(host, facts),
        "readonlyPaths": security.readonly_paths(host),
        "rootfsPropagation": mounts.rootfs_propagation(record.mounts, context.mountinfo),
    }
    if seccomp := security.seccomp(host, facts, context.seccomp_default):
        linux["seccomp"] = seccomp
    spec: Json = {
        "ociVersion": VERSION,
        "process": {
            "args": process.arguments(record, init=init is not None),
            **_process(record, context, user=config.user, tty=config.tty, working_dir="", env=()),
        },
        "root": {"readonly": host.readonly_rootfs},
        "mounts": mounts.plan(
            record,
            files=context.files,
            shm=context.shm,
            shm_namespace=context.shm_namespace,
            init=init,
            writable_cgroups=chosen.writable_cgroups,
            recursive_readonly=facts.recursive_readonly,
        ),
        "annotations": dict(host.annotations or {}),
        "linux": linux,
    }
    if namespaces.owned(spaces, "uts"):
        spec["hostname"] = config.hostname
        if config.domainname:
            spec["domainname"] = config.domainname
    return spec


def exec_process(record: ContainerRecord, exec: ExecCreate, context: SpecContext) -> Json:
    """Return the OCI process of a further process in a container."""
    body = _process(
        record,
        context,
        user=exec.user or record.config.user,
        tty=exec.tty,
        working_dir=exec.working_dir,
        env=exec.env or (),
    )
    if exec.privileged:
        apparmor = security.UNCONFINED if context.facts.apparmor else ""
        body |= process.privileges(
            context.facts.capabilities, no_new_privileges=body["noNewPrivileges"], apparmor=apparmor
        )
    return {"args": list(exec.cmd or ()), **body}


def _process(
    record: ContainerRecord,
    context: SpecContext,
    *,
    user: str,
    tty: bool,
    working_dir: str,
    env: list[str] | tuple[str, ...],
) -> Json:
    """Return what the processes of a container have in common."""
    config, host, facts = record.config, record.host_config, context.facts
    chosen = security.options(host.security_opt, no_new_privileges=context.no_new_privileges)
    return {
        "terminal": tty,
        "cwd": working_dir or config.working_dir or "/",
        "env": process.environment(config.hostname, tty, config.env or (), env),
        "user": process.user(user, host.group_add),
        "rlimits": process.rlimits(host, context.default_ulimits),
        "oomScoreAdj": host.oom_score_adj,
        **process.privileges(
            security.capabilities(host, facts),
            no_new_privileges=chosen.no_new_privileges,
            apparmor=security.apparmor(host, facts),
        ),
    }
