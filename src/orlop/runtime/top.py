"""The processes of a container as ps(1) shows them: `docker top`.

The default columns are read from /proc; other columns are the business of the host's own ps, whose lines are filtered
by process id.
"""

from __future__ import annotations

import asyncio
import os
import pwd
import time
from pathlib import Path

from orlop.errors import Internal, InvalidArgument

__all__ = ["processes"]

TITLES = ["UID", "PID", "PPID", "C", "STIME", "TTY", "TIME", "CMD"]
TICKS = os.sysconf("SC_CLK_TCK")
PS_TIMEOUT = 20.0  # seconds


async def processes(pids: list[int], ps_args: str) -> tuple[list[str], list[list[str]]]:
    """Return titles and rows of the processes `pids`. `ps_args` as for ps(1); empty or ``-ef`` needs no ps."""
    if ps_args.split() in ([], ["-ef"]):
        return TITLES, await asyncio.to_thread(_table, pids)
    return await _ps(set(pids), ps_args.split())


def _table(pids: list[int]) -> list[list[str]]:
    boot = _boot_time()
    uptime = max(time.time() - boot, 0.01)
    rows = []
    for pid in pids:
        row = _row(pid, boot, uptime)
        if row:
            rows.append(row)
    return rows


def _row(pid: int, boot: float, uptime: float) -> list[str] | None:
    directory = Path(f"/proc/{pid}")
    try:
        text = (directory / "stat").read_text(errors="replace")
        command = (directory / "cmdline").read_bytes()
        uid = directory.stat().st_uid
    except OSError:  # it ended meanwhile
        return None
    name = text[text.index("(") + 1 : text.rindex(")")]
    fields = text[text.rindex(")") + 2 :].split()
    ticks = int(fields[11]) + int(fields[12])
    age = max(uptime - int(fields[19]) / TICKS, 0.01)
    words = command.rstrip(b"\0").replace(b"\0", b" ").decode(errors="replace")
    return [
        _user(uid),
        str(pid),
        fields[1],
        str(min(99, int(100 * ticks / TICKS / age))),
        _start(boot + int(fields[19]) / TICKS),
        _terminal(int(fields[4])),
        time.strftime("%H:%M:%S", time.gmtime(ticks // TICKS)),
        words or f"[{name}]",
    ]


def _boot_time() -> float:
    for line in Path("/proc/stat").read_text().splitlines():
        if line.startswith("btime "):
            return float(line.split()[1])
    raise Internal("/proc/stat has no btime")


def _user(uid: int) -> str:
    try:
        name = pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)
    return name if len(name) <= 8 else name[:7] + "+"


def _start(began: float) -> str:
    local = time.localtime(began)
    today = time.localtime()
    if local[:3] == today[:3]:
        return time.strftime("%H:%M", local)
    return time.strftime("%b%d" if local.tm_year == today.tm_year else "%Y", local)


def _terminal(number: int) -> str:
    """Name a controlling terminal by its device number (proc(5), tty_nr)."""
    major, minor = (number >> 8) & 0xFFF, (number & 0xFF) | ((number >> 12) & 0xFFF00)
    if 136 <= major <= 143:
        return f"pts/{minor + (major - 136) * 256}"
    return f"tty{minor}" if major == 4 else "?"


async def _ps(pids: set[int], args: list[str]) -> tuple[list[str], list[list[str]]]:
    for arg in args:
        if arg.startswith("--") and arg.split("=")[0] not in ("--forest", "--sort", "--format", "--headers", "--cols"):
            raise InvalidArgument(f"ps argument {arg} is not allowed")
    try:
        process = await asyncio.create_subprocess_exec(
            "ps",
            *args,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
    except FileNotFoundError:
        raise Internal("docker top with options needs ps on the host (Debian: apt-get install procps)") from None
    try:
        out, err = await asyncio.wait_for(process.communicate(), PS_TIMEOUT)
    except TimeoutError:
        process.kill()
        raise Internal("ps did not answer") from None
    if process.returncode:
        raise Internal(f"Error running ps: {err.decode(errors='replace').strip()}")
    return _filter(out.decode(errors="replace").splitlines(), pids)


def _filter(lines: list[str], pids: set[int]) -> tuple[list[str], list[list[str]]]:
    titles = lines[0].split() if lines else []
    if "PID" not in titles:
        raise Internal("Couldn't find PID field in ps output")
    index = titles.index("PID")
    rows = []
    for line in lines[1:]:
        fields = line.split(maxsplit=len(titles) - 1)
        if len(fields) > index and fields[index].isdigit() and int(fields[index]) in pids:
            rows.append(fields)
    return titles, rows
