"""`orlop system check`: whether all that the daemon keeps is what it should be."""

from __future__ import annotations

import json
import sys

from orlop.cli.command import command
from orlop.cli.failure import CommandError
from orlop.cli.flags import BOOL, STRING, Flag, Options
from orlop.cli.humanize import human_size
from orlop.cli.session import Session
from orlop.cli.terminal import is_terminal
from orlop.client import calls
from orlop.client.call import Json

__all__ = ["check"]

_CLEAR = "\r\x1b[K"


@command(
    "[OPTIONS]",
    flags=(
        Flag("format", "", STRING, "How to print: 'table' (default) or 'json', a document a line"),
        Flag("repair", "", BOOL, "Mend what can be mended"),
    ),
    long=(
        "Verify every blob, layer and reference that the daemon keeps, while it goes on working.\n\n"
        "The exit status is 0 if all is sound, or was mended, and 1 if damage is left."
    ),
)
def check(session: Session, options: Options, arguments: list[str]) -> int:
    """Verify all that the daemon keeps and, if asked, mend it; end with 1 if damage is left."""
    if options.format not in ("", "table", "json"):
        raise CommandError(f"unknown format {options.format!r}: must be 'table' or 'json'")
    shows = options.format != "json" and is_terminal(2)
    summary: Json = {}
    for message in session.engine.json_lines(calls.system_check(repair=options.repair)):
        if "error" in message:
            raise CommandError(str(message["error"]))
        summary = message.get("Summary") or summary
        if options.format == "json":
            sys.stdout.write(json.dumps(message) + "\n")
            continue
        if progress := message.get("Progress"):
            if shows:
                text = f"{_CLEAR}checking {progress['Step']}: {progress['Done'] + 1} of {progress['Total']}"
                sys.stderr.write(text)
                sys.stderr.flush()
            continue
        if shows:
            sys.stderr.write(_CLEAR)
            sys.stderr.flush()
        sys.stdout.write(_problem(message["Problem"]) if "Problem" in message else _summary(summary, options.repair))
        sys.stdout.flush()
    return int(summary.get("Problems", 1) > summary.get("Mended", 0))


def _problem(problem: Json) -> str:
    images = f" ({', '.join(problem['Images'])})" if problem["Images"] else ""
    lines = [f"{problem['Kind']} {problem['Name']}{images}: {problem['Message']}"]
    lines += [f"    {detail}" for detail in problem["Details"]]
    if problem["Mended"]:
        lines.append(f"  mended: {problem['Mended']}")
    elif problem["Remedy"]:
        lines.append(f"  to do: {_remedy(problem['Remedy'])}")
    return "\n".join(lines) + "\n"


def _remedy(remedy: str) -> str:
    return "orlop system check --repair" if remedy == "repair" else remedy


def _summary(summary: Json, repair: bool) -> str:
    counts = (("Images", "image"), ("Blobs", "blob"), ("Layers", "layer"), ("Containers", "container"))
    checked = ", ".join(_count(summary[key], word) for key, word in counts)
    problems, mended = summary["Problems"], summary["Mended"]
    found = "all is sound" if not problems else _count(problems, "problem")
    if problems and repair:
        found += f", {mended or 'none'} mended"
    return f"Checked {checked} ({human_size(summary['Bytes'])}): {found}.\n"


def _count(number: int, word: str) -> str:
    return f"{number} {word}" if number == 1 else f"{number} {word}s"
