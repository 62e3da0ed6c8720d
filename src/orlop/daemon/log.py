"""The daemon's own log: events with fields on standard error, as text (logfmt) or JSON lines."""

from __future__ import annotations

import json
import logging
import sys
from datetime import UTC, datetime
from typing import Any

__all__ = ["configure", "set_level"]

_LEVELS = {
    "trace": logging.DEBUG,
    "debug": logging.DEBUG,
    "info": logging.INFO,
    "warn": logging.WARNING,
    "warning": logging.WARNING,
    "error": logging.ERROR,
    "fatal": logging.CRITICAL,
    "panic": logging.CRITICAL,
}
_NAMES = {logging.WARNING: "warning", logging.CRITICAL: "fatal"}
_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


def configure(level: str, format: str) -> None:
    """Send everything that is logged to standard error."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_JSONFormatter() if format == "json" else _TextFormatter())
    logging.basicConfig(handlers=[handler], force=True)
    set_level(level)


def set_level(level: str) -> None:
    """Log from `level` (dockerd's names) on; of other people's code from warnings on, unless at debug."""
    number = _LEVELS[level]
    logging.getLogger().setLevel(max(number, logging.WARNING))
    logging.getLogger("orlop").setLevel(number)


class _Formatter(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        fields: dict[str, Any] = {
            "time": f"{datetime.fromtimestamp(record.created, UTC):%Y-%m-%dT%H:%M:%S.%f}000Z",
            "level": _NAMES.get(record.levelno, record.levelname.lower()),
            "msg": record.getMessage(),
        }
        fields |= {name: value for name, value in vars(record).items() if name not in _STANDARD}
        if record.exc_info:
            fields["error"] = self.formatException(record.exc_info)
        return self.write(fields)

    def write(self, fields: dict[str, Any]) -> str:
        raise NotImplementedError


class _JSONFormatter(_Formatter):
    def write(self, fields: dict[str, Any]) -> str:
        return json.dumps(fields, default=str)


class _TextFormatter(_Formatter):
    def write(self, fields: dict[str, Any]) -> str:
        trace = fields.pop("error", "") if "\n" in str(fields.get("error", "")) else ""
        line = " ".join(f"{name}={_quoted(name, value)}" for name, value in fields.items())
        return f"{line}\n{trace}" if trace else line


def _quoted(name: str, value: Any) -> str:
    text = str(value)
    plain = text.isascii() and text.isprintable() and not any(char in ' "=' for char in text)
    return text if plain and text and name not in ("msg", "time") else json.dumps(text, ensure_ascii=False)
