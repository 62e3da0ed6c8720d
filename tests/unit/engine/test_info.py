from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, cast

import pytest

from orlop.engine.config import EngineConfig
from orlop.engine.system import info, version
from orlop.model.record import ContainerState
from orlop.runtime.facts import HostFacts

if TYPE_CHECKING:
    from orlop.engine.engine import Engine


def engine(tmp_path: Path, **facts: object) -> "Engine":
    containers = [
        SimpleNamespace(state=ContainerState(status=status))
        for status in ("running", "running", "paused", "exited", "created", "restarting")
    ]
    config = EngineConfig(data_root=tmp_path, labels=("a=b",), insecure_registries=("10.0.0.0/8", "reg:5000"))
    parts = SimpleNamespace(
        config=config,
        facts=HostFacts(**facts),  # type: ignore[arg-type]
        instance="0123ab",
        containers=containers,
        images=["one", "two"],
        events=SimpleNamespace(listeners=3),
    )
    return cast("Engine", parts)


async def test_containers_are_counted_by_state(tmp_path: Path) -> None:
    shown = await info.info(engine(tmp_path))
    names = ("Containers", "ContainersRunning", "ContainersPaused", "ContainersStopped", "Images", "NEventsListener")
    assert [shown[name] for name in names] == [6, 3, 1, 2, 2, 3]


async def test_the_id_belongs_to_the_data_root(tmp_path: Path) -> None:
    first, second = await info.info(engine(tmp_path)), await info.info(engine(tmp_path))
    assert first["ID"] == second["ID"]


async def test_registries_are_listed_by_network_and_name(tmp_path: Path) -> None:
    registries = (await info.info(engine(tmp_path)))["RegistryConfig"]
    assert registries["InsecureRegistryCIDRs"] == ["::1/128", "127.0.0.0/8", "10.0.0.0/8"]
    assert registries["IndexConfigs"]["reg:5000"]["Secure"] is False


def test_what_is_missing_is_warned_of() -> None:
    shown = info.warnings(HostFacts(memory_limit=False, swap_limit=False, cpuset=False, blkio_weight=True))
    assert "WARNING: No memory limit support" in shown
    assert "WARNING: No cpuset support" in shown
    assert "WARNING: No swap limit support" not in shown  # said by the first


def test_security_options_tell_the_defaults() -> None:
    options = info.security_options(EngineConfig(no_new_privileges=True), HostFacts(apparmor=True))
    assert options == ["name=apparmor", "name=seccomp,profile=builtin", "name=cgroupns", "name=no-new-privileges"]
    assert info.security_options(EngineConfig(), HostFacts(seccomp=False, cgroup_namespaces=False)) == []


async def test_a_proxy_s_password_is_not_shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://me:secret@proxy:3128/")
    assert (await info.info(engine(tmp_path)))["HttpProxy"] == "http://xxxxx:xxxxx@proxy:3128/"


async def test_the_version_is_one_that_docker_s_clients_know(tmp_path: Path) -> None:
    shown = await version.version(engine(tmp_path))
    assert (shown["ApiVersion"], shown["MinAPIVersion"], shown["Os"]) == ("1.51", "1.24", "linux")
    assert [component["Name"] for component in shown["Components"]] == ["Engine", "Orlop"]
