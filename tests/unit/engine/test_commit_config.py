"""What configuration a committed image has: the container's, with what the request says before it."""

from __future__ import annotations

from typing import Any

import pytest

from orlop.engine.containers.commit import image_config, merged
from orlop.model.api.container import ContainerConfig, HealthConfig

Json = dict[str, Any]


def test_what_is_of_the_container_alone_does_not_go_into_the_image() -> None:
    config = ContainerConfig(
        hostname="box",
        tty=True,
        attach_stdout=True,
        image="busybox",
        cmd=["sh"],
        entrypoint="/run",
        env=["A=1"],
        healthcheck=HealthConfig(test=["NONE"]),
        working_dir="/w",
    )
    assert image_config(config) == {
        "Env": ["A=1"],
        "Entrypoint": ["/run"],
        "Cmd": ["sh"],
        "WorkingDir": "/w",
        "Healthcheck": {"Test": ["NONE"]},
    }


@pytest.mark.parametrize(
    ("asked", "own", "result"),
    [
        ({}, {"Cmd": ["a"], "User": "u"}, {"User": "u", "Cmd": ["a"]}),
        ({"Cmd": ["b"]}, {"Cmd": ["a"], "Entrypoint": ["e"]}, {"Entrypoint": ["e"], "Cmd": ["b"]}),
        ({"Entrypoint": ["f"], "Cmd": None}, {"Cmd": ["a"], "Entrypoint": ["e"]}, {"Entrypoint": ["f"]}),
        ({"Env": ["A=2", "C=3"]}, {"Env": ["A=1", "B=1"]}, {"Env": ["A=2", "C=3", "B=1"]}),
        ({"Labels": {"a": "2"}}, {"Labels": {"a": "1", "b": "1"}}, {"Labels": {"a": "2", "b": "1"}}),
        (
            {"ExposedPorts": {"80/tcp": {}}},
            {"ExposedPorts": {"81/tcp": {}}},
            {"ExposedPorts": {"81/tcp": {}, "80/tcp": {}}},
        ),
        ({"Volumes": {"/a": {}}}, {"Volumes": {"/b": {}}}, {"Volumes": {"/b": {}, "/a": {}}}),
        (
            {"Healthcheck": {"Interval": 5}},
            {"Healthcheck": {"Test": ["CMD", "x"], "Interval": 9, "Retries": 2}},
            {"Healthcheck": {"Test": ["CMD", "x"], "Interval": 5, "Retries": 2}},
        ),
        ({"User": ""}, {"User": "u", "StopSignal": "TERM"}, {"User": "u", "StopSignal": "TERM"}),
    ],
)
def test_the_containers_own_configuration_fills_in_what_is_not_said(asked: Json, own: Json, result: Json) -> None:
    assert merged(asked, own) == result
