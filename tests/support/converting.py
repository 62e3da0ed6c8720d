"""Dockerfiles and the graphs that they become, for tests without any store."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from textwrap import dedent
from typing import Any

from orlop.build.convert import Missing, convert
from orlop.build.dockerfile.parser import parse
from orlop.build.graph import CopyFiles, Exec, Files, Graph, ImageInfo, ImageWanted, Node
from orlop.build.request import BuildRequest
from orlop.formats.platform import Platform

__all__ = ["HOST", "copies", "execs", "graph_of", "image", "layers", "made_by"]

HOST = Platform("linux", "amd64")


def image(name: str = "base", layers: int = 1, **config: Any) -> ImageInfo:
    """Return an image whose layers are told apart by its name."""
    document = {
        "os": "linux",
        "architecture": "amd64",
        "config": {"Env": ["PATH=/bin"], **config},
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{name}-{number}" for number in range(layers)]},
        "history": [{"created_by": f"{name} {number}"} for number in range(layers)],
    }
    return ImageInfo(f"sha256:{name}", document)


def graph_of(text: str, images: Mapping[str, ImageInfo] | None = None, **request: Any) -> Graph:
    """Return the graph of a Dockerfile; any image is found, those in `images` as they stand there."""
    dockerfile = parse(dedent(text).lstrip("\n"))
    wanted = BuildRequest(dockerfile=text, **request)
    found: dict[ImageWanted, ImageInfo] = {}
    while True:
        result = convert(dockerfile, wanted, found, HOST)
        if not isinstance(result, Missing):
            return result
        assert not found.keys() & set(result.images), "no image is asked for twice"
        for item in result.images:
            info = (images or {}).get(item.reference, image(item.reference))
            document = {**info.document, "architecture": item.platform.architecture}
            found[item] = replace(info, document=document)


def layers(graph: Graph) -> list[Node]:
    """Return the nodes that lie on the base of a graph's target, bottom first."""
    found: list[Node] = []
    node = graph.nodes[graph.target.node]
    while isinstance(node, Files | Exec):
        found.insert(0, node)
        node = graph.nodes[node.base]
    return found


def copies(graph: Graph) -> list[CopyFiles]:
    """Return what the target copies, in order."""
    actions = [action for node in layers(graph) if isinstance(node, Files) for action in node.actions]
    return [action for action in actions if isinstance(action, CopyFiles)]


def execs(graph: Graph) -> list[Exec]:
    """Return what the target runs, in order."""
    return [node for node in layers(graph) if isinstance(node, Exec)]


def made_by(graph: Graph) -> list[str]:
    """Return the target's own history in words."""
    return [entry.created_by for entry in graph.target.history]
