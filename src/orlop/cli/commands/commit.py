"""`orlop commit`."""

from __future__ import annotations

from orlop.cli.command import between, command
from orlop.cli.commands.pull import parsed
from orlop.cli.failure import CommandError
from orlop.cli.flags import BOOL, LIST, STRING, Flag, Options
from orlop.cli.session import Session
from orlop.client import calls

__all__ = ["commit"]


@command(
    "[OPTIONS] CONTAINER [REPOSITORY[:TAG]]",
    between(1, 2),
    flags=(
        Flag("author", "a", STRING, "Author of the image"),
        Flag("change", "c", LIST, "Apply a Dockerfile instruction to the image"),
        Flag("message", "m", STRING, "Comment of the image's history"),
        Flag("pause", "p", BOOL, "Freeze the container meanwhile", "true"),
    ),
    interspersed=False,
    complete="container",
)
def commit(session: Session, options: Options, arguments: list[str]) -> None:
    """Make an image of what a container has changed, and print its ID."""
    repository = tag = ""
    if len(arguments) > 1 and arguments[1]:
        reference = parsed(arguments[1])
        if reference.digest is not None:
            raise CommandError("refusing to create a tag with a digest reference")
        repository, tag = reference.name, reference.tagged().tag
    call = calls.container_commit(
        arguments[0],
        repo=repository,
        tag=tag,
        comment=options.message,
        author=options.author,
        changes=options.change,
        pause=options.pause,
    )
    session.print(session.engine.do(call)["Id"])
