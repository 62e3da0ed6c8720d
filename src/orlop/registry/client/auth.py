"""Authorization at one endpoint (distribution-spec, token authentication of Docker).

A registry that wants a token names the server that gives them (the *realm*). The user's secret is sent there and to
the registry only, and to neither over a plain connection unless the registry itself is one that counts as insecure.
"""

from __future__ import annotations

import asyncio
import base64
import re
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from urllib.parse import urlencode, urlsplit

import msgspec

from orlop.errors import Forbidden, Internal, InvalidArgument, Unauthorized
from orlop.registry.client.challenges import Challenge, parse_challenges
from orlop.registry.client.credentials import Credentials
from orlop.registry.client.failures import from_answer, public_url
from orlop.registry.client.mirrors import Endpoint
from orlop.registry.client.transport import Body, Call, Transport, check_url, read_bounded

__all__ = ["CLIENT_ID", "Authorizer"]

CLIENT_ID = "docker"
"""Token servers know Docker's clients by this name."""

_MAX_TOKEN_ANSWER = 1 << 20
_TOKEN = re.compile(r"[\x21-\x7e]+")
_DEFAULT_LIFE = 60.0
_LONGEST_LIFE = 24 * 3600.0
_MARGIN = 10.0


class _TokenAnswer(msgspec.Struct):
    token: str | None = None
    access_token: str | None = None
    refresh_token: str | None = None
    expires_in: float | None = None


@dataclass(frozen=True, slots=True)
class _Token:
    value: str = field(repr=False)
    good_until: float  # of time.monotonic()


class Authorizer:
    """Gives the Authorization header for requests to one endpoint. Several tasks may ask at once."""

    def __init__(self, transport: Transport, endpoint: Endpoint, credentials: Credentials | None) -> None:
        self._transport = transport
        self._endpoint = endpoint
        self._credentials = credentials
        self._challenge: Challenge | None = None
        self._tokens: dict[frozenset[str], _Token] = {}
        self._lock = asyncio.Lock()

    def learn(self, headers: Iterable[str]) -> None:
        """Take notice of the ``WWW-Authenticate`` of an answer with status 401."""
        challenges = {challenge.scheme: challenge for challenge in reversed(parse_challenges(headers))}
        found = challenges.get("bearer") or challenges.get("basic")
        if found is not None:
            self._challenge = found

    async def header(self, scopes: frozenset[str]) -> str | None:
        """Return the header for a request that needs `scopes`, None if the registry asks for none.

        Raises `Unauthorized` for lack of credentials, and what the token server answers.
        """
        credentials = self._credentials
        if credentials is not None and credentials.registry_token:
            return f"Bearer {credentials.registry_token}"
        challenge = self._challenge
        if challenge is None:
            return None
        if challenge.scheme == "basic":
            return self._basic()
        async with self._lock:
            token = self._tokens.get(scopes)
            if token is None or token.good_until < time.monotonic():
                token = self._tokens[scopes] = await self._fetch(challenge, scopes)
            return f"Bearer {token.value}"

    async def renew(self, headers: Iterable[str], scopes: frozenset[str], used: str | None) -> str | None:
        """Return another header than the one that was `used` in vain, None if there is none to be had."""
        self.learn(headers)
        challenge = self._challenge
        if challenge is None or (self._credentials is not None and self._credentials.registry_token):
            return None
        if challenge.scheme == "bearer":
            async with self._lock:
                token = self._tokens.get(scopes)
                if token is not None and used == f"Bearer {token.value}":
                    del self._tokens[scopes]
        header = await self.header(scopes)
        return header if header != used else None

    async def log_in(self) -> str:
        """Fetch a token for nothing but the name and password; return the refresh token, empty if there is none."""
        challenge = self._challenge
        if challenge is None or challenge.scheme != "bearer":
            return ""
        answer = await self._ask(challenge, frozenset(), offline=True)
        token = self._token(answer)
        self._tokens[frozenset()] = token
        return answer.refresh_token or ""

    def _basic(self) -> str:
        credentials = self._credentials
        if credentials is None or not credentials.username:
            raise Unauthorized("no basic auth credentials")
        return _basic(credentials)

    async def _fetch(self, challenge: Challenge, scopes: frozenset[str]) -> _Token:
        return self._token(await self._ask(challenge, scopes, offline=False))

    @staticmethod
    def _token(answer: _TokenAnswer) -> _Token:
        value = answer.token or answer.access_token or ""
        if not value:
            raise Internal("authorization server did not include a token in the response")
        if not _TOKEN.fullmatch(value):
            raise Internal("authorization server did not include a valid token in the response")
        life = answer.expires_in if answer.expires_in and answer.expires_in > 0 else _DEFAULT_LIFE
        life = max(min(life, _LONGEST_LIFE), _DEFAULT_LIFE)
        return _Token(value, time.monotonic() + life - _MARGIN)

    async def _ask(self, challenge: Challenge, scopes: frozenset[str], *, offline: bool) -> _TokenAnswer:
        call = self._token_call(self._realm(challenge), challenge, scopes, offline)
        async with await self._transport.send(call) as response:
            body = await read_bounded(response, _MAX_TOKEN_ANSWER, self._transport.config.patience.answer)
            if response.status != 200:
                raise from_answer(response.status, body, ())
        try:
            return msgspec.json.decode(body, type=_TokenAnswer)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            raise Internal(f"unable to decode token response of {public_url(call.url)}") from None

    def _token_call(self, realm: str, challenge: Challenge, scopes: frozenset[str], offline: bool) -> Call:
        """Return the request for a token: with the refresh token of a login, the name and password, or nothing."""
        credentials = self._credentials
        wanted = sorted(scopes)  # never what the registry names: it might name another's
        service = challenge.get("service")
        if credentials is not None and credentials.identity_token:
            form = {
                "grant_type": "refresh_token",
                "refresh_token": credentials.identity_token,
                "service": service,
                "client_id": CLIENT_ID,
                "scope": " ".join(wanted),
            }
            headers = {"Content-Type": "application/x-www-form-urlencoded"}
            return Call("POST", realm, headers, body=Body.of(urlencode(form).encode()))
        query = [("service", service)] if service else []
        query += [("scope", scope) for scope in wanted]
        authorization = None
        if credentials is not None and credentials.username:
            query += [("account", credentials.username)]
            if offline:
                query += [("offline_token", "true"), ("client_id", CLIENT_ID)]
            authorization = _basic(credentials)
        address = realm + ("&" if "?" in realm else "?") + urlencode(query)
        return Call("GET", address, authorization=authorization)

    def _realm(self, challenge: Challenge) -> str:
        """Return the address of the token server. Raises `Forbidden`, `InvalidArgument`: the registry chose it."""
        text = challenge.get("realm")
        if not text:
            raise InvalidArgument(f"{self._endpoint.host}: no realm specified for token auth challenge")
        realm = check_url(text)
        if realm.startswith("http:") and not self._counts_as_insecure(realm):
            raise Forbidden(
                f"{self._endpoint.host} names a token server that is not encrypted: {public_url(realm)}; "
                "nothing was sent there"
            )
        return realm

    def _counts_as_insecure(self, realm: str) -> bool:
        """Tell whether a token server need not be encrypted: it is insecure itself or one with the registry."""
        host = urlsplit(realm).netloc
        if self._transport.is_insecure(host):
            return True
        return not self._endpoint.verified and urlsplit(realm).hostname == urlsplit(self._endpoint.url).hostname


def _basic(credentials: Credentials) -> str:
    pair = f"{credentials.username}:{credentials.password}".encode()
    return f"Basic {base64.b64encode(pair).decode()}"
