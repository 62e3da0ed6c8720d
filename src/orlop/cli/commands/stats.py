"""`orlop stats`: one loop over the streams of all containers that are watched."""

from __future__ import annotations

import json
import select
import sys
import time
from collections.abc import Mapping
from typing import Any

from orlop import errors
from orlop.cli.command import at_least, command
from orlop.cli.failure import CommandError, daemon_message
from orlop.cli.flags import BOOL, STRING, Flag, Options
from orlop.cli.humanize import bytes_size, human_size
from orlop.cli.listing import FORMAT_HELP, Headings, Row, render_rows
from orlop.cli.rows import short_id
from orlop.cli.session import Session
from orlop.client import calls
from orlop.client.transport import Response

__all__ = ["Usage", "UsageRow", "stats"]

Json = Mapping[str, Any]

_HEADINGS: Headings = {
    "Container": "CONTAINER",
    "Name": "NAME",
    "ID": "CONTAINER ID",
    "CPUPerc": "CPU %",
    "MemUsage": "MEM USAGE / LIMIT",
    "MemPerc": "MEM %",
    "NetIO": "NET I/O",
    "BlockIO": "BLOCK I/O",
    "PIDs": "PIDS",
}
_TABLE = "table {{.ID}}\t{{.Name}}\t{{.CPUPerc}}\t{{.MemUsage}}\t{{.MemPerc}}\t{{.NetIO}}\t{{.BlockIO}}\t{{.PIDs}}"
_NONE = "--"
_SILENCE = 2.0  # seconds after which a stream that says nothing is shown as unknown


class Usage:
    """What one sample of ``GET /containers/…/stats`` says, in bytes and per cent."""

    def __init__(self, sample: Json) -> None:
        self.id = str(sample.get("id", ""))
        self.name = str(sample.get("name", ""))
        cpu, before = sample.get("cpu_stats") or {}, sample.get("precpu_stats") or {}
        self.cpu = _cpu_percent(cpu, before)
        memory = sample.get("memory_stats") or {}
        self.memory = _memory(memory)
        self.limit = memory.get("limit", 0)
        networks = (sample.get("networks") or {}).values()
        self.received = sum(network.get("rx_bytes", 0) for network in networks)
        self.sent = sum(network.get("tx_bytes", 0) for network in networks)
        blocks = (sample.get("blkio_stats") or {}).get("io_service_bytes_recursive") or ()
        self.read = sum(entry["value"] for entry in blocks if entry.get("op", "")[:1] in ("r", "R"))
        self.written = sum(entry["value"] for entry in blocks if entry.get("op", "")[:1] in ("w", "W"))
        self.processes = (sample.get("pids_stats") or {}).get("current", 0)


def _cpu_percent(now: Json, before: Json) -> float:
    used = _total(now) - _total(before)
    whole = now.get("system_cpu_usage", 0) - before.get("system_cpu_usage", 0)
    cpus = now.get("online_cpus") or len((now.get("cpu_usage") or {}).get("percpu_usage") or ())
    return used / whole * cpus * 100.0 if whole > 0 and used > 0 else 0.0


def _total(cpu: Json) -> int:
    return int((cpu.get("cpu_usage") or {}).get("total_usage", 0))


def _memory(memory: Json) -> int:
    """Return the memory in use without the cache that the kernel gives up first."""
    usage = int(memory.get("usage", 0))
    details = memory.get("stats") or {}
    for key in ("total_inactive_file", "inactive_file"):  # cgroup v1, then v2
        if key in details and details[key] < usage:
            return usage - int(details[key])
    return usage


class UsageRow(Row):
    """A container in the table; without a sample everything is unknown."""

    headings = _HEADINGS

    def __init__(self, container: str, usage: Usage | None, *, valid: bool, truncate: bool) -> None:
        self._container = container
        self._usage = usage
        self._valid = valid and usage is not None
        self._truncate = truncate

    def Container(self) -> str:
        return self._container

    def Name(self) -> str:
        name = self._usage.name if self._usage else ""
        return name[1:] if len(name) > 1 else _NONE

    def ID(self) -> str:
        identifier = self._usage.id if self._usage else ""
        return short_id(identifier) if self._truncate else identifier

    def CPUPerc(self) -> str:
        return f"{self._usage.cpu:.2f}%" if self._usage and self._valid else _NONE

    def MemUsage(self) -> str:
        if self._usage is None or not self._valid:
            return f"{_NONE} / {_NONE}"
        return f"{bytes_size(self._usage.memory)} / {bytes_size(self._usage.limit)}"

    def MemPerc(self) -> str:
        if self._usage is None or not self._valid:
            return _NONE
        return f"{self._usage.memory / self._usage.limit * 100 if self._usage.limit else 0:.2f}%"

    def NetIO(self) -> str:
        if self._usage is None or not self._valid:
            return _NONE
        return f"{human_size(self._usage.received, 3)} / {human_size(self._usage.sent, 3)}"

    def BlockIO(self) -> str:
        if self._usage is None or not self._valid:
            return _NONE
        return f"{human_size(self._usage.read, 3)} / {human_size(self._usage.written, 3)}"

    def PIDs(self) -> str:
        return str(self._usage.processes) if self._usage and self._valid else _NONE


class _Watched:
    """One container's stream and its last sample."""

    def __init__(self, container: str, response: Response) -> None:
        self.container = container
        self.response = response
        self.usage: Usage | None = None
        self.heard = time.monotonic()
        self._rest = b""

    def take(self, *, receive: bool) -> None:
        """Take what has arrived; the last whole line is the sample."""
        data = self.response.available(receive=receive)
        *lines, self._rest = (self._rest + data).split(b"\n")
        if self.response.finished and self._rest.strip():
            lines.append(self._rest)
            self._rest = b""
        for line in reversed(lines):
            if line.strip():
                self.usage = Usage(json.loads(line))
                self.heard = time.monotonic()
                return

    def row(self, *, truncate: bool) -> UsageRow:
        silent = not self.response.finished and time.monotonic() - self.heard > _SILENCE
        return UsageRow(self.container, self.usage, valid=not silent, truncate=truncate)


@command(
    "[OPTIONS] [CONTAINER...]",
    at_least(0),
    flags=(
        Flag("all", "a", BOOL, "Show all containers, not only the running ones"),
        Flag("format", "", STRING, FORMAT_HELP),
        Flag("no-stream", "", BOOL, "Show one sample and end"),
        Flag("no-trunc", "", BOOL, "Show everything in full"),
    ),
    complete="container",
)
def stats(session: Session, options: Options, arguments: list[str]) -> None:
    """Show the resource usage of containers, of all running ones if none is named."""
    format = options.format or session.config.text("statsFormat") or "table"
    watch = _Watch(session, options, arguments)
    if options.no_stream:
        watch.wait_for_first()
        sys.stdout.write(render_rows(watch.rows(), _HEADINGS, _TABLE if format == "table" else format))
        return
    while True:
        watch.wait(0.5)
        text = render_rows(watch.rows(), _HEADINGS, _TABLE if format == "table" else format)
        # Each line is cleared behind its end, and what is below the last one too.
        sys.stdout.write("\033[H" + "".join(f"{line}\033[K\n" for line in text.split("\n")[:-1]) + "\033[J")
        sys.stdout.flush()
        if watch.empty and arguments:
            return


class _Watch:
    """The streams of all containers, and of the events that bring others, in one loop."""

    def __init__(self, session: Session, options: Options, names: list[str]) -> None:
        self._session = session
        self._options = options
        self._watched: dict[str, _Watched] = {}
        self._events: Response | None = None
        self._event_rest = b""
        if names:
            self._add_named(names)
            return
        if not options.no_stream:  # before the list, so that no start falls between the two
            self._events = session.connect().open(calls.events(filters={"type": ["container"]}))
        for container in session.engine.do(calls.container_list(all=options.all)):
            self._add(container["Id"][:12])

    def _add_named(self, names: list[str]) -> None:
        failed: list[str] = []
        for name in names:
            try:
                self._add(name)
            except errors.Error as error:
                failed.append(daemon_message(error))
        if failed:
            raise CommandError("\n".join(failed))

    def _add(self, name: str) -> None:
        if name not in self._watched:
            call = calls.container_stats(name, stream=not self._options.no_stream)
            self._watched[name] = _Watched(name, self._session.connect().open(call))

    @property
    def empty(self) -> bool:
        """Whether no stream says anything more."""
        return all(watched.response.finished for watched in self._watched.values())

    def rows(self) -> list[UsageRow]:
        return [watched.row(truncate=not self._options.no_trunc) for watched in self._watched.values()]

    def wait_for_first(self) -> None:
        """Wait until every container has said something."""
        for watched in self._watched.values():
            watched.take(receive=False)
            while watched.usage is None and not watched.response.finished:
                watched.take(receive=True)

    def wait(self, seconds: float) -> None:
        """Take what arrives within a time."""
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            poll = select.poll()
            by_descriptor = {
                watched.response.fileno(): watched
                for watched in self._watched.values()
                if not watched.response.finished
            }
            for descriptor in by_descriptor:
                poll.register(descriptor, select.POLLIN)
            if self._events is not None:
                poll.register(self._events, select.POLLIN)
            for descriptor, _ in poll.poll(left * 1000):
                if descriptor in by_descriptor:
                    by_descriptor[descriptor].take(receive=True)
                else:
                    self._take_events()

    def _take_events(self) -> None:
        assert self._events is not None
        *lines, self._event_rest = (self._event_rest + self._events.available(receive=True)).split(b"\n")
        for line in lines:
            event = json.loads(line) if line.strip() else {}
            name = (event.get("Actor") or {}).get("ID", "")[:12]
            if event.get("Action") == "start" or (self._options.all and event.get("Action") == "create"):
                self._add(name)
            elif event.get("Action") == "die" and not self._options.all:
                gone = self._watched.pop(name, None)
                if gone is not None:
                    gone.response.close()
        if self._events.finished:
            self._events = None
