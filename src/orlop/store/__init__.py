"""Metadata: SQLite (WAL), typed tables, migrations, transactions."""
