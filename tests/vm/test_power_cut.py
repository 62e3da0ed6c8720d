"""The power is cut while images are loaded and deleted: what was answered is there, and all of it is sound."""

from __future__ import annotations

import pytest

from support.vm import in_vm

SECONDS = 300  # of one boot at most; the two take some eighty

pytestmark = [pytest.mark.vm, pytest.mark.slow, pytest.mark.root, pytest.mark.timeout(2 * SECONDS + 300)]

SCRIPT = "export PYTHONDONTWRITEBYTECODE=1; exec .venv/bin/python tests/vm/store_under_power_cuts.py"


def test_the_store_is_sound_and_has_all_that_was_answered_after_a_power_cut() -> None:
    cut = in_vm(f"{SCRIPT} loop", "--power-cut", "55", seconds=SECONDS)
    assert cut.returncode == 137, cut.stdout[-2000:] + cut.stderr[-4000:]
    told = [line.split() for line in cut.stdout.splitlines()]
    loaded = {int(words[1]) for words in told if words[0] == "loaded"}
    doomed = {int(words[1]) for words in told if words[0] == "deleting"}
    deleted = {int(words[1]) for words in told if words[0] == "deleted"}
    assert len(loaded) > 2, f"it was cut too early:\n{cut.stdout}{cut.stderr}"

    after = in_vm(f"{SCRIPT} check", "--again", seconds=SECONDS)
    assert after.returncode == 0, after.stdout[-4000:] + after.stderr[-4000:]
    lines = after.stdout.splitlines()
    there = {int(word) for line in lines if line.startswith("there") for word in line.split()[1:]}
    assert loaded - doomed <= there <= (loaded - deleted) | {max(loaded) + 1}
    assert lines[-1] == "checked 0", after.stdout
