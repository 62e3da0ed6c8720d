"""Garbage collection of the local root: survey, plan, perform.

The plan is pure: which manifests go, and what the others keep. It is made of a survey that is out of date at once,
which does no harm: what is pushed or relied on meanwhile has a fresh lease, and the performer looks at that under the
lock before it removes anything.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from orlop.errors import Internal, InvalidArgument
from orlop.formats.digest import Digest
from orlop.registry import references
from orlop.registry.references import References
from orlop.registry.storage.links import Links, repositories
from orlop.registry.storage.root import Root
from orlop.registry.storage.storage import Collection, Report
from orlop.registry.storage.uploads import Uploads

__all__ = ["Holdings", "Plan", "collect", "plan"]

log = logging.getLogger(__name__)

_TICK = 0.02  # seconds that times of modification lag behind the clock at most


@dataclass(frozen=True, slots=True)
class Holdings:
    """What one repository has: its manifests, those of them whose lease is fresh, and what its tags name."""

    manifests: Mapping[Digest, References]
    fresh: frozenset[Digest] = frozenset()
    tagged: frozenset[Digest] = frozenset()


@dataclass(slots=True)
class Plan:
    """By repository: the manifests that go, and the blobs that stay."""

    forget: dict[str, list[Digest]] = field(default_factory=dict)
    keep: dict[str, set[Digest]] = field(default_factory=dict)


def plan(survey: Mapping[str, Holdings], *, untagged: bool) -> Plan:
    """Decide what a collection removes; without `untagged` every manifest stays."""
    made = Plan()
    for name, holdings in survey.items():
        kept = _reachable(holdings) if untagged else set(holdings.manifests)
        made.forget[name] = sorted(set(holdings.manifests) - kept)
        made.keep[name] = kept.union(*(holdings.manifests[digest].all for digest in kept))
    return made


def _reachable(holdings: Holdings) -> set[Digest]:
    """Return what is tagged or fresh, what that leads to, and what refers to any of it."""
    referrers: dict[Digest, list[Digest]] = {}
    for digest, named in holdings.manifests.items():
        if named.subject is not None:
            referrers.setdefault(named.subject, []).append(digest)
    waiting = [*holdings.tagged, *holdings.fresh]
    kept: set[Digest] = set()
    while waiting:
        digest = waiting.pop()
        if digest in kept or digest not in holdings.manifests:
            continue
        kept.add(digest)
        waiting += holdings.manifests[digest].all
        waiting += referrers.get(digest, ())
    return kept


async def collect(root: Root, uploads: Uploads, how: Collection) -> Report:
    """Survey, plan and remove. Raises `OSError`."""
    now = time.time()
    cutoff = now - how.grace - _TICK
    began = await root.run(lambda: uploads.began(cutoff))
    if began is not None:  # what an upload that still goes on may have been told at its beginning
        cutoff = min(cutoff, began - how.grace - _TICK)
    survey = await root.run(lambda: _survey(root, cutoff))
    made = plan(survey, untagged=how.untagged)
    report = Report()
    for name, digests in made.forget.items():
        for digest in digests:
            if await _forget(root, name, digest, survey[name].manifests[digest].subject, cutoff, how.dry_run):
                report.manifests += 1
            else:
                made.keep[name] |= {digest, *survey[name].manifests[digest].all}
    await root.run(lambda: _sweep(root, made.keep, cutoff, how.dry_run, report))
    return report


def _survey(root: Root, cutoff: float) -> dict[str, Holdings]:
    return {name: _holdings(root, name, cutoff) for name in repositories(root)}


def _holdings(root: Root, name: str, cutoff: float) -> Holdings:
    repository = Links(root, name)
    manifests: dict[Digest, References] = {}
    fresh = set()
    for digest in repository.manifests():
        manifest = repository.manifest(digest)
        age = repository.leased(digest)
        if manifest is None or age is None:
            continue
        try:
            manifests[digest] = references.read_again(manifest.data, manifest.media_type)
        except InvalidArgument as error:
            raise Internal(f"nothing is collected: manifest {digest} of {name} cannot be read: {error}") from None
        if age >= cutoff:
            fresh.add(digest)
    tagged = map(repository.tagged, repository.tags())
    return Holdings(manifests, frozenset(fresh), frozenset(digest for digest in tagged if digest is not None))


async def _forget(root: Root, name: str, digest: Digest, subject: Digest | None, cutoff: float, dry_run: bool) -> bool:
    """Delete a manifest if nobody has relied on it since the survey; tell whether it is gone."""
    if dry_run:
        return True
    async with root.writing(name):
        gone = await root.run(lambda: Links(root, name).retire(digest, subject, cutoff))
    if gone:
        log.info("manifest collected", extra={"repository": name, "digest": str(digest)})
    return gone


def _sweep(root: Root, keep: Mapping[str, set[Digest]], cutoff: float, dry_run: bool, report: Report) -> None:
    """Remove the links that nothing needs, then the content that no link or manifest needs."""
    needed: set[Digest] = set()
    for name in repositories(root):
        repository = Links(root, name)
        kept = keep.get(name, set())
        needed |= kept & set(repository.manifests())
        for digest in repository.blobs():
            if digest in kept:
                needed.add(digest)
            elif not dry_run:
                with root.lock:
                    if not _fresh(root, digest, cutoff):
                        repository.unlink_blob(digest, durable=False)  # a link to nothing is no link
        if not dry_run:
            repository.prune()
    _sweep_content(root, needed, cutoff, dry_run, report)


def _sweep_content(root: Root, needed: set[Digest], cutoff: float, dry_run: bool, report: Report) -> None:
    for digest in _without(root.content.digests(), needed, report):
        with root.lock:
            status = root.tree.status(root.content_path(digest))
            if status is None:
                continue
            if status.st_mtime >= cutoff:
                report.recent_blobs += 1
                continue
            if not dry_run:
                root.scratch.discard(root.content.path(digest))
        report.blobs += 1
        report.bytes += status.st_size


def _without(digests: Iterable[Digest], needed: set[Digest], report: Report) -> Iterable[Digest]:
    for digest in digests:
        if digest in needed:
            report.kept_blobs += 1
        else:
            yield digest


def _fresh(root: Root, digest: Digest, cutoff: float) -> bool:
    status = root.tree.status(root.content_path(digest))
    return status is not None and status.st_mtime >= cutoff
