"""`orlop pull`, and the pull that `run` and `create` begin with when an image is not there."""

from __future__ import annotations

import os

from orlop import errors
from orlop.cli.command import command, exactly
from orlop.cli.credentials.access import with_access
from orlop.cli.credentials.stores import auth_header
from orlop.cli.failure import CommandError
from orlop.cli.flags import BOOL, STRING, Flag, Options, parse_bool
from orlop.cli.progress import show_progress
from orlop.cli.session import Session
from orlop.client import calls
from orlop.formats.reference import Reference, parse

__all__ = ["NO_TRUST", "chosen_reference", "parsed", "pull", "pull_for_container", "refuse_trust"]

NO_TRUST = "content trust is not supported: images are verified by their digests"


def parsed(text: str) -> Reference:
    """Return a reference; the error is the client's own."""
    try:
        return parse(text)
    except errors.InvalidArgument as error:
        raise CommandError(error.message) from None


def chosen_reference(session: Session, text: str, *, all_tags: bool, quiet: bool) -> Reference:
    """Return what `pull` and `push` are about, with the tag that a name alone stands for."""
    reference = parsed(text)
    named_only = not reference.tag and reference.digest is None
    if all_tags and not named_only:
        raise CommandError("tag can't be used with --all-tags/-a")
    if not all_tags and named_only:
        reference = reference.tagged()
        if not quiet:
            session.print(f"Using default tag: {reference.tag}")
    return reference


def refuse_trust(options: Options) -> None:
    """Refuse to verify signatures, asked for by the flag or, as docker reads it, by ``DOCKER_CONTENT_TRUST``."""
    wanted = not options.disable_content_trust
    if not options.given("disable-content-trust") and (text := os.environ.get("DOCKER_CONTENT_TRUST")):
        try:
            wanted = parse_bool(text)
        except ValueError:
            wanted = True
    if wanted:
        raise CommandError(NO_TRUST)


@command(
    "[OPTIONS] NAME[:TAG|@DIGEST]",
    exactly(1),
    flags=(
        Flag("all-tags", "a", BOOL, "Download all tagged images of the repository"),
        Flag("disable-content-trust", "", BOOL, "Do not verify the image's signature", "true"),
        Flag("platform", "", STRING, "Platform of the image", os.environ.get("DOCKER_DEFAULT_PLATFORM", "")),
        Flag("quiet", "q", BOOL, "Print nothing but the image's name"),
    ),
)
def pull(session: Session, options: Options, arguments: list[str]) -> None:
    """Download an image from a registry."""
    reference = chosen_reference(session, arguments[0], all_tags=options.all_tags, quiet=options.quiet)
    if reference.digest is None:
        refuse_trust(options)
    tag = "" if options.all_tags else _api_tag(reference)
    platform = options.platform.lower()
    response = with_access(
        session,
        reference.domain,
        "pull",
        lambda auth: session.engine.open(calls.image_pull(reference.name, tag=tag, platform=platform, auth=auth)),
    )
    show_progress(response, 1, quiet=options.quiet)
    session.print(reference.canonical())


def pull_for_container(session: Session, image: str, *, platform: str, quiet: bool) -> None:
    """Download the image of a container that is to be made; what is told goes to standard error."""
    try:
        reference = parse(image).tagged()
    except errors.InvalidArgument as error:
        raise errors.Error(error.message) from None
    auth = auth_header(session.config, reference.domain, strict=True)
    call = calls.image_pull(reference.name, tag=_api_tag(reference), platform=platform.lower(), auth=auth)
    show_progress(session.engine.open(call), 2, quiet=quiet)


def _api_tag(reference: Reference) -> str:
    return str(reference.digest) if reference.digest else reference.tag
