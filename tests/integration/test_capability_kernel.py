"""Capability sets, put in place in real processes."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from orlop.linux import capability

pytestmark = pytest.mark.root

NONE: frozenset[str] = frozenset()


def sets_after(act: Callable[[], None]) -> dict[str, frozenset[str]]:
    """Run `act` in a forked process; return the sets that the kernel shows of it then."""
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            act()
            os.write(writer, Path("/proc/thread-self/status").read_bytes())
        finally:
            os._exit(0)
    os.close(writer)
    with os.fdopen(reader) as file:
        status = file.read()
    os.waitpid(pid, 0)
    fields = dict(line.split(":\t", 1) for line in status.splitlines() if line.startswith("Cap"))
    return {name.removeprefix("Cap"): capability.names(int(value, 16)) for name, value in fields.items()}


def test_all_five_sets_are_as_asked() -> None:
    kept = frozenset(("CAP_CHOWN", "CAP_NET_RAW", "CAP_KILL"))
    two = frozenset(("CAP_CHOWN", "CAP_KILL"))
    one = frozenset(("CAP_KILL",))
    found = sets_after(lambda: capability.apply(kept, one, two, two, one))
    assert found == {"Bnd": kept, "Prm": two, "Eff": one, "Inh": two, "Amb": one}


def test_nothing_at_all_can_be_kept() -> None:
    found = sets_after(lambda: capability.apply(NONE, NONE, NONE))
    assert set(found.values()) == {NONE}


def test_what_the_process_does_not_have_is_left_out() -> None:
    own = capability.bounding()
    everything = frozenset(capability.NAMES)
    found = sets_after(lambda: capability.apply(everything, everything, everything))
    assert found["Bnd"] == own
    assert found["Prm"] == found["Eff"]
    assert found["Prm"] <= own


def test_another_user_keeps_what_it_is_given_until_it_executes() -> None:
    def become() -> None:
        capability.keep_across_setuid()
        os.setgroups([])
        os.setgid(65534)
        os.setuid(65534)
        capability.apply(capability.DEFAULT, capability.DEFAULT, capability.DEFAULT)

    found = sets_after(become)
    expected = capability.DEFAULT & capability.bounding()
    assert found["Bnd"] == found["Prm"] == found["Eff"] == expected


def test_ambient_needs_to_be_inheritable() -> None:
    one = frozenset(("CAP_KILL",))
    assert sets_after(lambda: capability.apply(one, one, one, NONE, one))["Amb"] == NONE
