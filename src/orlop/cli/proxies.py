"""The ``proxies`` of the configuration: what containers and builds of a daemon get without asking."""

from __future__ import annotations

from collections.abc import Iterable

from orlop.cli.session import Session

__all__ = ["proxies"]

_VARIABLES = {
    "HTTP_PROXY": "httpProxy",
    "HTTPS_PROXY": "httpsProxy",
    "NO_PROXY": "noProxy",
    "FTP_PROXY": "ftpProxy",
    "ALL_PROXY": "allProxy",
}


def proxies(session: Session, given: Iterable[str]) -> dict[str, str]:
    """Return variables in both spellings, but for those among `given`, which are ``NAME=value`` or ``NAME``."""
    configured = session.config.mapping("proxies")
    if not configured:
        return {}
    chosen = configured.get(session.endpoint.host) or configured.get("default") or {}
    names = {text.partition("=")[0] for text in given}
    return {
        variable: str(chosen[key])
        for upper, key in _VARIABLES.items()
        if chosen.get(key)
        for variable in (upper, upper.lower())
        if variable not in names
    }
