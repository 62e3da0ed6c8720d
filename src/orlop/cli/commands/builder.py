"""`orlop builder`: the build cache, and what was kept of steps."""

from __future__ import annotations

from orlop import errors
from orlop.cli.command import at_least, command, exactly
from orlop.cli.commands.prune import confirmed, with_configured
from orlop.cli.failure import CommandError
from orlop.cli.flags import BOOL, Flag, Options
from orlop.cli.humanize import human_size
from orlop.cli.kinds import BYTES, FILTER
from orlop.cli.session import Session
from orlop.client import calls

__all__ = ["disk_usage", "dismiss", "prune", "shell"]

_OWN_SIZES = ("reserved_space", "max_used_space", "min_free_space")


@command(
    "",
    flags=(
        Flag("all", "a", BOOL, "Remove also what images share, and images' own steps"),
        Flag("filter", "", FILTER, "Remove only what fits a condition (until=24h)"),
        Flag("force", "f", BOOL, "Do not ask"),
        Flag("keep-storage", "", BYTES, "Disk space that the cache may keep"),
        Flag("max-used-space", "", BYTES, "Disk space that the cache may take at most"),
        Flag("min-free-space", "", BYTES, "Disk space that is to be free"),
        Flag("reserved-space", "", BYTES, "Disk space that the cache keeps in any case"),
    ),
)
def prune(session: Session, options: Options, arguments: list[str]) -> None:
    """Remove build cache."""
    what = "all build cache" if options.all else "all dangling build cache"
    if not confirmed(options, f"WARNING! This will remove {what}. Are you sure you want to continue?"):
        return
    sizes = {name: getattr(options, name) for name in _OWN_SIZES}
    call = calls.build_prune(
        with_configured(session, options.filter), all=options.all, keep_storage=options.keep_storage, **sizes
    )
    answer = session.engine.do(call)
    if removed := answer.get("CachesDeleted"):
        session.print("Deleted build cache objects:\n" + "".join(f"{id}\n" for id in removed))
    session.print(f"Total reclaimed space: {human_size(answer.get('SpaceReclaimed') or 0)}")


@command("[OPTIONS]", flags=(Flag("verbose", "", BOOL, "Show everything that is known of each part"),))
def disk_usage(session: Session, options: Options, arguments: list[str]) -> None:
    """Show what the build cache keeps, how large that is and when it was last used."""
    from orlop.cli.build.usage import usage_text

    items = session.engine.do(calls.disk_usage(kinds=("build-cache",))).get("BuildCache") or ()
    session.print(usage_text(items, verbose=options.verbose).rstrip("\n"))


@command("STEP", exactly(1), complete="kept")
def shell(session: Session, options: Options, arguments: list[str]) -> None:
    """Open a shell in the file system that was kept of a step."""
    from orlop.cli.build.shell import open_shell

    open_shell(session, arguments[0])


@command("STEP [STEP...]", at_least(1), complete="kept")
def dismiss(session: Session, options: Options, arguments: list[str]) -> None:
    """Remove file systems that were kept of steps."""
    failed = False
    outcomes = session.engine.each([calls.build_dismiss(name) for name in arguments])
    for name, outcome in zip(arguments, outcomes, strict=True):
        if isinstance(outcome, errors.Error):
            session.report(outcome)
            failed = True
        else:
            session.print(name)
    if failed:
        raise CommandError()
