"""Whether the database itself is sound."""

from __future__ import annotations

from orlop.store.transaction import Transaction

__all__ = ["damage"]


def damage(tx: Transaction) -> list[str]:
    """Return what SQLite finds wrong with the file, a line each; nothing if it is sound."""
    found = [str(line) for (line,) in tx.rows("PRAGMA integrity_check(20)")]
    return [] if found == ["ok"] else found
