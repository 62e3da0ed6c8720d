"""pids: how many tasks (processes and threads) a cgroup may have. Its files are the same on v1."""

from __future__ import annotations

from orlop.linux.cgroup.v1.pids import plan, usage

__all__ = ["plan", "usage"]
