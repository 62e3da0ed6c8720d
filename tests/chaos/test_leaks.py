"""Many lives of a container leave nothing, and one daemon never touches another's things."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from support import leaks
from support.daemon import Daemon

pytestmark = [pytest.mark.root]

Factory = Callable[..., Daemon]
CYCLES = 200


@pytest.mark.slow
def test_two_hundred_lives_leave_no_trace(daemon: Factory, image_archive: Path) -> None:
    instance = daemon()
    instance.load(image_archive)
    _live(instance, "first")
    before = leaks.settled(instance)
    for number in range(CYCLES):
        _live(instance, f"c{number}")
    leaks.assert_same(instance, before)


@pytest.mark.slow
def test_a_daemon_that_restarts_in_a_loop_leaves_its_neighbour_alone(daemon: Factory, image_archive: Path) -> None:
    calm = daemon("--bridge=calm0", "--bip=10.31.0.1/24")
    restless = daemon("--bridge=rest0", "--bip=10.32.0.1/24", netns=calm.netns)
    for instance in (calm, restless):
        instance.load(image_archive)
    _start(calm, "steady", {"80/tcp": [{"HostPort": "8080"}]})
    _start(restless, "other", {"80/tcp": [{"HostPort": "8081"}]})
    before = _seen_from_inside(calm)
    for number in range(5):
        restless.restart() if number % 2 else (restless.kill(), restless.start())
        _live(restless, f"r{number}")
        assert _seen_from_inside(calm) == before
    for instance, name in ((restless, "other"), (calm, "steady")):
        assert instance.json("GET", f"/containers/{name}/json")["State"]["Running"]
        instance.remove_everything()


def test_a_second_daemon_on_the_same_data_root_is_refused(daemon: Factory) -> None:
    first = daemon()
    second = Daemon.__new__(Daemon)
    second.__dict__.update(first.__dict__)
    second.process = None
    second.exec_root = first.root / "other-run"
    second.socket = second.exec_root / "orlop.sock"
    second.log = first.root / "second.log"
    with pytest.raises(AssertionError, match="ended with status 1"):
        second.start(f"--pidfile={first.root / 'second.pid'}")
    assert str(first.pid) in second.log.read_text()
    assert first.answers()


@pytest.mark.slow
def test_fifty_containers_of_eight_clients_all_start_and_go(daemon: Factory, image_archive: Path) -> None:
    instance = daemon()
    instance.load(image_archive)
    _live(instance, "first")
    before = leaks.settled(instance)
    failures: list[BaseException] = []

    def client(number: int) -> None:
        try:
            for turn in range(6):
                _live(instance, f"p{number}-{turn}")
        except BaseException as error:  # noqa: BLE001 the main thread shows it
            failures.append(error)

    clients = [threading.Thread(target=client, args=(number,)) for number in range(8)]
    for thread in clients:
        thread.start()
    for thread in clients:
        thread.join()
    assert not failures
    leaks.assert_same(instance, before)


def _live(instance: Daemon, name: str) -> None:
    _create(instance, name, ["true"], {})
    instance.json("POST", f"/containers/{name}/start")
    assert instance.json("POST", f"/containers/{name}/wait")["StatusCode"] == 0
    instance.json("DELETE", f"/containers/{name}?force=1&v=1")


def _start(instance: Daemon, name: str, ports: dict[str, list[dict[str, str]]]) -> None:
    _create(instance, name, ["sleep", "1000"], ports)
    instance.json("POST", f"/containers/{name}/start")


def _create(instance: Daemon, name: str, command: list[str], ports: dict[str, list[dict[str, str]]]) -> None:
    body = {"Image": "busybox", "Cmd": command, "HostConfig": {"PortBindings": ports}}
    instance.json("POST", f"/containers/create?name={name}", body)


def _seen_from_inside(instance: Daemon) -> tuple[list[str], list[str], list[str]]:
    """Return the instance's own rules, links and cgroups."""
    rules = instance.netns.run("nft", "-s", "list", "table", "inet", f"orlop_{instance.instance}").stdout.splitlines()
    links = [line for line in instance.netns.run("ip", "-o", "link").stdout.splitlines() if instance.instance in line]
    groups = [child.name for parent in instance.cgroup_parents() for child in parent.iterdir() if child.is_dir()]
    return rules, [line.split()[1] for line in links], sorted(groups)
