"""The storage on a local file system, in a root directory that one process at a time uses.

```
content/<algorithm>/<hex>                       blobs and manifests, verified (`orlop.image.content`)
repositories/<name, with ":" for "/">/
  blobs/<algorithm>/<hex>                       empty: the repository names this blob
  manifests/<algorithm>/<hex>                   the media type of a manifest
  tags/<tag>                                    the digest that it names
  referrers/<subject>/<algorithm>:<hex>         the descriptor of a manifest that has this subject
uploads/<id>/<name>                             what was uploaded so far
deletions/<number>                              a manifest that is being deleted
tmp/                                            new files; swept at the start
```

Every change is one rename, one unlink, or steps of which one decides: a manifest is there when its file below
``manifests`` is, whatever else is already or still there. A time of modification is a lease: whatever a client is told
to be there is touched under the lock, and a collection removes only what was not touched for its grace, under the same
lock. So a push and a collection never need to know of each other, and a lease outlives a restart.
"""

from __future__ import annotations

from pathlib import Path

from orlop.registry.storage import collect, deletions
from orlop.registry.storage.links import Links, repositories
from orlop.registry.storage.repository import LocalRepository
from orlop.registry.storage.root import Root
from orlop.registry.storage.storage import Collection, Report
from orlop.registry.storage.uploads import Uploads

__all__ = ["LocalStorage"]


class LocalStorage:
    """A `orlop.registry.storage.storage.Storage`. Open it with `open`."""

    def __init__(self, root: Root) -> None:
        self._root = root
        self._uploads = Uploads(root)

    @classmethod
    def open(cls, path: Path) -> LocalStorage:
        """Take the root `path` for this process alone and finish what a crash left. Raises `Unavailable`."""
        root = Root(path)
        deletions.resume(root)
        return cls(root)

    def repository(self, name: str) -> LocalRepository:
        return LocalRepository(self._root, self._uploads, name)

    async def repositories(self) -> list[str]:
        return await self._root.run(
            lambda: [name for name in repositories(self._root) if Links(self._root, name).has_manifests()]
        )

    async def collect(self, how: Collection) -> Report:
        return await collect.collect(self._root, self._uploads, how)

    async def expire_uploads(self, age: float) -> int:
        return await self._root.run(lambda: self._uploads.expire(age))

    async def close(self) -> None:
        await self._root.close()
