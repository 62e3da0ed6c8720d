"""What went wrong at a registry, in dockerd's words.

Two kinds may be tried again: `Interrupted` (a connection that could not be made or broke, a server that is busy or
stalls) and what a caller decides. Nothing here holds a header, a query string or a token.
"""

from __future__ import annotations

import asyncio
import errno
import http
import json
import os
import re
import ssl
from collections.abc import Iterable
from typing import Any

import aiohttp

from orlop.errors import (
    Error,
    Forbidden,
    Internal,
    InvalidArgument,
    NotFound,
    Unauthorized,
    Unavailable,
)
from orlop.registry.client.challenges import Challenge

__all__ = [
    "CONNECTION_ERRORS",
    "Interrupted",
    "RegistryError",
    "Unreachable",
    "from_answer",
    "from_connection",
    "public_url",
    "status_text",
]

CONNECTION_ERRORS = (aiohttp.ClientError, asyncio.TimeoutError, OSError, ssl.SSLError)
"""What aiohttp raises when a connection fails, before and after it stands."""

_MAX_SHOWN = 1024
_ALERT = re.compile(r"\[SSL: ([A-Z0-9_]+)\]")
_TRIED = re.compile(r"Connect call failed \('([0-9a-f:.]+)'")
_RETRYABLE = frozenset({408, 425, 429, 500, 502, 503, 504})


class Interrupted(Unavailable):
    """A connection broke or a server was busy: the same request may succeed later. Status 500, as dockerd's.

    `retry_after` is the seconds that the server asks for.
    """

    status = 500
    retry_after = 0.0


class Unreachable(Interrupted):
    """No connection could be made at all, or not one of the kind that was asked for."""


class RegistryError(Error):
    """A registry refused; `code` is that of the distribution-spec, such as ``MANIFEST_UNKNOWN``."""

    def __init__(self, message: str, code: str = "", status: int = 500) -> None:
        super().__init__(message)
        self.code = code
        self.status = status


_STATUSES: dict[str, type[Error]] = {
    "UNAUTHORIZED": Unauthorized,
    "DENIED": Forbidden,
    "BLOB_UNKNOWN": NotFound,
    "MANIFEST_UNKNOWN": NotFound,
    "NAME_UNKNOWN": NotFound,
    "NAME_INVALID": InvalidArgument,
    "TAG_INVALID": InvalidArgument,
    "DIGEST_INVALID": InvalidArgument,
    "SIZE_INVALID": InvalidArgument,
    "MANIFEST_INVALID": InvalidArgument,
    "UNSUPPORTED": InvalidArgument,
}

_BARE = {
    401: ("UNAUTHORIZED", "authentication required"),
    403: ("DENIED", "requested access to the resource is denied"),
    429: ("TOOMANYREQUESTS", "too many requests"),
}
"""What an answer means that says no more than its status, as to a HEAD request."""


def public_url(url: str) -> str:
    """Return an address as it may be shown: the query of a signed one is a secret."""
    return url.partition("?")[0].partition("#")[0][:_MAX_SHOWN]


def status_text(status: int) -> str:
    """Return a status as Go prints it: ``404 Not Found``."""
    try:
        return f"{status} {http.HTTPStatus(status).phrase}"
    except ValueError:
        return f"{status} "


def from_connection(method: str, url: str, error: BaseException) -> Interrupted:
    """Return the error for a connection that failed."""
    kind, text = _connection_text(error)
    return kind(f'{method.capitalize()} "{public_url(url)}": {text}')


def _connection_text(error: BaseException) -> tuple[type[Interrupted], str]:
    if isinstance(error, aiohttp.ClientConnectorDNSError):
        return Unreachable, f"dial tcp: lookup {error.host}: no such host"
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        return Unreachable, f"tls: failed to verify certificate: x509: {_certificate_text(error.certificate_error)}"
    if isinstance(error, aiohttp.ClientConnectorSSLError):
        return Unreachable, _tls_text(error.os_error)
    if isinstance(error, aiohttp.ClientConnectorError):
        return Unreachable, f"dial tcp {_address(error)}: connect: {_errno_text(error.os_error)}"
    if isinstance(error, aiohttp.ConnectionTimeoutError):
        return Unreachable, "net/http: request canceled while waiting for connection (Client.Timeout exceeded)"
    if isinstance(error, asyncio.TimeoutError):
        return Interrupted, "net/http: request canceled (Client.Timeout exceeded while awaiting headers)"
    if isinstance(error, aiohttp.ServerDisconnectedError | aiohttp.ClientPayloadError):
        return Interrupted, "unexpected EOF"
    if isinstance(error, aiohttp.ClientResponseError):
        return Interrupted, f"net/http: HTTP/1.x transport connection broken: malformed HTTP response ({error.status})"
    if isinstance(error, OSError) and (isinstance(error, ssl.SSLError) or _ALERT.search(str(error))):
        return Interrupted, _tls_text(error)
    if isinstance(error, OSError):
        return Interrupted, _errno_text(error)
    return Interrupted, "invalid request or answer"


def _address(error: aiohttp.ClientConnectorError) -> str:
    tried = _TRIED.search(str(error.os_error))  # the address that the name stands for
    host = tried[1] if tried else error.host
    return f"[{host}]:{error.port}" if ":" in host else f"{host}:{error.port}"


def _errno_text(error: OSError) -> str:
    if error.errno and error.errno > 0:
        return os.strerror(error.errno).lower()
    # several addresses were tried: asyncio joins their errors into one text
    return "connection refused" if f"[Errno {errno.ECONNREFUSED}]" in str(error) else "connection failed"


def _tls_text(error: OSError) -> str:
    alert = _ALERT.search(str(error))
    reason = getattr(error, "reason", "") or (alert[1] if alert else "")
    if reason in ("WRONG_VERSION_NUMBER", "RECORD_LAYER_FAILURE", "HTTP_REQUEST", "UNKNOWN_PROTOCOL"):
        return "http: server gave HTTP response to HTTPS client"
    words = reason.rpartition("_ALERT_")[2].lower().replace("_", " ")
    return f"remote error: tls: {words or 'handshake failure'}"


def _certificate_text(error: BaseException) -> str:
    text = str(getattr(error, "verify_message", "") or error)
    known = {
        "self-signed certificate": "certificate signed by unknown authority",
        "self-signed certificate in certificate chain": "certificate signed by unknown authority",
        "unable to get local issuer certificate": "certificate signed by unknown authority",
        "certificate has expired": "certificate has expired or is not yet valid",
    }
    return known.get(text, text)


def from_answer(status: int, body: bytes, challenges: Iterable[Challenge] = ()) -> Error:
    """Return the error for an answer that is none of those that were hoped for."""
    if 400 <= status < 500:
        for challenge in challenges:
            if status == 401 and challenge.get("error") == "insufficient_scope":
                return _registry_error("DENIED", "requested access to the resource is denied", status)
        return _from_body(status, body)
    message = f"received unexpected HTTP status: {status_text(status)}"
    return Interrupted(message) if status in _RETRYABLE else Internal(message)


def _from_body(status: int, body: bytes) -> Error:
    try:
        document: Any = json.loads(body)
    except (ValueError, RecursionError):
        if status in _BARE and (status != 403 or not body):
            return _registry_error(*_BARE[status], status)
        return RegistryError(f"error parsing HTTP {status} response body: {_json_complaint(body)}", status=500)
    if isinstance(document, dict):
        details = document.get("details")
        if isinstance(details, str) and details:
            codes = {401: "UNAUTHORIZED", 403: "DENIED", 429: "TOOMANYREQUESTS"}
            return _registry_error(codes.get(status, "UNKNOWN"), details, status)
        entries = document.get("errors")
        listed = [entry for entry in entries if isinstance(entry, dict)] if isinstance(entries, list) else []
        if listed:
            return _listed(listed, status)
    if status == 401:
        return _registry_error("UNAUTHORIZED", "authentication required", status)
    return RegistryError(
        f"error parsing HTTP {status} response body: no error details found in HTTP response body: {_quoted(body)}"
    )


def _listed(entries: list[dict[str, Any]], status: int) -> Error:
    errors = [
        _registry_error(str(entry.get("code") or "UNKNOWN"), str(entry.get("message") or ""), status)
        for entry in entries[:10]
    ]
    if len(errors) == 1:
        return errors[0]
    first = errors[0]
    text = "errors:\n" + "".join(f"{error}\n" for error in errors)
    return RegistryError(text, first.code, first.status) if isinstance(first, RegistryError) else Interrupted(text)


def _registry_error(code: str, message: str, status: int) -> Error:
    words = _printable(code).lower().replace("_", " ")
    message = _printable(message) or words
    kind = _STATUSES.get(code)
    if status in _RETRYABLE:
        return Interrupted(f"{words}: {message}")
    return RegistryError(f"{words}: {message}", code, kind.status if kind is not None else 500)


def _printable(text: str) -> str:
    """Return what a registry said as a terminal may show it."""
    return "".join(letter if letter.isprintable() else "\N{REPLACEMENT CHARACTER}" for letter in text[:_MAX_SHOWN])


def _json_complaint(body: bytes) -> str:
    text = body.decode(errors="replace").lstrip(" \t\r\n")
    if not text:
        return 'unexpected end of JSON input: ""'
    return f"invalid character '{text[0]}' looking for beginning of value: {_quoted(body)}"


def _quoted(body: bytes) -> str:
    return json.dumps(body[:_MAX_SHOWN].decode(errors="replace"))
