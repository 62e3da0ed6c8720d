"""Files of ``NAME=value`` lines: ``--env-file`` and ``--label-file``."""

from __future__ import annotations

import os

__all__ = ["read_pairs"]


def read_pairs(path: str, *, from_environment: bool) -> list[str]:
    """Return the pairs of a file, as they are written; ValueError has docker's message.

    Empty lines and those that begin with ``#`` are nothing. A bare name takes its value from the environment if
    `from_environment` and it is set there; else it is left out.
    """
    try:
        with open(path, "rb") as file:
            raw = file.read()
    except OSError as error:
        raise ValueError(f"open {path}: {(error.strerror or '').lower()}") from None
    pairs: list[str] = []
    for number, line in enumerate(raw.removeprefix(b"\xef\xbb\xbf").split(b"\n"), start=1):
        try:
            text = line.removesuffix(b"\r").decode().lstrip()
        except UnicodeDecodeError:
            shown = " ".join(str(byte) for byte in line)
            raise ValueError(f"invalid env file ({path}): invalid utf8 bytes at line {number}: [{shown}]") from None
        if not text or text.startswith("#"):
            continue
        name, separator, _ = text.partition("=")
        if not name:
            raise ValueError(f"invalid env file ({path}): no variable name on line '{text}'")
        if " " in name or "\t" in name:
            raise ValueError(f"invalid env file ({path}): variable '{name}' contains whitespaces")
        if separator:
            pairs.append(text)
        elif from_environment and name in os.environ:
            pairs.append(f"{name}={os.environ[name]}")
    return pairs
