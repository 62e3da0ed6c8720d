"""The credentials of all registries together, for a build, which may need images of any."""

from __future__ import annotations

from base64 import urlsafe_b64encode

from orlop.cli.credentials.auth import Auth
from orlop.cli.credentials.stores import store_for
from orlop.cli.session import Session
from orlop.errors import Error
from orlop.formats.template import go_json

__all__ = ["registry_config"]


def registry_config(session: Session) -> str:
    """Return the value of ``X-Registry-Config``, "" for nothing; a store that fails is told of and passed over."""
    config = session.config
    found: dict[str, dict[str, str]] = {}
    for server in {**config.mapping("auths"), **config.mapping("credHelpers")}:
        try:
            auth = store_for(config, server).get(server)
        except Error as error:
            session.warn(f"Unable to retrieve stored credentials for {server}, error: {error.message}.")
            continue
        if auth._replace(server="") != Auth():
            found[server] = auth._replace(server=auth.server or server).body()
    return urlsafe_b64encode(go_json(found, escape_html=True).encode()).decode() if found else ""
