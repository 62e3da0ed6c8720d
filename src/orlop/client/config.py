"""Docker's client configuration, ``~/.docker/config.json``: a broken file is said, and never overwritten."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from orlop.errors import Error

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
        self.path = os.path.join(directory, "config.json")
        self.problem = ""
        self._values: dict[str, Any] = {}
        try:
            with open(self.path, "rb") as file:
                raw = file.read()
        except FileNotFoundError:
            return
        except OSError as error:
            self.problem = f"Error loading config file: open {self.path}: {(error.strerror or '').lower()}"
            return
        import json

        try:
            values = json.loads(raw or b"{}")
            if not isinstance(values, dict):
                raise ValueError("it is no JSON object")
            self._values = values
        except ValueError as error:
            self.problem = f"Error parsing config file ({self.path}): {error}"

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

    def save(self, changes: Mapping[str, Any]) -> None:
        """Set values and write the file: all of it or nothing, readable by its owner alone, other values kept.

        Raises `Error` when the file that is there could not be read: what it holds would be lost.
        """
        if self.problem:
            raise Error(f"{self.problem}: it is left as it is")
        import json

        # What another program wrote since this one began is kept as well.
        current = ConfigFile(self.directory)
        if not current.problem:
            self._values = current._values
        self._values = {"auths": {}, **self._values, **changes}
        text = json.dumps(self._values, indent="\t", ensure_ascii=False)
        os.makedirs(self.directory, mode=0o700, exist_ok=True)
        _replace(os.path.realpath(self.path), text.encode())


def _replace(path: str, data: bytes) -> None:
    """Write a file anew beside itself and put it in its place; its owner stays."""
    from tempfile import mkstemp

    descriptor, fresh = mkstemp(prefix="config.json", dir=os.path.dirname(path))
    try:
        with open(descriptor, "wb") as file:
            file.write(data)
            _keep_owner(path, descriptor)
            file.flush()
            os.fsync(descriptor)
        os.rename(fresh, path)
    except BaseException:
        os.unlink(fresh)
        raise


def _keep_owner(path: str, descriptor: int) -> None:
    try:
        before = os.stat(path)
    except FileNotFoundError:
        return
    if (before.st_uid, before.st_gid) != (os.geteuid(), os.getegid()):
        os.fchown(descriptor, before.st_uid, before.st_gid)
