"""Two engines side by side: their samples alternate (A B, B A, …), so that what disturbs one disturbs the other."""

from __future__ import annotations

import json
import os
import platform
import statistics
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from bench import floor
from bench.engine import Engine
from bench.figures import Figure

__all__ = ["Result", "floors", "measure", "report", "row", "save"]


@dataclass
class Result:
    """The samples of one figure, by engine."""

    figure: Figure
    samples: dict[str, list[float]] = field(default_factory=dict)
    errors: dict[str, str] = field(default_factory=dict)

    def median(self, engine: str) -> float | None:
        values = self.samples.get(engine)
        return statistics.median(values) if values else None

    def gain(self, first: str, second: str) -> float | None:
        """How many times better the first engine is than the second."""
        a, b = self.median(first), self.median(second)
        if not a or not b:
            return None
        return a / b if self.figure.more_is_better else b / a


def measure(figure: Figure, engines: Sequence[Engine], rounds: int | None = None) -> Result:
    """Take the samples of a figure; an engine that fails is out, and why is kept."""
    result = Result(figure)
    count = rounds or figure.rounds
    warm_up = 1 if count > 3 else 0
    for number in range(count + warm_up):
        for engine in engines if number % 2 == 0 else reversed(engines):
            if engine.name in result.errors:
                continue
            try:
                value = figure.measure(engine)
            except (OSError, RuntimeError, ValueError, KeyError, AssertionError) as error:
                result.errors[engine.name] = f"{type(error).__name__}: {error}"
                continue
            if number >= warm_up:
                result.samples.setdefault(engine.name, []).append(value)
    for engine in engines:
        try:
            engine.clean_up()
        except (OSError, RuntimeError) as error:
            print(f"  ! clean-up of {engine.name}: {error}", file=sys.stderr)
    return result


def floors(rounds: int = 15) -> dict[str, float]:
    """Return the medians of the bare kernel figures, in milliseconds."""
    return {name: statistics.median(floor.measure(name) for _ in range(rounds)) for name in floor.FLOORS}


def row(result: Result, names: Sequence[str]) -> str:
    """Return one line of the table."""
    figure = result.figure
    cells = []
    for name in names:
        median = result.median(name)
        cells.append(f"{median:11.2f}" if median is not None else f"{'-':>11}")
    line = f"{figure.name:30}{''.join(cells)} {figure.unit:5}"
    if len(names) > 1 and (gain := result.gain(names[0], names[1])) is not None:
        line += f" {gain:7.2f}x"
        if figure.target is not None:
            line += f"  wanted {figure.target:g}x  {'ok' if gain >= figure.target else 'MISSED'}"
    for name, error in result.errors.items():
        line += f"\n  ! {name}: {error}"
    return line


def report(engines: Sequence[Engine]) -> str:
    """Return the head of the table: what is compared and where."""
    versions = ", ".join(f"{engine.name} is {engine.version()}" for engine in engines)
    head = f"{'':30}" + "".join(f"{engine.name:>11}" for engine in engines)
    return f"{versions}; {os.cpu_count()} processors, Linux {platform.release()}\n{head}"


def save(path: Path, results: Sequence[Result], engines: Sequence[Engine], bare: dict[str, float]) -> None:
    """Write every sample as JSON."""
    document = {
        "time": time.strftime("%Y-%m-%d %H:%M:%S"),
        "machine": f"{os.cpu_count()} processors, Linux {platform.release()}, Python {platform.python_version()}",
        "engines": {engine.name: engine.version() for engine in engines},
        "floor": bare,
        "figures": {
            result.figure.name: {"unit": result.figure.unit, "samples": result.samples, "errors": result.errors}
            for result in results
        },
    }
    path.write_text(json.dumps(document, indent=1) + "\n")
