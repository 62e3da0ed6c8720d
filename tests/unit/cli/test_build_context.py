"""Contexts of `orlop build`: what is in them, what is read of them the next time, what is sent."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from orlop.cli.build.context import Context, read_context
from orlop.cli.build.digests import Digests, cache_path
from orlop.cli.build.upload import send_context
from orlop.cli.failure import CommandError
from orlop.client.call import Call
from orlop.formats.ignore import Ignore

OLD = 1_600_000_000_000_000_000


@pytest.fixture
def root(tmp_path: Path) -> Path:
    directory = tmp_path / "context"
    directory.mkdir()
    return directory


@pytest.fixture
def read(root: Path, tmp_path: Path) -> Callable[..., Context]:
    """Read the context with a cache that is kept from one reading to the next."""

    def call(ignore: str = "") -> Context:
        return read_context(str(root), Ignore.parse(ignore), Digests(str(tmp_path / "cache/digests.json")))

    return call


def entries(context: Context) -> dict[str, dict[str, Any]]:
    documents = [json.loads(line) for line in context.lines]
    return {document.pop("path"): document for document in documents}


def settle() -> None:
    """Let the clock of file times go on: what was written just now is not remembered."""
    time.sleep(0.06)


def digest(data: bytes) -> str:
    return f"sha256:{sha256(data).hexdigest()}"


def test_everything_is_listed_by_its_kind_and_nothing_is_followed_or_opened(
    root: Path, read: Callable[..., Context]
) -> None:
    (root / "file").write_bytes(b"text")
    (root / "file").chmod(0o4755)
    (root / "dir").mkdir(mode=0o750)
    (root / "dir/link").symlink_to("/etc")
    os.mkfifo(root / "fifo", 0o600)
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(str(root / "socket"))
    found = entries(read())
    assert list(found) == ["dir", "dir/link", "fifo", "file"]
    mtime = (root / "file").stat().st_mtime_ns
    assert found["file"] == {"type": "file", "mode": 0o4755, "mtime": mtime, "size": 4, "digest": digest(b"text")}
    assert (found["dir"]["type"], found["dir"]["mode"]) == ("dir", 0o750)
    assert (found["dir/link"]["type"], found["dir/link"]["target"]) == ("symlink", "/etc")
    assert found["fifo"]["type"] == "fifo"


@pytest.mark.root
def test_devices_are_nodes_and_capabilities_are_kept(root: Path, read: Callable[..., Context]) -> None:
    os.mknod(root / "null", 0o20666, os.makedev(1, 3))
    (root / "ping").write_bytes(b"x")
    value = bytes.fromhex("0100000200200000000000000000000000000000")
    try:
        os.setxattr(root / "ping", "security.capability", value)
    except OSError as error:
        pytest.skip(f"this file system takes no capabilities: {error}")
    settle()
    for _ in range(2):  # read, and remembered
        found = entries(read())
        assert (found["null"]["type"], found["null"]["major"], found["null"]["minor"]) == ("char", 1, 3)
        assert found["ping"]["capability"] == "AQAAAgAgAAAAAAAAAAAAAAAAAAA="


def test_ignored_files_are_not_looked_at_unless_something_takes_them_back(
    root: Path, read: Callable[..., Context], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("keep/a", "out/deep/b", "back/in/c", "back/d"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(name)
    scanned: list[str] = []
    real = os.scandir

    def scandir(path: str) -> Any:
        scanned.append(os.path.relpath(path, root))
        return real(path)

    monkeypatch.setattr(os, "scandir", scandir)
    assert list(entries(read("out\nback\n!back/in\n"))) == ["back/in", "back/in/c", "keep", "keep/a"]
    assert sorted(scanned) == [".", "back", "back/in", "keep"]


def test_names_that_are_no_text_survive_and_order_is_that_of_their_bytes(
    root: Path, read: Callable[..., Context]
) -> None:
    for name in (b"\xff", b"a-b", b"a", "é".encode(), b"a.b"):
        Path(os.fsdecode(os.path.join(os.fsencode(root), name))).write_bytes(name)
    (root / "a").unlink()
    (root / "a").mkdir()
    (root / "a/x").touch()
    names = [os.fsencode(name) for name in entries(read())]
    assert names == [b"a", b"a-b", b"a.b", b"a/x", "é".encode(), b"\xff"]


def test_only_what_has_changed_is_read_again(root: Path, read: Callable[..., Context]) -> None:
    for name in "abc":
        (root / name).write_text(name)
    settle()
    assert read().hashed == 3
    assert read().hashed == 0
    (root / "b").write_text("changed")
    settle()
    changed = read()
    assert (changed.hashed, entries(changed)["b"]["digest"]) == (1, digest(b"changed"))
    assert read().hashed == 0


def test_an_edit_that_keeps_size_and_times_is_seen(root: Path, read: Callable[..., Context]) -> None:
    path = root / "file"
    path.write_bytes(b"one")
    os.utime(path, ns=(OLD, OLD))
    settle()
    assert entries(read())["file"]["digest"] == digest(b"one")
    path.write_bytes(b"two")
    os.utime(path, ns=(OLD, OLD))
    assert entries(read())["file"]["digest"] == digest(b"two")


def test_what_was_written_just_before_it_was_read_is_not_trusted(
    root: Path, read: Callable[..., Context], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = root / "file"
    path.write_bytes(b"one")
    monkeypatch.setattr(time, "time_ns", lambda: path.stat().st_ctime_ns + 4_000_000)  # one tick later
    read()
    assert read().hashed == 1


def test_a_file_system_that_keeps_whole_seconds_is_given_more_time(tmp_path: Path, root: Path) -> None:
    (root / "file").touch()
    real = (root / "file").stat()
    second = 1_000_000_000

    class Stat:
        def __getattr__(self, name: str) -> Any:
            return 50 * second if name == "st_ctime_ns" else getattr(real, name)

    stat: Any = Stat()
    for began, remembered in ((51 * second, False), (53 * second, True)):
        path = str(tmp_path / f"{began}.json")
        digests = Digests(path)
        digests.note("file", stat, digest(b""), "", began)
        digests.save()
        assert (Digests(path).find("file", stat) is not None) == remembered


@pytest.mark.parametrize(
    "text",
    [
        "",
        "nonsense",
        "[]",
        '{"version":0,"files":{}}',
        '{"version":1,"files":[]}',
        '{"version":1,"files":{"a":1,"b":[1,2,3,4,5,6,"sha256:x",""],"c":{}}}',
        "[" * 100_000,
    ],
)
def test_a_broken_cache_is_none(tmp_path: Path, root: Path, text: str) -> None:
    (root / "a").write_text("a")
    settle()
    cache = tmp_path / "cache.json"
    cache.write_text(text)
    context = read_context(str(root), Ignore(()), Digests(str(cache)))
    assert (context.hashed, entries(context)["a"]["digest"]) == (1, digest(b"a"))
    assert read_context(str(root), Ignore(()), Digests(str(cache))).hashed == 0


def test_the_cache_lies_where_the_user_wants_caches_and_forgets_old_directories(tmp_path: Path, root: Path) -> None:
    home = {"HOME": "/home/me"}
    assert cache_path("/a", "", home).startswith("/home/me/.cache/orlop/contexts/")
    assert cache_path("/a", "", {**home, "XDG_CACHE_HOME": "/c"}).startswith("/c/orlop/contexts/")
    assert cache_path("/a", "", {**home, "XDG_CACHE_HOME": "relative"}).startswith("/home/me/.cache/")
    assert len({cache_path("/a", "", home), cache_path("/b", "", home), cache_path("/a", "/a/x", home)}) == 3
    assert cache_path("/a", "", {}) == ""
    old = tmp_path / "old.json"
    old.touch()
    os.utime(old, (0, 0))
    (root / "a").touch()
    settle()
    read_context(str(root), Ignore(()), Digests(str(tmp_path / "new.json")))
    assert not old.exists()
    assert (tmp_path / "new.json").exists()


def test_a_file_that_is_changed_while_it_is_read_is_read_again_and_given_up_in_the_end(
    root: Path, read: Callable[..., Context], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = root / "file"
    path.write_bytes(b"0")
    times = 0
    real = os.readv

    def readv(descriptor: int, buffers: Any) -> int:
        nonlocal times
        count = real(descriptor, buffers)
        if count and times < most:
            times += 1
            path.write_bytes(b"0" * (times + 1))
        return count

    monkeypatch.setattr(os, "readv", readv)
    most = 1
    assert entries(read())["file"]["digest"] == digest(b"00")
    times, most = 5, 100
    with pytest.raises(CommandError, match="file' is being changed"):
        read()


@pytest.mark.root
def test_what_must_not_be_read_is_told_in_dockers_words(root: Path, tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    for parent in tmp_path.parents[:2]:
        parent.chmod(0o755)
    (root / "secret").write_text("x")
    (root / "secret").chmod(0)
    script = (
        "import os, sys; sys.path[:0] = eval(sys.argv[2])\n"
        "from orlop.cli.build.context import read_context\n"
        "from orlop.cli.build.digests import Digests\n"
        "from orlop.cli.failure import CommandError\n"
        "from orlop.formats.ignore import Ignore\n"
        "os.setuid(65534)\n"
        "try: read_context(sys.argv[1], Ignore(()), Digests(''))\n"
        "except CommandError as error: print(error.message)\n"
    )

    def message() -> str:
        words = [sys.executable, "-c", script, str(root), repr(sys.path)]
        return subprocess.run(words, capture_output=True, text=True, check=True).stdout.strip()

    assert message() == f"error checking context: no permission to read from '{root}/secret'"
    (root / "secret").unlink()
    (root / "secret").mkdir(mode=0)
    assert message() == f"error checking context: can't stat '{root}/secret'"


class FakeDaemon:
    """Takes a context as the daemon does; `here` are the contents that it has."""

    def __init__(self, *here: bytes) -> None:
        self.here = {digest(data): data for data in here}
        self.sent: list[bytes] = []
        self.largest = 0

    def do(self, call: Call[Any]) -> Any:
        assert not isinstance(call.body, bytes)
        if call.path.endswith("/files"):
            self._take(call.body)
            return None
        documents = [json.loads(line) for line in b"".join(call.body).splitlines()]
        digests = dict.fromkeys(document["digest"] for document in documents if "digest" in document)
        return {"Id": "id", "Missing": [name for name in digests if name not in self.here]}

    def _take(self, pieces: Iterable[bytes]) -> None:
        data = bytearray()
        for piece in pieces:
            self.largest = max(self.largest, len(piece))
            data += piece
        while data:
            line, _, rest = bytes(data).partition(b"\n")
            head = json.loads(line)
            content = rest[: head["size"]]
            assert digest(content) == head["digest"]
            self.sent.append(content)
            data = bytearray(rest[head["size"] :])


def test_only_what_is_missing_is_sent_and_the_same_content_once(root: Path, read: Callable[..., Context]) -> None:
    for name, text in (("a", "same"), ("b", "same"), ("c", "known"), ("d", ""), ("e", "more\n" * 5)):
        (root / name).write_text(text)
    daemon: Any = FakeDaemon(b"known")
    told: list[tuple[int, int]] = []
    sent = send_context(daemon, read(), lambda *numbers: told.append(numbers))
    assert sorted(daemon.sent) == [b"", b"more\n" * 5, b"same"]
    assert (sent.id, sent.files, sent.bytes) == ("id", 3, 29)
    assert told == [(29, 29)]


def test_a_large_file_goes_in_pieces(root: Path, read: Callable[..., Context]) -> None:
    content = os.urandom(5 << 20)
    (root / "large").write_bytes(content)
    daemon: Any = FakeDaemon()
    send_context(daemon, read())
    assert daemon.sent == [content]
    assert daemon.largest <= 2 << 20


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda path: path.write_text("longer than before"), "it was changed"),
        (lambda path: path.unlink(), "no such file or directory"),
        (lambda path: (path.unlink(), path.symlink_to("/etc/passwd")), "too many levels of symbolic links"),
    ],
)
def test_a_file_that_is_not_what_it_was_is_not_sent(
    root: Path, read: Callable[..., Context], change: Callable[[Path], Any], reason: str
) -> None:
    (root / "file").write_text("before")
    context = read()
    change(root / "file")
    daemon: Any = FakeDaemon()
    with pytest.raises(CommandError, match=f"file' is not what it was when it was read: {reason}"):
        send_context(daemon, context)
    assert not daemon.sent
