"""Why the steps of one build are carried out, and what is remembered of it for the next."""

from __future__ import annotations

import asyncio
import hashlib
import json
import logging

from orlop.build.contents import Contents
from orlop.build.explain import FileList, Since, changes, reason
from orlop.build.graph import Graph, Step
from orlop.build.keys import Key, printable
from orlop.build.last_builds import LastBuilds
from orlop.build.progress import Change
from orlop.build.request import BuildRequest
from orlop.errors import Error
from orlop.model.record import LastBuildRecord, StepTrace

__all__ = ["Explaining", "target_name"]

log = logging.getLogger(__name__)


def target_name(request: BuildRequest, graph: Graph) -> str:
    """Return what tells the builds of a target from all others: where the context comes from, or else the names that
    the image is to have; the Dockerfile, the stage and the platform."""
    origin = [request.origin] if request.origin else sorted(name.canonical() for name in request.names)
    parts = [*origin, request.dockerfile_name, request.target, str(graph.target.platform)]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


class Explaining:
    """One build's reasons."""

    def __init__(self, last_builds: LastBuilds, graph: Graph, request: BuildRequest) -> None:
        self._last_builds = last_builds
        self._graph = graph
        self._target = target_name(request, graph)
        self._last: LastBuildRecord | None = None
        self._since: Since | None = None
        self._asking = asyncio.Lock()
        self._steps: dict[int, StepTrace] = {}
        self._lists: dict[str, FileList] = {}

    async def why(self, step: Step, key: Key, contents: Contents, base: str) -> tuple[str, tuple[Change, ...]]:
        """Return why a step has to be carried out, and which of its inputs have changed since the last build. `base`
        says what it stands on."""
        last = (await self._asked()).find(step)
        why = reason(step, key, last)
        if why != "changed" or last is None:
            return why, ()
        differing = [label for label, digest in contents.lists.items() if last.files.get(label, digest) != digest]
        before = await asyncio.to_thread(self._files, {label: last.files[label] for label in differing})
        now = {label: contents.files[label] for label in differing if label in contents.files}
        return why, await asyncio.to_thread(changes, last.parts, key.parts, before, now, printable(base))

    def note(self, step: Step, key: Key, contents: Contents) -> None:
        """Note what a step that is done was made of."""
        self._steps[step.number] = StepTrace(
            stage=printable(step.stage),
            instruction=step.instruction,
            text=printable(step.text),
            key=key.key,
            parts=dict(key.parts),
            files=contents.lists,
        )
        self._lists.update({contents.lists[label]: files for label, files in contents.files.items()})

    async def remember(self) -> None:
        """Keep what was noted. Raises `errors.Error` and `OSError`."""
        steps = tuple(trace for _, trace in sorted(self._steps.items()))
        await self._asked()
        if self._last is None or self._last.steps != steps:
            await self._last_builds.keep(self._target, steps, self._lists)

    async def _asked(self) -> Since:
        async with self._asking:
            if self._since is None:
                try:
                    self._last = await self._last_builds.last(self._target)
                except Error as error:
                    log.warning("what the last build was made of cannot be read: %s", error)
                self._since = Since.of(self._last.steps if self._last else (), self._graph.steps)
            return self._since

    def _files(self, names: dict[str, str]) -> dict[str, FileList]:
        found = {label: self._last_builds.files(name) for label, name in names.items()}
        return {label: files for label, files in found.items() if files is not None}
