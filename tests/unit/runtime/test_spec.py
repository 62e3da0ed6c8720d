"""The OCI specification of a container, whole."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from orlop.model.api.container import ContainerConfig, HostConfig, Ulimit
from orlop.model.api.exec import ExecCreate
from orlop.model.record import ContainerRecord
from orlop.runtime.devices import HostDevice
from orlop.runtime.facts import HostFacts
from orlop.runtime.spec import SpecContext, build_spec, exec_process

FACTS = HostFacts(
    kernel=(6, 1),
    cgroup_version=1,
    sysctls=frozenset(("net.ipv4.ip_unprivileged_port_start", "net.ipv4.ping_group_range")),
)


def no_devices(_path: str) -> Sequence[HostDevice]:
    return []


def record(config: ContainerConfig | None = None, **host: Any) -> ContainerRecord:
    return ContainerRecord(
        id="c" * 64,
        name="box",
        created_at=0,
        image_id="",
        config=config or ContainerConfig(hostname="box"),
        host_config=HostConfig(**host),
        path="/bin/sh",
        args=("-c", "true"),
    )


def context(**fields: Any) -> SpecContext:
    defaults: dict[str, Any] = {"facts": FACTS, "cgroup_path": "/orlop-0a1b2c/c", "devices": no_devices}
    return SpecContext(**(defaults | fields))


def kinds(spec: dict[str, Any]) -> dict[str, str]:
    return {space["type"]: space.get("path", "") for space in spec["linux"]["namespaces"]}


def test_a_plain_container_has_all_namespaces_and_the_defaults() -> None:
    config = ContainerConfig(hostname="box", domainname="example", user="www", tty=True, working_dir="/srv")
    spec = build_spec(record(config, group_add=["audio", "7"], oom_score_adj=100), context())
    assert spec["process"]["args"] == ["/bin/sh", "-c", "true"]
    assert spec["process"]["cwd"] == "/srv"
    assert spec["process"]["terminal"] is True
    assert spec["process"]["env"][1:] == ["HOSTNAME=box", "TERM=xterm"]
    assert spec["process"]["user"] == {"uid": 0, "gid": 0, "username": "www", "additionalGroups": ["audio", "7"]}
    assert spec["process"]["oomScoreAdj"] == 100
    assert "CAP_SYS_ADMIN" not in spec["process"]["capabilities"]["bounding"]
    assert "ambient" not in spec["process"]["capabilities"]
    assert (spec["hostname"], spec["domainname"]) == ("box", "example")
    assert kinds(spec) == dict.fromkeys(("mount", "uts", "ipc", "pid", "network", "cgroup"), "")
    assert spec["linux"]["cgroupsPath"] == "/orlop-0a1b2c/c"
    assert spec["linux"]["sysctl"]["net.ipv4.ip_unprivileged_port_start"] == "0"
    assert spec["linux"]["seccomp"]["defaultAction"] == "SCMP_ACT_ERRNO"
    assert spec["root"] == {"readonly": False}


def test_modes_say_which_namespaces_are_the_hosts() -> None:
    host = {"network_mode": "host", "pid_mode": "host", "ipc_mode": "host", "uts_mode": "host", "cgroupns_mode": "host"}
    spec = build_spec(record(**host), context())
    assert list(kinds(spec)) == ["mount"]
    assert "hostname" not in spec
    assert spec["linux"]["sysctl"] == {}


def test_namespaces_of_another_container_are_joined_by_path() -> None:
    joined = {"network": "/proc/7/ns/net", "ipc": ""}
    spec = build_spec(record(network_mode="container:x"), context(namespaces=joined))
    assert kinds(spec)["network"] == "/proc/7/ns/net"
    assert "ipc" not in kinds(spec)
    assert spec["linux"]["sysctl"] == {}


def test_a_privileged_container_is_held_back_by_nothing() -> None:
    spec = build_spec(record(privileged=True), context())
    assert set(spec["process"]["capabilities"]["bounding"]) == FACTS.capabilities
    assert "seccomp" not in spec["linux"]
    assert spec["linux"]["maskedPaths"] == spec["linux"]["readonlyPaths"] == []
    assert spec["linux"]["resources"]["devices"] == [{"allow": True, "access": "rwm"}]


def test_an_init_runs_the_program_only_in_a_pid_namespace_of_its_own() -> None:
    def arguments(**host: Any) -> list[str]:
        spec = build_spec(record(init=True, **host), context(init_binary="/usr/bin/tini-static"))
        mounted = any(mount["destination"] == "/sbin/docker-init" for mount in spec["mounts"])
        assert mounted == (spec["process"]["args"][0] == "/sbin/docker-init")
        return list(spec["process"]["args"])

    assert arguments() == ["/sbin/docker-init", "--", "/bin/sh", "-c", "true"]
    assert arguments(pid_mode="host") == ["/bin/sh", "-c", "true"]


def test_limits_and_options_of_the_daemon_are_the_default() -> None:
    limits = {"nofile": Ulimit(name="nofile", soft=1, hard=2)}
    spec = build_spec(record(), context(default_ulimits=limits, no_new_privileges=True))
    assert spec["process"]["rlimits"] == [{"type": "RLIMIT_NOFILE", "soft": 1, "hard": 2}]
    assert spec["process"]["noNewPrivileges"] is True
    lifted = build_spec(record(security_opt=["no-new-privileges=false"]), context(no_new_privileges=True))
    assert lifted["process"]["noNewPrivileges"] is False


def test_the_same_record_makes_the_same_specification() -> None:
    assert build_spec(record(), context()) == build_spec(record(), context())


@pytest.mark.parametrize("tty", [True, False])
def test_an_exec_has_the_containers_environment_and_its_own(tty: bool) -> None:
    config = ContainerConfig(hostname="box", env=["A=1", "B=2"], user="www", working_dir="/srv", tty=not tty)
    body = ExecCreate(cmd=["id"], env=["A=3"], tty=tty)
    process = exec_process(record(config), body, context())
    assert process["args"] == ["id"]
    assert process["env"][1:] == ["HOSTNAME=box", *(["TERM=xterm"] if tty else []), "A=3", "B=2"]
    assert process["user"]["username"] == "www"
    assert process["cwd"] == "/srv"
    assert process["terminal"] is tty


def test_an_exec_may_be_another_user_elsewhere_and_privileged() -> None:
    body = ExecCreate(cmd=["id"], user="0:0", working_dir="/", privileged=True)
    process = exec_process(record(ContainerConfig(user="www", working_dir="/srv")), body, context())
    assert (process["user"]["username"], process["cwd"]) == ("0:0", "/")
    assert set(process["capabilities"]["effective"]) == FACTS.capabilities
