"""The driver of `--network none`: no address, nothing to be made on the host."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from orlop.model.record import EndpointRecord
from orlop.network.network import Endpoint, EndpointRequest

__all__ = ["NoneDriver"]


class NoneDriver:
    """A namespace with nothing but loopback; implements `orlop.network.network.Driver`."""

    network = "none"

    async def open(self, live: Iterable[EndpointRecord]) -> None:
        """Nothing is needed."""

    def gateway(self) -> str:
        """There is none."""
        return ""

    async def allocate(self, request: EndpointRequest) -> Endpoint:
        """Return an endpoint without address; ports are not published, as Docker has it."""
        return Endpoint(EndpointRecord(network=self.network, network_id="", endpoint_id=request.endpoint_id, ifname=""))

    async def connect(self, endpoint: Endpoint, netns_fd: int) -> dict[str, Any]:
        """Return a configuration that brings up loopback alone."""
        return {"interfaces": [], "sysctls": {}}

    async def adopt(self, record: EndpointRecord, shim_pid: int) -> None:
        """Nothing is done for it."""

    async def release(self, record: EndpointRecord) -> None:
        """Nothing is held."""

    async def close(self) -> None:
        """Nothing is open."""
