"""The flags of `orlop build`: docker's, those of its BuildKit client that are served, and Orlop's own."""

from __future__ import annotations

import os

from orlop import errors
from orlop.cli.create import values
from orlop.cli.flags import BOOL, INT64, LIST, STRING, STRINGS, Flag, Kind, listed
from orlop.cli.kinds import BYTES, SWAP
from orlop.formats import reference

__all__ = ["BUILD_FLAGS", "CALLS", "DISPLAYS", "OWN_NAMES"]

DISPLAYS = ("auto", "none", "plain", "quiet", "rawjson", "tty")
CALLS = ("build", "check", "outline", "targets")


def _tag(text: str) -> str:
    try:
        reference.parse(text)
    except errors.InvalidArgument as error:
        raise ValueError(error.message) from None
    return text


def _ulimits(limits: dict[str, values.Json], text: str) -> dict[str, values.Json]:
    limit = values.ulimit(text)
    return {**limits, limit["Name"]: limit}


def _one_of(*words: str) -> Kind:
    def choose(_: str, text: str) -> str:
        if text not in words:
            raise ValueError(f"must be one of {', '.join(words)}")
        return text

    return Kind("string", choose, str)


def _context(contexts: dict[str, str], text: str) -> dict[str, str]:
    name, separator, value = text.partition("=")
    if not separator or not name or not value:
        raise ValueError(f"invalid context value: {text}, expected key=value")
    return {**contexts, name: value}


_DOCKER = (
    Flag("add-host", "", listed(values.add_host), 'Add a line to /etc/hosts ("host:ip")'),
    Flag("build-arg", "", listed(values.environment), "Set a build argument (NAME=value, or NAME to pass one on)"),
    Flag("cache-from", "", STRINGS, "Images whose steps serve as cache", "[]"),
    Flag("cgroup-parent", "", STRING, "Parent of the cgroups of RUN"),
    Flag("compress", "", BOOL, "Compress the context; kept for docker's scripts, for only what has changed is sent"),
    Flag("cpu-period", "", INT64, "Period of the CPU quota in microseconds"),
    Flag("cpu-quota", "", INT64, "CPU time in a period, in microseconds"),
    Flag("cpu-shares", "c", INT64, "Share of CPU time"),
    Flag("cpuset-cpus", "", STRING, "CPUs to run on (0-3, 0,1)"),
    Flag("cpuset-mems", "", STRING, "Memory nodes to use (0-3, 0,1)"),
    Flag("disable-content-trust", "", BOOL, "Do not verify images' signatures", "true"),
    Flag("file", "f", STRING, 'Name of the Dockerfile (default "PATH/Dockerfile")'),
    Flag("force-rm", "", BOOL, "Leave no containers of steps; kept for docker's scripts, for there are none"),
    Flag("iidfile", "", STRING, "Write the image's ID to a file"),
    Flag("isolation", "", STRING, "Isolation technology"),
    Flag("label", "", listed(values.label), "Give the image a label (name=value)"),
    Flag("memory", "m", BYTES, "Limit of memory"),
    Flag("memory-swap", "", SWAP, "Limit of memory and swap together, -1 for none"),
    Flag("network", "", STRING, "Network of RUN", "default"),
    Flag("no-cache", "", BOOL, "Carry out every step"),
    Flag("platform", "", STRING, "Platform of the image", os.environ.get("DOCKER_DEFAULT_PLATFORM", "")),
    Flag("pull", "", BOOL, "Ask registries for newer base images"),
    Flag("quiet", "q", BOOL, "Show no progress, print the image's ID"),
    Flag("rm", "", BOOL, "Leave no containers of steps; kept for docker's scripts, for there are none", "true"),
    Flag("security-opt", "", STRINGS, "Security options", "[]"),
    Flag("shm-size", "", BYTES, "Size of /dev/shm"),
    Flag("squash", "", BOOL, "Refused: layers are what the cache consists of"),
    Flag("tag", "t", listed(_tag), "Name of the image (name:tag)"),
    Flag("target", "", STRING, "Stage to build"),
    Flag("ulimit", "", Kind("ulimit", _ulimits, dict, ()), "Limit of a process (name=soft[:hard])", "[]"),
)

_OWN = (
    Flag(
        "build-context", "", Kind("list", _context, dict), "A further context (name=PATH or name=docker-image://IMAGE)"
    ),
    Flag("call", "", STRING, "What to do: build, check, outline or targets (with ,format=json: as JSON)", "build"),
    Flag("check", "", BOOL, "Check the Dockerfile and build nothing (--call=check)"),
    Flag("explain", "", BOOL, "Tell of each step what it cost, and why it was not in the cache"),
    Flag("no-cache-filter", "", STRINGS, "Stages of which every step is carried out", "[]"),
    Flag("on-failure", "", _one_of("shell"), "Open a shell where a command failed (shell)"),
    Flag(
        "progress",
        "",
        STRING,
        f"How to show progress ({', '.join(DISPLAYS)})",
        os.environ.get("BUILDKIT_PROGRESS") or "auto",
    ),
    Flag("stop-after", "", STRING, "Open a shell behind a step (STAGE:NUMBER as progress shows it, or NUMBER)"),
)

# What is not served, or is so in any case; `options` says which.
_HIDDEN = (
    Flag("*allow", "", STRINGS, ""),
    Flag("*annotation", "", LIST, ""),
    Flag("*attest", "", LIST, ""),
    Flag("*builder", "", STRING, ""),
    Flag("*cache-to", "", LIST, ""),
    Flag("*load", "", BOOL, ""),
    Flag("*metadata-file", "", STRING, ""),
    Flag("*output", "o", LIST, ""),
    Flag("*provenance", "", STRING, ""),
    Flag("*push", "", BOOL, ""),
    Flag("*sbom", "", STRING, ""),
    Flag("*secret", "", LIST, ""),
    Flag("*ssh", "", LIST, ""),
)

BUILD_FLAGS = (*_DOCKER, *_OWN, *_HIDDEN)
OWN_NAMES = frozenset(flag.name for flag in _OWN)
"""Flags that docker's client has in its BuildKit form only, or not at all."""
