"""Configurations, changes to them, and progress messages."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orlop.errors import InvalidArgument
from orlop.image.archive.progress import Meter, bar
from orlop.image.changes import apply_changes
from orlop.image.config import parse_config

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
fields = st.sampled_from(["architecture", "os", "config", "rootfs", "history", "created", "variant", "author"])


@given(st.dictionaries(fields, json_values))
def test_any_document_is_a_configuration_or_refused(document: dict[str, Any]) -> None:
    try:
        config = parse_config(json.dumps(document).encode())
    except InvalidArgument:
        return
    assert isinstance(config.created_at, int)
    assert isinstance(config.labels, dict)


@given(st.binary(max_size=100))
def test_any_bytes_are_a_configuration_or_refused(data: bytes) -> None:
    try:
        parse_config(data)
    except InvalidArgument:
        pass


def test_more_layers_than_the_kernel_stacks_are_refused() -> None:
    diff_ids = [f"sha256:{number:064x}" for number in range(500)]
    with pytest.raises(InvalidArgument, match="max depth exceeded"):
        parse_config(json.dumps({"rootfs": {"type": "layers", "diff_ids": diff_ids}}).encode())


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ('CMD ["a", "b c"]', {"Cmd": ["a", "b c"]}),
        ("cmd echo $X", {"Cmd": ["/bin/sh", "-c", "echo $X"]}),
        ('ENTRYPOINT ["/e"]', {"Entrypoint": ["/e"], "Cmd": None}),
        ('ENV A=1 B="x y"', {"Env": ["P=/bin", "A=1", "B=x y"]}),
        ("ENV P the rest", {"Env": ["P=the rest"]}),
        ("EXPOSE 80 8000-8001/UDP", {"ExposedPorts": {"80/tcp": {}, "8000/udp": {}, "8001/udp": {}}}),
        ('VOLUME ["/a", "/b"]', {"Volumes": {"/a": {}, "/b": {}}}),
        ("VOLUME /a /b", {"Volumes": {"/a": {}, "/b": {}}}),
        ('LABEL a=b \\\n c="d e"', {"Labels": {"a": "b", "c": "d e"}}),
        ("STOPSIGNAL SIGINT", {"StopSignal": "SIGINT"}),
        ("USER 1000:1000", {"User": "1000:1000"}),
        ("WORKDIR /w", {"WorkingDir": "/w"}),
        ("ONBUILD RUN x", {"OnBuild": ["RUN x"]}),
        ("HEALTHCHECK NONE", {"Healthcheck": {"Test": ["NONE"]}}),
        (
            "HEALTHCHECK --interval=1m --retries=2 CMD curl x",
            {"Healthcheck": {"Interval": 60 * 10**9, "Retries": 2, "Test": ["CMD-SHELL", "curl x"]}},
        ),
    ],
)
def test_changes_are_instructions_of_a_dockerfile(change: str, expected: dict[str, Any]) -> None:
    before = {"Env": ["P=/bin"]}
    assert apply_changes(before, [change]) == {**before, **expected}
    assert before == {"Env": ["P=/bin"]}


@pytest.mark.parametrize(
    "change", ["RUN x", "COPY a b", "ENV", "ENV X", "EXPOSE 0", "EXPOSE 70000", "LABEL 'x", "HEALTHCHECK x"]
)
def test_other_changes_are_refused(change: str) -> None:
    with pytest.raises(InvalidArgument):
        apply_changes({}, [change])


def test_bars_are_dockers() -> None:
    assert bar(0, 100) == f"[>{' ' * 50}]       0B/100B"
    assert bar(50, 100) == f"[{'=' * 25}>{' ' * 25}]      50B/100B"
    assert bar(3_145_728, 3_145_728) == f"[{'=' * 50}>]  3.146MB/3.146MB"
    assert bar(5, 0) == "      5B"


def test_a_meter_tells_now_and_then_and_at_the_end() -> None:
    told: list[dict[str, Any]] = []
    meter = Meter(told.append, "Loading layer", "abc", 1000)
    for _ in range(100):
        meter.add(10)
    meter.finish()
    assert [item["progressDetail"]["current"] for item in told][-1] == 1000
    assert len(told) < 50
    Meter(None, "x", "y", 1).add(5)
