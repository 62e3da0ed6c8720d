from __future__ import annotations

from typing import Any

import pytest

from orlop.api.versions import adjust, parse_version
from orlop.errors import InvalidArgument

NOW = (1, 51)


def test_versions_are_compared_as_numbers() -> None:
    assert parse_version("1.44") < parse_version("")
    assert parse_version("1.51") == parse_version("")
    for text in ("1.9", "0", "1.23", ".", "1.100", "2", "1.51.1", "9" * 400):
        with pytest.raises(InvalidArgument, match=r"client version .* is too (old|new)"):
            parse_version(text)


def test_the_newest_answer_is_left_alone() -> None:
    for kind in ("container", "container-summary", "image", "image-summary", "info", "usage", "unknown"):
        answer = {"Id": "x", "Containers": 3}
        assert adjust(kind, NOW, answer) is answer


@pytest.mark.parametrize(
    ("kind", "version", "answer", "expected"),
    [
        ("image-summary", (1, 50), {"Containers": 2}, {"Containers": -1}),
        (
            "image-summary",
            (1, 42),
            {"Size": 5, "RepoTags": [], "RepoDigests": [], "Descriptor": {}, "Containers": 0},
            {
                "Size": 5,
                "VirtualSize": 5,
                "RepoTags": ["<none>:<none>"],
                "RepoDigests": ["<none>@<none>"],
                "Containers": -1,
            },
        ),
        (
            "container-summary",
            (1, 45),
            {"HostConfig": {"Annotations": {}, "NetworkMode": "x"}},
            {"HostConfig": {"NetworkMode": "x"}},
        ),
        ("container", (1, 47), {"ImageManifestDescriptor": {}}, {}),
        ("info", (1, 49), {"DiscoveredDevices": []}, {"BridgeNfIptables": False, "BridgeNfIp6tables": False}),
        (
            "usage",
            (1, 41),
            {"Images": [{"Size": 3}], "BuildCache": [{"Size": 4, "Parents": ["x"]}, {"Size": 1}]},
            {
                "Images": [{"Size": 3, "VirtualSize": 3}],
                "BuildCache": [{"Size": 4, "Parent": "x"}, {"Size": 1}],
                "BuilderSize": 5,
            },
        ),
    ],
)
def test_older_clients_get_what_they_know(
    kind: str, version: tuple[int, int], answer: dict[str, Any], expected: dict[str, Any]
) -> None:
    assert adjust(kind, version, answer) == expected


def test_aliases_of_own_networks_held_id_and_host_name_before_1_45() -> None:
    networks: dict[str, dict[str, Any]] = {"web": {"Aliases": ["db"]}, "bridge": {"Aliases": None}}
    answer = {"Id": "ab" * 32, "Config": {"Hostname": "h"}, "NetworkSettings": {"Networks": networks}}
    settings = adjust("container", (1, 44), answer)["NetworkSettings"]["Networks"]
    assert settings == {"web": {"Aliases": ["db", "abababababab", "h"]}, "bridge": {"Aliases": None}}
    assert networks["web"]["Aliases"] == ["db"]


def test_old_images_have_the_configuration_of_a_container() -> None:
    image = adjust("image", (1, 43), {"Size": 1, "Config": {"Cmd": ["sh"]}, "Descriptor": {}})
    assert (image["VirtualSize"], image["Container"], image["Created"]) == (1, "", "0001-01-01T00:00:00Z")
    assert (image["Config"]["Cmd"], image["Config"]["Hostname"]) == (["sh"], "")
    assert "Descriptor" not in image
