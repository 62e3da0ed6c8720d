"""One build, from the text of a Dockerfile to an image: parse, check, convert, solve, export."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from orlop.build.convert import Missing, convert
from orlop.build.convert.errors import ConversionError
from orlop.build.dockerfile.check import check
from orlop.build.dockerfile.errors import DockerfileError
from orlop.build.dockerfile.parser import parse
from orlop.build.dockerfile.reading import Bases
from orlop.build.dockerfile.tree import Dockerfile, Range
from orlop.build.dockerfile.tree import Warning as Found
from orlop.build.failure import BuildFailed
from orlop.build.graph import Exec, Graph, ImageInfo, ImageWanted, NodeFiles, Step
from orlop.build.progress import Finished, Report, Warned
from orlop.build.request import BuildRequest
from orlop.engine.builds.base_images import BaseImages
from orlop.engine.builds.credentials import Keyring
from orlop.engine.builds.export import export
from orlop.engine.builds.known_images import bases_of
from orlop.engine.builds.worker import BuildWorker
from orlop.engine.images.upload import host_platform
from orlop.errors import Error, InvalidArgument
from orlop.formats.ignore import Ignore
from orlop.image.leases import Lease

if TYPE_CHECKING:
    from orlop.engine.engine import Engine

__all__ = ["Build", "checked", "failure"]

_SOURCE_LINES = 20
_LABEL = re.compile(r"\[(?:(?P<stage>.*) )? *(?P<index>[0-9]+)/[0-9]+\] ")


class Build:
    """A build that is under way. `planned` is told the graph as soon as there is one."""

    def __init__(
        self,
        engine: Engine,
        request: BuildRequest,
        worker: BuildWorker,
        report: Report,
        *,
        keyring: Keyring | None = None,
        planned: Callable[[Graph], None] = lambda graph: None,
    ) -> None:
        self._engine = engine
        self._request = request
        self._worker = worker
        self._report = report
        self._keyring = keyring or Keyring({})
        self._planned = planned
        self.dockerfile: Dockerfile | None = None

    async def run(self) -> Finished:
        """Carry out the build and return how it went well.

        Raises `DockerfileError` before anything is reported; `BuildFailed` for a step that failed, and `errors.Error`.
        """
        lease = self._engine.images.lease()
        try:
            graph = await self._graph(lease)
            self._planned(graph)
            if graph.unused_arguments:
                names = " ".join(graph.unused_arguments)
                self._report(Warned(message=f"One or more build-args [{names}] were not consumed"))
            if self._request.stop_after:
                return await self._stopped(graph, lease)
            solver = self._engine.builds.solver
            solved = await solver.solve(graph, self._request, self._worker, self._report, lease)
            named = self._request.names
            image, present = await export(self._engine, graph, solved, named, lease, self._report)
            return Finished(image=image.id, present=present, names=tuple(name.familiar() for name in named))
        finally:
            await asyncio.to_thread(lease.release)

    async def _graph(self, lease: Lease) -> Graph:
        """Return what is to be done, with all images that it needs found."""
        dockerfile = self.dockerfile = await asyncio.to_thread(parsed, self._request)
        images: dict[ImageWanted, ImageInfo] = {}
        found = await self._converted(images)
        finder = BaseImages(
            self._engine,
            lease,
            self._report,
            self._keyring,
            always=self._request.pull,
            default=self._request.platform is None,
        )
        while isinstance(found, Missing):
            images |= await finder.find(found.images)
            found = await self._converted(images)
        bases = bases_of(images, self._request)
        for warning in await asyncio.to_thread(checked, dockerfile, self._request, bases, found.stages):
            self._report(warning)
        return found

    async def _converted(self, images: Mapping[ImageWanted, ImageInfo]) -> Graph | Missing:
        assert self.dockerfile is not None
        return await asyncio.to_thread(convert, self.dockerfile, self._request, images, host_platform())

    async def _stopped(self, graph: Graph, lease: Lease) -> Finished:
        """Carry out the build as far as the step that was named, and keep what that leaves."""
        step = _step(graph, self._request.stop_after)
        builds = self._engine.builds
        solved = await builds.solver.solve(graph, self._request, self._worker, self._report, lease, node=step.node)
        node = _shell_of(graph, step)
        mounted = {
            mount.input.node: solved.file_systems[mount.input.node]
            for mount in node.mounts
            if isinstance(mount.input, NodeFiles)
        }
        kept = builds.kept.stop_after(
            node, solved.file_system, mounted, limits=self._request.limits, contexts=self._worker.contexts
        )
        return Finished(kept=kept, line=step.range.line, end=step.range.end)


def parsed(request: BuildRequest) -> Dockerfile:
    """Return the tree of a request's Dockerfile. Raises `DockerfileError`."""
    return parse(request.dockerfile, syntax=request.arguments.get("BUILDKIT_SYNTAX") or "")


def checked(
    dockerfile: Dockerfile, request: BuildRequest, bases: Bases, built: Collection[str] | None = None
) -> tuple[Warned, ...]:
    """Return what the checks say, of the stages that are `built`. Raises `DockerfileError` if the Dockerfile wants that
    to fail the build, and `InvalidArgument` for a wrong .dockerignore."""
    host = host_platform()
    warnings = check(
        dockerfile,
        request.arguments,
        target=request.platform or host,
        host=host,
        bases=bases,
        built=built,
        ignore=Ignore.parse(request.ignore) if request.ignore else None,
    )
    if warnings and dockerfile.directives.check_error and not request.check:
        rules = ", ".join(sorted({warning.rule for warning in warnings}))
        message = f"lint violation found for rules: {rules}"
        raise ConversionError(message, warnings[0].range)
    return tuple(_warned(dockerfile, warning) for warning in warnings)


def failure(error: Error, dockerfile: Dockerfile | None) -> Finished:
    """Return an error as the end of a build, with the lines of the Dockerfile that it is about."""
    place: Range | None = None
    code, kept = 0, ""
    lines = dockerfile.lines if dockerfile is not None else ()
    if isinstance(error, BuildFailed):
        place, code, kept = (error.step.range if error.step else None), error.code, error.kept
    elif isinstance(error, DockerfileError):
        place = error.range
        lines = lines or tuple(error.lines)
    line, end = (place.line, max(place.end, place.line)) if place else (0, 0)
    return Finished(
        error=error.message,
        status=error.status,
        code=code,
        kept=kept,
        line=line,
        end=end,
        source=_lines(lines, line, end),
    )


def _warned(dockerfile: Dockerfile, warning: Found) -> Warned:
    place = warning.range
    line, end = (place.line, max(place.end, place.line)) if place else (0, 0)
    return Warned(
        message=warning.message,
        rule=warning.rule,
        description=warning.description,
        url=warning.url,
        line=line,
        end=end,
        source=_lines(dockerfile.lines, line, end),
    )


def _lines(source: tuple[str, ...], line: int, end: int) -> tuple[str, ...]:
    """Return lines of the source, not too many of them."""
    return source[line - 1 : min(end, line + _SOURCE_LINES - 1)] if line else ()


def _step(graph: Graph, text: str) -> Step:
    """Return the step that ``STAGE:NUMBER`` means, as progress shows it; without a stage one of the target's, without
    a number a stage's last. Raises `InvalidArgument`."""
    stage, colon, number = text.rpartition(":")
    if not colon and not text.isdigit():
        stage, number = text, ""
    steps: dict[tuple[str, str], Step] = {}
    for step in graph.steps:
        label = _LABEL.match(step.name)
        if label is not None:
            for key in {label["stage"] or "", step.stage.lower()}:
                steps[key, label["index"]] = steps[key, ""] = step
    found = steps.get((stage.lower() or graph.steps[-1].stage.lower(), number.lstrip("0")))
    if found is None:
        raise InvalidArgument(f'there is no step "{text}" in this build: name it STAGE:NUMBER, as progress shows it')
    return found


def _shell_of(graph: Graph, step: Step) -> Exec:
    """Return a command as of which a shell runs behind `step`: that of the step, of another one of its stage, or what
    a container of the image would have."""
    node = graph.nodes[step.node]
    if isinstance(node, Exec):
        return node
    others = [graph.nodes[other.node] for other in graph.steps if other.stage == step.stage]
    for other in others:
        if isinstance(other, Exec):
            return replace(other, base=step.node, mounts=(), script=None)
    config = graph.target.config
    return Exec(
        step.node,
        tuple(config.get("Shell") or ("/bin/sh",))[:1],
        tuple(config.get("Env") or ()),
        config.get("WorkingDir") or "/",
        user=config.get("User") or "",
        platform=str(graph.target.platform),
    )
