"""docker and orlop log in and out alike, and keep credentials in the same places: the file, or a helper program."""

from __future__ import annotations

import base64
import json
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from support.fake_engine import Answer, FakeEngine
from support.side_by_side import Outcome, Run, runner

pytestmark = pytest.mark.docker

HUB = "https://index.docker.io/v1/"
SUCCEEDED = {"Status": "Login Succeeded", "IdentityToken": ""}

# Keeps what it is given in a file per server, below $KEPT, and writes down what it was asked.
HELPER = f"""#!{sys.executable}
import json, os, sys
from pathlib import Path
from urllib.parse import quote
kept, action, text = Path(os.environ["KEPT"]), sys.argv[1], sys.stdin.read()
with open(kept / "asked", "a") as asked:
    print(action, text.strip() if action != "store" else json.loads(text)["ServerURL"], file=asked)
if os.environ.get("BROKEN"):
    print(os.environ["BROKEN"])
    sys.exit(3)
server = json.loads(text)["ServerURL"] if action == "store" else text.strip()
path = kept / quote(server, safe="")
if action == "store":
    path.write_text(text)
elif not path.exists():
    print("credentials not found in native keychain")
    sys.exit(1)
elif action == "get":
    print(path.read_text())
else:
    path.unlink()
"""


@dataclass
class Client:
    """One of the two, with a home of its own."""

    run: Run
    home: Path

    @property
    def path(self) -> Path:
        return self.home / ".docker" / "config.json"

    @property
    def config(self) -> Any:
        return json.loads(self.path.read_text()) if self.path.exists() else None

    def kept(self) -> dict[str, str]:
        return {entry.name: entry.read_text() for entry in sorted((self.home / "kept").iterdir())}


Both = Callable[..., Outcome]


@pytest.fixture
def clients(engine: FakeEngine, tmp_path: Path) -> list[Client]:
    tools = tmp_path / "bin"
    tools.mkdir()
    program = tools / "docker-credential-test"
    program.write_text(HELPER)
    program.chmod(0o755)
    made = []
    for name, command in (("docker", ["docker"]), ("orlop", [sys.executable, "-m", "orlop.cli"])):
        home = tmp_path / f"home-of-{name}"
        (home / "kept").mkdir(parents=True)
        made.append(Client(_at_home(runner(command, engine, home), home, tools), home))
    return made


def _at_home(run: Run, home: Path, tools: Path) -> Run:
    def at_home(*words: str, stdin: bytes = b"", env: dict[str, str] | None = None) -> Outcome:
        variables = {"KEPT": str(home / "kept"), "PATH": f"{tools}:/usr/local/bin:/usr/bin:/bin", **(env or {})}
        done = run(*words, stdin=stdin, env=variables)
        texts = (text.replace(str(home), "HOME").replace(str(tools), "TOOLS") for text in (done.stdout, done.stderr))
        stdout, stderr = texts
        return replace(done, stdout=stdout, stderr=stderr)

    return at_home


@pytest.fixture
def both(clients: list[Client]) -> Both:
    """Run a command line with both; assert that they print, end and keep alike."""

    def run(*words: str, stdin: bytes = b"", env: dict[str, str] | None = None) -> Outcome:
        theirs, ours = (client.run(*words, stdin=stdin, env=env) for client in clients)
        assert ours == theirs
        assert clients[1].config == clients[0].config
        assert clients[1].kept() == clients[0].kept()
        return ours

    return run


def configure(clients: list[Client], **values: Any) -> None:
    for client in clients:
        client.path.parent.mkdir(exist_ok=True)
        client.path.write_text(json.dumps(values))


def encoded(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


@pytest.mark.parametrize(
    ("server", "key"),
    [
        ("", HUB),
        ("example.com:5000", "example.com:5000"),
        ("https://example.com/v1/", "example.com"),
        ("http://Example.com:80/x", "Example.com:80"),
        ("example.com/path", "example.com"),
        ("https://[::1]:5000/v2/", "[::1]:5000"),
    ],
)
def test_login_keeps_what_the_registry_accepted(
    engine: FakeEngine, clients: list[Client], both: Both, server: str, key: str
) -> None:
    engine.on("POST", "/auth", SUCCEEDED)
    assert both("login", "-u", "me", "--password-stdin", *server.split(), stdin=b"s<cret&:\r\n").status == 0
    theirs, ours = engine.asked("POST", "/auth")
    assert ours.json == theirs.json == {"username": "me", "password": "s<cret&:", "serveraddress": key}
    assert clients[1].config == {"auths": {key: {"auth": encoded("me:s<cret&:")}}}
    assert clients[1].path.read_text() == clients[0].path.read_text()
    assert clients[1].path.stat().st_mode & 0o777 == 0o600
    assert [entry.name for entry in clients[1].path.parent.iterdir()] == ["config.json"]
    assert both("logout", *server.split()).status == 0
    assert clients[1].config == {"auths": {}}


@pytest.mark.parametrize(
    "line",
    [
        "-u me -p x",
        "-p x",
        "-u me",
        "",
        "--password-stdin",
        "-u me -p x --password-stdin",
        "-u= -p x",
        "-u me -p=",
        "-u me --password-stdin",
    ],
)
def test_what_is_missing_cannot_be_asked_for_without_a_terminal(engine: FakeEngine, both: Both, line: str) -> None:
    engine.on("POST", "/auth", SUCCEEDED)
    both("login", *line.split(), *(["example.com"] if "a b" not in line else []))


def test_a_refused_login_keeps_nothing(engine: FakeEngine, clients: list[Client], both: Both) -> None:
    message = 'Get "https://example.com/v2/": unauthorized: authentication required'
    engine.refuse("POST", "/auth", 401, message)
    assert message in both("login", "-u", "me", "-p", "x", "example.com").stderr
    assert clients[1].config is None


def test_a_token_is_kept_instead_of_the_password(engine: FakeEngine, clients: list[Client], both: Both) -> None:
    engine.on("POST", "/auth", {"Status": "Login Succeeded", "IdentityToken": "t0ken"})
    both("login", "-u", "me", "-p", "x", "example.com")
    assert clients[1].config["auths"]["example.com"] == {"auth": encoded("me:"), "identitytoken": "t0ken"}


def test_credentials_that_are_kept_are_used_again(engine: FakeEngine, clients: list[Client], both: Both) -> None:
    configure(clients, auths={"example.com": {"auth": encoded("me:x")}, HUB: {"auth": encoded("you:y")}})
    engine.on("POST", "/auth", SUCCEEDED)
    both("login", "example.com")
    both("login")
    engine.refuse("POST", "/auth", 401, "unauthorized: expired")
    assert "Stored credentials invalid or expired" in both("login", "example.com").stderr
    engine.refuse("POST", "/auth", 500, "no such host")
    assert "Login did not succeed" in both("login", "example.com").stderr
    requests = engine.asked("POST", "/auth")
    assert [request.json for request in requests[::2]] == [request.json for request in requests[1::2]]


@pytest.mark.parametrize("address", ["example.com", "https://example.com/v1/", "http://example.com", ""])
def test_logout_forgets_every_spelling(clients: list[Client], both: Both, address: str) -> None:
    kept = ("example.com", "http://example.com", "https://example.com", "https://example.com/v1/", HUB, "other.com")
    configure(clients, auths={name: {"auth": encoded("me:x")} for name in kept}, detachKeys="ctrl-a")
    both("logout", *address.split())
    assert "other.com" in clients[1].config["auths"]


def test_docker_hub_has_two_names(engine: FakeEngine, clients: list[Client]) -> None:
    engine.on("POST", "/auth", SUCCEEDED)
    assert clients[1].run("login", "-u", "me", "-p", "x", "docker.io").status == 0
    assert list(clients[1].config["auths"]) == [HUB]
    clients[1].run("logout", "docker.io")
    assert clients[1].config["auths"] == {}


@pytest.mark.parametrize("setting", [{"credsStore": "test"}, {"credHelpers": {"example.com": "test"}}])
def test_a_helper_keeps_them(engine: FakeEngine, clients: list[Client], both: Both, setting: dict[str, Any]) -> None:
    configure(clients, **setting)
    engine.on("POST", "/auth", SUCCEEDED)
    engine.on("POST", "/images/create", Answer(b""))
    both("login", "-u", "me", "-p", "secret", "example.com")
    assert "secret" not in clients[1].path.read_text()
    assert json.loads(clients[1].kept()["example.com"]) == {
        "ServerURL": "example.com",
        "Username": "me",
        "Secret": "secret",
    }
    both("login", "example.com")
    both("pull", "example.com/a")
    theirs, ours = engine.asked("POST", "/images/create")
    assert ours.headers["x-registry-auth"] == theirs.headers["x-registry-auth"]
    assert b"secret" in base64.urlsafe_b64decode(ours.headers["x-registry-auth"])
    for client in clients:
        client.run("logout", "example.com")  # in an order of its own docker asks for the four spellings
    assert "example.com" not in clients[1].kept()
    assert clients[1].kept() == clients[0].kept()


def test_a_helper_keeps_tokens(engine: FakeEngine, clients: list[Client], both: Both) -> None:
    configure(clients, credsStore="test")
    engine.on("POST", "/auth", {"Status": "Login Succeeded", "IdentityToken": "t0ken"})
    engine.on("POST", "/images/create", Answer(b""))
    both("login", "-u", "me", "-p", "secret", "example.com")
    assert json.loads(clients[1].kept()["example.com"])["Username"] == "<token>"
    both("pull", "example.com/a")
    theirs, ours = engine.asked("POST", "/images/create")
    assert ours.headers["x-registry-auth"] == theirs.headers["x-registry-auth"]


@pytest.mark.parametrize("name", ["test", "nowhere"])
def test_a_helper_that_fails(engine: FakeEngine, clients: list[Client], both: Both, name: str) -> None:
    configure(clients, credsStore=name, auths={"example.com": {"auth": encoded("me:x")}})
    engine.on("POST", "/auth", SUCCEEDED)
    engine.on("POST", "/images/create", Answer(b""))
    engine.refuse("POST", "/containers/create", 404, "No such image")
    broken = {"BROKEN": "the keychain is locked"}
    assert both("login", "-u", "me", "-p", "secret", "example.com", env=broken).status == 1
    both("pull", "example.com/a", env=broken)
    theirs, ours = engine.asked("POST", "/images/create")
    assert ours.headers["x-registry-auth"] == theirs.headers["x-registry-auth"]
    both("create", "example.com/a", env=broken)
    both("logout", env=broken)
    assert "could not erase credentials" in clients[1].run("logout", "example.com", env=broken).stderr


def test_the_platforms_helper_is_taken_when_there_is_one(
    engine: FakeEngine, clients: list[Client], both: Both, tmp_path: Path
) -> None:
    (tmp_path / "bin" / "docker-credential-secretservice").symlink_to(tmp_path / "bin" / "docker-credential-test")
    engine.on("POST", "/auth", SUCCEEDED)
    both("login", "-u", "me", "-p", "secret", "example.com")
    assert clients[1].config == {"auths": {"example.com": {}}, "credsStore": "secretservice"}


def test_what_else_the_file_holds_is_kept(engine: FakeEngine, clients: list[Client]) -> None:
    ours = clients[1]
    configure(clients, detachKeys="ctrl-a", somethingNew={"a": [1]}, auths={"a.com": {"auth": encoded("a:b"), "x": 1}})
    ours.path.chmod(0o644)
    engine.on("POST", "/auth", SUCCEEDED)
    ours.run("login", "-u", "me", "-p", "x", "b.com")
    assert ours.config == {
        "auths": {"a.com": {"auth": encoded("a:b"), "x": 1}, "b.com": {"auth": encoded("me:x")}},
        "detachKeys": "ctrl-a",
        "somethingNew": {"a": [1]},
    }
    assert ours.path.stat().st_mode & 0o777 == 0o600


def test_a_link_to_the_file_stays_a_link(engine: FakeEngine, clients: list[Client], both: Both) -> None:
    for client in clients:
        client.path.parent.mkdir()
        (client.home / "elsewhere.json").write_text("{}")
        client.path.symlink_to(client.home / "elsewhere.json")
    engine.on("POST", "/auth", SUCCEEDED)
    both("login", "-u", "me", "-p", "x", "b.com")
    assert all(client.path.is_symlink() for client in clients)


def test_a_broken_file_is_left_as_it_is(engine: FakeEngine, clients: list[Client]) -> None:
    ours = clients[1]
    ours.path.parent.mkdir()
    ours.path.write_text("{not json")
    engine.on("POST", "/auth", SUCCEEDED)
    done = ours.run("login", "-u", "me", "-p", "x", "b.com")
    assert done.status == 1
    assert "Error saving credentials: Error parsing config file" in done.stderr
    assert ours.path.read_text() == "{not json"
    assert "Error parsing config file" in ours.run("version").stderr
