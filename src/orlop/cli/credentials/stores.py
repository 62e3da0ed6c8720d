"""Where credentials are kept: ``auths`` of ``config.json``, or a helper (``credsStore``, ``credHelpers``)."""

from __future__ import annotations

import sys
from typing import Any, Protocol

from orlop.cli.credentials.auth import Auth, host_of, key_of
from orlop.cli.credentials.helper import Helper, helper_installed, on_path
from orlop.client.config import ConfigFile
from orlop.errors import Error

__all__ = ["Store", "auth_header", "store_for"]

_TOKEN = "<token>"  # as user name: the secret is an identity token
_UNENCRYPTED = """
WARNING! Your credentials are stored unencrypted in '{path}'.
Configure a credential helper to remove this warning. See
https://docs.docker.com/go/credential-store/
"""


class Store(Protocol):
    """Keeps credentials by the address of a registry."""

    def get(self, server: str) -> Auth:
        """Return what is known, an empty `Auth` when nothing is."""

    def put(self, auth: Auth) -> None:
        """Keep credentials for `auth.server`."""

    def erase(self, server: str) -> None:
        """Forget a server's credentials; it is no error when there are none."""


def store_for(config: ConfigFile, server: str) -> Store:
    """Return the store that the configuration names for a registry."""
    helper = config.mapping("credHelpers").get(server) or config.text("credsStore")
    if helper:
        return HelperStore(config, str(helper))
    if not config.mapping("auths") and not config.mapping("credHelpers") and (detected := _platform_helper()):
        return HelperStore(config, detected, remember=True)
    return FileStore(config)


def _platform_helper() -> str:
    """Return the helper that a configuration without any credentials begins with, as docker's client chooses it."""
    name = "pass" if on_path("pass") else "secretservice"
    return name if helper_installed(name) else ""


def auth_header(config: ConfigFile, domain: str, *, strict: bool = False) -> str:
    """Return ``X-Registry-Auth`` for a reference's domain.

    A store that fails is passed over: what the file itself has is sent, or nothing, unless `strict` is set.
    """
    key = key_of(domain)
    try:
        return store_for(config, key).get(key).header()
    except Error:
        if strict:
            raise
    try:
        return FileStore(config).get(key).header()
    except Error:
        return Auth().header()


class FileStore:
    """Plain credentials in the configuration file."""

    def __init__(self, config: ConfigFile) -> None:
        self._config = config

    def get(self, server: str) -> Auth:
        auths = self._config.mapping("auths")
        if server in auths:
            return self._decode(server, auths[server])
        for address, entry in auths.items():  # of clients that kept URLs
            if host_of(address) == server:
                return self._decode(address, entry)
        return Auth()

    def put(self, auth: Auth) -> None:
        auths = self._config.mapping("auths")
        if auth.server in auths and self._decode(auth.server, auths[auth.server]) == auth:
            return
        self._config.save({"auths": dict(sorted({**auths, auth.server: _encode(auth)}.items()))})
        if auth.password:
            sys.stderr.write(_UNENCRYPTED.format(path=self._config.path) + "\n")

    def erase(self, server: str) -> None:
        auths = self._config.mapping("auths")
        if server in auths:
            self._config.save({"auths": {address: entry for address, entry in auths.items() if address != server}})

    def _decode(self, address: str, entry: Any) -> Auth:
        if not isinstance(entry, dict):
            raise self._broken()
        username, password = str(entry.get("username") or ""), str(entry.get("password") or "")
        if encoded := entry.get("auth"):
            username, password = self._decode_pair(str(encoded))
        return Auth(
            username,
            password,
            str(entry.get("email") or ""),
            address,
            str(entry.get("identitytoken") or ""),
            str(entry.get("registrytoken") or ""),
        )

    def _decode_pair(self, encoded: str) -> tuple[str, str]:
        from base64 import b64decode

        try:
            username, separator, password = b64decode(encoded, validate=True).decode().partition(":")
        except ValueError:
            raise self._broken() from None
        if not separator or not username:
            raise self._broken()
        return username, password.strip("\0")

    def _broken(self) -> Error:
        return Error(f"Error parsing config file ({self._config.path}): Invalid auth configuration file")


def _encode(auth: Auth) -> dict[str, str]:
    from base64 import b64encode

    fields = {
        "auth": b64encode(f"{auth.username}:{auth.password}".encode()).decode(),
        "email": auth.email,
        "identitytoken": auth.identity_token,
        "registrytoken": auth.registry_token,
    }
    if not auth.username and not auth.password:
        del fields["auth"]
    return {key: value for key, value in fields.items() if value}


class HelperStore:
    """Credentials in the care of a helper; the configuration file only says that there are some."""

    def __init__(self, config: ConfigFile, name: str, *, remember: bool = False) -> None:
        """`remember` makes the helper the configuration's own when something is kept."""
        self._config = config
        self._name = name
        self._file = FileStore(config)
        self._helper = Helper(name)
        self._remember = remember

    def get(self, server: str) -> Auth:
        auth = self._file.get(server)
        found = self._helper.get(server)
        if found is None:
            return auth._replace(username="", password="", identity_token="", server="")
        username, secret = found
        if username == _TOKEN:
            return auth._replace(username="", password="", identity_token=secret, server=server)
        return auth._replace(username=username, password=secret, identity_token="", server=server)

    def put(self, auth: Auth) -> None:
        if auth.identity_token:
            self._helper.store(auth.server, _TOKEN, auth.identity_token)
        else:
            self._helper.store(auth.server, auth.username, auth.password)
        if self._remember:
            self._config.save({"credsStore": self._name})
        self._file.put(auth._replace(username="", password="", identity_token=""))

    def erase(self, server: str) -> None:
        self._helper.erase(server)
        self._file.erase(server)
