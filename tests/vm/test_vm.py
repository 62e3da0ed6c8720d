"""The tests that meet the kernel, once more on another one: Debian's stock kernel with cgroup v2, in a VM.

`tools/vm.sh` makes the VM (QEMU, emulated, no network) and takes this checkout along. Preparing it takes a minute the
first time; booting, some seconds; what runs inside is about ten times slower than outside.
"""

from __future__ import annotations

import os
import platform
import re
import shutil
import subprocess
from pathlib import Path

import pytest

pytestmark = [pytest.mark.vm, pytest.mark.slow, pytest.mark.root, pytest.mark.timeout(2400)]

ROOT = Path(__file__).resolve().parent.parent.parent
SECONDS = 2000
SUITES = ("tests/integration", "tests/clients/test_docker_run.py", "tests/clients/test_terminal.py")
SAME_ON_EVERY_KERNEL = ("test_api_*", "test_store_*", "test_daemon_*", "test_logs_*")


def in_vm(script: str, *options: str) -> subprocess.CompletedProcess[str]:
    """Run a shell script in a VM, in this checkout; skip where a VM cannot be made."""
    if platform.machine() != "x86_64":
        pytest.skip("the VM is an x86-64 one")
    if os.environ.get("ORLOP_TEST_VM") == "0":
        pytest.skip("ORLOP_TEST_VM=0")
    command = [str(ROOT / "tools/vm.sh"), "--time", str(SECONDS), "--mem", "3072", *options, "--", "sh", "-c", script]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, stdin=subprocess.DEVNULL)
    if done.returncode == 125 and "vm.sh: failed: " in done.stderr:
        pytest.skip(f"the VM cannot be made here: {done.stderr.strip().splitlines()[-1]}")
    return done


def test_the_suites_pass_with_cgroup_v2_on_debian_s_kernel(tmp_path: Path) -> None:
    options = []
    if docker := shutil.which("docker"):
        tools = tmp_path / "tools"
        tools.mkdir()
        shutil.copy(docker, tools / "docker")
        options = ["--copy", str(tools)]
    ignored = [f"--ignore-glob='*/{name}'" for name in SAME_ON_EVERY_KERNEL]
    pytest_words = [
        "-q",
        "-o timeout=600",
        "-p no:cacheprovider",
        "-m 'root and not vm and not slow'",
        *ignored,
        *SUITES,
    ]
    script = (
        f"export PATH=$PATH:{tmp_path}/tools PYTHONDONTWRITEBYTECODE=1\n"
        "stat -fc %T /sys/fs/cgroup; uname -r\n"
        f"exec .venv/bin/pytest {' '.join(pytest_words)}\n"
    )
    done = in_vm(script, *options)
    output = done.stdout + done.stderr
    assert done.returncode == 0, output[-20_000:]
    assert output.startswith("cgroup2fs\n"), output[:200]
    assert re.search(r"^\d+ passed", output, re.MULTILINE), output[-2000:]
