"""What a command works with: the daemon, the configuration, and the three standard streams."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

from orlop.client.config import ConfigFile
from orlop.client.endpoint import Selection, context_name, resolve
from orlop.errors import Error

if TYPE_CHECKING:
    from orlop.client.endpoint import Endpoint
    from orlop.client.engine import Engine
    from orlop.client.transport import Channel

__all__ = ["Session"]


class Session:
    """One run of the client. The daemon is contacted when `engine` is first used."""

    def __init__(self, selection: Selection, config_directory: str, *, debug: bool = False) -> None:
        self.selection = selection
        self.config = ConfigFile(config_directory)
        self.debug = debug
        self._engine: Engine | None = None
        if self.config.problem:
            self.warn(f"WARNING: {self.config.problem}")

    @property
    def engine(self) -> Engine:
        """The daemon's client."""
        if self._engine is None:
            self._engine = self.connect()
        return self._engine

    def connect(self) -> Engine:
        """Return a further client of the same daemon, for a stream beside others."""
        from orlop.client.engine import Engine

        return Engine(self.endpoint, pinned=os.environ.get("DOCKER_API_VERSION", ""), dial=dial)

    @property
    def endpoint(self) -> Endpoint:
        """The daemon's address."""
        return resolve(self.selection, os.environ, self.config)

    @property
    def context(self) -> str:
        """The name of the context in use."""
        return context_name(self.selection, os.environ, self.config)

    def print(self, text: str = "") -> None:
        """Write a line to standard output."""
        sys.stdout.write(text + "\n")

    def warn(self, text: str) -> None:
        """Write a line to standard error."""
        sys.stdout.flush()
        sys.stderr.write(text + "\n")

    def report(self, error: Error) -> None:
        """Write an error to standard error and go on."""
        from orlop.cli.failure import daemon_message

        self.warn(daemon_message(error))


def dial(endpoint: Endpoint) -> Channel:
    """Connect to any endpoint, ``ssh://`` too."""
    if endpoint.scheme == "ssh":
        from orlop.cli.ssh import connect_ssh

        return connect_ssh(endpoint)
    from orlop.client.transport import connect

    return connect(endpoint)
