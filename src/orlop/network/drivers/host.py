"""The driver of `--network host`: the container stays in the host's namespace."""

from __future__ import annotations

from typing import Any

from orlop.errors import Internal
from orlop.network.drivers.none import NoneDriver
from orlop.network.network import Endpoint

__all__ = ["HostDriver"]


class HostDriver(NoneDriver):
    """No namespace, so nothing to connect; implements `orlop.network.network.Driver`."""

    network = "host"

    async def connect(self, endpoint: Endpoint, netns_fd: int) -> dict[str, Any]:
        """Refuse: the host's own namespace is never configured."""
        raise Internal("a container in the host's network has no namespace to connect")
