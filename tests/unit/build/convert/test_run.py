"""RUN: what is carried out, in which surroundings."""

from __future__ import annotations

from typing import Any

import pytest

from orlop.build.dockerfile.errors import DockerfileError
from orlop.build.graph import Exec
from support.converting import execs, graph_of, image, made_by


def run(text: str, **request: Any) -> Exec:
    return execs(graph_of(f"FROM a\n{text}", **request))[-1]


@pytest.mark.parametrize(
    ("text", "command"),
    [
        ("RUN echo  hi $X", ("/bin/sh", "-c", "echo  hi $X")),
        ('RUN ["echo", "a b"]', ("echo", "a b")),
        ('SHELL ["/bin/bash", "-euc"]\nRUN x', ("/bin/bash", "-euc", "x")),
        ("RUN <<EOF\none\ntwo\nEOF", ("/bin/sh", "-c", "one\ntwo\n")),
        ("RUN <<-EOF\n\tone\n\tEOF", ("/bin/sh", "-c", "one\n")),
        ("RUN <<'EOF'\n$one\nEOF", ("/bin/sh", "-c", "$one\n")),
        ("RUN <<EOF cat > /x\none\nEOF", ("/bin/sh", "-c", "<<EOF cat > /x\none\nEOF")),
        ("RUN cat <<A - <<B\na\nA\nb\nB", ("/bin/sh", "-c", "cat <<A - <<B\na\nA\nb\nB")),
        ("RUN <<EOF bash\necho\nEOF", ("/bin/sh", "-c", "<<EOF bash\necho\nEOF")),
    ],
)
def test_a_command_is_given_to_the_shell_unless_it_is_json(text: str, command: tuple[str, ...]) -> None:
    assert run(text).arguments == command


def test_a_heredoc_with_an_interpreter_is_a_script_of_its_own() -> None:
    node = run("RUN <<EOF\n#!/usr/bin/env python\nprint($X)\nEOF")
    assert node.arguments == ("/bin/sh", "-c", "/dev/pipes/EOF")
    assert node.script == ("/dev/pipes/EOF", b"#!/usr/bin/env python\nprint($X)\n")


def test_a_command_sees_directory_user_and_variables_of_its_line() -> None:
    first, second = execs(graph_of("FROM a\nRUN 1\nWORKDIR /w\nUSER u:g\nENV A=1\nRUN 2"))
    assert (first.directory, first.user, first.environment) == ("/", "", ("PATH=/bin",))
    assert (second.directory, second.user, second.environment) == ("/w", "u:g", ("PATH=/bin", "A=1"))


def test_an_ssh_agent_is_found_by_its_variable() -> None:
    node = run("RUN --mount=type=ssh --mount=type=ssh,id=b x")
    assert [mount.target for mount in node.mounts] == ["/run/buildkit/ssh_agent.0", "/run/buildkit/ssh_agent.1"]
    assert node.environment[-1] == "SSH_AUTH_SOCK=/run/buildkit/ssh_agent.0"
    assert "SSH_AUTH_SOCK=/x" in run("ENV SSH_AUTH_SOCK=/x\nRUN --mount=type=ssh x").environment


def test_values_of_mounts_are_expanded_and_targets_start_at_the_working_directory() -> None:
    node = run("ENV D=lib\nWORKDIR /w\nRUN --mount=type=cache,target=$D --mount=type=tmpfs,target=/$D x")
    assert [mount.target for mount in node.mounts] == ["/w/lib", "/lib"]


@pytest.mark.parametrize(
    ("flag", "whole", "network"),
    [
        ("", "", "default"),
        ("", "none", "none"),
        ("", "host", "host"),
        ("", "bridge", "default"),
        ("--network=none ", "host", "none"),
        ("--network=host ", "", "host"),
        ("--network=default ", "none", "none"),
    ],
)
def test_the_network_is_that_of_the_step_or_of_the_whole_build(flag: str, whole: str, network: str) -> None:
    assert run(f"RUN {flag}x", network=whole).network == network


def test_security_is_a_sandbox_unless_it_is_given_up() -> None:
    assert not run("RUN --security=sandbox x").insecure
    assert run("RUN --security=insecure x").insecure


def test_names_of_hosts_enter_the_step_and_their_addresses_do_not() -> None:
    node = run("RUN x", hosts=("db:10.0.0.1", "v6:::1"))
    assert (node.host_names, node.hosts) == (("db", "v6"), ("db:10.0.0.1", "v6:::1"))
    assert node == run("RUN x", hosts=("db:10.0.0.2", "v6:::2"))


def test_limits_of_the_request_hold_for_every_step() -> None:
    arguments = {"BUILDKIT_SANDBOX_HOSTNAME": "box", "BUILDKIT_CACHE_MOUNT_NS": "ns"}
    node = run("RUN --mount=type=cache,target=/c x", ulimits=("nofile=1:2",), shm_size=5, arguments=arguments)
    assert (node.ulimits, node.shm_size, node.hostname, node.mounts[0].id) == (("nofile=1:2",), 5, "box", "ns//c")


@pytest.mark.parametrize(
    ("text", "request_", "message"),
    [
        ("RUN --network=nat x", {}, 'invalid network mode "nat"'),
        ("RUN x", {"network": "mine"}, 'network mode "mine" not supported by buildkit'),
        ("RUN --security=lax x", {}, 'security "lax" is not valid'),
        ("RUN --mount=target=/ x", {}, 'invalid mount target "/"'),
    ],
)
def test_what_a_step_cannot_have_is_refused(text: str, request_: dict[str, Any], message: str) -> None:
    with pytest.raises(DockerfileError) as caught:
        run(text, **request_)
    assert message in str(caught.value)


def test_history_has_the_command_as_it_is_carried_out() -> None:
    graph = graph_of('FROM a\nRUN ["a", "b c"]\nRUN <<EOF\nx\ny\nEOF', {"a": image("a")})
    assert made_by(graph) == ["RUN a b c # buildkit", "RUN /bin/sh -c x\ny\n # buildkit"]
