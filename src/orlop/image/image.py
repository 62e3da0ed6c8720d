"""Images: what they are made of here, and how they come and go.

A *blob* is bytes in the content store, named by their digest: it is *ingested* (written into ``tmp/`` and hashed) and
enters ``content/`` by a rename once its digest is verified. A *layer* is an unpacked tar in ``layers/``, complete or
absent, never changed. An *image* is a record that names a configuration blob and layers, bottom first; *references*
are names that point to images. A *snapshot* is a container's writable directory above an image's layers: it is
*prepared*, mounted by the container's shim or *viewed* from outside, and *removed*.

New things are made under a *lease*: what an operation holds is never collected, so that blobs and layers may be there
before the one transaction that names them. What neither a record nor a lease names is garbage; it goes when an image
is deleted, and when the images are opened (after a crash).

`orlop.image.images.Images` is the door: an index of records and references over the store.
"""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Protocol

from orlop.model.record import ImageRecord, Rootfs

__all__ = ["Snapshotter"]


class Snapshotter(Protocol):
    """Makes the root file systems of containers. All methods are fast but `sizes` and `size`, and may block."""

    def prepare(self, container_id: str, record: ImageRecord) -> Rootfs:
        """Return the container's root file system above `record`; make it if it is not there yet."""

    def remove(self, container_id: str) -> None:
        """Remove the container's directory with all that is in it; nothing happens if there is none."""

    def view(self, rootfs: Rootfs) -> AbstractContextManager[int]:
        """Mount a root file system that no container has mounted; the directory descriptor is for `openat2`."""

    def claim(self, container_id: str) -> AbstractContextManager[None]:
        """Own the container's upper directory for a while. Raises `errors.Conflict` if it has an owner."""

    def sizes(self, container_id: str) -> tuple[int, int]:
        """Return the bytes of the container's own files, and those together with its image's."""
