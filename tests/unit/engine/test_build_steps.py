"""What a step of a build becomes before anything runs: its record, its environment, its emulator."""

from __future__ import annotations

from pathlib import Path

import pytest

from orlop.build.graph import Exec
from orlop.build.request import Limits
from orlop.engine.builds import exec_record
from orlop.engine.builds.exec_platform import check, handles, header
from orlop.engine.config import EngineConfig
from orlop.errors import InvalidArgument
from orlop.formats.platform import Platform
from orlop.model.record import ContainerRecord
from orlop.runtime.facts import HostFacts
from orlop.runtime.process import DEFAULT_PATH

QEMU = """enabled
interpreter /usr/libexec/qemu-binfmt/aarch64-binfmt-P
flags: POCF
offset 0
magic 7f454c460201010000000000000000000200b700
mask ffffffffffffff00fffffffffffffffffeffffff
"""


def _record(node: Exec, limits: Limits | None = None) -> ContainerRecord:
    return exec_record.make(node, "a" * 64, limits or Limits(), EngineConfig(data_root=Path("/d")), HostFacts())


def _node(*arguments: str, **fields: object) -> Exec:
    return Exec(0, arguments or ("/bin/sh", "-c", "true"), **{"environment": (), "directory": "/", **fields})  # type: ignore[arg-type]


def test_a_step_runs_its_command_as_it_stands_with_no_init() -> None:
    record = _record(_node("prog", "a", "b", user="1:2", directory="/w"))
    assert (record.path, record.args) == ("prog", ("a", "b"))
    assert (record.config.user, record.config.working_dir, record.host_config.init) == ("1:2", "/w", False)


@pytest.mark.parametrize(("network", "mode"), [("default", "bridge"), ("none", "none"), ("host", "host")])
def test_a_steps_network_is_a_containers(network: str, mode: str) -> None:
    assert _record(_node(network=network)).host_config.network_mode == mode


def test_ulimits_have_a_soft_and_perhaps_a_hard_value() -> None:
    limits = _record(_node(ulimits=("nofile=5:6", "core=0"))).host_config.ulimits
    assert [(limit.name, limit.soft, limit.hard) for limit in limits or ()] == [("nofile", 5, 6), ("core", 0, 0)]
    for wrong in ("nofile=many", "nofile=6:5", "files=1"):
        with pytest.raises(InvalidArgument):
            _record(_node(ulimits=(wrong,)))


def test_limits_are_checked_as_a_containers() -> None:
    with pytest.raises(InvalidArgument, match="Minimum memory limit allowed is 6MB"):
        _record(_node(), Limits(memory=1 << 20))


def test_a_path_is_added_where_there_is_none() -> None:
    assert exec_record.environment(_node(environment=("A=1",))) == [f"PATH={DEFAULT_PATH}", "A=1"]
    node = _node(environment=("PATH=/x", "B=2"), proxies=("http_proxy=p",))
    assert exec_record.environment(node) == ["PATH=/x", "B=2", "http_proxy=p"]
    assert exec_record.environment(node, tty=True)[-1] == "TERM=xterm"


@pytest.mark.parametrize(
    ("command", "shell"),
    [
        (("/bin/sh", "-c", "x"), "/bin/sh"),
        (("/bin/bash", "-o", "pipefail", "-c", "x"), "/bin/bash"),
        (("/usr/bin/ash", "-euc", "x"), "/usr/bin/ash"),
        (("python", "-c", "x"), "/bin/sh"),
        (("make",), "/bin/sh"),
    ],
)
def test_the_shell_to_look_around_with_is_the_one_that_ran_the_command(command: tuple[str, ...], shell: str) -> None:
    assert exec_record.shell(_node(*command)) == shell


def test_an_emulator_handles_what_its_magic_says() -> None:
    assert handles([QEMU], header("arm64"))
    assert not handles([QEMU], header("s390x"))
    assert not handles([QEMU.replace("enabled", "disabled")], header("arm64"))
    assert not handles([QEMU.replace("POCF", "OC")], header("arm64"))  # it would have to be in the step's own root
    assert not handles([], header("arm64"))


def test_steps_of_this_host_need_no_emulator() -> None:
    host = Platform("linux", "amd64")
    check(host, host)
    check(Platform("linux", "386"), host)
    with pytest.raises(InvalidArgument, match="a step for windows/amd64 cannot run on linux/amd64"):
        check(Platform("windows", "amd64"), host)
    with pytest.raises(InvalidArgument, match="no emulator is registered for linux/pdp11"):
        check(Platform("linux", "pdp11"), host)
