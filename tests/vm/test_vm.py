"""What meets the kernel, once more on another one: Debian's stock kernel with cgroup v2, in a VM.

`tools/vm.sh` makes the VM (QEMU, emulated, no network) and takes this checkout along. Preparing it takes a minute the
first time; booting, some seconds; what runs inside is about ten times slower than outside. So it is not every test
that is run there, but those of the runtime, and the real docker CLI on all of Orlop.
"""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

from support.vm import in_vm

SECONDS = 1200  # of the VM; on two idle cores it takes four minutes

pytestmark = [pytest.mark.vm, pytest.mark.slow, pytest.mark.root, pytest.mark.timeout(SECONDS + 300)]

SUITES = (
    *(f"tests/integration/test_{name}_kernel.py" for name in ("cgroup", "seccomp", "capability")),
    *(f"tests/integration/test_shim_{name}.py" for name in ("start", "isolation", "streams")),
    "tests/integration/test_native_shims.py",
    "tests/integration/test_network_docker.py",
    "tests/integration/test_build_exec.py",
    "tests/clients/test_build_reproducible.py",
    "tests/clients/test_docker_run.py",
    "tests/clients/test_docker_limits.py",
)
# These take long, or are about files, names and the daemon: the same on every kernel.
LEFT_OUT = (
    *("replay_and_live", "that_does_not_read", "slow_reader", "rotation_keeps"),
    *("kill_9_of_the_daemon", "kill_9_of_the_launcher", "start_and_end_together", "restarted_as_often"),
    *("of_a_log_are", "logs_have", "events_come", "name_that_is_taken", "written_to_a_file", "diff_tells"),
)


def test_containers_run_with_cgroup_v2_on_debians_kernel(tmp_path: Path) -> None:
    options = []
    if docker := shutil.which("docker"):
        tools = tmp_path / "tools"
        tools.mkdir()
        shutil.copy(docker, tools / "docker")
        options = ["--copy", str(tools)]
    words = ["-q", "-o timeout=300", "-p no:cacheprovider", f"-k 'not ({' or '.join(LEFT_OUT)})'", *SUITES]
    script = (
        f"export PATH=$PATH:{tmp_path}/tools PYTHONDONTWRITEBYTECODE=1\n"
        "stat -fc %T /sys/fs/cgroup; uname -r\n"
        f"exec .venv/bin/pytest {' '.join(words)}\n"
    )
    done = in_vm(script, "--mem", "3072", *options, seconds=SECONDS)
    output = done.stdout + done.stderr
    assert done.returncode == 0, output[-20_000:]
    assert output.startswith("cgroup2fs\n"), output[:200]
    assert re.search(r"^\d+ passed", output, re.MULTILINE), output[-2000:]
