"""How a build ends, in words: the image, or why there is none and where in the Dockerfile; and its warnings."""

from __future__ import annotations

from collections.abc import Sequence

from orlop.cli.build.excerpt import excerpt, line_of
from orlop.cli.build.output import plain_text
from orlop.cli.build.vertices import Json, Vertex, Vertices

__all__ = ["failure_text", "image_text", "warnings_text"]

_LINES = 40  # of the output of the step that failed


def image_text(finished: Json) -> str:
    """Return what a build has made, "" for nothing."""
    image = str(finished.get("image") or "")
    if not image:
        return ""
    names = ", ".join(plain_text(str(name)) for name in finished.get("names") or ())
    return f"Built {image}{f' as {names}' if names else ''}\n"


def failure_text(vertices: Vertices, finished: Json, name: str, text: str | None) -> str:
    """Return why a build failed: what the step wrote at last, the lines of the Dockerfile, the error.

    `text` is that of the Dockerfile `name`, None where this client does not know it.
    """
    message = str(finished.get("error") or "")
    line = int(finished.get("line") or 0) or line_of(message)
    place = excerpt(name, text, line, int(finished.get("end") or 0), finished.get("source") or ())
    failed = vertices.failed
    return f"{_output(failed) if failed else ''}{place}ERROR: failed to build: {message}\n"


def _output(vertex: Vertex) -> str:
    lines = [f"{line}\n" for line in vertex.tail.lines(_LINES)]
    if not lines:
        return ""
    return f"------\n > {vertex.name}:\n{''.join(lines)}------\n"


def warnings_text(warnings: Sequence[Json], name: str, text: str | None, *, whole: bool) -> str:
    """Return the warnings of a build, a line each, or `whole` with the lines that they are about."""
    if not warnings:
        return ""
    count = f"{len(warnings)} warning{'s' if len(warnings) > 1 else ''} found"
    if not whole:
        hint = " (orlop build --check shows the lines)" if any(warning.get("rule") for warning in warnings) else ""
        return f"\n {count}{hint}:\n" + "".join(f" - {_short(warning)}\n" for warning in warnings)
    return f"\n {count}:\n" + "".join(whole_warning(warning, name, text) for warning in warnings)


def _short(warning: Json) -> str:
    rule = f"{warning['rule']}: " if warning.get("rule") else ""
    line = f" (line {warning['line']})" if warning.get("line") else ""
    return plain_text(f"{rule}{warning['message']}{line}")


def whole_warning(warning: Json, name: str, text: str | None) -> str:
    """Return a warning with the lines of the Dockerfile that it is about, as BuildKit prints it."""
    rule = str(warning.get("rule") or "")
    words = [rule, str(warning["url"])] if warning.get("url") else [rule]
    head = f"WARNING: {' - '.join(words)}".rstrip() + "\n"
    place = excerpt(
        name, text, int(warning.get("line") or 0), int(warning.get("end") or 0), warning.get("source") or ()
    )
    return f"\n{head}{plain_text(str(warning['message']))}\n{place}"
