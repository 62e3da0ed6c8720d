"""The files that a container gets from its engine: /etc/hosts, /etc/hostname, /etc/resolv.conf.

They stand in the container's directory and are bind-mounted, so that what a container writes into them is its own.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from orlop.engine.containers import links, networking
from orlop.engine.containers.registry import Container
from orlop.errors import InvalidArgument
from orlop.formats import hosts, resolv
from orlop.formats.hosts import HostEntry
from orlop.model.api.container import HostConfig

if TYPE_CHECKING:
    from orlop.engine.engine import Engine

__all__ = ["check", "put", "text_of_hosts", "text_of_resolv_conf", "write"]

HOST_HOSTS = Path("/etc/hosts")
HOST_RESOLV_CONF = Path("/etc/resolv.conf")
SYSTEMD_RESOLV_CONF = Path("/run/systemd/resolve/resolv.conf")


def write(engine: Engine, container: Container) -> None:
    """Write the files for a start. A container that joins another's network shares that one's files."""
    record = container.record
    directory = engine.directory(record.id)
    directory.mkdir(mode=0o710, parents=True, exist_ok=True)
    mode = record.host_config.network_mode
    if mode.startswith("container:"):
        target = networking.running_target(engine, "network", mode.removeprefix("container:"))
        for name in ("hosts", "hostname", "resolv.conf"):
            source, own = engine.directory(target.id) / name, directory / name
            own.unlink(missing_ok=True)
            if source.exists():
                os.link(source, own)
        return
    put(directory / "hostname", record.config.hostname + "\n")
    with refused():
        put(directory / "hosts", text_of_hosts(engine, container))
        put(directory / "resolv.conf", text_of_resolv_conf(engine, container))


def text_of_hosts(engine: Engine, container: Container) -> str:
    """Return a container's ``/etc/hosts``. Raises ValueError for what cannot be in it."""
    record = container.record
    extra = [_extra(engine, entry) for entry in record.host_config.extra_hosts or []]
    linked = [HostEntry(address, tuple(names)) for address, names in links.host_entries(engine, record)]
    if record.host_config.network_mode == "host":
        text = HOST_HOSTS.read_text(errors="replace") if HOST_HOSTS.exists() else ""
        return text.rstrip("\n") + "\n" + "".join(entry.line() for entry in [*extra, *linked])
    held = container.endpoint.record if container.endpoint else None
    return hosts.generate(
        hostname=record.config.hostname,
        domainname=record.config.domainname,
        addresses=[address for address in (held.address, held.address6) if address] if held else [],
        extra=[*extra, *linked],
    )


def _extra(engine: Engine, entry: str) -> HostEntry:
    name, address = hosts.parse_extra_host(entry)
    if address != hosts.HOST_GATEWAY:
        return HostEntry(address, (name,))
    if engine.bridge is None:
        raise InvalidArgument("unable to derive the IP value for host-gateway")
    return HostEntry(engine.bridge.gateway(), (name,))


def text_of_resolv_conf(engine: Engine, container: Container) -> str:
    """Return a container's ``/etc/resolv.conf``. Raises ValueError for what cannot be in it."""
    host, config = container.record.host_config, engine.config
    return resolv.generate(
        resolv.parse(_host_resolv()),
        nameservers=host.dns or config.dns,
        search=host.dns_search or config.dns_search,
        options=host.dns_options or config.dns_options,
        ipv6=bool(container.endpoint and container.endpoint.record.address6),
        keep_loopback=host.network_mode == "host",
    )


def _host_resolv() -> str:
    """Return the host's resolver configuration; behind systemd-resolved's stub, the one with the real servers."""
    text = HOST_RESOLV_CONF.read_text(errors="replace") if HOST_RESOLV_CONF.exists() else ""
    if resolv.parse(text).nameservers == ("127.0.0.53",) and SYSTEMD_RESOLV_CONF.exists():
        return SYSTEMD_RESOLV_CONF.read_text(errors="replace")
    return text


@contextmanager
def refused() -> Iterator[None]:
    """Turn what the formats refuse into the client's mistake."""
    try:
        yield
    except ValueError as error:
        raise InvalidArgument(str(error)) from None


def check(host: HostConfig) -> None:
    """Raise `InvalidArgument` when what a user asks cannot be written into these files."""
    with refused():
        for entry in host.extra_hosts or []:
            hosts.parse_extra_host(entry)
        resolv.generate(
            resolv.ResolvConf(),
            nameservers=host.dns or (),
            search=host.dns_search or (),
            options=host.dns_options or (),
        )


def put(path: Path, text: str) -> None:
    """Write in place: a restarted container's file may have been replaced by a link to nowhere, never followed."""
    path.unlink(missing_ok=True)
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o644)
    try:
        os.write(fd, text.encode())
        os.fchmod(fd, 0o644)
    finally:
        os.close(fd)
