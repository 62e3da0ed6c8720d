"""The own routes of builds: contexts by digest, records as the answer, kept steps, and what is left of all that."""

from __future__ import annotations

import hashlib
import http.client
import json
import socket
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from support.daemon import Daemon

pytestmark = [pytest.mark.root, pytest.mark.usefixtures("image")]

Json = dict[str, Any]


def digest(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


class Builder:
    """Asks a daemon for builds as `orlop build` does."""

    def __init__(self, daemon: Daemon) -> None:
        self.daemon = daemon

    def open(self) -> http.client.HTTPConnection:
        connection = http.client.HTTPConnection("localhost", timeout=60)
        connection.sock = socket.socket(socket.AF_UNIX)
        connection.sock.settimeout(60)
        connection.sock.connect(str(self.daemon.socket))
        return connection

    def post(self, path: str, body: bytes) -> tuple[int, bytes]:
        connection = self.open()
        try:
            connection.request("POST", path, body, {"Content-Type": "application/json"})
            answer = connection.getresponse()
            return answer.status, answer.read()
        finally:
            connection.close()

    def announce(self, **files: bytes) -> Json:
        lines = [
            json.dumps({"path": name, "type": "file", "mode": 0o644, "size": len(data), "digest": digest(data)})
            for name, data in sorted(files.items())
        ]
        status, answer = self.post("/orlop/build/contexts", "".join(f"{line}\n" for line in lines).encode())
        assert status == 200, answer
        return json.loads(answer)

    def send(self, id: str, *contents: bytes) -> None:
        body = b"".join(
            json.dumps({"digest": digest(data), "size": len(data)}).encode() + b"\n" + data for data in contents
        )
        status, answer = self.post(f"/orlop/build/contexts/{id}/files", body)
        assert status == 204, answer

    def context(self, **files: bytes) -> str:
        """Send a context; return its id."""
        announced = self.announce(**files)
        missing = set(announced["Missing"])
        self.send(announced["Id"], *(data for data in files.values() if digest(data) in missing))
        return str(announced["Id"])

    def build(self, dockerfile: str | None, **fields: Any) -> list[Json]:
        """Build and return the records."""
        body = json.dumps({"Dockerfile": dockerfile, **fields}).encode()
        status, answer = self.post("/orlop/build", body)
        assert status == 200, answer
        return [json.loads(line) for line in answer.splitlines()]


@pytest.fixture
def builder(orlopd: Daemon) -> Iterator[Builder]:
    yield Builder(orlopd)
    for step in orlopd.json("GET", "/orlop/build/kept"):
        orlopd.request("DELETE", f"/orlop/build/kept/{step['Id']}")


def ends(records: list[Json]) -> dict[str, Json]:
    """Return the ends of steps by what they are called; each began and ended once."""
    began = {record["vertex"]: record["name"] for record in records if record["kind"] == "began"}
    ended = [record for record in records if record["kind"] == "ended"]
    assert sorted(began) == sorted(record["vertex"] for record in ended)
    return {began[record["vertex"]]: record for record in ended}


def test_only_files_that_are_not_there_are_missing(builder: Builder) -> None:
    one, two = b"one" * 1000, b"two"
    first = builder.announce(a=one, b=two)
    assert set(first["Missing"]) == {digest(one), digest(two)}
    builder.send(first["Id"], one)
    assert builder.announce(a=one, b=two) == {"Id": first["Id"], "Missing": [digest(two)]}
    builder.send(first["Id"], two)
    assert builder.announce(c=one, d=two)["Missing"] == []


def test_a_file_that_is_another_is_refused_and_those_before_it_stay(builder: Builder) -> None:
    good, bad = b"good file", b"bad file"
    announced = builder.announce(good=good, bad=bad)
    heads = [json.dumps({"digest": digest(data), "size": 8}).encode() + b"\n" for data in (good[:8], bad)]
    body = json.dumps({"digest": digest(good), "size": 9}).encode() + b"\n" + good + heads[1] + b"BAD FILE"
    status, answer = builder.post(f"/orlop/build/contexts/{announced['Id']}/files", body)
    assert status == 400
    assert "has changed while it was sent" in json.loads(answer)["message"]
    assert builder.announce(good=good, bad=bad)["Missing"] == [digest(bad)]


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [
        ("/orlop/build/contexts", b"{", 400),
        ("/orlop/build/contexts", b'{"path":"../x","type":"dir"}\n', 400),
        ("/orlop/build/contexts", b'{"path":"a/b","type":"dir"}\n', 400),
        ("/orlop/build/contexts/nothing/files", b"", 404),
        ("/orlop/build", b'{"Context":"nothing"}', 404),
        ("/orlop/build", b'{"Dockerfile":"RUNN x"}', 400),
        ("/orlop/build", b'{"Dockerfile":"FROM busybox","Names":["BAD"]}', 400),
        ("/orlop/build", b'{"Dockerfile":"FROM busybox","Target":"no"}', 400),
        ("/orlop/build", b'{"Dockerfile":"FROM busybox","StopAfter":"9"}', 400),
        ("/orlop/build/kept/nothing/shell", b"", 404),
    ],
)
def test_what_is_wrong_is_an_answer(builder: Builder, path: str, body: bytes, status: int) -> None:
    found, answer = builder.post(path, body)
    assert (found, bool(json.loads(answer)["message"])) == (status, True)


def test_a_build_is_told_by_its_records(builder: Builder) -> None:
    context = builder.context(a=b"content")
    dockerfile = "FROM busybox\nCOPY a /\nRUN cat a; echo no >&2\nCMD true\n"
    records = builder.build(dockerfile, Context=context, Names=["records:1"])
    done = ends(records)
    assert not done["[2/3] COPY a /"].get("cached")
    assert done["[2/3] COPY a /"]["reason"] == "first"
    started = [record for record in records if record["kind"] == "started"]
    assert [record["vertex"] for record in started] == ["step-3"]
    output = [(record["stream"], record["data"]) for record in records if record["kind"] == "output"]
    assert output == [(1, "Y29udGVudA=="), (2, "bm8K")]
    warned = [record["rule"] for record in records if record["kind"] == "warned"]
    assert warned == ["JSONArgsRecommended"]
    assert records[-1]["kind"] == "finished"
    assert records[-1]["names"] == ["records:1"]
    again = builder.build(dockerfile, Context=context, Names=["records:1"])
    assert all(ended.get("cached") for name, ended in ends(again).items() if name.startswith("["))
    assert again[-1]["image"] == records[-1]["image"]
    assert again[-1]["present"]


def test_what_changed_is_told(builder: Builder) -> None:
    dockerfile = "FROM busybox\nARG X\nCOPY . /all\nRUN echo $X\n"
    one = builder.context(a=b"1", b=b"2")
    builder.build(dockerfile, Context=one, Origin="/changed", Args={"X": "1"})
    two = builder.context(a=b"1", b=b"3")
    done = ends(builder.build(dockerfile, Context=two, Origin="/changed", Args={"X": "2"}))
    copied, ran = done["[2/3] COPY . /all"], done["[3/3] RUN echo 2"]
    assert [(change["what"], change["name"]) for change in copied["changes"]] == [("file", "b")]
    assert ("argument", "X") in [(change["what"], change["name"]) for change in ran["changes"]]


def test_named_contexts_stand_for_images_and_stages(builder: Builder) -> None:
    context = builder.context(f=b"from the context\n")
    dockerfile = "FROM busybox\nCOPY --from=extra /f /one\nRUN --mount=from=nope,target=/m cat /one /m/f\n"
    records = builder.build(dockerfile, Contexts={"extra": context, "nope": context})
    assert sum(record["kind"] == "output" for record in records)
    again = builder.build("FROM other\nRUN true\n", Contexts={"other": "docker-image://busybox"})
    assert again[-1]["image"]


def test_an_error_in_a_step_is_told_with_its_lines(builder: Builder) -> None:
    records = builder.build("FROM busybox\n\nRUN echo a; \\\n  exit 7\n")
    finished = records[-1]
    assert (finished["kind"], finished["code"], finished["status"]) == ("finished", 7, 500)
    assert (finished["line"], finished["end"]) == (3, 4)
    assert finished["source"] == ["RUN echo a; \\", "  exit 7"]


def test_checks_outlines_and_targets_build_nothing(builder: Builder) -> None:
    dockerfile = "FROM busybox as one\nARG X=1\nRUN exit 1\nFROM one AS two\n"
    warned = builder.build(dockerfile, Call="check")
    assert [record["kind"] for record in warned] == ["warned", "finished"]
    assert (warned[0]["rule"], warned[0]["line"]) == ("FromAsCasing", 1)
    assert warned[0]["source"] == ["FROM busybox as one"]
    (targets,) = builder.build(dockerfile, Call="targets")
    assert [target["name"] for target in targets["targets"]] == ["one", "two"]
    (outline,) = builder.build(dockerfile, Call="outline", Target="one")
    assert outline["args"][0]["name"] == "X"
    body = json.dumps({"Dockerfile": f"# check=error=true\n{dockerfile}"}).encode()
    status, answer = builder.post("/orlop/build", body)
    assert status == 400
    assert "lint violation found for rules: FromAsCasing" in json.loads(answer)["message"]


def shell(builder: Builder, id: str, script: bytes) -> bytes:
    """Run a script in a shell in a kept step; return all that it wrote."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(str(builder.daemon.socket))
        connection.settimeout(30)
        head = f"POST /orlop/build/kept/{id}/shell?tty=1&h=24&w=80 HTTP/1.1\r\nHost: x\r\n"
        connection.sendall(head.encode() + b"Connection: Upgrade\r\nUpgrade: tcp\r\nContent-Length: 0\r\n\r\n" + script)
        data = b""
        while block := connection.recv(4096):
            data += block
    assert data.startswith(b"HTTP/1.1 101"), data
    return data


def test_a_failed_step_is_kept_and_a_shell_opens_in_it(builder: Builder) -> None:
    dockerfile = "FROM busybox\nENV WHO=me\nRUN echo left > /left; exit 3\n"
    kept = builder.build(dockerfile, KeepFailed=True)[-1]["kept"]
    (listed,) = builder.daemon.json("GET", "/orlop/build/kept")
    assert (listed["Id"], listed["ExitCode"]) == (kept, 3)
    told = shell(builder, kept, b"cat /left; echo who=$WHO; exit\n")
    assert b"left\r\n" in told
    assert b"who=me\r\n" in told
    assert builder.daemon.request("DELETE", f"/orlop/build/kept/{kept}")[0] == 204
    assert builder.daemon.json("GET", "/orlop/build/kept") == []


def test_a_build_stops_after_a_step(builder: Builder) -> None:
    dockerfile = "FROM busybox AS a\nRUN echo a > /a\nFROM busybox AS b\nCOPY --from=a /a /b\nRUN exit 1\n"
    for name, path in (("a:2", b"/a"), ("b:2", b"/b"), ("2", b"/b"), ("a", b"/a")):
        finished = builder.build(dockerfile, StopAfter=name)[-1]
        assert finished.get("error", "") == "", finished
        assert b"a\r\n" in shell(builder, finished["kept"], b"cat " + path + b"; exit\n")


def test_builds_are_cancelled_by_their_id_and_by_hanging_up(builder: Builder) -> None:
    dockerfile = "FROM busybox\nRUN echo begun; sleep 1000\n"
    ended: list[Json] = []

    def work() -> None:
        ended.extend(builder.build(dockerfile, Id="mine"))

    thread = threading.Thread(target=work)
    thread.start()
    deadline = time.monotonic() + 30
    while not sleeping(builder.daemon):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    builder.daemon.request("POST", "/build/cancel?id=other")
    assert sleeping(builder.daemon)
    builder.daemon.request("POST", "/build/cancel?id=mine")
    thread.join(30)
    assert ended[-1]["error"] == "context canceled"
    assert not sleeping(builder.daemon)

    connection = builder.open()
    connection.request(
        "POST", "/orlop/build", json.dumps({"Dockerfile": dockerfile}), {"Content-Type": "application/json"}
    )
    answer = connection.getresponse()
    assert any(b'"started"' in line for line in answer)
    connection.sock.close()
    answer.close()
    connection.close()
    deadline = time.monotonic() + 30
    while sleeping(builder.daemon):
        assert time.monotonic() < deadline, "a build whose client has gone goes on"
        time.sleep(0.02)


def sleeping(daemon: Daemon) -> bool:
    """Tell whether a step of these tests runs."""
    return any(b"sleep\x001000" in command for command in daemon.commands())
