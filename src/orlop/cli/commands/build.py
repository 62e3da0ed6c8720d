"""`orlop build`."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator
from typing import Any

from orlop import errors
from orlop.cli.build.contexts import send_sources
from orlop.cli.build.display import Progress
from orlop.cli.build.ending import failure_text, image_text, warnings_text
from orlop.cli.build.flags import BUILD_FLAGS
from orlop.cli.build.options import Asked, build_arguments, read_options
from orlop.cli.build.output import plain_text
from orlop.cli.build.sources import Source, find_source
from orlop.cli.command import command, exactly
from orlop.cli.credentials.registries import registry_config
from orlop.cli.failure import CommandError
from orlop.cli.flags import Options
from orlop.cli.proxies import proxies
from orlop.cli.session import Session
from orlop.client import calls
from orlop.client.engine import json_batches
from orlop.client.transport import CannotConnect

__all__ = ["build"]

Json = dict[str, Any]

_TICK = 0.1  # seconds after which running times are shown anew
_OTHER_DAEMON = (
    "the daemon does not know orlop build, so it is not orlopd; docker's own builder is reached by docker build"
)


@command("[OPTIONS] PATH | URL | -", exactly(1), flags=BUILD_FLAGS)
def build(session: Session, options: Options, arguments: list[str]) -> int:
    """Build an image from a Dockerfile."""
    asked = read_options(options)
    _remove_id_file(options.iidfile)
    source = find_source(arguments[0], options.file)
    return _Build(session, options, asked, source).run()


class _Build:
    """One run of the command."""

    def __init__(self, session: Session, options: Options, asked: Asked, source: Source) -> None:
        self._session = session
        self._options = options
        self._asked = asked
        self._source = source
        self._progress = Progress(asked.display if asked.call == "build" else "quiet")
        self._documents: list[Json] = []

    def run(self) -> int:
        try:
            finished = self._carried_out()
        except KeyboardInterrupt:
            self._progress.close()
            self._tell("ERROR: failed to build: canceled\n")
            return 130
        except (errors.Error, CommandError):
            self._progress.close()
            raise
        self._progress.close()
        if finished.get("error"):
            return self._failed(finished)
        return self._called() if self._asked.call != "build" else self._built(finished)

    def _carried_out(self) -> Json:
        """Send everything and follow the build; return its last record."""
        session, asked = self._session, self._asked
        given = self._options.build_arg
        body = {**asked.body, "Args": build_arguments(given, proxies(session, given))}
        registries = registry_config(session)
        try:
            named = dict(asked.contexts)
            body |= send_sources(session.engine, self._source, named, self._progress, files=asked.call == "build")
            for record in self._records(calls.build(body, registries=registries)):
                if "kind" in record:
                    self._progress.take(record)
                elif record.get("error"):
                    return {"error": record["error"]}
                else:
                    self._documents.append(record)
        except CannotConnect:
            raise
        except errors.Error as error:
            message = error.message
            return {"error": _OTHER_DAEMON if message == "page not found" else message}
        finished = self._progress.vertices.finished
        if finished is None and not self._documents:
            return {"error": "the daemon ended the connection before the build was over"}
        return dict(finished or {})

    def _records(self, call: Any) -> Iterator[Json]:
        remote = self._source.remote
        if remote:
            shown = re.sub("(?<=://)[^/]*@", "xxxxx@", plain_text(remote))  # without a password
            self._progress.began("remote", f"[internal] load remote build context {shown}")
        response = self._session.engine.open(call)  # it begins when the daemon has everything
        if remote:
            self._progress.ended("remote")
        for batch in json_batches(response, tick=_TICK):
            yield from batch
            self._progress.settle()

    # Ends

    def _failed(self, finished: Json) -> int:
        vertices, name, text = self._progress.vertices, *self._dockerfile
        if vertices.finished is None and self._asked.call == "build":
            self._progress.take({"kind": "finished", **finished})
        self._warn()
        self._tell(failure_text(vertices, finished, name, text))
        self._explain()
        if finished.get("kept") and self._options.on_failure:
            from orlop.cli.build.shell import visit

            visit(self._session, finished["kept"], "of the step that failed")
        return 1

    def _built(self, finished: Json) -> int:
        self._warn()
        image = finished.get("image", "")
        if image and self._options.iidfile:
            with open(self._options.iidfile, "w", encoding="ascii") as file:
                file.write(image)
        if self._asked.display == "quiet":
            if image:
                self._session.print(image)
        elif self._asked.display != "rawjson":
            self._tell(image_text(finished))
        self._explain()
        if finished.get("kept"):
            from orlop.cli.build.shell import visit

            visit(self._session, finished["kept"], f"behind step {self._options.stop_after}")
        return 0

    def _called(self) -> int:
        """Print what was asked for instead of a build."""
        from orlop.cli.build.called import check_text, outline_text, targets_text

        asked = self._asked
        if asked.call == "check":
            warnings = self._progress.vertices.warnings
            sys.stdout.write(check_text(warnings, *self._dockerfile, as_json=asked.as_json))
            return 1 if warnings and not asked.ignore_status else 0
        show = outline_text if asked.call == "outline" else targets_text
        for document in self._documents:
            sys.stdout.write(show(document, as_json=asked.as_json))
        return 0

    def _warn(self) -> None:
        if self._asked.display != "quiet":
            warnings = self._progress.vertices.warnings
            self._tell(warnings_text(warnings, *self._dockerfile, whole=self._session.debug))

    def _explain(self) -> None:
        if self._options.explain:
            from orlop.cli.build.explain import explain_text

            stream = sys.stderr if self._asked.display == "quiet" else sys.stdout
            sys.stderr.flush()
            stream.write(explain_text(self._progress.vertices.all.values()))
            stream.flush()

    def _tell(self, text: str) -> None:
        if self._asked.display != "rawjson":
            sys.stderr.write(text)
            sys.stderr.flush()

    @property
    def _dockerfile(self) -> tuple[str, str | None]:
        """The name and, where this client knows it, the text of the Dockerfile."""
        dockerfile = self._source.dockerfile
        if dockerfile is None:
            return self._source.name or "Dockerfile", None
        return os.path.basename(dockerfile.path) or dockerfile.name, dockerfile.text


def _remove_id_file(path: str) -> None:
    """Remove the file of an earlier build: if this one fails, it must not look as if it had not."""
    if not path:
        return
    try:
        os.unlink(path)
    except FileNotFoundError:
        return
    except OSError as error:
        raise CommandError(f"removing image ID file: remove {path}: {(error.strerror or '').lower()}") from None
