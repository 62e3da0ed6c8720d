"""Listing, inspecting, tagging, importing and removing images: Docker's shapes, rules and words."""

from __future__ import annotations

import gzip
from collections.abc import AsyncIterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from orlop.engine.images import history, imports, inspect, remove, tag
from orlop.engine.images.list import list_images
from orlop.errors import Conflict, InvalidArgument, NotFound
from orlop.formats.filters import Filters
from orlop.formats.identity import chain_ids
from support import archives
from support.archives import Image, Lab, digest, layer, member, tree

pytestmark = pytest.mark.root

BASE = tree({"bin/sh": b"shell"})
TOP = tree({"etc/motd": b"hello"})

OLD = Image([BASE], ["old:1"], {"Labels": {"age": "old"}}, created="2024-01-01T00:00:00Z")
NEW = Image([BASE, TOP], ["new:1", "reg.example.com/new:2"], {"Labels": {"age": "new"}})


@pytest.fixture
async def lab(tmp_path: Path) -> AsyncIterator[Lab]:
    lab = await Lab.open(tmp_path)
    yield lab
    await lab.close()


@pytest.fixture
async def two(lab: Lab) -> Lab:
    await lab.load(archives.docker_archive(OLD, NEW))
    lab.events.clear()
    return lab


def container(lab: Lab, image: Image, status: str) -> str:
    id = f"{len(lab.containers) + 1:064x}"
    record = SimpleNamespace(id=id, image_id=image.id, state=SimpleNamespace(status=status))
    lab.containers.append(SimpleNamespace(record=record))
    return id[:12]


async def listed(lab: Lab, **filters: Any) -> list[str]:
    found = await list_images(lab.engine, filters=Filters.of(**filters))
    return [item["RepoTags"][0] if item["RepoTags"] else item["Id"] for item in found]


async def test_the_list_has_dockers_shape_and_begins_with_the_newest(two: Lab) -> None:
    found = await list_images(two.engine)
    assert [item["Id"] for item in found] == [NEW.id, OLD.id]
    assert found[0] == {
        "Containers": -1,
        "Created": 1767323045,
        "Id": NEW.id,
        "Labels": {"age": "new"},
        "ParentId": "",
        "RepoDigests": [],
        "RepoTags": ["new:1", "reg.example.com/new:2"],
        "SharedSize": -1,
        "Size": 10,
    }
    shared = await list_images(two.engine, shared_size=True)
    assert [item["SharedSize"] for item in shared] == [5, 5]


async def test_filters_choose_images_and_their_names(two: Lab) -> None:
    untagged = Image([TOP])
    await two.load(archives.docker_archive(untagged))
    assert await listed(two, dangling="true") == [untagged.id]
    assert sorted(await listed(two, dangling="false")) == ["new:1", "old:1"]
    assert await listed(two, label="age=old") == ["old:1"]
    assert await listed(two, reference="*:1") == ["new:1", "old:1"]
    assert await listed(two, reference="reg.example.com/*") == ["reg.example.com/new:2"]
    assert await listed(two, before="new:1") == ["old:1"]
    assert set(await listed(two, since="old:1")) == {"new:1", untagged.id}
    assert await listed(two, until="2025-01-01T00:00:00Z") == ["old:1"]
    with pytest.raises(NotFound, match="No such image: none:latest"):
        await listed(two, before="none")
    with pytest.raises(InvalidArgument, match="invalid filter 'dangling"):
        await listed(two, dangling="maybe")


async def test_inspect_has_dockers_fields(two: Lab) -> None:
    document = await inspect.inspect(two.engine, "new:1")
    graph = document.pop("GraphDriver")
    assert document == {
        "Id": NEW.id,
        "RepoTags": ["new:1", "reg.example.com/new:2"],
        "RepoDigests": [],
        "Parent": "",
        "Comment": "",
        "Created": "2026-01-02T03:04:05.678Z",
        "DockerVersion": "",
        "Author": "",
        "Config": {"Labels": {"age": "new"}},
        "Architecture": "amd64",
        "Os": "linux",
        "Size": 10,
        "RootFS": {"Type": "layers", "Layers": [digest(BASE), digest(TOP)]},
        "Metadata": {"LastTagTime": "0001-01-01T00:00:00Z"},
    }
    assert graph["Name"] == "overlay2"
    assert graph["Data"]["UpperDir"] == str(two.layer("new:1", 0))
    assert graph["Data"]["LowerDir"] == str(two.layer("new:1", 1))
    assert "LowerDir" not in (await inspect.inspect(two.engine, "old:1"))["GraphDriver"]["Data"]


async def test_images_are_found_by_every_form_of_name_and_id(two: Lab) -> None:
    hex = NEW.id.partition(":")[2]
    for text in (
        "new:1",
        "docker.io/library/new:1",
        "reg.example.com/new:2",
        NEW.id,
        hex,
        hex[:6],
        "sha256:" + hex[:12],
    ):
        assert two.images.resolve(text).id == NEW.id, text
    for text, shown in (("new", "new:latest"), ("f" * 64, "sha256:" + "f" * 64), ("reg.example.com/new", None)):
        with pytest.raises(NotFound) as error:
            two.images.resolve(text)
        assert error.value.message == f"No such image: {shown or text + ':latest'}"
    with pytest.raises(InvalidArgument, match="invalid reference format"):
        two.images.resolve("a b")


async def test_the_beginning_of_an_id_that_two_images_share_means_neither(lab: Lab) -> None:
    images = [Image([], [f"n:{number}"], {"User": str(number)}) for number in range(17)]
    await lab.load(archives.docker_archive(*images))
    first = [image.id[7] for image in images]
    shared = next(digit for digit in first if first.count(digit) > 1)
    with pytest.raises(NotFound, match=f"No such image: {shared}:latest"):
        lab.images.resolve(shared)


async def test_history_gives_each_layer_to_its_step(lab: Lab) -> None:
    steps = [
        {"created": "2026-01-01T00:00:00Z", "created_by": "FROM"},
        {"created": "2026-01-02T00:00:00Z", "created_by": "ENV", "empty_layer": True},
        {"created": "2026-01-03T00:00:00Z", "created_by": "COPY", "comment": "buildkit"},
    ]
    image = Image([BASE, TOP], ["x:1"], extra={"history": steps})
    await lab.load(archives.docker_archive(image))
    answer = await history.history(lab.engine, "x:1")
    assert [(item["CreatedBy"], item["Size"], item["Id"], item["Tags"]) for item in answer] == [
        ("COPY", 5, image.id, ["x:1"]),
        ("ENV", 0, "<missing>", None),
        ("FROM", 5, "<missing>", None),
    ]
    assert answer[0]["Comment"] == "buildkit"
    assert answer[2]["Created"] == 1767225600


async def test_a_tag_is_added_moved_and_told(two: Lab) -> None:
    await tag.tag(two.engine, "old:1", repo="fresh", tag="")
    await tag.tag(two.engine, OLD.id[:20], repo="host:5000/a/b", tag="v2")
    await tag.tag(two.engine, "new:1", repo="old", tag="1")
    assert two.images.names(OLD.id) == ["fresh:latest", "host:5000/a/b:v2"]
    assert two.images.resolve("old:1").id == NEW.id
    assert [(action, attributes["name"]) for action, _, attributes in two.events] == [
        ("tag", "fresh:latest"),
        ("tag", "host:5000/a/b:v2"),
        ("tag", "old:1"),
    ]
    assert two.events[0][2]["age"] == "old"
    assert (await inspect.inspect(two.engine, "fresh"))["Metadata"]["LastTagTime"] > "2020"


@pytest.mark.parametrize(
    ("repo", "message"),
    [
        ("Foo", "invalid reference format: repository name (library/Foo) must be lowercase"),
        ("", "invalid reference format"),
        ("x@sha256:" + "0" * 64, "refusing to create a tag with a digest reference"),
        ("sha256", "refusing to create an ambiguous tag using digest algorithm as name"),
    ],
)
async def test_names_that_cannot_be_given_are_refused(two: Lab, repo: str, message: str) -> None:
    with pytest.raises(InvalidArgument) as error:
        await tag.tag(two.engine, "old:1", repo=repo, tag="")
    assert error.value.message == message


async def test_the_last_name_takes_the_image_with_it_and_what_nothing_else_uses(two: Lab) -> None:
    assert await remove.remove(two.engine, "new:1") == [{"Untagged": "new:1"}]
    chains = chain_ids([digest(BASE), digest(TOP)])
    assert await remove.remove(two.engine, "reg.example.com/new:2") == [
        {"Untagged": "reg.example.com/new:2"},
        {"Deleted": NEW.id},
        {"Deleted": chains[1]},
    ]
    assert [action for action, _, _ in two.events] == ["untag", "untag", "delete"]
    assert two.events[-1][2] == {"age": "new", "name": NEW.id}
    assert not (two.root / "layers" / digest(TOP).replace(":", "-")).exists()
    assert (two.layer("old:1") / "bin/sh").exists()
    assert await remove.remove(two.engine, "old:1") == [
        {"Untagged": "old:1"},
        {"Deleted": OLD.id},
        {"Deleted": chains[0]},
    ]
    two.settle()
    assert two.on_disk() == set()


async def test_an_id_with_several_repositories_is_removed_by_force_alone(two: Lab) -> None:
    short = NEW.id[7:19]
    with pytest.raises(Conflict) as error:
        await remove.remove(two.engine, short)
    assert error.value.message == (
        f"conflict: unable to delete {short} (must be forced) - image is referenced in multiple repositories"
    )
    answer = await remove.remove(two.engine, short, force=True)
    assert [item for item in answer if "Untagged" in item] == [
        {"Untagged": "new:1"},
        {"Untagged": "reg.example.com/new:2"},
    ]
    assert {"Deleted": NEW.id} in answer


async def test_a_stopped_container_keeps_its_image_unless_forced(two: Lab) -> None:
    user = container(two, OLD, "exited")
    short = OLD.id[7:19]
    with pytest.raises(Conflict) as error:
        await remove.remove(two.engine, "old:1")
    assert error.value.message == (
        f'conflict: unable to remove repository reference "old:1" (must force) - container {user} is using its '
        f"referenced image {short}"
    )
    with pytest.raises(Conflict) as error:
        await remove.remove(two.engine, short)
    assert error.value.message == (
        f"conflict: unable to delete {short} (must be forced) - image is being used by stopped container {user}"
    )
    await remove.remove(two.engine, "new:1", force=True)
    assert await remove.remove(two.engine, "old:1", force=True) == [{"Untagged": "old:1"}, {"Deleted": OLD.id}]
    with pytest.raises(NotFound):
        two.images.resolve(OLD.id)
    assert two.images.layers.directories(two.images.get(OLD.id))  # the container can still be started
    two.containers.clear()
    await two.images.release(set())
    with pytest.raises(NotFound):
        two.images.get(OLD.id)


async def test_a_running_container_keeps_its_image_even_if_forced(two: Lab) -> None:
    user = container(two, OLD, "running")
    short = OLD.id[7:19]
    message = f"conflict: unable to delete {short} (cannot be forced) - image is being used by running container {user}"
    for force in (False, True):
        with pytest.raises(Conflict) as error:
            await remove.remove(two.engine, short, force=force)
        assert error.value.message == message
    assert await remove.remove(two.engine, "old:1", force=True) == [{"Untagged": "old:1"}]
    assert two.images.resolve(OLD.id).id == OLD.id


async def test_what_is_not_there_cannot_be_removed(two: Lab) -> None:
    with pytest.raises(NotFound, match="No such image: none:latest"):
        await remove.remove(two.engine, "none")


async def imported(lab: Lab, data: bytes, **options: Any) -> list[dict[str, Any]]:
    return [message async for message in imports.import_image(lab.engine, archives.pieces(data), **options)]


async def test_a_tree_is_imported_with_changes_and_a_message(lab: Lab) -> None:
    changes = ['CMD ["sh"]', "ENV A=1 B='two words'", "EXPOSE 80 90/udp", "WORKDIR /w", "LABEL x=y", "USER me"]
    (message,) = await imported(lab, gzip.compress(BASE), repo="tree", tag="1", message="note", changes=changes)
    record = lab.images.resolve("tree:1")
    assert message == {"status": record.id}
    document = await inspect.inspect(lab.engine, "tree:1")
    assert document["Comment"] == "note"
    assert document["Config"] == {
        "User": "me",
        "ExposedPorts": {"80/tcp": {}, "90/udp": {}},
        "Env": ["A=1", "B=two words"],
        "Cmd": ["sh"],
        "WorkingDir": "/w",
        "Labels": {"x": "y"},
    }
    assert (lab.layer("tree:1") / "bin/sh").read_bytes() == b"shell"
    assert [action for action, _, _ in lab.events] == ["import", "tag"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"changes": ["RUN true"]}, "RUN is not a valid change command"),
        ({"changes": ["EXPOSE x"]}, "invalid containerPort: x"),
        ({"changes": ["ENV"]}, "ENV requires at least one argument"),
        ({"repo": "Foo"}, "must be lowercase"),
        ({"platform": "linux/a b"}, "platform specifier"),
    ],
)
async def test_wrong_arguments_of_an_import_are_refused(lab: Lab, options: Any, message: str) -> None:
    with pytest.raises(InvalidArgument, match=message):
        await imported(lab, BASE, **options)


async def test_a_tree_that_is_none_leaves_nothing(lab: Lab) -> None:
    with pytest.raises(InvalidArgument):
        await imported(lab, b"no tar" * 1000)
    with pytest.raises(InvalidArgument, match="nowhere"):
        await imported(lab, layer(member("l", kind=b"1", linkname="below")))
    lab.settle()
    assert lab.on_disk() == set()
