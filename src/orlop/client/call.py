"""What one request of the Engine API is: pure data, built in `calls`, carried out by an engine."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Generic, TypeVar

__all__ = ["Call", "Json", "encode_filters", "path", "returns_json", "returns_nothing", "returns_raw", "select"]

Json = dict[str, Any]
T = TypeVar("T")

_PLAIN = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~")
_IN_PATH = _PLAIN | frozenset(b"/:@")


class Call(Generic[T]):
    """A request and the way to read its answer. `path` has no version prefix; `body` may come in pieces."""

    __slots__ = ("body", "decode", "headers", "method", "path", "query")

    def __init__(
        self,
        method: str,
        path: str,
        decode: Callable[[bytes], T],
        *,
        query: Mapping[str, Any] | None = None,
        json_body: object = None,
        body: bytes | Iterable[bytes] = b"",
        headers: Iterable[tuple[str, str]] = (),
    ) -> None:
        self.method = method
        self.path = path
        self.decode = decode
        self.query = _query(query or {})
        self.headers = list(headers)
        self.body = body
        if json_body is not None:
            self.body = json.dumps(json_body, separators=(",", ":"), ensure_ascii=False).encode()
            self.headers.append(("Content-Type", "application/json"))
        elif body and not any(name == "Content-Type" for name, _ in self.headers):
            self.headers.append(("Content-Type", "application/x-tar"))

    @property
    def target(self) -> str:
        """The path with its query."""
        return f"{self.path}?{self.query}" if self.query else self.path


def _query(parameters: Mapping[str, Any]) -> str:
    """Encode what is set: None and empty values are left out, True is 1, lists are repeated."""
    pairs: list[tuple[str, str]] = []
    for key, value in parameters.items():
        for item in value if isinstance(value, (list, tuple)) else (value,):
            if item is True:
                pairs.append((key, "1"))
            elif item is not None and item is not False and item != "":
                pairs.append((key, str(item)))
    return "&".join(f"{key}={_quote(value, _PLAIN)}" for key, value in pairs)


def _quote(text: str, plain: frozenset[int]) -> str:
    return "".join(chr(byte) if byte in plain else f"%{byte:02X}" for byte in text.encode())


def path(*segments: str) -> str:
    """Join path segments; a name may hold slashes (images), everything else is quoted."""
    return "/" + "/".join(_quote(segment, _IN_PATH) for segment in segments)


def encode_filters(filters: Mapping[str, Iterable[str]] | None) -> str:
    """Return Docker's JSON form of filters, ``{"key": {"value": true}}``; empty when there are none."""
    if not filters:
        return ""
    document = {key: dict.fromkeys(values, True) for key, values in filters.items()}
    return json.dumps(document, separators=(",", ":"), sort_keys=True)


def returns_json(data: bytes) -> Any:
    return json.loads(data) if data.strip() else None


def returns_raw(data: bytes) -> bytes:
    return data


def returns_nothing(data: bytes) -> None:
    del data


def select(field: str) -> Callable[[bytes], Any]:
    """Return a decoder that takes one field of a JSON object."""
    return lambda data: json.loads(data)[field]
