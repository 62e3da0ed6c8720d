"""What a function that reads or writes the store is given: one transaction on one connection."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Sequence
from typing import Any

__all__ = ["Parameter", "Transaction", "UniqueViolation"]

Parameter = str | bytes | int | None
UniqueViolation = sqlite3.IntegrityError


class Transaction:
    """An open transaction. It is used by the function that it was handed to, while that function runs, only."""

    __slots__ = ("_connection",)

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def execute(self, statement: str, parameters: Sequence[Parameter] = ()) -> int:
        """Carry out a statement that gives no rows; return how many rows it changed."""
        return self._connection.execute(statement, parameters).rowcount

    def execute_many(self, statement: str, parameters: Iterable[Sequence[Parameter]]) -> None:
        """Carry out a statement once for each of `parameters`."""
        self._connection.executemany(statement, parameters)

    def rows(self, statement: str, parameters: Sequence[Parameter] = ()) -> list[tuple[Any, ...]]:
        """Return all rows of a query."""
        return self._connection.execute(statement, parameters).fetchall()

    def row(self, statement: str, parameters: Sequence[Parameter] = ()) -> tuple[Any, ...] | None:
        """Return the first row of a query, or None."""
        row: tuple[Any, ...] | None = self._connection.execute(statement, parameters).fetchone()
        return row
