"""Which addresses to try for a registry, and in which order."""

from __future__ import annotations

from dataclasses import dataclass

from orlop.registry.client.config import RegistryConfig

__all__ = ["HUB", "Endpoint", "endpoints", "mirror_endpoints", "registry_host"]

HUB = "docker.io"
_HUB_HOSTS = frozenset({HUB, "index.docker.io", "registry-1.docker.io"})
_HUB_SERVER = "registry-1.docker.io"


@dataclass(frozen=True, slots=True)
class Endpoint:
    """An address of a registry: ``scheme://host[:port]``. A mirror is only read from, and gets no credentials."""

    url: str
    verified: bool = True
    mirror: bool = False

    @property
    def host(self) -> str:
        """``host[:port]``, by which certificates are found."""
        return self.url.partition("://")[2]

    @property
    def secure(self) -> bool:
        """Whether what is sent there is encrypted."""
        return self.url.startswith("https:")


def registry_host(domain: str) -> str:
    """Return the host of a reference's domain."""
    return _HUB_SERVER if domain in _HUB_HOSTS else domain


def endpoints(domain: str, insecure: bool) -> tuple[Endpoint, ...]:
    """Return the addresses of the registry itself: encrypted first, plain only where it counts as insecure."""
    host = registry_host(domain)
    first = Endpoint(f"https://{host}", verified=not insecure)
    return (first, Endpoint(f"http://{host}", verified=False)) if insecure else (first,)


def mirror_endpoints(domain: str, config: RegistryConfig) -> tuple[Endpoint, ...]:
    """Return the mirrors that are asked first, each as the operator wrote it."""
    if domain not in _HUB_HOSTS:
        return ()
    urls = [mirror.rstrip("/") for mirror in config.mirrors]
    found = [Endpoint(url, mirror=True) for url in urls]
    return tuple(
        Endpoint(item.url, verified=item.secure and not config.is_insecure(item.host), mirror=True) for item in found
    )
