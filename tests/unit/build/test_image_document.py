"""The configuration document of a built image."""

from __future__ import annotations

import json
from typing import Any

from orlop.build.dockerfile.tree import Range
from orlop.build.document import image_document
from orlop.build.graph import Graph, History, Scratch, Step, Target
from orlop.build.inline_cache import FIELD, Made
from orlop.formats.platform import Platform

SECOND = 10**9
DIFF_ID = "sha256:" + "1" * 64


def document(*history: History, nodes: tuple[int, ...] = (), epoch: int | None = None, **options: Any) -> Any:
    made, created_at, diff_ids = options.pop("made", ()), options.pop("created_at", {}), options.pop("diff_ids", ())
    steps = tuple(Step(number + 1, "", "", "0", "RUN", Range(1, 1), node) for number, node in enumerate(nodes))
    graph = Graph((Scratch(),), steps, Target(0, {"Cmd": ["x"]}, history, **options), epoch=epoch)
    return json.loads(image_document(graph, diff_ids, created_at, made))


def test_a_document_has_what_an_image_is() -> None:
    found = document(platform=Platform("linux", "arm", "v7"), author="me", diff_ids=[DIFF_ID])
    assert found == {
        "architecture": "arm",
        "os": "linux",
        "variant": "v7",
        "author": "me",
        "config": {"Cmd": ["x"]},
        "rootfs": {"type": "layers", "diff_ids": [DIFF_ID]},
        "history": [],
    }


def test_history_has_the_times_of_its_layers() -> None:
    found = document(
        History("ENV a", True, 1),
        History("RUN a", False, 2),
        History("CMD b", True, 3),
        History("RUN c", False, 4),
        nodes=(0, 1, 1, 2),
        created_at={1: 1 * SECOND, 2: 2 * SECOND},
        base_history=({"created": "1999-01-01T00:00:00Z", "created_by": "base"},),
    )
    times = [entry["created"] for entry in found["history"]]
    first, second = "1970-01-01T00:00:01Z", "1970-01-01T00:00:02Z"
    assert times == ["1999-01-01T00:00:00Z", first, first, first, second]
    assert found["created"] == second
    assert found["history"][1] == {
        "created": first,
        "created_by": "ENV a",
        "comment": "buildkit.dockerfile.v0",
        "empty_layer": True,
    }
    assert "empty_layer" not in found["history"][2]


def test_an_image_without_a_layer_of_its_own_is_as_old_as_its_base() -> None:
    base = ({"created": "1999-01-01T00:00:00Z", "created_by": "base"},)
    found = document(History("CMD b", True, 1), nodes=(0,), base_history=base)
    assert found["created"] == found["history"][1]["created"] == "1999-01-01T00:00:00Z"


def test_an_epoch_is_every_time_but_the_base_s() -> None:
    made = [Made("sha256:" + "a" * 64, DIFF_ID, 77 * SECOND)]
    base = ({"created": "1999-01-01T00:00:00Z", "created_by": "base"},)
    found = document(
        History("RUN a", False, 1), nodes=(1,), created_at={1: 77 * SECOND}, made=made, base_history=base, epoch=0
    )
    epoch = "1970-01-01T00:00:00Z"
    assert found["created"] == found["history"][1]["created"] == found[FIELD][0]["created"] == epoch
    assert found["history"][0]["created"] == "1999-01-01T00:00:00Z"


def test_the_same_build_gives_the_same_bytes() -> None:
    graph = Graph((Scratch(),), (), Target(0, {"Labels": {"b": "é", "a": "2"}}, ()))
    other = Graph((Scratch(),), (), Target(0, {"Labels": {"a": "2", "b": "é"}}, ()))
    assert image_document(graph, [], {}) == image_document(other, [], {})
