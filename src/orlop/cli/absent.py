"""Commands that docker has and this version of Orlop does not: what to say instead of "unknown command"."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from orlop.cli.command import PROGRAM

__all__ = ["absent_command"]

_COMMANDS = frozenset(
    [
        "buildx",
        "checkpoint",
        "compose",
        "config",
        "context",
        "cp",
        "node",
        "plugin",
        "secret",
        "service",
        "stack",
        "swarm",
        "trust",
    ]
)
_MEMBERS = {
    "container": frozenset(("cp",)),
    "manifest": frozenset(("annotate", "create", "push", "rm")),
    "network": frozenset(("connect", "create", "disconnect", "prune", "rm")),
    "volume": frozenset(("update",)),
}


def absent_command(words: Sequence[str], environment: Mapping[str, str]) -> str:
    """Return the message for the first words of a command line, empty when docker does not know them either.

    `environment` is what makes docker's own command reach the same daemon.
    """
    if words[0] in _COMMANDS:
        name = words[0]
    elif len(words) > 1 and words[1] in _MEMBERS.get(words[0], ()):
        name = " ".join(words[:2])
    else:
        return ""
    settings = "".join(f"{key}={value} " for key, value in environment.items())
    return (
        f"{PROGRAM}: '{name}' is not in this version of Orlop\n\n"
        f"Where the daemon's API has it, docker's command does it: {settings}docker {name}"
    )
