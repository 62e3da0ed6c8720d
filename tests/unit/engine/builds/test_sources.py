"""What a build is made of: the Dockerfile in a context, what is left out of it, and files that come in one stream."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orlop.build.files.manifest import Item, Manifest
from orlop.build.files.store import ContextStore
from orlop.engine.builds.contexts import Contexts, _Framed
from orlop.engine.builds.sources import _classic, _filtered
from orlop.errors import Error, InvalidArgument
from orlop.formats.digest import Digest
from orlop.formats.tar.entry import Kind
from orlop.image.scratch import Scratch


@pytest.fixture
def contexts(tmp_path: Path) -> Iterator[Contexts]:
    scratch = Scratch(tmp_path / "tmp")
    yield Contexts(tmp_path / "context", scratch)
    scratch.close()


@pytest.fixture
def store(contexts: Contexts) -> ContextStore:
    return contexts.store


def manifest(store: ContextStore, **files: str) -> Manifest:
    items = []
    for name, text in files.items():
        data, digest = text.encode(), str(Digest.of(text.encode()))
        store.write(digest, data)
        items.append(Item(name.replace("__", "."), size=len(data), digest=digest))
    return Manifest(items)


def classic(store: ContextStore, found: Manifest, path: str = "Dockerfile") -> tuple[str, str, set[str]]:
    with ExitStack() as stack:
        source = _classic(store, found, path, False, stack)
        return source.dockerfile, source.path, {item.path for item in source.contexts[""].items}


def test_the_dockerfile_is_found_by_its_path_and_stays_in_the_context(store: ContextStore) -> None:
    found = manifest(store, Dockerfile="FROM a", other="FROM b")
    assert classic(store, found) == ("FROM a", "Dockerfile", {"Dockerfile", "other"})
    assert classic(store, found, "/./other")[:2] == ("FROM b", "other")
    assert classic(store, manifest(store, dockerfile="FROM c"))[:2] == ("FROM c", "dockerfile")


def test_a_dockerfile_may_be_a_link_inside_of_the_context(store: ContextStore) -> None:
    link = Item("Dockerfile", Kind.SYMLINK, target="/real")
    assert classic(store, Manifest([link, *manifest(store, real="FROM a").items]))[0] == "FROM a"
    with pytest.raises(Error, match="Cannot locate specified Dockerfile: Dockerfile"):
        classic(store, Manifest([Item("Dockerfile", Kind.SYMLINK, target="../../etc/passwd")]))


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("nothing", "Cannot locate specified Dockerfile: nothing"),
        ("../x", r"Forbidden path outside the build context: \.\./x \(\)"),
        ("a/../../x", "Forbidden path outside the build context"),
        ("empty", r"the Dockerfile \(empty\) cannot be empty"),
        ("", "is not a regular file"),
    ],
)
def test_what_is_no_dockerfile_is_refused(store: ContextStore, path: str, message: str) -> None:
    with pytest.raises(Error, match=message):
        classic(store, manifest(store, Dockerfile="FROM a", empty=""), path)


def test_of_what_a_client_has_filtered_only_two_files_go_if_they_are_listed(store: ContextStore) -> None:
    files = {"Dockerfile": "FROM a", "log": "", "__dockerignore": "log\n"}
    assert classic(store, manifest(store, **files))[2] == {"Dockerfile", "log", ".dockerignore"}
    files["__dockerignore"] = "log\nDocker*\n.dockerignore\n"
    assert classic(store, manifest(store, **files))[2] == {"log"}


@pytest.mark.parametrize("ending", ["\n", ""])
def test_a_name_that_a_client_has_made_up_leaves_no_trace(store: ContextStore, ending: str) -> None:
    contents = set()
    for name in ("__dockerfile__0123", "__dockerfile__4567"):
        path = name.replace("__", ".")
        found = manifest(store, **{name: "FROM a", "__dockerignore": f"log\n{path}{ending}"})
        with ExitStack() as stack:
            source = _classic(store, found, path, False, stack)
            contents.add(source.contexts[""].id)
            assert source.path == "Dockerfile"
            (left,) = source.contexts[""].items
            assert left.digest == str(Digest.of(b"log"))
    assert len(contents) == 1


def test_what_nobody_has_filtered_is_filtered_here(store: ContextStore) -> None:
    found = manifest(store, Dockerfile="FROM a", log="", a="", __dockerignore="log\n", Dockerfile__dockerignore="a\n")

    def left(path: str, given: str | None = None) -> set[str]:
        return {item.path for item in _filtered(store, found, path, given).items} & {"log", "a"}

    assert left("Dockerfile") == {"log"}
    assert left("other") == {"a"}
    assert left("Dockerfile", "a\nlog\n") == set()
    with pytest.raises(InvalidArgument, match=r"error reading \.dockerignore"):
        left("Dockerfile", "[\n")


# Files in one stream


def pieces(data: bytes, size: int) -> Callable[[], bytes]:
    blocks = iter([data[at : at + size] for at in range(0, len(data), size)])
    return lambda: next(blocks, b"")


def framed(*contents: bytes) -> bytes:
    return b"".join(
        json.dumps({"digest": f"sha256:{hashlib.sha256(data).hexdigest()}", "size": len(data)}).encode() + b"\n" + data
        for data in contents
    )


@given(st.lists(st.binary(max_size=3000), max_size=5), st.integers(1, 5000))
def test_parts_come_as_they_were_framed_however_the_stream_is_cut(contents: list[bytes], size: int) -> None:
    stream = _Framed(pieces(framed(*contents), size))
    found = []
    while (line := stream.line()) is not None:
        read = stream.part(json.loads(line)["size"])
        found.append(b"".join(bytes(block) for block in iter(read, b"")))
    assert found == contents


def test_files_are_taken_and_verified(contexts: Contexts) -> None:
    one, two = b"one" * 50_000, b""
    contexts._take_files(pieces(framed(one, two), 70_000))
    assert all(contexts.store.known(str(Digest.of(data))) for data in (one, two))


@pytest.mark.parametrize(
    "data",
    [b"x", b"\n{}", b"{}\n", b'{"digest":"sha256:0","size":1}\n', framed(b"abc")[:-1], framed(b"abc")[:-3] + b"xyz"]
    + [b'{"digest":"sha256:' + b"0" * 64 + b'","size":-1}\n', b"a" * 5000, b"[" * 900 + b"\n", b'{"size":1e99}\n'],
)
def test_a_stream_that_makes_no_sense_is_refused(contexts: Contexts, data: bytes) -> None:
    with pytest.raises(InvalidArgument):
        contexts._take_files(pieces(data, 3))
