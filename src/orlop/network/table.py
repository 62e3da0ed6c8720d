"""An instance's nftables table as it stands: which endpoints' ports it publishes.

A change is one element; when nftables refuses it (somebody flushed or changed the table), the whole table is made anew
as it should be. Used by the thread that owns the nftables context.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable

from orlop.linux.nftables import NftablesError
from orlop.model.record import EndpointRecord
from orlop.network.rules import BridgeRules, delete_table, publish, withdraw

__all__ = ["Table"]

log = logging.getLogger(__name__)


class Table:
    """The table of `rules`; `apply` carries out a transaction."""

    def __init__(self, rules: BridgeRules, apply: Callable[[str], None]) -> None:
        self._rules = rules
        self._apply = apply
        self._published: dict[str, EndpointRecord] = {}

    def replace(self, records: Iterable[EndpointRecord]) -> None:
        """Make the table exactly what `records` need."""
        self._published = {record.endpoint_id: record for record in records}
        self._make()

    def publish(self, record: EndpointRecord) -> None:
        """Add an endpoint's ports. Raises `NftablesError`; then they are not published."""
        self._published[record.endpoint_id] = record
        try:
            self._change(publish(self._rules.table, record))
        except NftablesError:
            del self._published[record.endpoint_id]
            raise

    def withdraw(self, record: EndpointRecord) -> None:
        """Take an endpoint's ports away, if they are there. Raises `NftablesError`."""
        if self._published.pop(record.endpoint_id, None):
            self._change(withdraw(self._rules.table, record))

    def delete(self) -> None:
        """Remove the table. Raises `NftablesError`."""
        self._apply(delete_table(self._rules.table))

    def _change(self, transaction: str) -> None:
        try:
            self._apply(transaction)
        except NftablesError as error:
            log.warning("table %s is made anew: %s", self._rules.table, error)
            self._make()

    def _make(self) -> None:
        self._apply(self._rules.text(self._published.values()))
