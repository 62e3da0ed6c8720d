"""The solver: what runs, what does not, what is shared, and what is left after failures."""

from __future__ import annotations

import asyncio
import dataclasses
import errno
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest

from orlop.build.failure import BuildFailed
from orlop.build.graph import BaseImage, Context, Exec, Git, MakeDirectory, Mount, Node, NodeFiles, Scratch
from orlop.build.graph import Files as FilesNode
from orlop.build.inline_cache import FIELD, cache_document
from orlop.build.progress import Change, Progress, Transfer
from orlop.build.schedule import MAX_LAYERS
from orlop.errors import InvalidArgument, NotFound
from orlop.formats.platform import Platform
from orlop.image.layers import diff_name
from support.fake_builds import FakeWorker, SolverLab, command, copy, graph, layer


@pytest.fixture
async def lab(tmp_path: Path) -> AsyncIterator[SolverLab]:
    lab = await SolverLab(tmp_path).open()
    yield lab
    await lab.close()


def image(*layers: str) -> BaseImage:
    return BaseImage(tuple(layer(text).diff_id for text in layers), "base", "base", Platform("linux", "amd64"))


CHAIN = graph(Scratch(), command(0, "one"), command(1, "two"))


async def test_a_second_build_runs_nothing_and_gives_the_same(lab: SolverLab) -> None:
    first = await lab.solve(CHAIN)
    assert lab.worker.ran == ["one", "two"]
    second = await lab.solve(CHAIN)
    assert lab.worker.ran == ["one", "two"]
    assert second == first
    ended = lab.ended()
    assert [ended[node].cached for node in (1, 2)] == [True, True]
    assert ended[2].seconds == 1.5  # what it cost when it was made
    assert ended[2].result == first.file_system[-1].diff_id


async def test_nothing_is_done_that_the_target_does_not_need(lab: SolverLab) -> None:
    await lab.solve(graph(Scratch(), command(0, "unused"), command(0, "used"), target=2))
    assert lab.worker.ran == ["used"]


async def test_stages_run_side_by_side_and_meet(lab: SolverLab) -> None:
    tree = graph(Scratch(), command(0, "wait a"), command(0, "wait b"), copy(1, NodeFiles(2), "b"))
    solving = asyncio.create_task(lab.solve(tree))
    await lab.worker.begun("wait a", "wait b")
    lab.worker.gate.set()
    await solving
    assert lab.worker.ran[-1] == "copy"


async def test_no_more_commands_run_at_once_than_allowed(tmp_path: Path) -> None:
    lab = await SolverLab(tmp_path).open(parallel=3)
    merge = FilesNode(0, tuple(copy(0, NodeFiles(node), "x").actions[0] for node in range(1, 11)))
    stages = [command(0, f"wait {number}") for number in range(10)]
    solving = asyncio.create_task(lab.solve(graph(Scratch(), *stages, merge)))
    await asyncio.sleep(0.05)
    assert lab.worker.at_once == 3
    lab.worker.gate.set()
    await solving
    assert lab.worker.most_at_once == 3
    await lab.close()


async def test_a_step_that_gives_the_same_layer_again_invalidates_nothing_above(lab: SolverLab) -> None:
    tree: tuple[Node, ...] = (Scratch(), command(0, "same layer"), command(1, "above"))
    await lab.solve(graph(*tree))
    await lab.solve(graph(*tree, no_cache=[1]))
    assert lab.worker.ran == ["same layer", "above", "same layer"]
    ended = lab.ended()
    assert (ended[1].reason, ended[1].cached, ended[2].cached) == ("no-cache", False, True)


async def test_what_is_made_without_the_cache_is_there_for_the_next_build(lab: SolverLab) -> None:
    await lab.solve(graph(Scratch(), command(0, "one"), no_cache=[1]))
    await lab.solve(graph(Scratch(), command(0, "one")))
    assert lab.worker.ran == ["one"]


async def test_content_of_a_context_decides_and_its_name_does_not(lab: SolverLab) -> None:
    lab.worker.contents = {"a": "1"}
    await lab.solve(graph(Scratch(), copy(0, Context(), "a")))
    await lab.solve(graph(Scratch(), copy(0, Context("other"), "a")))
    assert lab.worker.ran == ["copy"]
    lab.worker.contents = {"a": "2"}
    await lab.solve(graph(Scratch(), copy(0, Context(), "a")))
    assert lab.worker.ran == ["copy", "copy"]


async def test_files_that_had_to_be_read_are_counted(lab: SolverLab) -> None:
    lab.worker.contents = {"a": "1", "b": "2"}
    await lab.solve(graph(Scratch(), copy(0, Context())))
    assert [record.hashed for record in lab.told if isinstance(record, Transfer)] == [2]


async def test_a_source_that_its_definition_tells_is_not_fetched_for_a_key(lab: SolverLab) -> None:
    tree = graph(Scratch(), copy(0, Git("https://example.test/x", checksum="a" * 40)))
    await lab.solve(tree)
    await lab.solve(tree)
    assert (lab.worker.ran, lab.worker.selected) == (["copy"], 0)


async def test_what_was_selected_of_a_stage_is_not_read_again(lab: SolverLab) -> None:
    mounts = (Mount("bind", "/src", "lib", NodeFiles(1)), Mount("bind", "/all", "", NodeFiles(1)))
    tree = graph(Scratch(), command(0, "make"), command(0, "use", mounts=mounts), copy(2, NodeFiles(1), "out"))
    await lab.solve(tree)
    await lab.solve(tree)
    assert lab.worker.selected == 2  # the mounted whole is known by its layers


async def test_a_linked_layer_is_made_before_its_base_and_does_not_depend_on_it(lab: SolverLab) -> None:
    tree = graph(Scratch(), command(0, "wait for it"), copy(1, Context(), link=True))
    solving = asyncio.create_task(lab.solve(tree))
    await lab.worker.begun("copy")
    lab.worker.gate.set()
    solved = await solving
    assert len(solved.file_system) == 2
    other = await lab.solve(graph(Scratch(), command(0, "other"), copy(1, Context(), link=True)))
    assert lab.worker.ran.count("copy") == 1
    assert other.file_system[-1] == solved.file_system[-1]


async def test_two_builds_share_a_step_and_both_hear_it(lab: SolverLab) -> None:
    tree = graph(Scratch(), command(0, "wait"))
    first = asyncio.create_task(lab.solve(tree))
    await lab.worker.begun("wait")
    told: list[Progress] = lab.told
    second = asyncio.create_task(lab.solve(tree, FakeWorker(lab.images)))
    await asyncio.sleep(0.01)
    lab.worker.gate.set()
    assert await first == await second
    assert lab.worker.ran == ["wait"]
    assert lab.output(told) == lab.output() == b"wait\n"
    assert lab.ended(told)[1].container == lab.ended()[1].container == "c" * 64


async def test_a_shared_step_survives_the_cancelling_of_who_began_it(lab: SolverLab) -> None:
    tree = graph(Scratch(), command(0, "wait"))
    first = asyncio.create_task(lab.solve(tree))
    await lab.worker.begun("wait")
    told = lab.told
    second = asyncio.create_task(lab.solve(tree, FakeWorker(lab.images)))
    await asyncio.sleep(0.01)
    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first
    assert lab.ended(told)[1].cancelled
    drained = asyncio.create_task(lab.solver.drained(lab.worker))
    await asyncio.sleep(0.01)
    assert not drained.done()
    lab.worker.gate.set()
    await second
    await drained
    assert lab.worker.cancelled == []


async def test_a_step_that_nobody_waits_for_any_more_is_cancelled_and_leaves_nothing(lab: SolverLab) -> None:
    tree = graph(Scratch(), command(0, "one"), command(1, "wait"))
    builds = [asyncio.create_task(lab.solve(tree)) for _ in range(2)]
    await lab.worker.begun("wait")
    for build in builds:
        build.cancel()
    await asyncio.gather(*builds, return_exceptions=True)
    assert lab.worker.cancelled == ["wait"]
    assert len(lab.cache) == 1
    assert lab.images.depot.there == set(lab.cache.names()) & lab.images.depot.there
    lab.worker.gate.set()
    await lab.solve(tree)
    assert lab.worker.ran.count("one") == 1


async def test_builds_without_the_cache_do_not_join_others_but_share_within(lab: SolverLab) -> None:
    plain = asyncio.create_task(lab.solve(graph(Scratch(), command(0, "wait"))))
    await lab.worker.begun("wait")
    other = FakeWorker(lab.images)
    other.gate.set()
    twice = graph(Scratch(), command(0, "wait"), command(0, "wait"), copy(1, NodeFiles(2), "x"), no_cache=[1, 2])
    await lab.solve(twice, other)
    assert other.ran == ["wait", "copy"]
    lab.worker.gate.set()
    await plain
    assert lab.worker.ran == ["wait"]


async def test_the_same_step_twice_in_a_build_without_the_cache_runs_once(lab: SolverLab) -> None:
    tree = graph(Scratch(), command(0, "one"), command(1, "two"), command(0, "one"), copy(3, NodeFiles(2), "x"))
    await lab.solve(graph(*tree.nodes, no_cache=[1, 2, 3, 4]))
    assert sorted(lab.worker.ran) == ["copy", "one", "two"]


async def test_a_full_disk_is_the_failure_of_its_step(lab: SolverLab) -> None:
    lab.worker.refusal = OSError(errno.ENOSPC, "No space left on device")
    with pytest.raises(BuildFailed, match="no space left on device") as caught:
        await lab.solve(graph(Scratch(), copy(0, Context())))
    assert caught.value.step is not None


async def test_a_failed_command_says_where_and_stops_the_others(lab: SolverLab) -> None:
    tree = graph(Scratch(), command(0, "wait"), command(0, "fail 9"), copy(1, NodeFiles(2), "x"))
    with pytest.raises(BuildFailed) as caught:
        await lab.solve(tree)
    assert caught.value.code == 9
    assert caught.value.message == "The command '/bin/sh -c fail 9' returned a non-zero code: 9"
    assert caught.value.step == tree.steps[1]
    ended = lab.ended()
    assert ended.keys() == {1, 2}
    assert [ended[node].cancelled for node in (1, 2)] == [True, False]
    assert ended[2].error == caught.value.message
    with pytest.raises(BuildFailed):
        await lab.solve(graph(Scratch(), command(0, "fail 9")))
    assert lab.worker.ran.count("fail 9") == 2  # what failed is not cached


async def test_a_worker_s_error_keeps_its_status(lab: SolverLab) -> None:
    lab.worker.refusal = NotFound('"missing": not found')
    with pytest.raises(BuildFailed, match='"missing": not found') as caught:
        await lab.solve(graph(Scratch(), copy(0, Context(), "missing")))
    assert (caught.value.status, caught.value.code) == (404, 0)


async def test_a_base_image_is_below_and_in_the_key(lab: SolverLab) -> None:
    lab.images.add("base", layer("base 1"))
    solved = await lab.solve(graph(image("base 1"), command(0, "one")))
    assert [made.diff_id for made in solved.file_system] == [layer("base 1").diff_id, solved.made[0].diff_id]
    lab.images.add("base", layer("base 2"))
    await lab.solve(graph(image("base 2"), command(0, "one")))
    assert lab.worker.ran == ["one", "one"]
    (change,) = lab.ended()[1].changes
    assert change == Change(what="base", name="base", old=layer("base 1").diff_id, new=layer("base 2").diff_id)


async def test_an_image_that_is_not_what_the_graph_says_is_not_found(lab: SolverLab) -> None:
    lab.images.add("base", layer("base 2"))
    with pytest.raises(NotFound):
        await lab.solve(graph(image("base 1"), command(0, "one")))


async def test_more_layers_than_the_kernel_takes_are_refused_before_any_work(lab: SolverLab) -> None:
    nodes = [command(number, f"step {number}") for number in range(MAX_LAYERS + 1)]
    with pytest.raises(InvalidArgument, match="max depth exceeded"):
        await lab.solve(graph(Scratch(), *nodes))
    assert lab.worker.ran == []


async def test_an_epoch_enters_the_keys(lab: SolverLab) -> None:
    await lab.solve(CHAIN)
    await lab.solve(dataclasses.replace(CHAIN, epoch=0))
    assert len(lab.worker.ran) == 4


async def test_steps_survive_a_crash_of_the_daemon_but_not_a_power_cut_before_the_sync(lab: SolverLab) -> None:
    with pytest.raises(BuildFailed):
        await lab.solve(graph(Scratch(), command(0, "one"), command(1, "fail 1")))
    assert lab.images.syncs == 0
    await lab.open()  # as after a kill -9: nothing was closed
    await lab.solve(CHAIN)
    assert lab.worker.ran == ["one", "fail 1", "two"]
    assert lab.images.syncs == 1  # which brings both steps to the disk
    await lab.open()
    assert not lab.cache.unsettled(record.key for record in lab.cache)
    with pytest.raises(BuildFailed):
        await lab.solve(graph(Scratch(), command(0, "three"), command(1, "fail 1")))
    record = next(record for record in lab.cache if record.boot_id)
    await lab.cache.put(msgspec.structs.replace(record, boot_id="another boot"))
    await lab.open()
    assert lab.cache.find(record.key) is None
    assert len(lab.cache) == 2


async def test_a_record_whose_layer_is_gone_is_made_anew(lab: SolverLab) -> None:
    solved = await lab.solve(CHAIN)
    lab.images.depot.there.discard(diff_name(solved.file_system[-1].diff_id))
    await lab.solve(CHAIN)
    assert lab.worker.ran == ["one", "two", "two"]
    assert lab.ended()[2].reason == "pruned"
    lab.images.depot.there.clear()
    await lab.open()
    assert len(lab.cache) == 0


async def test_an_image_serves_as_cache_for_the_steps_it_tells_of(lab: SolverLab, tmp_path: Path) -> None:
    lab.images.add("base", layer("base"))
    tree = graph(image("base"), command(0, "one"), command(1, "two"))
    solved = await lab.solve(tree)
    (tmp_path / "other").mkdir()
    other = await SolverLab(tmp_path / "other").open()
    other.images.add("base", layer("base"))
    other.images.add("old", *solved.file_system, document={FIELD: cache_document(solved.made)})
    await other.solve(tree, cache_from=("unknown", "base", "old"))
    assert other.worker.ran == []
    assert all(ended.cached for ended in other.ended().values())
    await other.solve(tree)  # from now on it is known
    assert other.worker.ran == []
    await other.close()


async def test_use_keeps_records_and_is_noted(lab: SolverLab) -> None:
    await lab.solve(CHAIN)
    before = {record.key: record.used_at for record in lab.cache}
    building = asyncio.create_task(lab.solve(graph(*CHAIN.nodes, command(2, "wait"))))
    await lab.worker.begun("wait")
    assert all(lab.cache.in_use(key) for key in before)
    lab.worker.gate.set()
    await building
    assert not any(lab.cache.in_use(key) for key in before)
    await lab.open()
    for key, used_at in before.items():
        record = lab.cache.find(key)
        assert record is not None
        assert record.used_at > used_at
        assert record.uses == 2


async def test_dropping_a_record_gives_up_what_no_other_keeps(lab: SolverLab) -> None:
    await lab.solve(graph(Scratch(), command(0, "same"), command(0, "same "), copy(1, NodeFiles(2), "x")))
    same = [record for record in lab.cache if record.layer.unpacked_size in (4, 5)]
    twin = msgspec.structs.replace(same[0], key="sha256:" + "0" * 64)
    await lab.cache.put(twin)
    assert await lab.cache.drop([twin.key]) == frozenset()
    assert same[0].layer.blob in await lab.cache.drop([same[0].key])


async def test_what_changed_is_told_to_the_file_and_the_argument(lab: SolverLab) -> None:
    def tree(version: str) -> tuple[Scratch, FilesNode, Exec]:
        run = command(1, "make", environment=("PATH=/bin", f"VERSION={version}"), argument_names=frozenset({"VERSION"}))
        return Scratch(), copy(0, Context(), "src"), run

    lab.worker.contents = {"src/a": "644 1", "src/b": "644 2"}
    await lab.solve(graph(*tree("1")))
    assert {ended.reason for ended in lab.ended().values()} == {"first"}
    lab.worker.contents = {"src/a": "644 1", "src/b": "644 3", "src/c": "644 4"}
    await lab.solve(graph(*tree("2")))
    ended = lab.ended()
    told = [(change.what, change.name, change.old, change.new) for change in ended[1].changes]
    assert told == [("file", "src/b", "644 2", "644 3"), ("file", "src/c", "", "644 4")]
    told = [(change.what, change.name, change.old, change.new) for change in ended[2].changes]
    assert ("argument", "VERSION", "1", "2") in told
    assert sorted(what for what, *_ in told) == ["argument", "base"]


async def test_a_pruned_step_says_so(lab: SolverLab) -> None:
    await lab.solve(CHAIN)
    await lab.cache.drop([record.key for record in lab.cache])
    await lab.solve(CHAIN)
    assert {ended.reason for ended in lab.ended().values()} == {"pruned"}


async def test_users_of_the_base_enter_the_key_only_where_an_owner_is_a_name(lab: SolverLab) -> None:
    named = graph(Scratch(), copy(0, Context(), owner="app"), FilesNode(1, (MakeDirectory("/w", "1000:1000"),)))
    for lab.worker.users in ("app 1", "app 1", "app 2"):
        await lab.solve(named)
    ended = lab.ended()
    assert [change.name for change in ended[1].changes] == ["users of the base"]
    assert lab.worker.ran == ["copy"] * 3  # the directory's key is the same, its base too
