"""`orlop push`."""

from __future__ import annotations

import sys
from typing import Any

from orlop import errors
from orlop.cli.command import command, exactly
from orlop.cli.commands.image import platform_json
from orlop.cli.commands.pull import chosen_reference, refuse_trust
from orlop.cli.credentials.access import with_access
from orlop.cli.failure import CommandError
from orlop.cli.flags import BOOL, STRING, Flag, Options
from orlop.cli.note import write_note
from orlop.cli.progress import show_progress
from orlop.cli.session import Session
from orlop.client import calls

__all__ = ["push"]

_ONE_PLATFORM = """\
Using --platform pushes only the specified platform manifest of a multi-platform image index.
Other components, like attestations, will not be included.
To push the complete multi-platform image, remove the --platform flag.
"""
_MISSING_INDENT = "\n\t\t\t\t"
_MISSING = (
    f"You're trying to push a manifest list/index which {_MISSING_INDENT}"
    f"references multiple platform specific manifests, but not all of them are available locally{_MISSING_INDENT}"
    f"or available to the remote repository.\n{_MISSING_INDENT}"
    f"Make sure you have all the referenced content and try again.\n{_MISSING_INDENT}"
    "You can also push only a single platform specific manifest directly by specifying the platform you want to push "
    "with the --platform flag."
)


@command(
    "[OPTIONS] NAME[:TAG]",
    exactly(1),
    flags=(
        Flag("all-tags", "a", BOOL, "Upload all tags of the repository"),
        Flag("disable-content-trust", "", BOOL, "Do not sign the image", "true"),
        Flag("platform", "", STRING, "Upload only this platform of an image that has several (os[/arch[/variant]])"),
        Flag("quiet", "q", BOOL, "Print nothing but the image's name"),
    ),
    complete="image",
)
def push(session: Session, options: Options, arguments: list[str]) -> None:
    """Upload an image to a registry."""
    platform = _platform(session, options.platform)
    reference = chosen_reference(session, arguments[0], all_tags=options.all_tags, quiet=options.quiet)
    if reference.digest is not None:
        raise CommandError("cannot push a digest reference")
    refuse_trust(options)
    response = with_access(
        session,
        reference.domain,
        "push",
        lambda auth: session.engine.open(
            calls.image_push(reference.name, tag=reference.tag, platform=platform, auth=auth)
        ),
    )
    notes: list[str] = []
    try:
        show_progress(response, 1, quiet=options.quiet, on_aux=lambda data: notes.extend(_notes(data)))
        if options.quiet:
            session.print(reference.canonical())
    finally:
        for note in notes:
            write_note(note, 1)


def _platform(session: Session, text: str) -> str:
    if not text:
        return ""
    try:
        encoded = platform_json(text)
    except CommandError as error:
        sys.stderr.write(f"Invalid platform {text}")
        raise CommandError(error.message.removeprefix("invalid platform: ")) from None
    write_note(_ONE_PLATFORM, 1)
    return encoded


def _notes(data: Any) -> list[str]:
    """Return what the user is told of a push that did not take everything of an index."""
    found: list[str] = []
    if not isinstance(data, dict):
        return found
    if data.get("manifestPushedInsteadOfIndex"):
        try:
            index, manifest = data["originalIndex"]["digest"], data["selectedManifest"]["digest"]
        except (KeyError, TypeError):
            raise errors.Error("the daemon's answer does not name what it pushed") from None
        found.append(
            "Not all multiplatform-content is present and only the available single-platform image was pushed\n"
            f"\033[31m{index}\033[0m -> \033[32m{manifest}\033[0m"
        )
    if data.get("contentMissing"):
        found.append(_MISSING)
    return found
