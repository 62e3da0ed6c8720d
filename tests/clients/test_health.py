"""Health checks, as the real docker command shows them."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any

import pytest

from support.daemon import Daemon

pytestmark = pytest.mark.root

Cli = Callable[..., Any]
QUICK = ("--health-interval=100ms", "--health-retries=2")


def eventually(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def health(docker: Cli, name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(docker("inspect", "-f", "{{json .State.Health}}", name).stdout)
    return found


def test_a_check_makes_a_container_healthy_and_unhealthy(docker: Cli, image: str) -> None:
    check = "--health-cmd=echo looking; test -e /well"
    docker("run", "-d", "--name=checked", check, *QUICK, image, "sleep", "100")
    assert "(health: starting)" in docker("ps").stdout
    eventually(lambda: health(docker, "checked")["Status"] == "unhealthy")
    assert health(docker, "checked")["FailingStreak"] >= 2
    docker("exec", "checked", "touch", "/well")
    eventually(lambda: health(docker, "checked")["Status"] == "healthy")
    last = health(docker, "checked")["Log"][-1]
    assert (last["ExitCode"], last["Output"]) == (0, "looking\n")
    assert docker("ps", "--filter=health=healthy", "--format={{.Names}}").stdout == "checked\n"
    docker("exec", "checked", "rm", "/well")
    eventually(lambda: health(docker, "checked")["Status"] == "unhealthy")
    docker("kill", "checked")
    span = ("--since=60s", f"--until={time.time():.9f}")
    happened = docker("events", *span, "--filter=container=checked", "--format={{.Action}}").stdout
    told = [line for line in happened.splitlines() if line.startswith("health_status")]
    assert told == [f"health_status: {status}" for status in ("unhealthy", "healthy", "unhealthy")]


def test_a_probe_that_takes_too_long_is_killed_and_has_failed(docker: Cli, image: str) -> None:
    docker("run", "-d", "--name=slow", "--health-cmd=sleep 50", "--health-timeout=100ms", *QUICK, image, "sleep", "100")
    eventually(lambda: health(docker, "slow")["Status"] == "unhealthy")
    last = health(docker, "slow")["Log"][-1]
    assert (last["ExitCode"], last["Output"]) == (-1, "Health check exceeded timeout (100ms)")
    eventually(lambda: len(health(docker, "slow")["Log"]) == 5)
    eventually(lambda: docker("top", "slow").stdout.count("sleep 50") <= 1)  # the one that is running


def test_failures_within_the_start_period_do_not_count(docker: Cli, image: str) -> None:
    options = ("--health-start-period=100s", "--health-start-interval=50ms")
    docker("run", "-d", "--name=young", "--health-cmd=false", *options, *QUICK, image, "sleep", "100")
    eventually(lambda: len(health(docker, "young")["Log"]) == 5)
    assert health(docker, "young")["Status"] == "starting"


def test_no_check_and_one_that_cannot_be_run(docker: Cli, image: str) -> None:
    docker("run", "-d", "--name=none", "--no-healthcheck", image, "sleep", "100")
    assert docker("inspect", "-f", "{{json .State.Health}}", "none").stdout in ("null\n", "<no value>\n", "\n")
    docker("run", "-d", "--name=wrong", "--health-cmd=/no/such", *QUICK, image, "sleep", "100")
    eventually(lambda: health(docker, "wrong")["Status"] == "unhealthy")
    assert health(docker, "wrong")["Log"][-1]["ExitCode"] == 127


def test_checks_go_on_under_the_next_daemon(orlopd: Daemon, docker: Cli, image: str) -> None:
    docker("run", "-d", "--name=lasting", "--health-cmd=true", *QUICK, image, "sleep", "100")
    eventually(lambda: health(docker, "lasting")["Status"] == "healthy")
    orlopd.kill()
    orlopd.start()
    eventually(lambda: health(docker, "lasting")["Status"] == "healthy")
