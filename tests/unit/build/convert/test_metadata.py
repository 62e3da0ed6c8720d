"""Instructions that change the configuration: what the image says in the end, and what its history tells."""

from __future__ import annotations

from typing import Any

import pytest

from orlop.build.dockerfile.errors import DockerfileError
from orlop.build.graph import Files, MakeDirectory
from support.converting import graph_of, image, layers, made_by


def built(text: str, **base: Any) -> tuple[dict[str, Any], list[str]]:
    """Return what a Dockerfile changes of the configuration, and its history."""
    graph = graph_of(f"FROM a\n{text}", {"a": image("a", **base)})
    changed = {key: value for key, value in graph.target.config.items() if (key, value) != ("Env", ["PATH=/bin"])}
    return changed, made_by(graph)


@pytest.mark.parametrize(
    ("text", "config", "history"),
    [
        ("ENV A=1 B='x y'", {"Env": ["PATH=/bin", "A=1", "B=x y"]}, "ENV A=1 B=x y"),
        ("ENV A x  y", {"Env": ["PATH=/bin", "A=x  y"]}, "ENV A=x  y"),
        ("LABEL a=1 \"b c\"='d $e'", {"Labels": {"a": "1", "b c": "d $e"}}, "LABEL a=1 b c=d $e"),
        ("USER me:us", {"User": "me:us"}, "USER me:us"),
        ("EXPOSE 80 53/UDP 1-2", {"ExposedPorts": {"80/tcp": {}, "53/udp": {}, "1/tcp": {}, "2/tcp": {}}}, None),
        ("EXPOSE 80 443/tcp", {"ExposedPorts": {"80/tcp": {}, "443/tcp": {}}}, "EXPOSE [443/tcp 80/tcp]"),
        ("VOLUME /a /b", {"Volumes": {"/a": {}, "/b": {}}}, "VOLUME [/a /b]"),
        ('VOLUME ["/a b"]', {"Volumes": {"/a b": {}}}, "VOLUME [/a b]"),
        ("STOPSIGNAL SIGRTMIN+3", {"StopSignal": "SIGRTMIN+3"}, "STOPSIGNAL SIGRTMIN+3"),
        ("STOPSIGNAL 9", {"StopSignal": "9"}, "STOPSIGNAL 9"),
        ('SHELL ["/bin/bash", "-c"]', {"Shell": ["/bin/bash", "-c"]}, "SHELL [/bin/bash -c]"),
        ('CMD ["a", "b\\"c"]', {"Cmd": ["a", 'b"c'], "ArgsEscaped": True}, 'CMD ["a" "b\\"c"]'),
        ("CMD a b", {"Cmd": ["/bin/sh", "-c", "a b"], "ArgsEscaped": True}, 'CMD ["/bin/sh" "-c" "a b"]'),
        ('ENTRYPOINT ["e"]', {"Entrypoint": ["e"]}, 'ENTRYPOINT ["e"]'),
        ("ENTRYPOINT exec e", {"Entrypoint": ["/bin/sh", "-c", "exec e"]}, 'ENTRYPOINT ["/bin/sh" "-c" "exec e"]'),
        (
            "HEALTHCHECK --interval=90s --timeout=3s --retries=5 CMD curl x",
            {
                "Healthcheck": {
                    "Test": ["CMD-SHELL", "curl x"],
                    "Interval": 90 * 10**9,
                    "Timeout": 3 * 10**9,
                    "Retries": 5,
                }
            },
            "HEALTHCHECK {Test:[CMD-SHELL curl x] Interval:1m30s Timeout:3s StartPeriod:0s StartInterval:0s Retries:5}",
        ),
        (
            "HEALTHCHECK NONE",
            {"Healthcheck": {"Test": ["NONE"]}},
            "HEALTHCHECK {Test:[NONE] Interval:0s Timeout:0s StartPeriod:0s StartInterval:0s Retries:0}",
        ),
    ],
)
def test_an_instruction_changes_the_configuration(text: str, config: dict[str, Any], history: str | None) -> None:
    found, told = built(text)
    assert found == config
    assert told == [history] or history is None


def test_variables_are_expanded_in_what_takes_them() -> None:
    text = "ENV V=v P=8000-8001\nLABEL $V=$V\nUSER $V\nEXPOSE $P\nVOLUME /$V\nSTOPSIGNAL ${S:-TERM}\nCMD $V\n"
    found, _ = built(text)
    assert found["Labels"] == {"v": "v"}
    assert (found["User"], found["Volumes"], found["StopSignal"]) == ("v", {"/v": {}}, "TERM")
    assert list(found["ExposedPorts"]) == ["8000/tcp", "8001/tcp"]
    assert found["Cmd"][-1] == "$V"


def test_collections_grow_on_those_of_the_base() -> None:
    text = "LABEL a=2 c=3\nVOLUME /w\nEXPOSE 2\nENV PATH=/x:$PATH"
    found, _ = built(text, Labels={"a": "1", "b": "2"}, Volumes={"/v": {}}, ExposedPorts={"1/tcp": {}})
    assert found["Labels"] == {"a": "2", "b": "2", "c": "3"}
    assert (list(found["Volumes"]), list(found["ExposedPorts"])) == (["/v", "/w"], ["1/tcp", "2/tcp"])
    assert found["Env"] == ["PATH=/x:/bin"]


def test_an_entrypoint_drops_the_command_that_was_inherited_alone() -> None:
    assert "Cmd" not in built('ENTRYPOINT ["e"]', Cmd=["c"])[0]
    assert built('CMD ["d"]\nENTRYPOINT ["e"]', Cmd=["c"])[0]["Cmd"] == ["d"]
    assert built('CMD ["d"]', Entrypoint=["e"])[0]["Entrypoint"] == ["e"]
    graph = graph_of('FROM a AS one\nCMD ["c"]\nFROM one\nENTRYPOINT ["e"]')
    assert "Cmd" not in graph.target.config


def test_an_empty_list_takes_away_what_was_inherited() -> None:
    found, told = built("ENTRYPOINT []\nCMD []", Entrypoint=["e"], Cmd=["c"])
    assert ("Entrypoint" in found, "Cmd" in found) == (False, False)
    assert told == ["ENTRYPOINT []", "CMD []"]


def test_maintainer_is_the_author() -> None:
    graph = graph_of("FROM a\nMAINTAINER me <me@example.com>")
    assert graph.target.author == "me <me@example.com>"
    assert made_by(graph) == ["MAINTAINER me <me@example.com>"]


def test_labels_of_the_request_come_last_and_are_in_no_history() -> None:
    graph = graph_of("FROM a\nLABEL a=1 b=2", labels={"a": "9", "c": "3"})
    assert graph.target.config["Labels"] == {"a": "9", "b": "2", "c": "3"}
    assert made_by(graph) == ["LABEL a=1 b=2"]


@pytest.mark.parametrize(
    ("text", "directory"),
    [
        ("WORKDIR /a", "/a"),
        ("WORKDIR a", "/w/a"),
        ("WORKDIR ../b", "/b"),
        ("WORKDIR /a\nWORKDIR b/c", "/a/b/c"),
        ("ENV D=x\nWORKDIR $D", "/w/x"),
        ('WORKDIR "/a b"', "/a b"),
    ],
)
def test_a_working_directory_is_relative_to_the_one_before(text: str, directory: str) -> None:
    found, told = built(text, WorkingDir="/w")
    assert found["WorkingDir"] == directory
    assert told[-1] == f"WORKDIR {directory}"


def test_a_working_directory_is_made_by_the_user_of_its_line_unless_it_is_the_root() -> None:
    graph = graph_of("FROM a\nWORKDIR /\nWORKDIR /x/y\nUSER me\nWORKDIR z")
    assert [node.actions for node in layers(graph) if isinstance(node, Files)] == [
        (MakeDirectory("/x/y"),),
        (MakeDirectory("/x/y/z", "me"),),
    ]
    assert [(entry.created_by, entry.empty) for entry in graph.target.history] == [
        ("WORKDIR /", True),
        ("WORKDIR /x/y", False),
        ("USER me", True),
        ("WORKDIR /x/y/z", False),
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("STOPSIGNAL SIGNOPE", "invalid signal: SIGNOPE"),
        ("STOPSIGNAL 0", "invalid signal: 0"),
        ("EXPOSE 80/ip", 'invalid port: "80/ip": invalid proto: ip'),
        ("EXPOSE 99999", "invalid containerPort: 99999"),
        ("VOLUME $NONE /a", "VOLUME specified can not be an empty string"),
    ],
)
def test_what_makes_no_sense_is_refused(text: str, message: str) -> None:
    with pytest.raises(DockerfileError) as caught:
        built(text)
    assert message in caught.value.message
