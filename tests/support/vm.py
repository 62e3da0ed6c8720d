"""Commands in a VM by `tools/vm.sh`; what cannot be made here is skipped."""

from __future__ import annotations

import os
import platform
import subprocess
from pathlib import Path

import pytest

__all__ = ["ROOT", "in_vm"]

ROOT = Path(__file__).resolve().parent.parent.parent


def in_vm(script: str, *options: str, seconds: int) -> subprocess.CompletedProcess[str]:
    """Run a shell script in a VM, in this checkout, at most so many `seconds`; skip where a VM cannot be made."""
    if platform.machine() != "x86_64":
        pytest.skip("the VM is an x86-64 one")
    if os.environ.get("ORLOP_TEST_VM") == "0":
        pytest.skip("ORLOP_TEST_VM=0")
    command = [str(ROOT / "tools/vm.sh"), "--time", str(seconds), *options, "--", "sh", "-c", script]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, stdin=subprocess.DEVNULL)
    if done.returncode == 125 and "vm.sh: failed: " in done.stderr:
        pytest.skip(f"the VM cannot be made here: {done.stderr.strip().splitlines()[-1]}")
    return done
