"""Docker's client configuration, ``~/.docker/config.json``: read only, and a broken file is said, never fatal."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

__all__ = ["ConfigFile", "config_directory"]


def config_directory(environment: Mapping[str, str]) -> str:
    """Return the directory of the configuration: ``DOCKER_CONFIG`` or ``~/.docker``."""
    return environment.get("DOCKER_CONFIG") or os.path.join(environment.get("HOME") or "/", ".docker")


class ConfigFile:
    """The values of ``config.json`` in a directory; an absent file is an empty configuration.

    `problem` says what was wrong with the file, or is empty.
    """

    def __init__(self, directory: str) -> None:
        self.directory = directory
        self.problem = ""
        self._values: dict[str, Any] = {}
        path = os.path.join(directory, "config.json")
        try:
            with open(path, "rb") as file:
                raw = file.read()
        except FileNotFoundError:
            return
        except OSError as error:
            self.problem = f"Error loading config file: open {path}: {error.strerror}"
            return
        import json

        try:
            values = json.loads(raw or b"{}")
            self._values = values if isinstance(values, dict) else {}
        except ValueError as error:
            self.problem = f"Error loading config file: {path}: {error}"

    def text(self, key: str) -> str:
        """Return a string value, empty when it is not set."""
        value = self._values.get(key)
        return value if isinstance(value, str) else ""

    def mapping(self, key: str) -> dict[str, Any]:
        """Return an object value, empty when it is not set."""
        value = self._values.get(key)
        return value if isinstance(value, dict) else {}

    def strings(self, key: str) -> list[str]:
        """Return a list of strings, empty when it is not set."""
        value = self._values.get(key)
        return [str(item) for item in value] if isinstance(value, list) else []
