"""The tables of the metadata database and how an older database becomes a present one.

A record is one JSON document in a row beside the columns that are looked up or must be unique; a field that is added
to a record with a default needs no migration. A migration is a list of statements, is never edited once released, and
is carried out with the new ``user_version`` in one transaction.
"""

from __future__ import annotations

import sqlite3

from orlop.errors import Internal

__all__ = ["MIGRATIONS", "VERSION", "migrate"]

MIGRATIONS: tuple[tuple[str, ...], ...] = (
    (
        "CREATE TABLE containers (id TEXT PRIMARY KEY, name TEXT NOT NULL UNIQUE, record BLOB NOT NULL)",
        "CREATE TABLE images (id TEXT PRIMARY KEY, record BLOB NOT NULL)",
        "CREATE TABLE image_references (name TEXT PRIMARY KEY, image_id TEXT NOT NULL) WITHOUT ROWID",
        "CREATE TABLE volumes (name TEXT PRIMARY KEY, record BLOB NOT NULL)",
        "CREATE TABLE events (sequence INTEGER PRIMARY KEY, time INTEGER NOT NULL, record BLOB NOT NULL)",
        "CREATE INDEX events_by_time ON events (time)",
        "CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID",
    ),
    (
        "CREATE TABLE build_steps (key TEXT PRIMARY KEY, record BLOB NOT NULL)",
        "CREATE TABLE last_builds (name TEXT PRIMARY KEY, record BLOB NOT NULL)",
    ),
)
VERSION = len(MIGRATIONS)


def migrate(connection: sqlite3.Connection, migrations: tuple[tuple[str, ...], ...] = MIGRATIONS) -> None:
    """Bring the database up to the last of `migrations`. Raises `errors.Internal` for one that a newer Orlop wrote."""
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if version > len(migrations):
        raise Internal(
            f"the metadata database has version {version}, this orlopd knows versions up to {len(migrations)}: "
            "it was written by a newer orlopd, which is needed to read it"
        )
    for number, statements in enumerate(migrations[version:], version + 1):
        connection.execute("BEGIN IMMEDIATE")
        try:
            for statement in statements:
                connection.execute(statement)
            connection.execute(f"PRAGMA user_version = {number}")
            connection.execute("COMMIT")
        except BaseException:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            raise
