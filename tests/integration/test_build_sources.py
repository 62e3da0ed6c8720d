"""What builds fetch themselves: files by HTTP, repositories by git; all servers are on loopback."""

from __future__ import annotations

import asyncio
import base64
import os
import shutil
import socket
import subprocess
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path

import pytest
from aiohttp import web

from orlop.build.files.fetch import fetch
from orlop.build.files.git import Checkout, checkout
from orlop.build.files.store import ContextStore
from orlop.build.files.worker import FileWorker
from orlop.build.graph import CopyFiles, Git, Url
from orlop.errors import Error, InvalidArgument, NotFound, Unavailable
from orlop.image.depot import Depot
from orlop.image.scratch import Scratch

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

SECRET = "s3cret-word"
BASIC = "Basic " + base64.b64encode(f"ann:{SECRET}".encode()).decode()


class Sink:
    def output(self, stream: int, data: bytes) -> None: ...
    def container(self, container_id: str) -> None: ...
    def transfer(self, id: str, current: int, total: int, *, done: bool = False) -> None:
        assert SECRET not in id


@pytest.fixture(autouse=True)
def _direct(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("no_proxy", "*")


@pytest.fixture
def scratch(tmp_path: Path) -> Iterator[Scratch]:
    made = Scratch(tmp_path / "tmp")
    yield made
    made.settle(10)
    assert list(made.path.iterdir()) == []
    made.close()


@pytest.fixture
def store(tmp_path: Path, scratch: Scratch) -> ContextStore:
    return ContextStore(tmp_path / "context", scratch)


Serve = Callable[[Handler], Awaitable[str]]


@pytest.fixture
async def serve() -> AsyncIterator[Serve]:
    runners: list[web.AppRunner] = []

    async def start(handler: Handler) -> str:
        app = web.Application()
        app.router.add_get("/{path:.*}", handler)
        runner = web.AppRunner(app, shutdown_timeout=0.1)
        runners.append(runner)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        return f"127.0.0.1:{runner.addresses[0][1]}"

    yield start
    for runner in runners:
        await runner.cleanup()


def kept(store: ContextStore, tmp_path: Path) -> set[str]:
    return {path.name for path in (tmp_path / "context").rglob("*") if path.is_file()} - {"boot"}


async def test_a_file_comes_with_its_time_and_is_not_sent_twice(store: ContextStore, serve: Serve) -> None:
    asked: list[str | None] = []

    async def answer(request: web.Request) -> web.Response:
        asked.append(request.headers.get("If-None-Match"))
        if request.headers.get("If-None-Match") == '"v1"':
            return web.Response(status=304)
        headers = {"ETag": '"v1"', "Last-Modified": "Wed, 21 Oct 2015 07:28:00 GMT"}
        return web.Response(body=b"content", headers=headers)

    url = f"http://{await serve(answer)}/a"
    for _ in range(2):
        fetched = await fetch(Url(url, "a"), store, Sink())
        tree = fetched.tree()
        found = tree.look("")
        assert found is not None
        assert (found.mode, found.mtime, found.size) == (0o600, 1445412480 * 10**9, 7)
        with os.fdopen(tree.open(found), "rb") as file:
            assert file.read() == b"content"
        fetched.release()
    assert asked == [None, '"v1"']


async def test_a_checksum_is_verified(store: ContextStore, serve: Serve) -> None:
    url = f"http://{await serve(_with(b'x'))}/a"
    digest = "sha256:2d711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881"
    (await fetch(Url(url, "a", digest), store, Sink())).release()
    with pytest.raises(InvalidArgument, match=f"digest mismatch {digest}: sha256:1111"):
        await fetch(Url(url, "a", "sha256:" + "1" * 64), store, Sink())


async def test_what_goes_wrong_at_a_server_is_told_and_nothing_is_left(
    store: ContextStore, serve: Serve, tmp_path: Path
) -> None:
    async def answer(request: web.Request) -> web.StreamResponse:
        match request.path:
            case "/missing":
                return web.Response(status=404)
            case "/loop":
                raise web.HTTPFound("/loop")
            case "/file":
                raise web.HTTPFound("file:///etc/passwd")
        response = web.StreamResponse(headers={"Content-Length": "100"})
        await response.prepare(request)
        await response.write(b"too little")
        assert request.transport is not None
        request.transport.close()
        return response

    host = await serve(answer)
    for path, message in (
        ("missing", "invalid response status 404"),
        ("loop", "stopped after 10 redirects"),
        ("file", "redirected to the protocol 'file'"),
        ("short", "failed to load"),
    ):
        with pytest.raises(Unavailable, match=message):
            await fetch(Url(f"http://{host}/{path}", ""), store, Sink())
    with pytest.raises(Unavailable, match="failed to load http://127"):
        await fetch(Url("http://127.0.0.1:1/x", ""), store, Sink())
    for url in ("http:///x", "http://[/x"):
        with pytest.raises(InvalidArgument):
            await fetch(Url(url, ""), store, Sink())
    assert kept(store, tmp_path) == set()


async def test_a_password_goes_to_its_own_origin_and_into_no_message(store: ContextStore, serve: Serve) -> None:
    seen: list[tuple[str, str]] = []

    async def other(request: web.Request) -> web.Response:
        seen.append(("other", request.headers.get("Authorization", "")))
        return web.Response(status=403)

    elsewhere = await serve(other)

    async def answer(request: web.Request) -> web.Response:
        seen.append((request.path, request.headers.get("Authorization", "")))
        raise web.HTTPFound("/second" if request.path == "/first" else f"http://{elsewhere}/x")

    with pytest.raises(Unavailable) as error:
        await fetch(Url(f"http://ann:{SECRET}@{await serve(answer)}/first", ""), store, Sink())
    assert seen == [("/first", BASIC), ("/second", BASIC), ("other", "")]
    assert SECRET not in error.value.message
    assert "ann" not in error.value.message


async def test_the_last_one_to_lose_interest_ends_a_fetch(store: ContextStore, serve: Serve, tmp_path: Path) -> None:
    begun = asyncio.Event()

    async def answer(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        begun.set()
        while True:
            await response.write(bytes(65536))
            await asyncio.sleep(0.001)

    depot = Depot.__new__(Depot)  # nothing of it is needed before a file is there
    worker = FileWorker(depot, store, {})
    action = CopyFiles(Url(f"http://{await serve(answer)}/endless", "x"), ("",), "/x")
    wanting = [asyncio.create_task(worker.select(action, {}, Sink())) for _ in range(2)]
    await begun.wait()
    wanting[0].cancel()
    await asyncio.wait(wanting, timeout=0.05)
    assert [task.done() for task in wanting] == [True, False]
    wanting[1].cancel()
    await asyncio.wait(wanting)
    assert kept(store, tmp_path) == set()
    worker.close()


def _with(body: bytes) -> Handler:
    async def answer(request: web.Request) -> web.Response:
        return web.Response(body=body)

    return answer


# Repositories


def git(directory: Path, *words: str) -> str:
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": "/nonexistent",
        "GIT_CONFIG_GLOBAL": "/dev/null",
        "GIT_ALLOW_PROTOCOL": "file",
        **{f"GIT_{who}_{what}": "a@b" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")},
    }
    done = subprocess.run(["git", *words], cwd=directory, env=environment, check=True, capture_output=True, text=True)
    return done.stdout.strip()


class Forge:
    """Repositories below a directory: app.git, which has the submodule lib.git beside it, with a branch and a tag."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.commits: list[str] = []
        lib, app = self._repository("lib"), self._repository("app")
        self._commit(lib, "lib.c", "lib")
        self._publish(lib)
        self._commit(app, "main.c", "one")
        (app / "sub").mkdir()
        (app / "out").symlink_to("/etc")
        (app / "run.sh").write_text("#!/bin/sh\n")
        (app / "run.sh").chmod(0o755)
        self._commit(app, "sub/file", "sub")
        git(app, "tag", "-a", "v1", "-m", "first")
        git(app, "submodule", "add", "-q", str(root / "lib.git"), "lib")
        git(app, "config", "-f", ".gitmodules", "submodule.lib.url", "../lib.git")
        self._commit(app, "main.c", "two")
        git(app, "checkout", "-q", "-b", "side", "v1")
        self._commit(app, "side.c", "side")
        git(app, "checkout", "-q", "main")
        self._publish(app)

    def _repository(self, name: str) -> Path:
        path = self.root / name
        path.mkdir(parents=True)
        git(path, "init", "-q", "-b", "main")
        return path

    def _commit(self, path: Path, name: str, text: str) -> None:
        (path / name).write_text(text)
        git(path, "add", "-A")
        git(path, "commit", "-q", "-m", text)
        self.commits.append(git(path, "rev-parse", "HEAD"))

    def _publish(self, path: Path) -> None:
        bare = path.with_suffix(".git")
        git(self.root, "clone", "-q", "--bare", str(path), str(bare))
        git(bare, "update-server-info")


@pytest.fixture(scope="module")
def forge(tmp_path_factory: pytest.TempPathFactory) -> Forge:
    if shutil.which("git") is None:
        pytest.skip("needs git")
    return Forge(tmp_path_factory.mktemp("forge"))


@pytest.fixture(scope="module")
def served(forge: Forge) -> Iterator[str]:
    """The address of a git daemon."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    words = ["git", "daemon", "--export-all", f"--base-path={forge.root}", "--listen=127.0.0.1", f"--port={port}"]
    process = subprocess.Popen([*words, "--reuseaddr"], stderr=subprocess.DEVNULL, start_new_session=True)
    try:
        for _ in range(200):
            try:
                socket.create_connection(("127.0.0.1", port)).close()
                break
            except ConnectionRefusedError:
                assert process.poll() is None
                subprocess.run(["sleep", "0.02"], check=True)
        yield f"git://127.0.0.1:{port}"
    finally:
        os.killpg(process.pid, 15)
        process.wait()


def files(checked_out: Checkout, scratch: Scratch) -> dict[str, str]:
    """Return what was checked out, but for the inside of ``.git``, and discard it."""
    found: dict[str, str] = {}
    for directory, names, leaves in os.walk(checked_out.path):
        for name in leaves:
            path = Path(directory, name)
            key = str(path.relative_to(checked_out.path))
            found[key] = f"-> {os.readlink(path)}" if path.is_symlink() else path.read_text()
        for name in names:
            if (link := Path(directory, name)).is_symlink():
                found[str(link.relative_to(checked_out.path))] = f"-> {os.readlink(link)}"
        if ".git" in names:
            names.remove(".git")
            found[".git"] = "directory"
    scratch.discard(checked_out.path)
    return found


ONE = {"main.c": "one", "sub/file": "sub", "run.sh": "#!/bin/sh\n", "out": "-> /etc"}


async def test_a_branch_a_tag_a_commit_and_a_directory(forge: Forge, served: str, scratch: Scratch) -> None:
    url = f"{served}/app.git"
    latest = await checkout(Git(url), scratch)
    assert latest.commit == forge.commits[3]
    assert stat_of(latest, "run.sh") == 0o755
    found = files(latest, scratch)
    assert found.pop(".gitmodules")
    assert found == ONE | {"main.c": "two", "lib/lib.c": "lib"}
    assert files(await checkout(Git(url, "v1", submodules=False), scratch), scratch) == ONE
    assert files(await checkout(Git(url, "side"), scratch), scratch)["side.c"] == "side"
    assert files(await checkout(Git(url, forge.commits[1]), scratch), scratch)["main.c"] == "one"
    assert files(await checkout(Git(url, "v1", "sub"), scratch), scratch) == {"file": "sub"}
    for wanted, message in (
        (Git(url, "nothing"), "repository does not contain ref nothing"),
        (Git(url, "1" * 40), "repository does not contain ref 111"),
        (Git(url, "v1", "nowhere"), "subdir not found: nowhere"),
        (Git(url, "v1", "out"), "subdir not found: out"),
    ):
        with pytest.raises(NotFound, match=message):
            await checkout(wanted, scratch)


async def test_a_commit_may_have_to_be_the_one_that_is_written(forge: Forge, served: str, scratch: Scratch) -> None:
    url = f"{served}/app.git"
    for checksum in (forge.commits[2], forge.commits[2][:7]):
        files(await checkout(Git(url, "v1", checksum=checksum), scratch), scratch)
    with pytest.raises(InvalidArgument, match=f"expected checksum to match {checksum}, got {forge.commits[3]}"):
        await checkout(Git(url, checksum=checksum), scratch)


async def test_a_kept_repository_is_one_and_says_nothing_of_its_fetching(
    forge: Forge, served: str, scratch: Scratch
) -> None:
    url = f"{served}/app.git"
    made = await checkout(Git(url, "v1", keep_git_dir=True, submodules=False), scratch)
    assert git(made.path, "status", "--porcelain") == ""
    assert git(made.path, "describe", "--tags") == "v1"
    assert git(made.path, "remote", "get-url", "origin") == url
    assert {"FETCH_HEAD", "logs", "hooks"}.isdisjoint(os.listdir(made.path / ".git"))
    assert files(made, scratch) == ONE | {".git": "directory"}


async def test_a_server_of_plain_files_will_do_and_a_password_stays_secret(
    forge: Forge, serve: Serve, scratch: Scratch
) -> None:
    async def answer(request: web.Request) -> web.StreamResponse:
        if request.headers.get("Authorization") != BASIC:
            return web.Response(status=401, headers={"WWW-Authenticate": "Basic"})
        path = forge.root / request.match_info["path"]
        return web.FileResponse(path) if path.is_file() else web.Response(status=404)

    host = await serve(answer)
    url = f"http://ann:{SECRET}@{host}/app.git"
    made = await checkout(Git(url, "main", keep_git_dir=True), scratch)
    texts = [path.read_bytes() for path in made.path.rglob("*") if path.is_file() and not path.is_symlink()]
    assert not any(SECRET.encode() in text for text in texts)
    assert files(made, scratch)["lib/lib.c"] == "lib"
    assert files(await checkout(Git(url, forge.commits[1]), scratch), scratch)["main.c"] == "one"
    for wrong in (f"http://ann:{SECRET}@{host}/none.git", f"http://bob:{SECRET}@{host}/app.git"):
        with pytest.raises(Error) as error:
            await checkout(Git(wrong), scratch)
        assert SECRET not in error.value.message


@pytest.mark.parametrize(
    "source",
    [
        Git("ext::sh -c touch% /tmp/x"),
        Git("--upload-pack=touch /tmp/x"),
        Git("file:///etc"),
        Git("/etc"),
        Git("https://host/a.git\n--upload-pack=x"),
        Git("git@-oProxyCommand=x:path"),
        Git("https://host/a.git", "--upload-pack=x"),
        Git("https://host/a.git", "a b"),
        Git("https://host/a.git", "a..b"),
        Git("https://host/a.git", "+a:b"),
    ],
)
async def test_what_is_no_repository_of_the_network_is_refused(source: Git, scratch: Scratch) -> None:
    with pytest.raises(InvalidArgument, match=r"unsupported git repository|invalid git reference"):
        await checkout(source, scratch)


async def test_a_submodule_leads_to_nothing_of_this_host(forge: Forge, served: str, scratch: Scratch) -> None:
    evil = forge._repository("evil")
    forge._commit(evil, "f", "f")
    git(evil, "submodule", "add", "-q", str(forge.root / "lib.git"), "lib")
    forge._commit(evil, "f", "g")
    forge._publish(evil)
    with pytest.raises(Unavailable, match="transport 'file' not allowed"):
        await checkout(Git(f"{served}/evil.git"), scratch)


async def test_a_fetch_that_is_cancelled_leaves_nothing(scratch: Scratch) -> None:
    arrived = asyncio.Event()

    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        arrived.set()
        await reader.read()
        writer.close()

    server = await asyncio.start_server(silent, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    task = asyncio.create_task(checkout(Git(f"git://127.0.0.1:{port}/x.git"), scratch))
    await asyncio.wait_for(arrived.wait(), 20)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    server.close()


def stat_of(made: Checkout, name: str) -> int:
    return (made.path / name).stat().st_mode & 0o777
