"""The depot: where an image's parts lie, for those who bring new ones. What an `Images` and its helpers share."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from orlop.formats.digest import Digest
from orlop.image.content import Content
from orlop.image.layers import Layers
from orlop.image.leases import Leases
from orlop.image.scratch import Scratch
from orlop.model.record import LayerRecord

__all__ = ["Depot"]


@dataclass(frozen=True, slots=True)
class Depot:
    """Content store, layers, scratch directory and leases of one data root.

    `known` finds the record of a layer by the digest of its tar or of its blob, None if no image has it.
    """

    content: Content
    layers: Layers
    scratch: Scratch
    leases: Leases
    known: Callable[[str], LayerRecord | None]

    def has(self, name: str) -> bool:
        """Tell whether there is a blob (its digest) or a layer (its directory's name)."""
        return self.content.has(Digest.parse(name)) if ":" in name else self.layers.has(name)
