"""Small facts about the store itself: a text by key."""

from __future__ import annotations

from orlop.store.transaction import Transaction

__all__ = ["get", "set"]


def get(tx: Transaction, key: str) -> str | None:
    """Return the value of `key`, or None."""
    row = tx.row("SELECT value FROM meta WHERE key = ?", (key,))
    return row[0] if row else None


def set(tx: Transaction, key: str, value: str) -> None:
    """Write the value of `key`."""
    tx.execute("INSERT OR REPLACE INTO meta (key, value) VALUES (?, ?)", (key, value))
