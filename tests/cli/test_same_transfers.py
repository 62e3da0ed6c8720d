"""docker and orlop move images alike: the same requests, the same words, for pull, push, save, commit and export."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import pytest

from support.fake_engine import Answer, FakeEngine, Request
from support.side_by_side import Run

pytestmark = pytest.mark.docker

DIGEST = "sha256:" + "1" * 64


def stream(*messages: dict[str, Any]) -> Answer:
    return Answer(b"".join(json.dumps(message).encode() + b"\r\n" for message in messages))


def layer(identifier: str, status: str, current: int = 0, total: int = 0) -> dict[str, Any]:
    if not total:
        return {"status": status, "progressDetail": {}, "id": identifier}
    detail = {"current": current, "total": total}
    return {"status": status, "progressDetail": detail, "progress": "[=>  ]", "id": identifier}


PULLED = stream(
    {"status": "Pulling from library/busybox", "id": "latest"},
    layer("aaaaaaaaaaaa", "Pulling fs layer"),
    layer("bbbbbbbbbbbb", "Already exists"),
    layer("aaaaaaaaaaaa", "Downloading", 5, 10),
    layer("aaaaaaaaaaaa", "Verifying Checksum"),
    layer("aaaaaaaaaaaa", "Extracting", 5, 10),
    layer("aaaaaaaaaaaa", "Pull complete"),
    {"status": f"Digest: {DIGEST}"},
    {"status": "Status: Downloaded newer image for busybox:latest"},
)
PUSHED = stream(
    {"status": "The push refers to repository [example.com/a/b]"},
    layer("aaaaaaaaaaaa", "Preparing"),
    layer("aaaaaaaaaaaa", "Pushing", 5, 10),
    layer("aaaaaaaaaaaa", "Pushed"),
    {"status": f"v1: digest: {DIGEST} size: 5"},
    {"progressDetail": {}, "aux": {"Tag": "v1", "Digest": DIGEST, "Size": 5}},
)


def asked_alike(engine: FakeEngine, method: str, path: str, *headers: str) -> Request:
    """Assert that both clients asked the same, and return what."""
    theirs, ours = engine.asked(method, path)[-2:]
    assert (ours.path, ours.query) == (theirs.path, theirs.query)
    for header in headers:
        assert ours.headers.get(header) == theirs.headers.get(header)
    return ours


@pytest.mark.parametrize("noun", [[], ["image"]])
@pytest.mark.parametrize(
    "line",
    [
        "busybox",
        "busybox:1.36",
        "example.com:5000/a/b",
        "-q busybox",
        "-a busybox",
        "--platform linux/ARM64 busybox",
        f"busybox@{DIGEST}",
        f"busybox:1@{DIGEST}",
        "--disable-content-trust busybox",
        "index.docker.io/library/busybox",
    ],
)
def test_pull(engine: FakeEngine, both: Run, line: str, noun: list[str]) -> None:
    engine.on("POST", "/images/create", PULLED)
    assert both(*noun, "pull", *line.split()).status == 0
    asked_alike(engine, "POST", "/images/create", "x-registry-auth")


@pytest.mark.parametrize("line", ["-a busybox:1", "UPPER", "a b", "", "busybox:", f"{'1' * 64}", "--platform", "-z x"])
def test_pull_refuses(both: Run, line: str) -> None:
    assert both("pull", *line.split()).status != 0


def test_the_default_platform_is_the_environments(engine: FakeEngine, both: Run) -> None:
    engine.on("POST", "/images/create", PULLED)
    both("pull", "busybox", env={"DOCKER_DEFAULT_PLATFORM": "linux/arm64"})
    assert asked_alike(engine, "POST", "/images/create").query["platform"] == ["linux/arm64"]


@pytest.mark.parametrize(
    ("status", "message"),
    [(404, "manifest for busybox:latest not found: manifest unknown: manifest unknown"), (500, "unauthorized: no")],
)
def test_a_refused_pull(engine: FakeEngine, both: Run, status: int, message: str) -> None:
    engine.refuse("POST", "/images/create", status, message)
    assert message in both("pull", "busybox").stderr


@pytest.mark.parametrize("words", [["pull", "busybox"], ["pull", "-q", "busybox"], ["run", "busybox"]])
def test_an_error_in_the_stream(engine: FakeEngine, both: Run, words: list[str]) -> None:
    engine.refuse("POST", "/containers/create", 404, "No such image: busybox:latest")
    told = {"errorDetail": {"message": "no space left on device"}, "error": "no space left on device"}
    engine.on("POST", "/images/create", stream(layer("aaaaaaaaaaaa", "Pulling fs layer"), told))
    assert "no space left on device" in both(*words).stderr


@pytest.mark.parametrize("noun", [[], ["image"]])
@pytest.mark.parametrize(
    "line", ["example.com/a/b:v1", "example.com/a/b", "-a example.com/a/b", "-q example.com/a/b", "busybox"]
)
def test_push(engine: FakeEngine, both: Run, line: str, noun: list[str]) -> None:
    engine.on("POST", "/images/.*/push", PUSHED)
    assert both(*noun, "push", *line.split()).status == 0
    asked_alike(engine, "POST", "/images/.*/push", "x-registry-auth")


@pytest.mark.parametrize("line", ["-a a/b:1", "UPPER", f"a/b@{DIGEST}", "--platform x/y/z/w a/b", ""])
def test_push_refuses(both: Run, line: str) -> None:
    assert both("push", *line.split()).status != 0


def test_one_platform_of_an_image_is_pushed_with_notes(engine: FakeEngine, both: Run) -> None:
    aux = {
        "manifestPushedInsteadOfIndex": True,
        "originalIndex": {"digest": DIGEST},
        "selectedManifest": {"digest": "sha256:" + "2" * 64},
    }
    engine.on("POST", "/images/.*/push", stream({"aux": aux}, {"status": "done"}))
    assert "single-platform image was pushed" in both("push", "--platform", "linux/arm/v7", "a/b:v1").stdout
    asked = asked_alike(engine, "POST", "/images/.*/push")
    assert json.loads(asked.query["platform"][0]) == {"architecture": "arm", "os": "linux", "variant": "v7"}
    engine.on(
        "POST",
        "/images/.*/push",
        stream({"aux": {"contentMissing": True}}, {"error": "x", "errorDetail": {"message": "x"}}),
    )
    both("push", "a/b:v1")


@pytest.mark.parametrize("noun", [[], ["image"]])
def test_save_to_standard_output(engine: FakeEngine, both: Run, noun: list[str]) -> None:
    engine.on("GET", "/images/get", Answer(b"tar" * 100_000, content_type="application/x-tar"))
    assert both(*noun, "save", "a", "b:1").stdout == "tar" * 100_000
    assert asked_alike(engine, "GET", "/images/get").query == {"names": ["a", "b:1"]}
    both("save", "--platform", "linux/arm64", "a")
    asked_alike(engine, "GET", "/images/get")


@pytest.mark.parametrize(("words", "path"), [(["save"], "/images/get"), (["export"], "/containers/a/export")])
def test_a_file_is_there_when_it_is_whole(
    engine: FakeEngine, both: Run, orlop: Run, tmp_path: Path, words: list[str], path: str
) -> None:
    target = tmp_path / "out.tar"
    engine.on("GET", path, Answer(b"tar", content_type="application/x-tar"))
    both(*words, "-o", str(target), "a")
    assert target.read_bytes() == b"tar"
    assert target.stat().st_mode & 0o777 == 0o600
    engine.refuse("GET", path, 404, "No such thing: a")
    both(*words, "-o", str(target), "a")
    engine.on("GET", path, Answer(pieces=lambda: iter([b"new"]), breaks=True))
    assert orlop(*words, "-o", str(target), "a").status == 1
    assert target.read_bytes() == b"tar"
    assert [entry.name for entry in tmp_path.iterdir()] == ["out.tar"]


@pytest.mark.parametrize("command", ["save", "export"])
@pytest.mark.parametrize("path", ["/does/not/exist.tar", "/etc/passwd/x.tar", "/dev/full", "/tmp", "/proc/self/exe"])
def test_a_file_that_cannot_be(both: Run, command: str, path: str) -> None:
    assert both(command, "-o", path, "a").status == 1


@pytest.mark.parametrize("text", ["linux", "ARM64", "x86_64", "linux/arm/v6", "windows/amd64", "linux/aarch64"])
def test_platforms_have_many_spellings(engine: FakeEngine, both: Run, text: str) -> None:
    engine.on("GET", "/images/get", Answer(b"tar", content_type="application/x-tar"))
    both("save", "--platform", text, "a")
    theirs, ours = (request.query["platform"] for request in engine.asked("GET", "/images/get"))
    assert json.loads(ours[0]) == json.loads(theirs[0])


@pytest.mark.parametrize(
    "line", ["", "--platform x/y/z/w a", "--platform x a", "--platform linux/ a", "--platform / a", "-o"]
)
def test_save_refuses(both: Run, line: str) -> None:
    assert both("save", *line.split()).status != 0


@pytest.mark.parametrize("noun", [[], ["container"]])
def test_export_to_standard_output(engine: FakeEngine, both: Run, noun: list[str]) -> None:
    engine.on("GET", "/containers/web/export", Answer(b"tar", content_type="application/x-tar"))
    assert both(*noun, "export", "web").stdout == "tar"


@pytest.mark.parametrize("noun", [[], ["container"]])
@pytest.mark.parametrize(
    "line",
    [
        "web",
        "web a/b",
        "web a/b:v1",
        "-m why -a who --change ENV=1 -c LABEL=2 -p=false web example.com:5000/a",
        "web -m",
        f"web a@{DIGEST}",
        "web UPPER",
        "web a b",
        "",
    ],
)
def test_commit(engine: FakeEngine, both: Run, line: str, noun: list[str]) -> None:
    engine.on("POST", "/commit", Answer({"Id": DIGEST}, 201))
    if both(*noun, "commit", *line.split()).status == 0:
        asked_alike(engine, "POST", "/commit")


RESULTS = [
    {"name": "busybox", "description": "Busybox <base>\nimage." + "x" * 50, "star_count": 3000, "is_official": True},
    {"name": "a/b", "description": "", "star_count": 0, "is_official": False, "is_automated": True},
]


@pytest.mark.parametrize(
    "words",
    [
        ["busybox"],
        ["--no-trunc", "busybox"],
        ["--limit", "5", "busybox"],
        ["--limit", "x", "busybox"],
        ["-f", "stars=3", "-f", "is-official=true", "busybox"],
        ["-f", "is-automated=true", "busybox"],
        ["--format", "json", "busybox"],
        ["--format", "{{.Name}}: {{.StarCount}} {{.IsOfficial}}", "example.com/busybox"],
        ["--format", "table {{.Name}}\t{{.IsOfficial}}", "busybox"],
        ["--format", "{{.IsAutomated}}", "busybox"],
        [],
    ],
)
def test_search(engine: FakeEngine, docker: Run, orlop: Run, words: list[str]) -> None:
    engine.on("GET", "/images/search", RESULTS)
    theirs, ours = docker("search", *words), orlop("search", *words)
    assert (ours.stdout, ours.status) == (theirs.stdout, theirs.status)
    assert ours.stderr == theirs.stderr.replace("*registry.searchContext", "SearchRow")
    if engine.asked("GET", "/images/search"):
        asked_alike(engine, "GET", "/images/search", "x-registry-auth")


def test_search_tells_why_not(engine: FakeEngine, both: Run) -> None:
    engine.refuse("GET", "/images/search", 400, "invalid filter 'x'")
    both("search", "-f", "x=1", "busybox")


@pytest.fixture
def logged_in(tmp_path: Path) -> None:
    secret = base64.b64encode(b"me:s<cret&").decode()
    auths = {
        "example.com": {"auth": secret},
        "https://index.docker.io/v1/": {"auth": secret, "email": "me@x"},
        "https://old.example.com/v1/": {"auth": secret},
        "token.example.com": {"identitytoken": "t", "registrytoken": "r"},
    }
    (tmp_path / ".docker").mkdir()
    (tmp_path / ".docker" / "config.json").write_text(json.dumps({"auths": auths}))


@pytest.mark.usefixtures("logged_in")
@pytest.mark.parametrize("domain", ["example.com", "docker.io", "old.example.com", "token.example.com", "other.com"])
def test_credentials_are_sent_to_their_registry_alone(engine: FakeEngine, both: Run, domain: str) -> None:
    engine.on("POST", "/images/create", PULLED)
    engine.on("POST", "/images/.*/push", PUSHED)
    engine.on("GET", "/images/search", RESULTS)
    engine.refuse("POST", "/containers/create", 404, "No such image")
    both("pull", f"{domain}/a/b")
    sent = asked_alike(engine, "POST", "/images/create", "x-registry-auth").headers["x-registry-auth"]
    assert ("username" in json.loads(base64.urlsafe_b64decode(sent))) == (
        domain in ("example.com", "docker.io", "old.example.com")
    )
    both("push", f"{domain}/a/b")
    asked_alike(engine, "POST", "/images/.*/push", "x-registry-auth")
    both("search", f"{domain}/a")
    asked_alike(engine, "GET", "/images/search", "x-registry-auth")
    both("create", f"{domain}/a/b")
    asked_alike(engine, "POST", "/images/create", "x-registry-auth")


@pytest.mark.parametrize(
    "line",
    [
        "run --pull always -d busybox",
        "run --pull always -q -d busybox",
        "run -d busybox",
        "run -q -d busybox",
        "run --pull never -d busybox",
        "create busybox:1.36",
        "create -q busybox",
        "create --platform linux/ARM64 busybox",
        "create --pull never busybox",
        f"create busybox@{DIGEST}",
        f"create {'1' * 64}",
        f"create --pull always {'1' * 64}",
    ],
)
def test_run_pulls_what_is_not_there(engine: FakeEngine, both: Run, line: str) -> None:
    pulled: list[Request] = []

    def pull(request: Request) -> Answer:
        pulled.append(request)
        return PULLED

    def create(request: Request) -> Answer:
        if pulled:
            pulled.clear()
            return Answer({"Id": "c" * 64, "Warnings": []}, 201)
        return Answer({"message": "No such image: busybox:latest"}, 404)

    engine.on("POST", "/images/create", pull)
    engine.on("POST", "/containers/create", create)
    engine.on("POST", "/containers/.*/start", Answer(status=204))
    engine.on("POST", "/containers/.*/wait", Answer({"StatusCode": 0}))
    both(*line.split())
    assert len(engine.asked("POST", "/containers/create")) % 2 == 0
    if engine.asked("POST", "/images/create"):
        asked_alike(engine, "POST", "/images/create", "x-registry-auth")


@pytest.mark.parametrize(
    "words", [["pull", "busybox"], ["push", "a/b"], ["create", "--disable-content-trust=false", "a"]]
)
def test_signatures_are_not_pretended_to_be_verified(orlop: Run, words: list[str]) -> None:
    outcome = orlop(*words, env={"DOCKER_CONTENT_TRUST": "1"})
    assert "content trust is not supported" in outcome.stderr
    assert outcome.status in (1, 125)
