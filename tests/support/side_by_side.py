"""Run a command line of docker or orlop against a made-up engine, and make what they print comparable."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from support.fake_engine import FakeEngine


@dataclass(frozen=True)
class Outcome:
    """What a command printed and how it ended, with the program's name made the same for all."""

    stdout: str
    stderr: str
    status: int


Run = Callable[..., Outcome]


def environment_of(engine: FakeEngine, home: Path) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("DOCKER_", "ORLOP_"))}
    return {**kept, "HOME": str(home), "DOCKER_HOST": f"unix://{engine.socket}", "TZ": "UTC"}


# What docker says of its builder when its plugin for BuildKit is not installed.
_DEPRECATED = re.compile(r"\ADEPRECATED: The legacy builder.*?\n\n", re.DOTALL)


def neutral(text: str) -> str:
    text = _DEPRECATED.sub("", text)
    text = re.sub(r"Is (the docker daemon|orlopd) running", "Is it running", text)
    text = re.sub(r"\b[Dd]ocker daemon\b|\bOrlop daemon\b", "DAEMON", text)
    return re.sub(r"\b(docker|orlop)\b(?![.:/-]\w)", "PROGRAM", text)


def runner(program: list[str], engine: FakeEngine, home: Path) -> Run:
    def run(*arguments: str, stdin: bytes = b"", env: dict[str, str] | None = None) -> Outcome:
        done = subprocess.run(
            [*program, *arguments],
            input=stdin,
            capture_output=True,
            env={**environment_of(engine, home), **(env or {})},
            timeout=60,
            check=False,
        )
        return Outcome(neutral(done.stdout.decode()), neutral(done.stderr.decode()), done.returncode)

    return run
