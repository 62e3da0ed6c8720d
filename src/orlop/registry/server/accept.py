"""Which manifest a client is given: what its Accept headers admit (RFC 9110, 12.5.1). Pure.

The rules beyond that are those of the reference registry, which clients were written against.
"""

from __future__ import annotations

from collections.abc import Iterable

from orlop.model.oci import media
from orlop.registry.server.failure import Failure

__all__ = ["Accepted", "wants_default"]


class Accepted:
    """The media types that a client takes; without any header it takes everything."""

    def __init__(self, headers: Iterable[str]) -> None:
        self._admitted: set[str] = set()
        self._refused: set[str] = set()
        given = False
        for entry in ",".join(headers).split(","):
            kind, *parameters = (word.strip().lower() for word in entry.split(";"))
            if not kind:
                continue
            given = True
            (self._refused if _is_zero(parameters) else self._admitted).add(kind)
        if not given:
            self._admitted.add("*/*")

    def admits(self, media_type: str) -> bool:
        media_type = media_type.lower()
        for kind in (media_type, f"{media_type.partition('/')[0]}/*", "*/*"):
            if kind in self._refused:
                return False
            if kind in self._admitted:
                return True
        return False


def wants_default(accepted: Accepted, media_type: str, *, by_tag: bool) -> bool:
    """Tell whether to give a client the default image of an index instead of the index, when it asked `by_tag`.

    Clients from before manifest lists are given the image for linux/amd64. What is of the OCI is given only to those
    that say they take it. Raises `Failure`.
    """
    if accepted.admits(media_type):
        return False
    if media_type == media.OCI_MANIFEST:
        raise Failure("MANIFEST_UNKNOWN", "OCI manifest found, but accept header does not support OCI manifests")
    if media_type == media.OCI_INDEX:
        raise Failure("MANIFEST_UNKNOWN", "OCI index found, but accept header does not support OCI indexes")
    return media_type == media.DOCKER_INDEX and by_tag and accepted.admits(media.DOCKER_MANIFEST)


def _is_zero(parameters: Iterable[str]) -> bool:
    for parameter in parameters:
        name, _, value = parameter.partition("=")
        if name.strip() == "q":
            return value.strip() in ("0", "0.", "0.0", "0.00", "0.000")
    return False
