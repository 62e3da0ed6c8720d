"""`orlop inspect` and its forms for one kind of object."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Sequence

from orlop import errors
from orlop.cli.command import at_least, command
from orlop.cli.commands.image import platform_json
from orlop.cli.document import renderer
from orlop.cli.failure import CommandError, daemon_message
from orlop.cli.flags import BOOL, STRING, Flag, Options
from orlop.cli.output import indent_json
from orlop.cli.session import Session
from orlop.client import calls
from orlop.client.call import Call
from orlop.formats.template import go_json, go_quote

__all__ = ["inspect", "inspect_container", "inspect_image", "inspect_network", "inspect_volume"]

_FORMAT = Flag("format", "f", STRING, "How to print: 'json' or a Go template")
_SIZE = Flag("size", "s", BOOL, "Show the sizes of containers")

# As docker names them; Orlop's daemon has the first four.
_TYPES = ("config", "container", "image", "network", "node", "plugin", "secret", "service", "task", "volume")


@command(
    "[OPTIONS] NAME|ID [NAME|ID...]",
    at_least(1),
    flags=(_FORMAT, _SIZE, Flag("type", "", STRING, "Look only for objects of this type")),
    complete="container",
)
def inspect(session: Session, options: Options, arguments: list[str]) -> None:
    """Show objects of any kind: the first kind that has the name is shown."""
    choices = '"' + '", "'.join(_TYPES) + '"'
    if options.given("type") and not options.type:
        raise CommandError(f"type is empty: must be one of {choices}")
    if options.type and options.type not in _TYPES:
        raise CommandError(f"unknown type: {go_quote(options.type)}: must be one of {choices}")
    _show(session, options.format, arguments, lambda name: _find(session, name, options.type, size=options.size))


def _find(session: Session, name: str, wanted: str, *, size: bool) -> bytes:
    kinds: dict[str, Callable[[str], Call[bytes]]] = {
        "container": lambda name: calls.container_inspect_raw(name, size=size),
        "image": calls.image_inspect_raw,
        "network": calls.network_inspect_raw,
        "volume": calls.volume_inspect_raw,
    }
    if wanted and wanted not in kinds:
        raise CommandError(f"inspecting a {wanted} is not supported")
    for kind, call in kinds.items():
        if wanted and kind != wanted:
            continue
        try:
            raw = session.engine.do(call(name))
        except errors.Error as error:
            if wanted or not _is_elsewhere(error):
                raise
            continue
        if size and kind != "container":
            session.warn(f"WARNING: --size ignored for {kind}")
        return raw
    raise errors.Error(f"Error: No such object: {name}")


def _is_elsewhere(error: errors.Error) -> bool:
    """Say whether an error only means that the object is of another kind."""
    return (
        isinstance(error, errors.NotFound | errors.NotImplementedYet)
        or "not supported" in error.message
        or "invalid reference format" in error.message
    )


@command("[OPTIONS] CONTAINER [CONTAINER...]", at_least(1), flags=(_FORMAT, _SIZE), complete="container")
def inspect_container(session: Session, options: Options, arguments: list[str]) -> None:
    """Show containers."""
    _show(
        session,
        options.format,
        arguments,
        lambda name: session.engine.do(calls.container_inspect_raw(name, size=options.size)),
    )


@command(
    "[OPTIONS] IMAGE [IMAGE...]",
    at_least(1),
    flags=(
        Flag("files", "", BOOL, "With --layers: list every file"),
        _FORMAT,
        Flag("layers", "", BOOL, "Show what each layer added, changed, removed and wasted"),
        Flag("platform", "", STRING, "Show this platform of the image (os[/arch[/variant]])"),
    ),
    complete="image",
)
def inspect_image(session: Session, options: Options, arguments: list[str]) -> None:
    """Show images."""
    if options.layers:
        from orlop.cli.commands.anatomy import show_layers

        for name in arguments:
            show_layers(session, name, format=options.format, files=options.files)
        return
    platform = platform_json(options.platform)
    _show(
        session,
        options.format,
        arguments,
        lambda name: session.engine.do(calls.image_inspect_raw(name, platform=platform)),
    )


@command(
    "[OPTIONS] NETWORK [NETWORK...]",
    at_least(1),
    flags=(_FORMAT, Flag("verbose", "v", BOOL, "Ask a swarm's managers for more")),
    complete="network",
)
def inspect_network(session: Session, options: Options, arguments: list[str]) -> None:
    """Show networks."""
    _show(
        session,
        options.format,
        arguments,
        lambda name: session.engine.do(calls.network_inspect_raw(name, verbose=options.verbose)),
    )


@command("[OPTIONS] VOLUME [VOLUME...]", at_least(1), flags=(_FORMAT,), complete="volume")
def inspect_volume(session: Session, options: Options, arguments: list[str]) -> None:
    """Show volumes."""
    _show(session, options.format, arguments, lambda name: _volume(session.engine.do(calls.volume_inspect_raw(name))))


def _volume(raw: bytes) -> bytes:
    """Return a volume as docker's client writes its own type: the fields in order, and escaped for HTML."""
    document = json.loads(raw)
    ordered = json.loads(json.dumps(document, sort_keys=True))
    return go_json(ordered, escape_html=True).encode()


def _show(session: Session, format: str, names: Sequence[str], fetch: Callable[[str], bytes]) -> None:
    """Print what is found in the format wanted, then everything that was not found."""
    render = None if format in ("", "json") else renderer(format)
    found: list[str] = []
    failed: list[str] = []
    for name in names:
        try:
            raw = fetch(name).decode().strip()
            found.append(raw if render is None else render(json.loads(raw)))
        except errors.Error as error:
            failed.append(daemon_message(error))
        except CommandError as error:
            failed.append(error.message)
    if render is not None:
        sys.stdout.write("".join(text + "\n" for text in found) or "\n")
    elif format == "json":
        sys.stdout.write(indent_json(f"[{','.join(found)}]", compact=True) + "\n")
    else:
        sys.stdout.write(indent_json(f"[{','.join(found)}]") + "\n")
    if failed:
        raise CommandError("\n".join(failed))
