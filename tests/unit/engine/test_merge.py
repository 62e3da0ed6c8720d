"""How image and user configuration become one."""

from __future__ import annotations

import pytest

from orlop.engine.containers.merge import command, merge
from orlop.errors import InvalidArgument
from orlop.model.api.container import ContainerCreate, HealthConfig


def test_a_command_given_replaces_the_images_and_keeps_its_entrypoint() -> None:
    config = merge(ContainerCreate(cmd=["b"]), {"Entrypoint": ["/e"], "Cmd": ["a"]})
    assert command(config) == ("/e", ("b",))


def test_an_entrypoint_given_takes_the_images_command_away() -> None:
    config = merge(ContainerCreate(entrypoint=["/x"]), {"Entrypoint": ["/e"], "Cmd": ["a"]})
    assert command(config) == ("/x", ())


def test_an_empty_entrypoint_resets_the_images() -> None:
    config = merge(ContainerCreate(entrypoint=[""], cmd=["sh"]), {"Entrypoint": ["/e"], "Cmd": ["a"]})
    assert (config.entrypoint, command(config)) == (None, ("sh", ()))


def test_the_images_entrypoint_and_command_stand_when_nothing_is_given() -> None:
    config = merge(ContainerCreate(), {"Entrypoint": ["/e"], "Cmd": ["a"]})
    assert command(config) == ("/e", ("a",))


def test_a_command_as_a_string_is_one_word() -> None:
    assert command(merge(ContainerCreate(cmd="a b"), {})) == ("a b", ())


def test_no_command_at_all_is_refused() -> None:
    with pytest.raises(InvalidArgument, match=r"^no command specified$"):
        merge(ContainerCreate(), {})


def test_variables_given_come_first_and_hide_the_images_of_that_name() -> None:
    config = merge(ContainerCreate(cmd=["x"], env=["A=1", "B"]), {"Env": ["A=0", "PATH=/bin", "B=2"]})
    assert config.env == ["A=1", "B", "PATH=/bin"]


def test_ports_volumes_and_labels_are_joined() -> None:
    body = ContainerCreate(cmd=["x"], exposed_ports={"80": {}}, volumes={"/a": None}, labels={"k": "mine"})
    image = {"ExposedPorts": {"53/udp": {}}, "Volumes": {"/b": {}}, "Labels": {"k": "image", "l": "1"}}
    config = merge(body, image)
    assert config.exposed_ports == {"53/udp": {}, "80/tcp": {}}
    assert config.volumes == {"/a": {}, "/b": {}}
    assert config.labels == {"k": "mine", "l": "1"}


def test_a_health_check_inherits_what_it_does_not_say() -> None:
    image = {"Healthcheck": {"Test": ["CMD", "true"], "Interval": 5, "Retries": 2}}
    config = merge(ContainerCreate(cmd=["x"], healthcheck=HealthConfig(interval=7)), image)
    assert config.healthcheck == HealthConfig(test=["CMD", "true"], interval=7, retries=2)
