"""Request bodies: JSON as leniently as Go reads it, into the typed bodies of `orlop.model.api`.

Clients were written against Go's decoder, which drops unknown fields, finds a field whatever the case of its letters,
takes ``null`` for "not given", and lets a program turn a string into a list where a list of words is meant. msgspec is
stricter, so a body is decoded without types, brought into the form that its type wants, and then converted. What is
still wrong is an `InvalidArgument` that names the field (``$.HostConfig.Memory``), never another exception: a body is
hostile input.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import msgspec
from msgspec import inspect

from orlop.errors import InvalidArgument
from orlop.formats import gojson
from orlop.model.api.base import Json

__all__ = ["MAX_BODY", "decode", "decode_fields", "fields_of", "parse"]

MAX_BODY = 16 << 20

T = TypeVar("T")
_Shape = Callable[[Any], Any]
_SHAPES: dict[type[Any], _Shape] = {}  # by body, made at its first use
_MIN, _MAX = -(1 << 63), (1 << 63) - 1


class _Mismatch(Exception):
    """A value that its type cannot hold; `path` is completed on the way out."""

    def __init__(self, message: str, path: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.path = path


def decode(data: bytes, kind: type[T]) -> T:
    """Return the body `data` as a `kind`. Raises `InvalidArgument`."""
    return decode_fields(parse(data), kind)


def parse(data: bytes) -> Any:
    """Return the JSON value of a body. Raises `InvalidArgument` with dockerd's texts."""
    try:
        return msgspec.json.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, ValueError) as error:
        if not data.strip():
            raise InvalidArgument("invalid JSON: got EOF while reading request body") from None
        wrong = gojson.explain(data)
        if wrong:
            raise InvalidArgument(f"invalid JSON: {wrong}") from None
        if "trailing" in str(error):
            raise InvalidArgument("unexpected content after JSON") from None
        raise InvalidArgument(f"invalid JSON: {error}") from None


def decode_fields(value: Any, kind: type[T]) -> T:
    """Return an untyped JSON value as a `kind`; ``null`` is a body without fields. Raises `InvalidArgument`."""
    try:
        return msgspec.convert(_shape(kind)({} if value is None else value), kind)
    except msgspec.ValidationError as error:
        raise InvalidArgument(f"invalid JSON: {error}") from None
    except _Mismatch as error:
        raise InvalidArgument(f"invalid JSON: {error.message} - at `${error.path}`") from None


def fields_of(value: Any, kind: type[Any]) -> set[str]:
    """Return the names (as Docker writes them) of the fields of `kind` that the JSON object `value` has."""
    names = {name.lower(): name for name in kind.__struct_encode_fields__}
    return {names[key.lower()] for key in value if key.lower() in names} if isinstance(value, dict) else set()


def _shape(kind: type[Any]) -> _Shape:
    found = _SHAPES.get(kind)
    if found is None:
        found = _SHAPES[kind] = _shape_of(inspect.type_info(kind))
    return found


def _shape_of(described: inspect.Type) -> _Shape:
    """Return the function that brings a JSON value into the form which msgspec wants for a type."""
    if isinstance(described, inspect.StructType):
        return _struct_shape(described)
    if isinstance(described, inspect.IntType):
        return _integer
    if isinstance(described, inspect.StrType):
        return _text
    if isinstance(described, inspect.ListType):
        return _list_shape(described)
    if isinstance(described, inspect.DictType):
        return _dict_shape(described)
    if isinstance(described, inspect.UnionType):
        return _union_shape(described)
    return _as_it_is


def _struct_shape(described: inspect.StructType) -> _Shape:
    fields = {field.encode_name.lower(): (field.encode_name, _shape_of(field.type)) for field in described.fields}

    def shape(value: Any) -> Any:
        if not isinstance(value, dict):
            return value
        found: Json = {}
        for key, item in value.items():
            field = fields.get(key.lower())
            if field is None or item is None:
                continue
            found[field[0]] = _at(f".{field[0]}", field[1], item)
        return found

    return shape


def _list_shape(described: inspect.ListType) -> _Shape:
    item_shape = _or_zero(described.item_type)

    def shape(value: Any) -> Any:
        if not isinstance(value, list):
            return value
        return [_at(f"[{index}]", item_shape, item) for index, item in enumerate(value)]

    return shape


def _dict_shape(described: inspect.DictType) -> _Shape:
    item_shape = _or_zero(described.value_type)

    def shape(value: Any) -> Any:
        if not isinstance(value, dict):
            return value
        return {_text(key): _at("[...]", item_shape, item) for key, item in value.items()}

    return shape


def _union_shape(described: inspect.UnionType) -> _Shape:
    kinds = [kind for kind in described.types if not isinstance(kind, inspect.NoneType)]
    lists = [kind for kind in kinds if isinstance(kind, inspect.ListType)]
    inner = _shape_of(lists[0] if lists else kinds[0])
    words = bool(lists) and any(isinstance(kind, inspect.StrType) for kind in kinds)

    def shape(value: Any) -> Any:
        if value is None:
            return None
        return [value] if words and isinstance(value, str) else inner(value)

    return shape


def _or_zero(described: inspect.Type) -> _Shape:
    """Return the shape of a list's or map's member: ``null`` is Go's zero value where the type has no other word."""
    inner = _shape_of(described)
    if isinstance(described, (inspect.AnyType, inspect.NoneType)):
        return inner
    if isinstance(described, inspect.UnionType) and described.includes_none:
        return inner
    zero = _zero(described)
    return lambda value: zero() if value is None else inner(value)


def _zero(described: inspect.Type) -> Callable[[], Any]:
    kinds: tuple[tuple[type[inspect.Type], Callable[[], Any]], ...] = (
        (inspect.StrType, str),
        (inspect.IntType, int),
        (inspect.FloatType, float),
        (inspect.BoolType, bool),
        (inspect.ListType, list),
    )
    return next((zero for kind, zero in kinds if isinstance(described, kind)), dict)


def _integer(value: Any) -> Any:
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, int) and not isinstance(value, bool) and not _MIN <= value <= _MAX:
        raise _Mismatch("Expected `int` of 64 bits")
    return value


def _text(value: Any) -> Any:
    """No string of a body may hold a NUL: most of them end up in system calls, where it would be their end."""
    if isinstance(value, str) and "\0" in value:
        raise _Mismatch("Expected `str` without NUL characters")
    return value


def _as_it_is(value: Any) -> Any:
    return value


def _at(step: str, shape: _Shape, value: Any) -> Any:
    try:
        return shape(value)
    except _Mismatch as error:
        error.path = step + error.path
        raise
