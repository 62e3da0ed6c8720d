"""What an instance has on the machine: taken before and after, the difference is what it leaked."""

from __future__ import annotations

import json
import os
import time
from collections import Counter
from pathlib import Path

from support.daemon import Daemon
from support.netns import NetworkNamespace

__all__ = ["Traces", "assert_same", "settled", "traces"]

Traces = dict[str, list[str]]

PATIENCE = 15.0
"""Seconds that clean-up behind the answer may take."""

_CALM = 0.5


def traces(daemon: Daemon) -> Traces:
    """Return everything that can be seen of the instance, by kind, without what differs from one moment to another."""
    found = {
        "processes": _processes(daemon.netns),
        "links": _links(daemon.netns),
        "nftables": _rules(daemon.netns),
        "mounts": [line.split()[4] for line in _lines("/proc/self/mountinfo") if str(daemon.root) in line],
        "cgroups": _cgroups(daemon),
        "containers": _names(daemon.data_root / "containers"),
        "run directories": _names(daemon.exec_root / "c"),
        "temporary files": sorted({*_names(daemon.data_root / "tmp")} - {"partial"}),
        "partial blobs": _names(daemon.data_root / "tmp/partial"),
        "volumes": _names(daemon.data_root / "volumes"),
    }
    if daemon.process is not None:
        found["descriptors"] = _descriptors(daemon.pid)
    return found


def settled(daemon: Daemon) -> Traces:
    """Return the traces once they have stayed as they are for a moment: what ends behind its answer has ended."""
    deadline = time.monotonic() + PATIENCE
    found, since = traces(daemon), time.monotonic()
    while time.monotonic() - since < _CALM and time.monotonic() < deadline:
        time.sleep(0.1)
        now = traces(daemon)
        if _difference(found, now) or _difference(now, found):
            found, since = now, time.monotonic()
    return found


def assert_same(daemon: Daemon, before: Traces) -> None:
    """Fail with what is there now and was not `before`, or the other way, once clean-up has had its time."""
    deadline = time.monotonic() + PATIENCE
    while True:
        difference = _difference(before, traces(daemon))
        if not difference:
            return
        if time.monotonic() > deadline:
            raise AssertionError("left behind:\n" + "\n".join(difference))
        time.sleep(0.2)


def _difference(before: Traces, after: Traces) -> list[str]:
    lines = []
    for kind in before.keys() & after.keys():
        old, new = Counter(before[kind]), Counter(after[kind])
        lines += [f"  {kind}: + {item}" for item in (new - old).elements()]
        if kind not in ("descriptors", "processes", "temporary files"):  # one that is gone is no leak
            lines += [f"  {kind}: - {item}" for item in (old - new).elements()]
    return sorted(lines)


def _processes(netns: NetworkNamespace) -> list[str]:
    found = []
    for pid in netns.processes():
        try:
            words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
        except OSError:
            continue
        found.append(b" ".join(word for word in words if not word.isdigit()).decode(errors="replace"))
    return found


def _links(netns: NetworkNamespace) -> list[str]:
    return [link["ifname"] for link in json.loads(netns.run("ip", "-j", "link").stdout or "[]")]


def _rules(netns: NetworkNamespace) -> list[str]:
    text = netns.run("nft", "-s", "list", "ruleset", check=False).stdout  # -s: without counters
    return [line.strip() for line in text.splitlines()]


def _cgroups(daemon: Daemon) -> list[str]:
    """Return the cgroups below the instance's own, which stay."""
    return sorted({child.name for parent in daemon.cgroup_parents() for child in parent.iterdir() if child.is_dir()})


def _descriptors(pid: int) -> list[str]:
    """Return the daemon's descriptors by what they are, without numbers; sockets of clients come and go."""
    found = []
    for entry in Path(f"/proc/{pid}/fd").iterdir():
        try:
            target = os.readlink(entry)
        except OSError:
            continue
        kind = target.partition(":[")[0]
        if kind not in ("socket", "pipe", "anon_inode"):
            found.append(target)
        elif kind == "pipe":
            found.append("pipe")
    return found


def _names(directory: Path) -> list[str]:
    return sorted(entry.name for entry in directory.iterdir()) if directory.is_dir() else []


def _lines(path: str) -> list[str]:
    return Path(path).read_text().splitlines()
