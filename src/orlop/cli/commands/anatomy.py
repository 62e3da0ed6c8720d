"""`orlop image inspect --layers` and `orlop image diff`: what is in layers, and what differs between two images."""

from __future__ import annotations

import heapq
import json
import sys
from collections.abc import Iterator, Mapping
from typing import Any

from orlop.cli.command import command, exactly
from orlop.cli.failure import CommandError
from orlop.cli.flags import STRING, Flag, Options
from orlop.cli.humanize import human_size
from orlop.cli.output import ellipsis, tabulate
from orlop.cli.session import Session
from orlop.client import calls
from orlop.client.call import Call, Json

__all__ = ["FORMAT", "diff", "show_layers"]

FORMAT = Flag("format", "", STRING, "How to print: 'table' (default) or 'json', a document a line")

_LETTERS = {"added": "A", "changed": "C", "removed": "D"}
_LARGEST = 10


def show_layers(session: Session, name: str, *, format: str, files: bool) -> None:
    """Print what each layer of an image did: a line each, every file too if asked, and where most is wasted."""
    _check(format)
    hiding: list[tuple[int, int, Json]] = []
    for number, message in enumerate(_messages(session, calls.image_layers(name, files=True))):
        if format == "json":
            sys.stdout.write(json.dumps(message) + "\n")
        elif summary := message.get("Summary"):
            _write_summary(summary, [item for _, _, item in sorted(hiding, reverse=True)])
        else:
            file = message["File"]
            if file["Hidden"]:
                push = heapq.heappush if len(hiding) < _LARGEST else heapq.heappushpop
                push(hiding, (file["Hidden"], -number, file))
            if files:
                line = (
                    f"{file['Layer']:>3}  {_LETTERS[file['Kind']]}  {human_size(file['Size'], 3):>8}  {file['Path']}\n"
                )
                sys.stdout.write(line)


def _write_summary(summary: Json, hiding: list[Json]) -> None:
    table = "LAYER\tCREATED BY\tSIZE\tADDED\tCHANGED\tREMOVED\tWASTED\n"
    for number, layer in enumerate(summary["Layers"]):
        made = " ".join(str(layer["CreatedBy"] or layer["DiffId"][7:19]).split())
        counts = "\t".join(str(layer[kind]["Files"]) for kind in ("Added", "Changed", "Removed"))
        sizes = human_size(layer["Size"], 3), human_size(layer["Wasted"], 3)
        table += f"{number}\t{ellipsis(made, 45)}\t{sizes[0]}\t{counts}\t{sizes[1]}\n"
    sys.stdout.write(tabulate(table))
    size, wasted = summary["Size"], summary["Wasted"]
    share = f" ({wasted * 100 // size}%)" if size else ""
    copies = sum(layer["Copies"]["Bytes"] for layer in summary["Layers"])
    sys.stdout.write(f"\nTotal: {human_size(size)}, of which later layers hide {human_size(wasted)}{share}")
    sys.stdout.write(f"; {human_size(copies)} are copies of what was there before\n" if copies else "\n")
    if hiding:
        table = "\nHIDDEN\tBY LAYER\tWHICH\tPATH\n"
        for file in hiding:
            which = "repeats it" if file["Copy"] else "changes it" if file["Kind"] == "changed" else "removes it"
            table += f"{human_size(file['Hidden'], 3)}\t{file['Layer']}\t{which}\t{file['Path']}\n"
        sys.stdout.write(tabulate(table))


@command("[OPTIONS] IMAGE IMAGE", exactly(2), flags=(FORMAT,), complete="image")
def diff(session: Session, options: Options, arguments: list[str]) -> None:
    """Show which files differ between two images: A added, C changed, D removed, with modes and sizes."""
    _check(options.format)
    for message in _messages(session, calls.image_diff(*arguments)):
        if options.format == "json":
            sys.stdout.write(json.dumps(message) + "\n")
        elif summary := message.get("Summary"):
            sys.stdout.write(_totals(summary) + "\n")
        else:
            sys.stdout.write(_difference(message["File"]) + "\n")


def _difference(file: Json) -> str:
    before, after = file["Before"] or {}, file["After"] or {}
    mode = _pair(_mode(before), _mode(after))
    size = _pair(*(human_size(each["Size"], 3) if each else "" for each in (before, after)))
    return f"{_LETTERS[file['Kind']]}  {mode:<16}  {size:>16}  {file['Path']}"


def _mode(status: Mapping[str, Any]) -> str:
    if not status:
        return ""
    letter = {"file": "-", "directory": "d", "symlink": "l", "fifo": "p", "socket": "s"}
    kind = str(status["Type"])
    return letter.get(kind, kind[:1]) + str(status["Mode"])


def _pair(before: str, after: str) -> str:
    return f"{before} > {after}" if before and after and before != after else after or before


def _totals(summary: Json) -> str:
    parts = []
    for kind in ("Added", "Changed", "Removed"):
        count = summary[kind]
        parts.append(f"{count['Files']} {kind.lower()} ({human_size(count['Bytes'])})")
    return f"Files: {', '.join(parts)}"


def _check(format: str) -> None:
    if format not in ("", "table", "json"):
        raise CommandError(f"unknown format {format!r}: must be 'table' or 'json'")


def _messages(session: Session, call: Call[Json]) -> Iterator[Json]:
    for message in session.engine.json_lines(call):
        if "error" in message:
            raise CommandError(str(message["error"]))
        yield message
