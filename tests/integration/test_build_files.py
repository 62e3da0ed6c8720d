"""COPY, ADD and WORKDIR on real layers: what comes to lie where, whose it is, and what their keys are made of."""

from __future__ import annotations

import os
import stat
import tarfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from orlop.build.files.manifest import Manifest
from orlop.build.files.select import MissingSource
from orlop.build.files.store import ContextStore, Taken
from orlop.build.files.worker import FileWorker
from orlop.build.graph import Context, CopyFiles, FileAction, Files, Inline, MakeDirectory, NodeFiles
from orlop.build.layer import write_layer
from orlop.build.worker import FilesJob, FileSystem, Selected
from orlop.errors import Conflict, Error, InvalidArgument
from orlop.image.images import Images
from orlop.image.view import merged
from orlop.store.store import Store
from support.archives import Member, layer, member

pytestmark = pytest.mark.root

SYM, LNK, FIFO, CHR = tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE, tarfile.CHRTYPE
PASSWD = b"root:x:0:0::/:/bin/sh\nsmith:x:1000:1001::/home/smith:/bin/sh\n"


class Sink:
    def output(self, stream: int, data: bytes) -> None: ...
    def container(self, container_id: str) -> None: ...
    def transfer(self, id: str, current: int, total: int, *, done: bool = False) -> None: ...


class Yard:
    """A store, a context, and file systems that are made step by step."""

    def __init__(self, images: Images, root: Path) -> None:
        self.images = images
        self.store = ContextStore(root / "context", images.scratch)
        self.lease = images.lease()
        self.contexts: dict[str, Manifest] = {}
        self.nodes: dict[int, FileSystem] = {}
        self.workers: list[FileWorker] = []

    def context(self, *members: Member, name: str = "") -> Manifest:
        pieces = iter([layer(*members), b""])
        self.contexts[name] = self.store.take_tar(lambda: next(pieces)).manifest
        return self.contexts[name]

    def base(self, *members: Member) -> FileSystem:
        made = write_layer(
            self.images.depot, self.lease, (), lambda write: write(layer(member("./"), *members)), lambda: None
        )
        return (made,)

    @property
    def worker(self) -> FileWorker:
        self.workers.append(FileWorker(self.images.depot, self.store, self.contexts))
        return self.workers[-1]

    async def do(self, *actions: FileAction, base: FileSystem = (), link: bool = False, **job: Any) -> FileSystem:
        made = await self.worker.files(FilesJob(Files(0, actions, link), base, self.nodes, **job), self.lease, Sink())
        return (*base, made.layer)

    async def copy(self, *paths: str, to: str, base: FileSystem = (), **fields: Any) -> FileSystem:
        link = fields.pop("link", False)
        source = fields.pop("source", Context())
        return await self.do(CopyFiles(source, paths, to, **fields), base=base, link=link)

    async def digest(self, *paths: str, source: Any = None, **fields: Any) -> str:
        return (await self.select(*paths, source=source, **fields)).digest

    async def select(self, *paths: str, source: Any = None, **fields: Any) -> Selected:
        return await self.worker.select(CopyFiles(source or Context(), paths, "/", **fields), self.nodes, Sink())

    def tree(self, file_system: FileSystem) -> dict[str, str]:
        """Return what a container would see: mode, owner if it is not root, content or target."""
        layers = self.images.layers
        found: dict[str, str] = {}
        with merged(layers.stack(layers.names_of_chain(file_system, "test"))) as root:
            for directory, names, files, fd in os.fwalk(".", dir_fd=root):
                for name in (*names, *files):
                    status = os.stat(name, dir_fd=fd, follow_symlinks=False)
                    text = f"{stat.S_IMODE(status.st_mode):o}"
                    if (status.st_uid, status.st_gid) != (0, 0):
                        text += f" {status.st_uid}:{status.st_gid}"
                    if stat.S_ISLNK(status.st_mode):
                        text = f"-> {os.readlink(name, dir_fd=fd)}"
                    elif stat.S_ISREG(status.st_mode):
                        with open(os.open(name, os.O_RDONLY, dir_fd=fd), "rb") as file:
                            text += f" {file.read().decode()!r}"
                    elif not stat.S_ISDIR(status.st_mode):
                        text += f" {stat.S_IFMT(status.st_mode):o} {status.st_rdev}"
                    found[os.path.normpath(f"{directory}/{name}")] = text
        return found


@pytest.fixture
async def yard(tmp_path: Path) -> AsyncIterator[Yard]:
    async with _opened(tmp_path) as opened:
        yield opened


@asynccontextmanager
async def _opened(root: Path) -> AsyncIterator[Yard]:
    store = await Store.open(root / "orlop.db")
    images = await Images.open(root, store)
    yard = Yard(images, root)
    yield yard
    for worker in yard.workers:
        worker.close()
    yard.lease.release()
    images.scratch.settle(10)
    assert not [path for path in images.scratch.path.iterdir() if path.name != "partial"]
    await images.close()
    await store.close()


async def test_a_directory_gives_its_content_and_a_file_its_name(yard: Yard) -> None:
    yard.context(
        member("app/", mode=0o700),
        member("app/main", b"x", mode=0o750),
        member("app/lib/", mode=0o711),
        member("f", b"f"),
    )
    copied = await yard.copy("app", to="/srv/")
    assert yard.tree(copied) == {"srv": "755", "srv/main": "750 'x'", "srv/lib": "711"}
    assert yard.tree(await yard.copy("f", to="/a/b")) == {"a": "755", "a/b": "644 'f'"}
    assert yard.tree(await yard.copy("f", to="/a/b/")) == {"a": "755", "a/b": "755", "a/b/f": "644 'f'"}
    assert yard.tree(await yard.copy("app/lib", "f", to="/x/")) == {"x": "755", "x/f": "644 'f'"}
    assert set(yard.tree(await yard.copy("", to="/"))) == {"app", "app/main", "app/lib", "f"}


async def test_what_is_there_stays_but_for_what_is_copied(yard: Yard) -> None:
    base = yard.base(
        member("etc/", mode=0o700, uid=5),
        member("etc/old", b"old"),
        member("lnk", kind=SYM, linkname="/etc"),
        member("etc/here", kind=SYM, linkname="old"),
        member("far", kind=SYM, linkname="/new/place"),
    )
    yard.context(member("d/"), member("d/here", b"new"), member("f", b"f"))
    into = yard.tree(await yard.copy("d", to="/etc", base=base))
    assert (into["etc"], into["etc/here"], into["etc/old"]) == ("700 5:0", "644 'new'", "644 'old'")
    through = yard.tree(await yard.copy("f", to="/lnk/", base=base))
    assert (through["lnk"], through["etc/f"]) == ("-> /etc", "644 'f'")
    assert yard.tree(await yard.copy("f", to="/lnk", base=base))["etc/f"] == "644 'f'"
    assert yard.tree(await yard.copy("f", to="/far", base=base))["new/place"] == "644 'f'"
    linked = yard.tree(await yard.copy("f", to="/lnk/", base=base, link=True))
    assert (linked["lnk"], linked["lnk/f"]) == ("755", "644 'f'")


async def test_directories_and_files_do_not_take_each_others_place(yard: Yard) -> None:
    base = yard.base(member("dir/"), member("dir/sub/"), member("file", b"x"))
    yard.context(member("d/"), member("d/sub", b"y"), member("e/"), member("e/file/"))
    with pytest.raises(Conflict, match="cannot replace to directory /dir/sub with file"):
        await yard.copy("d", to="/dir", base=base)
    for path, to in (("e", "/"), ("d", "/file")):
        with pytest.raises(Conflict, match="cannot copy to non-directory: /file"):
            await yard.copy(path, to=to, base=base)
    for to in ("/file/", "/file/below"):
        with pytest.raises(Conflict, match="mkdir /file: not a directory"):
            await yard.copy("d/sub", to=to, base=base)


async def test_links_named_are_followed_and_links_inside_are_kept(yard: Yard) -> None:
    yard.context(
        member("real/"),
        member("real/f", b"f"),
        member("real/up", kind=SYM, linkname="../../../etc/passwd"),
        member("link", kind=SYM, linkname="real"),
        member("file", kind=SYM, linkname="/real/f"),
        member("out", kind=SYM, linkname="../../../../etc"),
    )
    assert yard.tree(await yard.copy("link", to="/x")) == {
        "x": "755",
        "x/f": "644 'f'",
        "x/up": "-> ../../../etc/passwd",
    }
    assert yard.tree(await yard.copy("file", to="/x/")) == {"x": "755", "x/file": "644 'f'"}
    with pytest.raises(MissingSource, match='"/out": not found'):
        await yard.copy("out", to="/x")
    with pytest.raises(MissingSource):
        await yard.copy("link/nope", to="/x")


async def test_owners_and_modes(yard: Yard) -> None:
    base = yard.base(member("etc/"), member("etc/passwd", PASSWD), member("etc/group", b"wheel:x:10:\n"))
    yard.context(member("d/", uid=77), member("d/run", b"x", mode=0o4755, uid=77), member("d/s/", mode=0o750))
    assert yard.tree(await yard.copy("d", to="/x"))["x/run"] == "4755 'x'"
    owned = yard.tree(await yard.copy("d", to="/new/x", base=base, owner="smith"))
    assert (owned["new"], owned["new/x"], owned["new/x/run"]) == (
        "755 1000:1001",
        "755 1000:1001",
        "4755 1000:1001 'x'",
    )
    for owner, expected in (("smith:wheel", "1000:10"), ("7", "7:7"), ("7:8", "7:8"), ("0:wheel", "0:10")):
        assert yard.tree(await yard.copy("d/run", to="/f", base=base, owner=owner))["f"] == f"4755 {expected} 'x'"
    with pytest.raises(InvalidArgument, match="nobody"):
        await yard.copy("d", to="/x", base=base, owner="nobody")
    changed = yard.tree(await yard.copy("d", to="/x", mode="0640"))
    assert (changed["x/run"], changed["x/s"]) == ("640 'x'", "640")
    symbolic = yard.tree(await yard.copy("d", to="/x", mode="u-s,go=rX"))
    assert (symbolic["x/run"], symbolic["x/s"]) == ("755 'x'", "755")


async def test_stages_keep_owners_links_and_devices(yard: Yard) -> None:
    yard.nodes[3] = yard.base(
        member("a", b"x", uid=5, gid=6, mode=0o4711),
        member("b", kind=LNK, linkname="a"),
        member("dev", kind=CHR, devmajor=1, devminor=3, mode=0o666),
        member("pipe", kind=FIFO),
    )
    copied = await yard.copy("", to="/x", source=NodeFiles(3))
    tree = yard.tree(copied)
    assert (tree["x/a"], tree["x/b"]) == ("4711 5:6 'x'",) * 2
    assert tree["x/dev"].startswith("666 20000 ")
    directory = yard.images.layers.stack(yard.images.layers.names_of_chain(copied, "test"))[0]
    assert os.stat(f"{directory}/x/a").st_nlink == 2


async def test_wildcards_exclusions_and_parents(yard: Yard) -> None:
    yard.context(*(member(name, b"x") for name in ("a.txt", "b.txt", "a.md", "d/e/f.txt", "d/e/g.md", "d/h.txt")))
    assert set(yard.tree(await yard.copy("*.txt", to="/x/"))) == {"x", "x/a.txt", "x/b.txt"}
    assert set(yard.tree(await yard.copy("d/*/f.*", to="/x/"))) == {"x", "x/f.txt"}
    assert yard.tree(await yard.copy("none*", "a.md", to="/x/")) == {"x": "755", "x/a.md": "644 'x'"}
    left = await yard.copy("d", "a.md", to="/x/", exclude=("*.md", "e/f*"))
    assert set(yard.tree(left)) == {"x", "x/a.md", "x/h.txt", "x/e", "x/e/g.md"}
    kept = await yard.copy("d/e/f.txt", "a.md", to="/x/", parents=True)
    assert set(yard.tree(kept)) == {"x", "x/d", "x/d/e", "x/d/e/f.txt", "x/a.md"}
    pivot = await yard.copy("d/./e/*.txt", to="/x/", parents=True)
    assert set(yard.tree(pivot)) == {"x", "x/e", "x/e/f.txt"}
    with pytest.raises(InvalidArgument, match="syntax error in pattern"):
        await yard.copy("[", to="/x/")


async def test_archives_are_unpacked_where_that_is_asked(yard: Yard) -> None:
    base = yard.base(member("usr/"), member("usr/bin/", mode=0o711), member("bin", kind=SYM, linkname="usr/bin"))
    inner = layer(
        member("bin/tool", b"t", uid=3, mode=0o755),
        member("../../up", b"u"),
        member("/abs", b"a"),
        member("esc", kind=SYM, linkname="/../.."),
        member("esc/in", b"i"),
        member("bin/again", kind=LNK, linkname="bin/tool"),
    )
    extended = layer(member("late", b"l", mtime=1.5))  # its first header is an extended one
    yard.context(member("x.tar", inner), member("plain.tar", b"no archive"), member("pax.tar", extended))
    assert yard.tree(await yard.copy("pax.tar", to="/", unpack=True)) == {"late": "644 'l'"}
    tree = yard.tree(await yard.copy("x.tar", to="/", base=base, unpack=True, instruction="ADD"))
    assert tree["bin"] == "-> usr/bin"
    assert (tree["usr/bin/tool"], tree["usr/bin/again"], tree["usr/bin"]) == ("755 3:0 't'", "755 3:0 't'", "711")
    assert (tree["up"], tree["abs"], tree["in"]) == ("644 'u'", "644 'a'", "644 'i'")
    assert "x.tar" in yard.tree(await yard.copy("x.tar", to="/", base=base))
    assert yard.tree(await yard.copy("plain.tar", to="/p", unpack=True)) == {"p": "644 'no archive'"}
    owned = yard.tree(await yard.copy("x.tar", to="/o/", unpack=True, owner="9"))
    assert owned["o/bin/tool"] == "755 9:9 't'"


async def test_an_archive_may_change_its_mind_and_what_is_there(yard: Yard) -> None:
    base = yard.base(member("old/"), member("old/hidden", b"h"), member("f", b"base", uid=3), member("d/"))
    inner = layer(
        member("old", b"a file"),
        member("old/"),
        member("old/new", b"n"),
        member("x/"),
        member("x/y", b"y"),
        member("x", b"x"),
        member("h", kind=LNK, linkname="f"),
        member("d", kind=SYM, linkname="old"),
    )
    yard.context(member("x.tar", inner))
    made = await yard.copy("x.tar", to="/", base=base, unpack=True)
    assert yard.tree(made) == {
        "old": "755",
        "old/new": "644 'n'",
        "x": "644 'x'",
        "f": "644 'base'",
        "h": "644 'base'",
        "d": "-> old",
    }


async def test_working_directories_and_heredocs(yard: Yard) -> None:
    base = yard.base(member("old/", mode=0o700, uid=4))
    made = await yard.do(MakeDirectory("/old/a/b", owner="5"), base=base)
    assert yard.tree(made) == {"old": "700 4:0", "old/a": "755 5:5", "old/a/b": "755 5:5"}
    again = await yard.do(MakeDirectory("/old"), base=base)
    assert yard.tree(again) == yard.tree(base)
    inline = Inline((("one", b"1\n"), ("two", b"2\n")))
    written = await yard.copy("one", "two", to="/h/", source=inline, mode="0700")
    assert yard.tree(written) == {"h": "700", "h/one": "700 '1\\n'", "h/two": "700 '2\\n'"}


async def test_times_are_whole_and_not_younger_than_the_epoch(yard: Yard) -> None:
    yard.context(member("f", b"f", mtime=2_000_000_000), member("g", b"g", mtime=1000))
    made = await yard.do(CopyFiles(Context(), ("",), "/d/"), epoch=1_500_000_000)
    again = await yard.do(CopyFiles(Context(), ("",), "/d/"), epoch=1_500_000_000)
    assert made[0].diff_id == again[0].diff_id
    (directory,) = yard.images.layers.stack(yard.images.layers.names_of_chain(made, "test"))
    times = {name: os.stat(f"{directory}/d/{name}").st_mtime_ns for name in ("f", "g", ".")}
    assert times == {"f": 1_500_000_000 * 10**9, "g": 1000 * 10**9, ".": 1_500_000_000 * 10**9}


async def test_a_digest_knows_content_names_and_modes_but_neither_times_nor_owners(yard: Yard) -> None:
    files = {"name": "d/f", "data": b"x"}
    yard.context(member("d/", mode=0o755), member(files["name"], files["data"], mtime=1, uid=1))
    first = await yard.digest("d")
    yard.context(member("d/", mode=0o700, mtime=5), member("d/f", b"x", mtime=2, uid=2))
    assert await yard.digest("d") == first
    for changed in (
        (member("d/"), member("d/f", b"y")),
        (member("d/"), member("d/g", b"x")),
        (member("d/"), member("d/f", b"x", mode=0o600)),
        (member("d/"), member("d/f", b"x"), member("d/e/")),
        (member("d/"), member("d/f", kind=SYM, linkname="x")),
    ):
        yard.context(*changed)
        assert await yard.digest("d") != first
    yard.nodes[1], yard.nodes[2] = yard.base(member("f", b"x")), yard.base(member("f", b"x", uid=1))
    assert await yard.digest("f", source=NodeFiles(1)) != await yard.digest("f", source=NodeFiles(2))
    assert (await yard.select("f", source=NodeFiles(1))).hashed == 1


async def test_a_context_is_taken_once(yard: Yard) -> None:
    told: list[Taken] = []
    for members in ((member("a", b"1"), member("b", b"2"), member("big", bytes(3 << 20))),) * 2:
        pieces = iter([layer(*members), b""])
        told.append(yard.store.take_tar(lambda: next(pieces)))  # noqa: B023
    assert [(taken.hashed, taken.written) for taken in told] == [(3, 3), (3, 0)]


@pytest.mark.parametrize(
    "members",
    [
        (member("a", b"x"), member("a/b", b"y")),
        (member("l", kind=LNK, linkname="missing"),),
    ],
)
async def test_contexts_that_make_no_sense_are_refused(yard: Yard, members: tuple[Member, ...]) -> None:
    with pytest.raises(InvalidArgument):
        yard.context(*members)


async def test_names_that_lead_out_of_a_context_stay_at_its_root(yard: Yard) -> None:
    taken = yard.context(member("../foo", b"x"), member("/bar", b"y"), member("a/../../baz", b"z"))
    assert [item.path for item in taken.items] == ["bar", "baz", "foo"]


async def test_what_is_no_tar_is_refused(yard: Yard) -> None:
    for data in (b"no tar at all" * 100, b"\x1f\x8b\x08damaged", b"\xfd7zXZ\0damaged"):
        pieces = iter([data, b""])
        with pytest.raises(Error):
            yard.store.take_tar(lambda: next(pieces))  # noqa: B023


async def test_a_manifest_comes_back_from_its_lines(yard: Yard) -> None:
    manifest = yard.context(
        member("d/"), member("d/ü", b"x", mtime=5), member("l", kind=SYM, linkname="d"), member("p", kind=FIFO)
    )
    again = Manifest.decode(manifest.encoded)
    assert (again.items, again.id) == (manifest.items, manifest.id)
    assert [item.path for item in manifest.kept(lambda path: path == "d/ü").items] == ["d", "d/ü"]
    assert yard.store.missing(again) == []
    for line in (b"{}", b"[]", b'{"path":"../a","type":"dir"}', b'{"path":"a","type":"file","digest":"sha256:1"}'):
        with pytest.raises(InvalidArgument):
            Manifest.decode(line)


async def test_a_context_becomes_a_directory_for_a_mount(yard: Yard) -> None:
    yard.context(
        member("d/"), member("d/f", b"x", mode=0o600), member("d/l", kind=SYM, linkname="f"), member("g", b"g")
    )
    worker = yard.worker
    place = worker.materialize(Context(), "/d")
    assert sorted(os.listdir(place)) == ["f", "l"]
    assert (place / "f").read_bytes() == b"x"
    assert worker.materialize(Context(), "d/l").read_bytes() == b"x"
    assert worker.materialize(Context(), "d") == place
