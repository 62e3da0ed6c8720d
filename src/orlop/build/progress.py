"""A build's progress: one stream of typed records, from which every view of it is printed.

A *vertex* is what takes time and is shown by itself: a step, the loading of a context or of the Dockerfile, the
resolution of a base image, the export. Records of one vertex come in order; those of several are mixed.
Times are ns since the epoch, sizes bytes.
"""

from __future__ import annotations

from collections.abc import Callable

import msgspec

__all__ = [
    "Began",
    "Change",
    "Ended",
    "Finished",
    "Output",
    "Progress",
    "Record",
    "Report",
    "Started",
    "Transfer",
    "Warned",
]


class _Record(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, tag_field="kind", tag=str.lower):
    """The base of all records; in JSON ``kind`` tells them apart."""


class Began(_Record, frozen=True, kw_only=True):
    """A vertex is being worked on. `step` is the number of its step in the graph, 0 if it is none."""

    vertex: str
    name: str
    time: int
    step: int = 0
    inputs: tuple[str, ...] = ()


class Change(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """An input that differs from the last build's: `what` is its sort (``file``, ``argument``, ``base``,
    ``instruction``, ``mount``, ``environment``, ``user``, ``directory``, ``option``), `name` which one of that sort
    (of a base: the image's reference, or the text of the step before); `old` and `new` are "" where there was, or is,
    none."""

    what: str
    name: str = ""
    old: str = ""
    new: str = ""


class Ended(_Record, frozen=True, kw_only=True):
    """A vertex is done. `cached` says that it was not carried out; `seconds` is what the result cost when it was made.

    `bytes` is the size of its layer, unpacked. For a step that was carried out, `reason` says why (``first``,
    ``changed``, ``pruned``, ``no-cache``) and `changes` which inputs differ. `error` is "" when it went well.
    `result` is the diff id of the layer, `key` the cache key.
    """

    vertex: str
    time: int
    cached: bool = False
    seconds: float = 0.0
    bytes: int = 0
    reason: str = ""
    changes: tuple[Change, ...] = ()
    error: str = ""
    cancelled: bool = False
    result: str = ""
    key: str = ""
    container: str = ""  # 64 hex digits, of a step that ran a command


class Started(_Record, frozen=True, kw_only=True):
    """The command of a step is about to run, in a container that no list shows."""

    vertex: str
    time: int
    container: str  # 64 hex digits


class Output(_Record, frozen=True, kw_only=True):
    """What a command wrote. In JSON `data` is base64; `stream` is 1 for stdout, 2 for stderr."""

    vertex: str
    time: int
    stream: int
    data: bytes


class Transfer(_Record, frozen=True, kw_only=True):
    """How far a transfer is that belongs to a vertex (a layer, a context); `total` is 0 while it is not known."""

    vertex: str
    id: str
    time: int
    current: int = 0
    total: int = 0
    done: bool = False
    hashed: int = 0  # files whose content was read for its digest
    files: int = 0  # files that were written
    status: str = ""  # of a pull: what is being done, in Docker's words


class Warned(_Record, frozen=True, kw_only=True):
    """A warning: of a check (`rule` is its name) or of the build itself (rule "")."""

    message: str
    rule: str = ""
    description: str = ""
    url: str = ""
    line: int = 0
    end: int = 0
    source: tuple[str, ...] = ()  # the lines that it is about


class Finished(_Record, frozen=True, kw_only=True):
    """The build is over: the image, its names, or the error with the exit code of the command that failed.

    `line`, `end` and `source` show where in the Dockerfile an error belongs. `kept` names a failed step's (or, with
    `--stop-after`, a finished step's) file system that was kept. `present` says that the image was there before.
    """

    image: str = ""
    present: bool = False
    names: tuple[str, ...] = ()
    error: str = ""
    code: int = 0
    status: int = 0  # the HTTP status that the error would have
    line: int = 0
    end: int = 0
    source: tuple[str, ...] = ()
    kept: str = ""


Progress = Began | Started | Ended | Output | Transfer | Warned | Finished
Record = Progress
Report = Callable[[Progress], None]
"""Takes a record; it is called on the event loop and does not wait."""
