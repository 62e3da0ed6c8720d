"""Sysctls: those of the container's own namespaces, and no others."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orlop.errors import InvalidArgument
from orlop.runtime import sysctls

OWN = [{"type": kind} for kind in ("network", "ipc", "uts", "mount")]
HOST: list[dict[str, str]] = [{"type": "mount"}]
JOINED = [{"type": kind, "path": f"/proc/1/ns/{kind}"} for kind in ("network", "ipc", "uts")]


@pytest.mark.parametrize("name", ["net.ipv4.ip_forward", "kernel.msgmax", "fs.mqueue.msg_max", "kernel.domainname"])
def test_what_belongs_to_an_own_namespace_may_be_set(name: str) -> None:
    sysctls.check({name: "1"}, OWN)
    with pytest.raises(InvalidArgument):
        sysctls.check({name: "1"}, HOST)


@pytest.mark.parametrize(
    ("name", "spaces", "message"),
    [
        ("vm.swappiness", OWN, 'sysctl "vm.swappiness" is not in a separate kernel namespace'),
        ("net.core.somaxconn", HOST, 'sysctl "net.core.somaxconn" not allowed in host network namespace'),
        ("kernel.shmmax", JOINED, 'sysctl "kernel.shmmax" is not allowed in the hosts ipc namespace'),
        ("kernel.hostname", OWN, 'sysctl "kernel.hostname" is not allowed as it conflicts with the OCI "hostname"'),
        ("net.ipv4/../../kernel/x", OWN, 'invalid sysctl "net.ipv4/../../kernel/x"'),
        ("net.ipv4.x\n", OWN, 'invalid sysctl "net.ipv4.x\n"'),
    ],
)
def test_others_are_refused_in_the_runtimes_words(name: str, spaces: list[dict[str, str]], message: str) -> None:
    with pytest.raises(InvalidArgument) as raised:
        sysctls.check({name: "1"}, spaces)
    assert raised.value.message.startswith(message)


def test_a_domain_name_is_set_in_one_place_only() -> None:
    with pytest.raises(InvalidArgument, match='conflicts with the OCI "domainname" field'):
        sysctls.check({"kernel.domainname": "x"}, OWN, domainname=True)


@given(st.text())
def test_no_name_leads_out_of_the_namespaces(name: str) -> None:
    try:
        sysctls.check({name: "1"}, OWN)
    except InvalidArgument:
        return
    assert name.startswith(("net.", "kernel.", "fs.mqueue."))
    assert "/" not in name
    assert ".." not in name


def test_defaults_are_for_an_own_network_and_can_be_overridden() -> None:
    both = frozenset(("net.ipv4.ip_unprivileged_port_start", "net.ipv4.ping_group_range"))
    assert sysctls.plan(None, OWN, both) == {
        "net.ipv4.ip_unprivileged_port_start": "0",
        "net.ipv4.ping_group_range": "0 2147483647",
    }
    one = {"net.ipv4.ip_unprivileged_port_start": "1024"}
    assert sysctls.plan(one, OWN, frozenset(one)) == one
    assert sysctls.plan(None, HOST, both) == sysctls.plan(None, JOINED, both) == {}
