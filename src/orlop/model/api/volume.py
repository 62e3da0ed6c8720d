"""Bodies of the volume routes."""

from __future__ import annotations

from orlop.model.api.base import Body

__all__ = ["VolumeCreate"]


class VolumeCreate(Body, frozen=True, kw_only=True):
    """The body of `POST /volumes/create`."""

    name: str = ""
    driver: str = ""
    driver_opts: dict[str, str] | None = None
    labels: dict[str, str] | None = None
