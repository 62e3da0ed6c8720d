"""`orlop build` as a whole, against a made-up engine: what it asks for, prints, and leaves of the terminal."""

from __future__ import annotations

import base64
import gzip
import io
import json
import re
import socket
import tarfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from support.fake_container import read_all
from support.fake_engine import Answer, FakeEngine, Request
from support.side_by_side import Run
from support.terminal import terminal

Json = dict[str, Any]

IMAGE = "sha256:" + "1" * 64
KEPT = "2" * 64


def records(*found: Json) -> bytes:
    return b"".join(json.dumps(record).encode() + b"\r\n" for record in found)


def step(number: int, name: str, text: str = "", **end: Any) -> list[Json]:
    vertex = f"step-{number}"
    data = base64.b64encode(text.encode()).decode()
    said = [{"kind": "output", "vertex": vertex, "time": 10**9, "stream": 1, "data": data}] if text else []
    return [
        {"kind": "began", "vertex": vertex, "name": name, "time": 0, "step": number},
        *said,
        {"kind": "ended", "vertex": vertex, "time": 2 * 10**9, **end},
    ]


FAILED = [
    *step(1, "[1/2] RUN make", "cc: fatal\n", error="it broke"),
    {"kind": "finished", "error": "it broke", "line": 2},
]
BUILT = [*step(1, "[1/1] RUN make", "made\n", result=IMAGE), {"kind": "finished", "image": IMAGE, "names": ["a:1"]}]


class Builds:
    """The build routes of an engine; `ends` are the records of the next build."""

    def __init__(self, engine: FakeEngine) -> None:
        self.engine = engine
        self.ends: list[Json] = BUILT
        self.contents: dict[str, bytes] = {}
        self.entries: dict[str, Json] = {}
        engine.on("POST", "/orlop/build/contexts", self._announce)
        engine.on("POST", "/orlop/build/contexts/id/files", self._take)
        engine.on("POST", "/orlop/build", lambda _: Answer(records(*self.ends)))
        engine.on("DELETE", f"/orlop/build/kept/{KEPT}", Answer(None, 204))

    def _announce(self, request: Request) -> Answer:
        if request.query.get("format") == ["tar"]:
            self.contents["tar"] = request.body
            return Answer({"Id": "tar", "Missing": []})
        documents = [json.loads(line) for line in request.body.splitlines()]
        self.entries = {document["path"]: document for document in documents}
        missing = {document["digest"] for document in documents if "digest" in document} - self.contents.keys()
        return Answer({"Id": "id", "Missing": sorted(missing)})

    def _take(self, request: Request) -> Answer:
        rest = request.body
        while rest:
            line, _, rest = rest.partition(b"\n")
            head = json.loads(line)
            self.contents[head["digest"]], rest = rest[: head["size"]], rest[head["size"] :]
        return Answer(None, 204)

    @property
    def body(self) -> Json:
        """The last request for a build."""
        body: Json = self.engine.asked("POST", "/orlop/build")[-1].json
        return body

    @property
    def files(self) -> dict[str, bytes]:
        """The files of the last context."""
        return {path: self.contents[entry["digest"]] for path, entry in self.entries.items() if "digest" in entry}


@pytest.fixture
def builds(engine: FakeEngine) -> Builds:
    return Builds(engine)


@pytest.fixture
def context(tmp_path: Path) -> Path:
    directory = tmp_path / "app"
    directory.mkdir()
    (directory / "Dockerfile").write_text("FROM scratch\nCOPY . /\nCMD x\n")
    (directory / "file").write_text("content")
    return directory


def test_a_build_sends_its_context_and_prints_progress_to_stderr(builds: Builds, orlop: Run, context: Path) -> None:
    outcome = orlop("build", "-t", "a:1", str(context))
    assert (outcome.status, outcome.stdout) == (0, "")
    assert "[1/1] RUN make\n#3 1.000 made\n#3 DONE 2.0s\n\n" in outcome.stderr
    assert outcome.stderr.endswith(f"Built {IMAGE} as a:1\n")
    assert builds.files == {"Dockerfile": b"FROM scratch\nCOPY . /\nCMD x\n", "file": b"content"}
    assert builds.body == {
        "Names": ["a:1"],
        "Network": "default",
        "Call": "build",
        "Args": {},
        "Origin": str(context),
        "DockerfileName": "Dockerfile",
        "Dockerfile": "FROM scratch\nCOPY . /\nCMD x\n",
        "Context": "id",
    }


def test_every_flag_arrives(builds: Builds, orlop: Run, context: Path, tmp_path: Path) -> None:
    (tmp_path / ".docker").mkdir()
    configuration = {"proxies": {"default": {"httpProxy": "http://p"}}, "auths": {"r.example": {"auth": "YTpi"}}}
    (tmp_path / ".docker/config.json").write_text(json.dumps(configuration))
    other = tmp_path / "other"
    other.mkdir()
    words = (
        "--target t --label a=b --label c --build-arg X=1 --build-arg FROM_ENV --build-arg NOT_SET --no-cache --pull "
        "--no-cache-filter a,b --platform linux/arm64 --network none --add-host h=1.2.3.4 --ulimit nofile=1:2 "
        "--shm-size 1m --cgroup-parent /p -m 2m --memory-swap -1 -c 3 --cpu-period 4 --cpu-quota 5 --cpuset-cpus 0 "
        "--cpuset-mems 1 --cache-from i,j --rm --force-rm --load -o type=docker --provenance=false "
        f"--build-context named={other} --build-context image=docker-image://busybox:1 --on-failure shell"
    )
    assert orlop("build", *words.split(), str(context), env={"FROM_ENV": "value"}).status == 0
    body = builds.body
    assert body.pop("Dockerfile")
    assert body == {
        "Target": "t",
        "Labels": {"a": "b", "c": ""},
        "Platform": "linux/arm64",
        "NoCache": True,
        "NoCacheStages": ["a", "b"],
        "Pull": True,
        "CacheFrom": ["i", "j"],
        "Network": "none",
        "Hosts": ["h:1.2.3.4"],
        "Ulimits": [{"Name": "nofile", "Soft": 1, "Hard": 2}],
        "ShmSize": 1 << 20,
        "Limits": {
            "Memory": 2 << 20,
            "MemorySwap": -1,
            "CpuShares": 3,
            "CpuPeriod": 4,
            "CpuQuota": 5,
            "CpusetCpus": "0",
            "CpusetMems": "1",
            "CgroupParent": "/p",
        },
        "KeepFailed": True,
        "Call": "build",
        "Args": {"X": "1", "FROM_ENV": "value", "NOT_SET": None, "HTTP_PROXY": "http://p", "http_proxy": "http://p"},
        "Origin": str(context),
        "DockerfileName": "Dockerfile",
        "Context": "id",
        "Contexts": {"named": "id", "image": "busybox:1"},
    }
    header = builds.engine.asked("POST", "/orlop/build")[-1].headers["x-registry-config"]
    assert json.loads(base64.urlsafe_b64decode(header)) == {
        "r.example": {"username": "a", "password": "b", "serveraddress": "r.example"}
    }


def test_only_what_has_changed_is_sent_the_next_time(builds: Builds, orlop: Run, context: Path) -> None:
    time.sleep(0.1)  # what was written just before it is read is not remembered
    assert orlop("build", str(context)).status == 0
    (context / "file").write_text("changed")
    assert "transferring context: 7B (1 file read, 1 file sent) done" in orlop("build", str(context)).stderr
    assert len(builds.engine.asked("POST", "/orlop/build/contexts/id/files")) == 2
    orlop("build", str(context))
    assert len(builds.engine.asked("POST", "/orlop/build/contexts/id/files")) == 2


def test_a_dockerfiles_own_ignore_file_counts_instead_of_the_directorys(
    builds: Builds, orlop: Run, context: Path, tmp_path: Path
) -> None:
    (context / ".dockerignore").write_text("file\n*ockerfile\n")
    orlop("build", str(context))
    assert list(builds.files) == [".dockerignore"]
    assert builds.body["Ignore"].split() == ["file", "*ockerfile"]
    (tmp_path / "Other").write_text("FROM busybox\n")
    (tmp_path / "Other.dockerignore").write_text(".dockerignore")
    orlop("build", "-f", str(tmp_path / "Other"), str(context))
    assert list(builds.files) == ["Dockerfile", "file"]
    assert (builds.body["Dockerfile"], builds.body["DockerfileName"]) == ("FROM busybox\n", "Other")


def test_a_dockerfile_comes_by_standard_input_with_a_context_or_without(
    builds: Builds, orlop: Run, context: Path
) -> None:
    assert orlop("build", "-f", "-", str(context), stdin=b"FROM a\n").status == 0
    assert (builds.body["Dockerfile"], builds.body["Context"]) == ("FROM a\n", "id")
    assert orlop("build", "-", stdin=b"FROM b\n").status == 0
    assert builds.body["Dockerfile"] == "FROM b\n"
    assert "Context" not in builds.body
    refused = orlop("build", "-f", "x", "-", stdin=b"FROM b\n")
    assert (refused.status, refused.stderr) == (
        1,
        "ambiguous Dockerfile source: both stdin and flag correspond to Dockerfiles\n",
    )


def _tar() -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as archive:
        archive.addfile(tarfile.TarInfo("Dockerfile"))
    return stream.getvalue()


@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_a_tar_from_standard_input_is_passed_on_as_it_is(
    builds: Builds, orlop: Run, pack: Callable[[bytes], bytes]
) -> None:
    data = pack(_tar())
    assert orlop("build", "-f", "sub/Dockerfile", "-", stdin=data).status == 0
    assert builds.contents["tar"] == data
    assert (builds.body["Context"], builds.body["DockerfileName"]) == ("tar", "sub/Dockerfile")
    assert "Dockerfile" not in builds.body


@pytest.mark.parametrize(
    "url", ["https://example.com/x.tar.gz", "https://example.com/r.git#main:sub", "git@host:a/b", "github.com/a/b"]
)
def test_what_is_elsewhere_is_fetched_by_the_daemon(builds: Builds, orlop: Run, url: str) -> None:
    assert orlop("build", "-f", "Other", url).status == 0
    assert builds.body == {
        "Network": "default",
        "Call": "build",
        "Args": {},
        "Origin": url,
        "Remote": url,
        "DockerfileName": "Other",
    }


def test_a_failure_ends_with_output_excerpt_and_error_and_status_1(builds: Builds, orlop: Run, context: Path) -> None:
    builds.ends = FAILED
    for words in ([], ["-q"]):
        outcome = orlop("build", *words, str(context))
        assert (outcome.status, outcome.stdout) == (1, "")
        assert outcome.stderr.endswith(
            "------\n > [1/2] RUN make:\ncc: fatal\n------\nDockerfile:2\n--------------------\n"
            "   1 |     FROM scratch\n   2 | >>> COPY . /\n   3 |     CMD x\n   4 |     \n--------------------\n"
            "ERROR: failed to build: it broke\n"
        )


def test_errors_of_the_daemon_are_told_with_the_line(builds: Builds, orlop: Run, context: Path) -> None:
    builds.engine.refuse("POST", "/orlop/build", 400, "dockerfile parse error on line 3: unknown instruction: CMDD")
    outcome = orlop("build", str(context))
    assert outcome.status == 1
    assert "   3 | >>> CMD x\n" in outcome.stderr
    assert outcome.stderr.endswith(
        "ERROR: failed to build: dockerfile parse error on line 3: unknown instruction: CMDD\n"
    )
    raw = orlop("build", "--progress=rawjson", str(context))
    assert json.loads(raw.stderr.splitlines()[-1])["kind"] == "finished"
    builds.engine.on("POST", "/orlop/build", Answer(pieces=lambda: iter([records(*FAILED[:2])]), breaks=True))
    assert "unexpected EOF" in orlop("build", str(context)).stderr


def test_another_daemon_is_named(engine: FakeEngine, orlop: Run, context: Path) -> None:
    assert "it is not orlopd" in orlop("build", str(context)).stderr


def test_quiet_prints_the_id_and_iidfile_holds_it(builds: Builds, orlop: Run, context: Path, tmp_path: Path) -> None:
    identifier = tmp_path / "id"
    outcome = orlop("build", "-q", "--iidfile", str(identifier), str(context))
    assert (outcome.status, outcome.stdout, outcome.stderr) == (0, f"{IMAGE}\n", "")
    assert identifier.read_text() == IMAGE
    builds.ends = FAILED
    assert orlop("build", "--iidfile", str(identifier), str(context)).status == 1
    assert not identifier.exists()


def test_raw_json_is_the_records(builds: Builds, orlop: Run, context: Path) -> None:
    outcome = orlop("build", "--progress", "rawjson", str(context))
    assert outcome.stdout == ""
    lines = [json.loads(line) for line in outcome.stderr.splitlines()]
    assert lines[-len(BUILT) :] == BUILT
    assert {line["vertex"] for line in lines[: -len(BUILT)]} == {"definition", "context"}


def test_explain_prints_a_table_to_stdout(builds: Builds, orlop: Run, context: Path) -> None:
    outcome = orlop("build", "--explain", str(context))
    assert re.fullmatch(r"STEP +CACHE +TIME +SIZE\n\[1/1\] RUN make +miss .*\n\n0 of 1 .*\n", outcome.stdout)


def test_a_check_sends_no_files_and_fails_with_warnings(builds: Builds, orlop: Run, context: Path) -> None:
    warning = {"kind": "warned", "rule": "Rule", "message": "bad", "line": 3}
    builds.ends = [warning, {"kind": "finished"}]
    outcome = orlop("build", "--check", str(context))
    assert (outcome.status, outcome.stderr) == (1, "")
    assert outcome.stdout.startswith("Check complete, 1 warning has been found!\n\nWARNING: Rule\nbad\nDockerfile:3\n")
    assert not builds.engine.asked("POST", "/orlop/build/contexts")
    assert orlop("build", "--call=check,ignorestatus=true", str(context)).status == 0
    builds.ends = [{"kind": "finished"}]
    assert orlop("build", "--check", str(context)).stdout == "Check complete, no warnings found.\n"


def test_outline_and_targets_are_printed(builds: Builds, orlop: Run, context: Path) -> None:
    builds.ends = [{"targets": [{"name": "a", "default": True}]}]
    assert orlop("build", "--call=targets", str(context)).stdout == "TARGET        DESCRIPTION\na (default)\n"
    assert json.loads(orlop("build", "--call=targets,format=json", str(context)).stdout) == builds.ends[0]
    builds.ends = [{"name": "a", "args": [{"name": "V", "value": "1"}]}]
    assert "V           1\n" in orlop("build", "--call", "outline", str(context)).stdout


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("--squash", "--squash is not supported: a squashed image shares no layer"),
        ("--secret id=x", "--secret is not in this version of Orlop"),
        ("--ssh default", "--ssh is not in this version of Orlop"),
        ("--push", "--push is not in this version of Orlop: build with --tag, then use PROGRAM push"),
        ("-o out", "--output is not in this version of Orlop"),
        ("--output type=docker,dest=x", "--output is not in this version of Orlop"),
        ("--sbom=true", "--sbom is not in this version of Orlop"),
        ("--security-opt x", "--security-opt is not supported for builds"),
        ("--isolation hyperv", "--isolation hyperv is not supported"),
        ("--disable-content-trust=false", "content trust is not supported"),
        ("--progress fast", "invalid progress mode fast"),
        ("--call nothing", "invalid call nothing"),
        ("--call check,x=y", "invalid --call option x=y"),
        ("--check --call outline", "--check and --call are both given"),
        ("--stop-after 1 --on-failure shell", "conflicting options"),
        ("--build-context a=https://x/y.git", "is not in this version of Orlop: there are directories"),
        ("--build-context a=/does/not/exist", 'path "/does/not/exist" not found'),
    ],
)
def test_what_is_not_served_is_refused_by_name(
    builds: Builds, orlop: Run, context: Path, words: str, message: str
) -> None:
    outcome = orlop("build", *words.split(), str(context))
    assert outcome.status == 1
    assert message in outcome.stderr
    assert not builds.engine.asked("POST", "/orlop/build")


def test_prune_and_du_of_the_cache(engine: FakeEngine, both: Run, orlop: Run) -> None:
    engine.on("POST", "/build/prune", {"CachesDeleted": ["a", "b"], "SpaceReclaimed": 1500})
    both("builder", "prune", stdin=b"y\n")
    both("builder", "prune", "-a", stdin=b"n\n")
    both("builder", "prune", "-af", "--filter", "until=24h", "--keep-storage", "1g")
    theirs, ours = engine.asked("POST", "/build/prune")[-2:]
    assert theirs.query == ours.query
    engine.on("POST", "/build/prune", {"CachesDeleted": None, "SpaceReclaimed": 0})
    both("builder", "prune", "-f")
    orlop("builder", "prune", "-f", "--max-used-space", "1k", "--min-free-space", "2k", "--reserved-space", "3k")
    sizes = {"max-used-space": ["1024"], "min-free-space": ["2048"], "reserved-space": ["3072"]}
    assert engine.asked("POST", "/build/prune")[-1].query == sizes
    items = [
        {"ID": "one", "Size": 10, "InUse": True, "CreatedAt": "2026-01-01T00:00:00Z", "Description": "RUN x"},
        {"ID": "two", "Size": 20, "Shared": True, "CreatedAt": "2026-01-01T00:00:00Z"},
    ]
    engine.on("GET", "/system/df", {"BuildCache": items})
    assert orlop("builder", "du").stdout == (
        "ID        RECLAIMABLE   SIZE      LAST ACCESSED\ntwo       true          20B*      \n"
        "one       false         10B       \n\n"
        "Shared:       20B\nPrivate:      10B\nReclaimable:  20B\nTotal:        30B\n"
    )
    assert "Description:  RUN x\n" in orlop("builder", "du", "--verbose").stdout


# Shells


def test_a_shell_opens_where_a_step_failed_and_what_was_kept_goes_with_it(
    builds: Builds, orlop: Run, context: Path
) -> None:
    builds.ends = [*FAILED[:-1], {**FAILED[-1], "kept": KEPT}]
    said = b"\1\0\0\0\0\0\0\3ok\n"
    heard: list[bytes] = []

    def answer(connection: socket.socket) -> None:
        heard.append(read_all(connection))
        connection.sendall(said)

    builds.engine.on("POST", f"/orlop/build/kept/{KEPT}/shell", Answer(raw=answer))
    outcome = orlop("build", "--on-failure", "shell", str(context), stdin=b"ls\n")
    assert (outcome.status, outcome.stdout, heard) == (1, "ok\n", [b"ls\n"])
    assert builds.engine.asked("DELETE", f"/orlop/build/kept/{KEPT}")
    builds.ends = [{"kind": "finished", "kept": KEPT}]
    assert orlop("build", "--stop-after", "2", str(context), stdin=b"ls\n").status == 0
    assert builds.body["StopAfter"] == "2"
    assert len(builds.engine.asked("DELETE", f"/orlop/build/kept/{KEPT}")) == 2


def test_a_shell_has_the_terminal_and_what_is_left_is_kept(builds: Builds, context: Path) -> None:
    builds.ends = [*FAILED[:-1], {**FAILED[-1], "kept": KEPT}]
    sizes: list[tuple[str, ...]] = []
    resized = threading.Event()

    def shell(connection: socket.socket) -> None:
        connection.sendall(b"# ")
        while data := connection.recv(100):
            connection.sendall(data.upper() + b"\r\n")

    def resize(request: Request) -> Answer:
        sizes.append((request.query["h"][0], request.query["w"][0]))
        if sizes[-1] == ("20", "60"):
            resized.set()
        return Answer(b"")

    builds.engine.on("POST", f"/orlop/build/kept/{KEPT}/shell", Answer(raw=shell, tty=True))
    builds.engine.on("POST", f"/orlop/build/kept/{KEPT}/resize", resize)
    with terminal(builds.engine, "build", "--on-failure=shell", str(context), env={"TERM": "xterm"}) as opened:
        opened.read_until(b"ERROR: failed to build: it broke")
        opened.read_until(b"# ")
        assert opened.is_raw()
        opened.type(b"hello\x03")
        opened.read_until(b"HELLO")
        opened.resize(20, 60)
        assert resized.wait(20)
        opened.type(b"\x10\x11")
        opened.read_until(f"orlop builder dismiss {KEPT[:12]} removes it".encode())
        assert opened.wait() == 1
        assert opened.is_as_before()
    asked = builds.engine.asked("POST", f"/orlop/build/kept/{KEPT}/shell")[0]
    assert asked.query == {"tty": ["1"], "h": ["30"], "w": ["100"]}
    assert not builds.engine.asked("DELETE", f"/orlop/build/kept/{KEPT}")


def test_what_is_kept_can_be_visited_again_and_dismissed(builds: Builds, orlop: Run) -> None:
    answer = Answer(raw=lambda connection: connection.sendall(b"\1\0\0\0\0\0\0\3ok\n"))
    builds.engine.on("POST", f"/orlop/build/kept/{KEPT}/shell", answer)
    assert orlop("builder", "shell", KEPT).stdout == "ok\n"
    outcome = orlop("builder", "dismiss", KEPT, "nope")
    assert (outcome.status, outcome.stdout) == (1, f"{KEPT}\n")


# The terminal


class Slow:
    """A build that goes on as a test wants; `gone` is set when the client has left."""

    def __init__(self, builds: Builds) -> None:
        self._go = threading.Semaphore(0)
        self.gone = threading.Event()
        builds.engine.on("POST", "/orlop/build", Answer(pieces=self._pieces))

    def go(self) -> None:
        self._go.release()

    def _pieces(self) -> Iterator[bytes]:
        try:
            for part in (BUILT[:2], BUILT[2:]):
                yield records(*part)
                while not self._go.acquire(timeout=0.4):
                    yield b" "
        finally:
            self.gone.set()


def test_a_terminal_shows_the_build_live(builds: Builds, context: Path) -> None:
    slow = Slow(builds)
    with terminal(builds.engine, "build", str(context), env={"TERM": "xterm"}) as opened:
        opened.read_until(b" => => # made")
        slow.go()
        slow.go()
        rest = opened.read_until(f"Built {IMAGE} as a:1".encode()).decode()
        assert opened.wait() == 0
        assert opened.is_as_before()
    assert "FINISHED" in rest
    assert " => [1/1] RUN make" in rest


def test_ctrl_c_ends_a_build_at_once_and_leaves_the_terminal_clean(builds: Builds, context: Path) -> None:
    slow = Slow(builds)
    with terminal(builds.engine, "build", str(context), env={"TERM": "xterm"}) as opened:
        opened.read_until(b" => => # made")
        opened.type(b"\x03")
        rest = opened.read_until(b"ERROR: failed to build: canceled").decode()
        assert opened.wait() == 130
        assert opened.is_as_before()
        assert "CANCELED [1/1] RUN make" in rest
        assert slow.gone.wait(20)


@pytest.mark.parametrize(("words", "term"), [([], "dumb"), (["--progress=plain"], "xterm")])
def test_plain_lines_go_to_a_terminal_that_cannot_move_or_is_not_to(
    builds: Builds, context: Path, words: list[str], term: str
) -> None:
    with terminal(builds.engine, "build", *words, str(context), env={"TERM": term}) as opened:
        text = opened.read_until(b" as a:1")
        assert opened.wait() == 0
    assert b"\033" not in text
    assert b"#3 DONE 2.0s" in text
