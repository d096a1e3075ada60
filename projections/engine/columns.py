"""The columns of a read model, as the fields of its row declare them.

A field's type determines the column's type: `str` is text in byte order, `int` is a four-byte integer, and so on.
Other types of columns are declared at the field: `position: BigInt`, `reason: Text`, `data: JsonB[dict[str,
Any]]`. `Fixed[...]` marks a field that never changes once the row exists.
"""

from collections.abc import Iterator, Mapping
from datetime import date, datetime
from functools import cache
from types import UnionType
from typing import Annotated, Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

import msgspec

T = TypeVar("T")


class SqlType(msgspec.Struct, frozen=True):
    """An annotation: the type of the column."""

    name: str


class _Fixed:
    """An annotation: the field never changes once the row exists, so it is written only once."""


Fixed = Annotated[T, _Fixed]
Text = Annotated[str, SqlType("text")]  # text for people: no query compares or sorts it
BigInt = Annotated[int, SqlType("bigint")]
SmallInt = Annotated[int, SqlType("smallint")]
Bits = Annotated[str, SqlType("varbit")]
JsonB = Annotated[T, SqlType("jsonb")]

_TYPES: dict[Any, str] = {
    str: 'text COLLATE "C"',  # identifiers: compared byte by byte, whatever the database's locale
    int: "int",
    date: "date",
    datetime: "timestamptz",
}


class Columns(msgspec.Struct, frozen=True):
    """The SQL type of each column, in order; the first is the key. `fixed` has the columns that never change."""

    types: Mapping[str, str]
    fixed: frozenset[str]

    @property
    def key(self) -> str:
        return next(iter(self.types))

    @property
    def changing(self) -> tuple[str, ...]:
        """Columns that are neither the key nor fixed."""
        return tuple(name for name in self.types if name != self.key and name not in self.fixed)


@cache
def columns_of(row: type[msgspec.Struct]) -> Columns:
    """The columns of a row. Raises TypeError for a field whose type has no column type."""
    hints = get_type_hints(row, include_extras=True)
    fields = {name: hints[name] for name in row.__struct_fields__}
    try:
        types = {name: _sql_type(hint) for name, hint in fields.items()}
    except TypeError as error:
        raise TypeError(f"{row.__name__}: {error}") from None
    return Columns(types=types, fixed=frozenset(name for name, hint in fields.items() if _Fixed in _annotations(hint)))


def _sql_type(hint: Any) -> str:
    declared = next((one.name for one in _annotations(hint) if isinstance(one, SqlType)), None)
    if declared:
        return declared
    plain = _without_none(hint)
    if plain in _TYPES:
        return _TYPES[plain]
    origin = get_origin(plain)
    if origin is Literal:
        return "text"
    if origin is list:
        # An array's elements have no collation of their own.
        return _sql_type(get_args(plain)[0]).removesuffix(' COLLATE "C"') + "[]"
    if origin is dict or (isinstance(plain, type) and issubclass(plain, msgspec.Struct)):
        return "json"
    raise TypeError(f"no column type for {hint}")


def _without_none(hint: Any) -> Any:
    """The plain type: X for `Annotated[X | None, …]` and for `X | None`."""
    if get_origin(hint) is Annotated:
        return _without_none(get_args(hint)[0])
    if get_origin(hint) in {Union, UnionType}:
        types = [one for one in get_args(hint) if one is not type(None)]
        return _without_none(types[0]) if len(types) == 1 else hint
    return hint


def _annotations(hint: Any) -> Iterator[Any]:
    """The annotations of a type, including those inside `| None`."""
    if get_origin(hint) is Annotated:
        plain, *annotations = get_args(hint)
        yield from annotations
        yield from _annotations(plain)
    elif get_origin(hint) in {Union, UnionType}:
        for one in get_args(hint):
            yield from _annotations(one)
