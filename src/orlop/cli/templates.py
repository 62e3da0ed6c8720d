"""Go templates in full, by gotpl: imported only when a ``--format`` goes beyond `orlop.formats.template`."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

import gotpl

from orlop.formats.template import go_json

__all__ = ["HEADER_FUNCTIONS", "MissingKey", "Template", "TemplateProblem"]


class TemplateProblem(Exception):
    """A template that does not parse, or does not fit its data; the text is Go's."""


class MissingKey(TemplateProblem):
    """A template names something, `name`, that its data do not have."""

    def __init__(self, message: str, name: str) -> None:
        super().__init__(message)
        self.name = name


def _pad(text: str, before: int, after: int) -> str:
    return " " * before + text + " " * after if text else text


def _title(text: str) -> str:
    return re.sub(r"(?<![^\s])\S", lambda match: match[0].upper(), text)


def _json(value: Any) -> str:
    to_json = getattr(value, "to_json", None)
    return to_json() if to_json is not None else go_json(_plain(value))


def _plain(value: Any) -> Any:
    """Return a value with its typed maps made plain ones, in the order of their keys."""
    if isinstance(value, gotpl.TypedMap):
        return {key: value[key] for key in sorted(value)}
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, list) else value


_CHAIN = re.compile(r"(?:\.\w+)+")

FUNCTIONS: Mapping[str, Callable[..., Any]] = {
    "json": _json,
    "split": lambda text, separator: text.split(separator) if separator else list(text),
    "join": lambda parts, separator: separator.join(parts),
    "title": _title,
    "lower": str.lower,
    "upper": str.upper,
    "pad": _pad,
    "truncate": lambda text, length: text[:length],
    "println": lambda *values: " ".join(str(value) for value in values) + "\n",
}

# The heading of a column is shown as it is, whatever the template does with the column's values.
HEADER_FUNCTIONS: Mapping[str, Callable[..., Any]] = {
    **FUNCTIONS,
    "json": lambda text: text,
    "split": lambda text, _: text,
    "join": lambda text, _: text,
    "title": lambda text: text,
    "lower": lambda text: text,
    "upper": lambda text: text,
    "truncate": lambda text, _: text,
}


class Template:
    """A parsed template; raises `TemplateProblem` when it does not parse."""

    def __init__(self, text: str, *, functions: Mapping[str, Callable[..., Any]] = FUNCTIONS, strict: bool) -> None:
        """`strict` makes a missing name an error; else it prints ``<no value>``."""
        self._text = text
        try:
            self._template = gotpl.Template(
                text, name="", functions=dict(functions), missing_key="error" if strict else "default"
            )
        except gotpl.TemplateSyntaxError as error:
            raise TemplateProblem(_syntax_message(error)) from None

    def render(self, data: Any) -> str:
        """Return the text for `data`; raise `MissingKey` or `TemplateProblem`."""
        try:
            return self._template.render(data)
        except gotpl.TemplateExecutionError as error:
            if name := re.match(r"missing key or attribute '([^']*)'", error.message):
                raise MissingKey(
                    self._place(error, name[1]) + f'map has no entry for key "{name[1]}"', name[1]
                ) from None
            reason = re.sub(r"^function '(\w+)' failed: ", r"error calling \1: ", error.message)
            raise TemplateProblem(self._place(error) + reason) from None

    def _place(self, error: Any, missing: str = "") -> str:
        """Return where Go says that an execution stopped; for a chain of fields that is its second field."""
        line = self._text.split("\n")[error.line - 1]
        start = error.column - 1
        chains = [match for match in _CHAIN.finditer(line, start) if missing in match[0].split(".")]
        if chains and (missing or chains[0].start() == start):
            node, start = chains[0][0], chains[0].start()
        else:
            node = re.split(r"[\s}|)]", line[start:] + "}")[0]
        column = start + max(node.find(".", 1), 0)
        return f'template: :{error.line}:{column}: executing "" at <{node}>: '


def _syntax_message(error: Any) -> str:
    text = re.sub(r"function '([^']*)' not defined", r'function "\1" not defined', str(error).split(": ", 1)[-1])
    return f"template: :{error.line}: {text}"
