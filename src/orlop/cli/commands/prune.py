"""`orlop container|image|volume|system prune`."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

from orlop import errors
from orlop.cli.command import command
from orlop.cli.commands.look import natural
from orlop.cli.failure import CommandError
from orlop.cli.flags import BOOL, Flag, Options
from orlop.cli.humanize import human_size
from orlop.cli.kinds import FILTER, Filters
from orlop.cli.session import Session
from orlop.client import calls

__all__ = ["confirmed", "containers", "images", "system", "volumes", "with_configured"]

Report = tuple[int, str]

_FORCE = Flag("force", "f", BOOL, "Do not ask")
_FILTER = Flag("filter", "", FILTER, "Remove only what fits a condition (until=24h, label=name)")


def confirmed(options: Options, warning: str) -> bool:
    """Ask whether to go on; anything but "y" means no."""
    if options.force:
        return True
    sys.stdout.write(f"{warning} [y/N] ")
    sys.stdout.flush()
    return sys.stdin.readline().strip().lower() == "y"


def with_configured(session: Session, filters: Filters) -> Filters:
    """Add the filters of the configuration, except those that the command line contradicts."""
    merged = {key: list(values) for key, values in filters.items()}
    opposite = {"label": "label!", "label!": "label"}
    for text in session.config.strings("pruneFilters"):
        key, separator, value = text.partition("=")
        if separator and value not in filters.get(opposite.get(key, ""), ()):
            merged.setdefault(key, []).append(value)
    return merged


def _say(session: Session, reports: Sequence[Report]) -> None:
    for _, text in reports:
        if text:
            session.print(text)
    session.print(f"Total reclaimed space: {human_size(sum(space for space, _ in reports))}")


def _report(answer: dict[str, Any], key: str, title: str) -> Report:
    names = answer.get(key) or ()
    text = f"{title}:\n" + "".join(f"{name}\n" for name in names) if names else ""
    return (answer.get("SpaceReclaimed") or 0 if names else 0), text


@command("[OPTIONS]", flags=(_FILTER, _FORCE))
def containers(session: Session, options: Options, arguments: list[str]) -> None:
    """Remove all stopped containers."""
    if confirmed(options, "WARNING! This will remove all stopped containers.\nAre you sure you want to continue?"):
        _say(session, [_prune_containers(session, options)])


def _prune_containers(session: Session, options: Options) -> Report:
    answer = session.engine.do(calls.container_prune(with_configured(session, options.filter)))
    return _report(answer, "ContainersDeleted", "Deleted Containers")


@command("[OPTIONS]", flags=(Flag("all", "a", BOOL, "Remove all images that no container uses"), _FILTER, _FORCE))
def images(session: Session, options: Options, arguments: list[str]) -> None:
    """Remove images that have no name, or with --all those that no container uses."""
    which = "images without at least one container associated to them" if options.all else "dangling images"
    if confirmed(options, f"WARNING! This will remove all {which}.\nAre you sure you want to continue?"):
        _say(session, [_prune_images(session, options)])


def _prune_images(session: Session, options: Options) -> Report:
    filters = {**options.filter, "dangling": ["false" if options.all else "true"]}
    answer = session.engine.do(calls.image_prune(with_configured(session, filters)))
    removed = answer.get("ImagesDeleted") or ()
    if not removed:
        return 0, ""
    lines = [
        f"untagged: {item['Untagged']}\n" if item.get("Untagged") else f"deleted: {item['Deleted']}\n"
        for item in removed
    ]
    return answer.get("SpaceReclaimed") or 0, "Deleted Images:\n" + "".join(lines)


@command("[OPTIONS]", flags=(Flag("all", "a", BOOL, "Remove named volumes too"), _FILTER, _FORCE))
def volumes(session: Session, options: Options, arguments: list[str]) -> None:
    """Remove volumes that no container uses."""
    filters = with_configured(session, options.filter)
    if options.all and "all" in filters:
        raise CommandError("conflicting options: cannot specify both --all and --filter all=1")
    kind = "all" if options.all else "anonymous"
    warning = f"WARNING! This will remove {kind} local volumes not used by at least one container."
    if confirmed(options, f"{warning}\nAre you sure you want to continue?"):
        _say(session, [_prune_volumes(session, {**filters, "all": ["true"]} if options.all else filters)])


def _prune_volumes(session: Session, filters: Filters) -> Report:
    return _report(session.engine.do(calls.volume_prune(filters)), "VolumesDeleted", "Deleted Volumes")


@command(
    "[OPTIONS]",
    flags=(
        Flag("all", "a", BOOL, "Remove all images that no container uses"),
        _FILTER,
        _FORCE,
        Flag("volumes", "", BOOL, "Remove anonymous volumes too"),
    ),
)
def system(session: Session, options: Options, arguments: list[str]) -> None:
    """Remove what is not used: containers, networks, images, build cache, and volumes if asked."""
    if options.volumes and "until" in options.filter:
        raise CommandError('ERROR: The "until" filter is not supported with "--volumes"')
    filters = with_configured(session, options.filter)
    if not confirmed(options, _warning(options, filters)):
        return
    reports = [_prune_containers(session, options)]
    reports += _try(session, "networks", lambda: _prune_networks(session, filters))
    if options.volumes:
        reports.append(_prune_volumes(session, filters))
    reports.append(_prune_images(session, options))
    reports += _try(session, "build cache", lambda: _prune_builds(session, options, filters))
    _say(session, reports)


def _try(session: Session, what: str, prune: Any) -> list[Report]:
    """Prune what the daemon may not have; then it has nothing to remove either."""
    try:
        return [prune()]
    except errors.NotImplementedYet as error:
        session.warn(f"WARNING: {what} not pruned: {error}")
        return []


def _prune_networks(session: Session, filters: Filters) -> Report:
    return _report(session.engine.do(calls.network_prune(filters)), "NetworksDeleted", "Deleted Networks")


def _prune_builds(session: Session, options: Options, filters: Filters) -> Report:
    answer = session.engine.do(calls.build_prune(filters, all=options.all))
    return _report(answer, "CachesDeleted", "Deleted build cache objects")


def _warning(options: Options, filters: Filters) -> str:
    doomed = ["all stopped containers", "all networks not used by at least one container"]
    if options.volumes:
        doomed.append("all anonymous volumes not used by at least one container")
    if options.all:
        doomed += ["all images without at least one container associated to them", "all build cache"]
    else:
        doomed += ["all dangling images", "unused build cache"]
    text = "WARNING! This will remove:\n" + "".join(f"  - {item}\n" for item in doomed)
    shown = [f"{key}={value}" for key in ("label", "label!", "until") for value in filters.get(key, ())]
    if shown:
        text += "\n  Items to be pruned will be filtered with:\n"
        text += "".join(f"  - {item}\n" for item in sorted(shown, key=natural))
    return text + "\nAre you sure you want to continue?"
