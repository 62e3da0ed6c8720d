"""The files that a container gets from its engine: /etc/hosts, /etc/hostname, /etc/resolv.conf.

They stand in the container's directory and are bind-mounted, so that what a container writes into them is its own.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from orlop.engine.containers import links, networking
from orlop.engine.containers.registry import Container
from orlop.errors import InvalidArgument
from orlop.formats import hosts, resolv

if TYPE_CHECKING:
    from orlop.engine.engine import Engine

__all__ = ["check", "write"]

HOST_RESOLV_CONF = Path("/etc/resolv.conf")
SYSTEMD_RESOLV_CONF = Path("/run/systemd/resolve/resolv.conf")


def write(engine: Engine, container: Container) -> None:
    """Write the files for a start. A container that joins another's network shares that one's files."""
    record = container.record
    directory = engine.directory(record.id)
    directory.mkdir(mode=0o710, parents=True, exist_ok=True)
    mode = record.host_config.network_mode
    if mode.startswith("container:"):
        target = networking.running_target(engine, mode.removeprefix("container:"))
        for name in ("hosts", "hostname", "resolv.conf"):
            source, own = engine.directory(target.id) / name, directory / name
            own.unlink(missing_ok=True)
            if source.exists():
                os.link(source, own)
        return
    _put(directory / "hostname", record.config.hostname + "\n")
    _put(directory / "hosts", _hosts(engine, container))
    _put(directory / "resolv.conf", _resolv(engine, container))


def _hosts(engine: Engine, container: Container) -> str:
    record = container.record
    names = [record.config.hostname]
    if record.config.domainname:
        names.insert(0, f"{record.config.hostname}.{record.config.domainname}")
    own = []
    if container.endpoint:
        endpoint = container.endpoint.record
        own = [(address, names) for address in (endpoint.address, endpoint.address6) if address]
    extra = [_extra(engine, entry) for entry in record.host_config.extra_hosts or []]
    linked = links.host_entries(engine, record.host_config)
    if record.host_config.network_mode == "host":
        base = Path("/etc/hosts")
        return hosts.extend(base.read_text(errors="replace") if base.exists() else "", [*extra, *linked])
    return hosts.generate([*extra, *linked, *own])


def _extra(engine: Engine, entry: str) -> tuple[str, list[str]]:
    name, separator, address = entry.partition(":") if ":" in entry else entry.partition("=")
    if not separator or not name:
        raise InvalidArgument(f'bad format for add-host: "{entry}"')
    if address == "host-gateway":
        if engine.bridge is None:
            raise InvalidArgument("unable to derive the IP value for host-gateway")
        address = engine.bridge.gateway()
    return address.strip("[]"), [name]


def _resolv(engine: Engine, container: Container) -> str:
    host, config = container.record.host_config, engine.config
    base = _host_resolv()
    return resolv.generate(
        base=base,
        nameservers=host.dns or list(config.dns),
        search=host.dns_search or list(config.dns_search),
        options=host.dns_options or list(config.dns_options),
        keep_loopback=host.network_mode == "host",
    )


def _host_resolv() -> str:
    """Return the host's resolver configuration; behind systemd-resolved's stub, the one with the real servers."""
    text = HOST_RESOLV_CONF.read_text(errors="replace") if HOST_RESOLV_CONF.exists() else ""
    if resolv.nameservers(text) == ["127.0.0.53"] and SYSTEMD_RESOLV_CONF.exists():
        return SYSTEMD_RESOLV_CONF.read_text(errors="replace")
    return text


def check(engine: Engine, container: Container) -> None:
    """Raise an error when the configuration cannot be written into these files."""
    _hosts(engine, container)
    _resolv(engine, container)


def _put(path: Path, text: str) -> None:
    """Write in place: a restarted container's file may have been replaced by a link to nowhere, never followed."""
    path.unlink(missing_ok=True)
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o644)
    try:
        os.write(fd, text.encode())
        os.fchmod(fd, 0o644)
    finally:
        os.close(fd)
