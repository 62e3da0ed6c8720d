"""Events of images, with the attributes that Docker gives them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from orlop.errors import NotFound
from orlop.model.record import ImageRecord

if TYPE_CHECKING:
    from orlop.engine.engine import Engine

__all__ = ["labels_of", "publish"]


def labels_of(engine: Engine, record: ImageRecord) -> dict[str, str]:
    """Return the labels of an image."""
    config: Mapping[str, Any] = engine.images.config(record).get("config") or {}
    labels: dict[str, str] = config.get("Labels") or {}
    return labels


def publish(engine: Engine, action: str, image_id: str, name: str, labels: Mapping[str, str] | None = None) -> None:
    """Tell that `action` happened to an image; its labels are looked up unless they are given (it may be gone)."""
    if labels is None:
        try:
            labels = labels_of(engine, engine.images.get(image_id))
        except NotFound:
            labels = {}
    engine.events.publish("image", action, image_id, {**labels, "name": name})
