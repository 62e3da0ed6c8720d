"""Security options, capabilities, profiles, masked paths."""

from __future__ import annotations

import json

import pytest

from orlop.errors import InvalidArgument
from orlop.linux import capability
from orlop.linux.seccomp import profile
from orlop.model.api.container import HostConfig
from orlop.runtime import security
from orlop.runtime.facts import HostFacts
from orlop.runtime.security import MASKED_PATHS, READONLY_PATHS, SecurityOptions

FACTS = HostFacts(kernel=(6, 1))
PROFILE = json.dumps({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"name": "mkdir", "action": "SCMP_ACT_ERRNO"}]})


def test_options_of_both_spellings_are_read() -> None:
    texts = ["apparmor:mine", "seccomp=unconfined", "label=type:x", "label:disable", "no-new-privileges"]
    assert security.options(texts) == SecurityOptions(True, "mine", "unconfined")
    assert security.options(["no-new-privileges=false"], no_new_privileges=True) == SecurityOptions()
    assert security.options(["systempaths=unconfined", "writable-cgroups=true"]) == SecurityOptions(
        unmasked=True, writable_cgroups=True
    )


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ("bogus", 'invalid --security-opt 1: "bogus"'),
        ("bogus=1", 'invalid --security-opt 2: "bogus=1"'),
        ("no-new-privileges=maybe", 'invalid --security-opt 2: "no-new-privileges=maybe"'),
        ("systempaths=none", 'invalid --security-opt 2: "systempaths=none"'),
        ("seccomp={", "Decoding seccomp profile failed: "),
    ],
)
def test_options_that_are_none_are_refused_in_dockerds_words(option: str, message: str) -> None:
    with pytest.raises(InvalidArgument) as raised:
        security.check(HostConfig(security_opt=[option]))
    assert raised.value.message.startswith(message)


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        (HostConfig(), capability.DEFAULT),
        (HostConfig(cap_add=["net_admin"]), capability.DEFAULT | {"CAP_NET_ADMIN"}),
        (HostConfig(cap_drop=["CAP_CHOWN"]), capability.DEFAULT - {"CAP_CHOWN"}),
        (HostConfig(cap_drop=["all"], cap_add=["Chown"]), {"CAP_CHOWN"}),
        (HostConfig(cap_drop=["ALL"]), frozenset()),
        (HostConfig(cap_add=["ALL"], cap_drop=["SYS_ADMIN"]), set(capability.NAMES) - {"CAP_SYS_ADMIN"}),
        (HostConfig(cap_add=["ALL"], cap_drop=["ALL"]), set(capability.NAMES)),
        (HostConfig(privileged=True, cap_drop=["ALL"]), set(capability.NAMES)),
    ],
)
def test_capabilities_are_added_and_dropped_as_dockerd_does(host: HostConfig, expected: frozenset[str]) -> None:
    assert security.capabilities(host, FACTS) == expected


def test_nobody_gets_a_capability_that_the_daemon_lacks() -> None:
    facts = HostFacts(capabilities=frozenset(("CAP_CHOWN", "CAP_NET_ADMIN")))
    assert security.capabilities(HostConfig(privileged=True), facts) == {"CAP_CHOWN", "CAP_NET_ADMIN"}
    assert security.capabilities(HostConfig(cap_add=["SYS_ADMIN"]), facts) == {"CAP_CHOWN"}


@pytest.mark.parametrize(("field", "name"), [("CapAdd", "BOGUS"), ("CapDrop", "cap_bogus")])
def test_an_unknown_capability_is_named(field: str, name: str) -> None:
    host = HostConfig(cap_add=[name]) if field == "CapAdd" else HostConfig(cap_drop=[name])
    with pytest.raises(InvalidArgument) as raised:
        security.check(host)
    assert raised.value.message == f'invalid {field}: unknown capability: "CAP_BOGUS"'


def test_the_default_profile_follows_the_capabilities() -> None:
    def names(host: HostConfig) -> set[str]:
        seccomp = security.seccomp(host, FACTS)
        assert seccomp is not None
        return {name for rule in seccomp["syscalls"] for name in rule["names"]}

    assert "mount" not in names(HostConfig())
    assert "mount" in names(HostConfig(cap_add=["SYS_ADMIN"]))
    assert "chroot" not in names(HostConfig(cap_drop=["SYS_CHROOT"]))


def test_who_is_unconfined() -> None:
    named = HostConfig(security_opt=[f"seccomp={PROFILE}"], privileged=True)
    assert security.seccomp(HostConfig(privileged=True), FACTS) is None
    assert security.seccomp(HostConfig(security_opt=["seccomp=unconfined"]), FACTS) is None
    assert security.seccomp(named, FACTS) == {
        "defaultAction": "SCMP_ACT_ALLOW",
        "architectures": [],
        "syscalls": [{"names": ["mkdir"], "action": "SCMP_ACT_ERRNO"}],
    }


def test_the_daemons_profile_is_the_default_unless_the_built_in_one_is_named() -> None:
    own = profile.parse(PROFILE)
    asked = HostConfig(security_opt=["seccomp=builtin"])
    by_default, built_in = security.seccomp(HostConfig(), FACTS, own), security.seccomp(asked, FACTS, own)
    assert by_default is not None
    assert by_default["defaultAction"] == "SCMP_ACT_ALLOW"
    assert built_in is not None
    assert built_in["defaultAction"] == "SCMP_ACT_ERRNO"


def test_a_kernel_without_seccomp_refuses_a_profile_and_goes_without_the_default() -> None:
    facts = HostFacts(seccomp=False)
    assert security.seccomp(HostConfig(), facts) is None
    with pytest.raises(InvalidArgument, match="seccomp is not enabled in your kernel"):
        security.seccomp(HostConfig(security_opt=[f"seccomp={PROFILE}"]), facts)


def test_apparmor_is_entered_where_there_is_one() -> None:
    there = HostFacts(apparmor=True)
    assert security.apparmor(HostConfig(), there) == "docker-default"
    assert security.apparmor(HostConfig(privileged=True), there) == "unconfined"
    assert security.apparmor(HostConfig(security_opt=["apparmor=mine"], privileged=True), there) == "mine"
    assert security.apparmor(HostConfig(security_opt=["apparmor=mine"]), FACTS) == ""


def test_paths_are_hidden_unless_asked_otherwise() -> None:
    thermal = "/sys/devices/system/cpu/cpu0/thermal_throttle"
    facts = HostFacts(thermal_paths=(thermal,))
    assert security.masked_paths(HostConfig(), facts) == [*MASKED_PATHS, thermal]
    assert security.masked_paths(HostConfig(masked_paths=list(MASKED_PATHS)), facts) == [*MASKED_PATHS, thermal]
    assert "/proc/interrupts" in MASKED_PATHS
    assert security.masked_paths(HostConfig(masked_paths=["/proc/keys"]), facts) == ["/proc/keys"]
    assert security.readonly_paths(HostConfig()) == list(READONLY_PATHS)
    for host in (
        HostConfig(privileged=True),
        HostConfig(security_opt=["systempaths=unconfined"]),
        HostConfig(masked_paths=[], readonly_paths=[]),
    ):
        assert security.masked_paths(host, facts) == security.readonly_paths(host) == []


def test_equal_profiles_are_compiled_once() -> None:
    pytest.importorskip("pyseccomp", reason="needs libseccomp", exc_type=(ImportError, RuntimeError))
    seccomp = security.seccomp(HostConfig(security_opt=[f"seccomp={PROFILE}"]), FACTS)
    assert seccomp is not None
    assert security.compiled(seccomp) is security.compiled(dict(reversed(seccomp.items())))
