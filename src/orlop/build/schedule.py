"""In which order a graph is solved: each node when what it needs is there, side by side with all others.

Nodes that the target does not need are never looked at. The work on a ``--link`` layer, which does not need its base,
is a unit of its own, so that it does not wait for it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping

from orlop.build.graph import BaseImage, CopyFiles, Exec, Files, Graph, Input, Node, NodeFiles
from orlop.errors import InvalidArgument

__all__ = ["MAX_LAYERS", "Unit", "carry_out", "inputs_of", "link_unit", "sources_of", "units"]

MAX_LAYERS = 499  # an overlay has 500 directories at most, and one is written to

Unit = int
"""A node, or the layer of a linked one (`link_unit`)."""


def link_unit(node: int) -> Unit:
    """Return the unit that makes the layer of a ``--link`` node; the node itself then lays it on its base."""
    return ~node


def sources_of(node: Node) -> tuple[int, ...]:
    """Return the nodes whose file systems `node` takes files of, or mounts."""
    inputs: list[Input | None] = []
    match node:
        case Files():
            inputs = [action.source for action in node.actions if isinstance(action, CopyFiles)]
        case Exec():
            inputs = [mount.input for mount in node.mounts]
    return tuple(dict.fromkeys(source.node for source in inputs if isinstance(source, NodeFiles)))


def inputs_of(node: Node) -> tuple[int, ...]:
    """Return the nodes that `node` needs, its base first."""
    base = (node.base,) if isinstance(node, Files | Exec) else ()
    return tuple(dict.fromkeys((*base, *sources_of(node))))


def units(graph: Graph, target: int) -> dict[Unit, tuple[Unit, ...]]:
    """Return all that is to be done for `target`, each with what has to be done before.

    Raises `InvalidArgument` for more layers than a file system can have.
    """
    needed: dict[Unit, tuple[Unit, ...]] = {}
    waiting = [target]
    while waiting:
        index = waiting.pop()
        if index in needed:
            continue
        node = graph.nodes[index]
        inputs = inputs_of(node)
        if isinstance(node, Files) and node.link:
            needed[link_unit(index)] = sources_of(node)
            needed[index] = (node.base, link_unit(index))
        else:
            needed[index] = inputs
        waiting += inputs
    _check_depth(graph, sorted(index for index in needed if index >= 0))
    return needed


async def carry_out(units: Mapping[Unit, tuple[Unit, ...]], work: Callable[[Unit], Awaitable[None]]) -> None:
    """Do `work` for each unit as soon as what it waits for is done. When one fails, all others are cancelled.

    Raises what the first one raised.
    """
    missing = {unit: len(set(before)) for unit, before in units.items()}
    after: dict[Unit, list[Unit]] = {}
    for unit, before in units.items():
        for earlier in set(before):
            after.setdefault(earlier, []).append(unit)

    async def run(unit: Unit) -> None:
        await work(unit)
        for later in after.get(unit, ()):
            missing[later] -= 1
            if not missing[later]:
                group.create_task(run(later))

    try:
        async with asyncio.TaskGroup() as group:
            for unit in [unit for unit, count in missing.items() if not count]:
                group.create_task(run(unit))
    except BaseExceptionGroup as errors:
        first = errors.exceptions[0]
        raise first from first.__cause__


def _check_depth(graph: Graph, nodes: list[int]) -> None:
    depths: dict[int, int] = {}
    for index in nodes:  # inputs come before
        node = graph.nodes[index]
        match node:
            case Files() | Exec():
                depths[index] = depths[node.base] + 1
            case BaseImage():
                depths[index] = len(node.diff_ids)
            case _:
                depths[index] = 0
        if depths[index] > MAX_LAYERS:
            raise InvalidArgument(f"max depth exceeded: a file system has at most {MAX_LAYERS} layers")
