"""One JSON document rendered by a ``--format``: what `inspect`, `info`, `version` and `events` print."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from orlop.cli.failure import CommandError
from orlop.formats.template import go_json, go_text, parse

__all__ = ["renderer", "sorted_maps"]

# Maps of free keys, which Go writes in order; the fields of structs keep theirs.
_MAPS = frozenset(
    (
        "Annotations",
        "Attributes",
        "Config",
        "Containers",
        "Data",
        "DriverOpts",
        "ExposedPorts",
        "Labels",
        "Networks",
        "Options",
        "PortBindings",
        "Ports",
        "Runtimes",
        "StorageOpt",
        "Sysctls",
        "Tmpfs",
        "Volumes",
    )
)


def renderer(format: str) -> Callable[[dict[str, Any]], str]:
    """Return a function that renders a document; raise `CommandError` for a template that does not parse.

    The function raises `CommandError` when the document lacks what the template names.
    """
    parts = parse(format)
    if parts is None:
        return _full(format)

    def render(document: dict[str, Any]) -> str:
        try:
            return "".join(
                part if isinstance(part, str) else _print(_look_up(document, part.path), part.path, part.as_json)
                for part in parts
            )
        except LookupError:  # a name of Go's, a field that is left out, or a mistake
            return _full(format)(document)

    return render


def _look_up(document: Any, path: Sequence[str]) -> Any:
    for name in path:
        if not isinstance(document, dict):
            raise LookupError(name)
        document = document[name]
    return document


def _print(value: Any, path: Sequence[str], as_json: bool) -> str:
    return go_json(sorted_maps(value, path[-1] if path else "")) if as_json else go_text(value)


def sorted_maps(value: Any, name: str) -> Any:
    """Return a JSON value with the keys of its maps in order, as Go writes them; `name` is that of its field."""
    if isinstance(value, dict):
        keys = sorted(value) if name in _MAPS and _is_map(value, name) else list(value)
        return {key: sorted_maps(value[key], key) for key in keys}
    if isinstance(value, list):
        return [sorted_maps(item, "") for item in value]
    return value


def _is_map(value: dict[str, Any], name: str) -> bool:
    # "Config" is a struct in a container or image and a map of strings in a log configuration.
    return name != "Config" or all(isinstance(item, str) for item in value.values())


def _full(format: str) -> Callable[[dict[str, Any]], str]:
    from orlop.cli.godata import documents
    from orlop.cli.templates import MissingKey, Template, TemplateProblem

    try:
        template = Template(format, strict=True)
    except TemplateProblem as error:
        raise CommandError(f"template parsing error: {error}", 64) from None

    def render(document: dict[str, Any]) -> str:
        problem: TemplateProblem | None = None
        for candidate in documents(document):
            try:
                return template.render(candidate)
            except MissingKey as error:
                problem = problem or error
            except TemplateProblem as error:
                raise CommandError(f"template parsing error: {error}") from None
        raise CommandError(f"template parsing error: {problem}")

    return render
