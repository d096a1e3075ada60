"""Shows values in an answer: objects, lists and leaf values."""

import asyncio
from collections.abc import Coroutine, Iterable, Mapping
from types import CoroutineType
from typing import Any

from graphql import (
    GraphQLEnumType,
    GraphQLError,
    GraphQLScalarType,
)

from api.graphql.engine.plans.coercion import Coerce
from api.graphql.engine.plans.fields import Complete, FastComplete, FastPathFailed, Field, Path, Run

INT_MAX = 2**31 - 1
NO_LISTS = (str, bytes, dict)  # though they are iterable


def show_object(fields: list[Field]) -> Complete:
    each = [(field.key, field.get, field.leaf, field) for field in fields]

    def show(source: Any, path: Path, run: Run) -> Any:
        shown: dict[str, Any] = {}
        waiting: list[tuple[str, Coroutine[Any, Any, Any]]] = []
        try:
            for key, get, leaf, field in each:
                if leaf is None or get is None:
                    value = shown[key] = field.ask(source, path, run)
                    if type(value) is CoroutineType:
                        waiting.append((key, value))
                    continue
                try:
                    value = get(source)
                    shown[key] = field._checked(None) if value is None else leaf(value)
                except Exception as error:
                    shown[key] = None
                    run.failed(error, field.nodes, (path, key), required=field.required)
        except Exception as error:
            if waiting:
                return _fail_after(waiting, error)
            raise
        return _all_of(shown, waiting) if waiting else shown

    return show


def with_fast_path(slow: Complete, fast: FastComplete | None) -> tuple[Complete, FastComplete | None]:
    """Use `fast`. If it raises an exception, use `slow`, which reports what is null and why."""
    if fast is None:
        return slow, None

    def complete(value: Any, path: Path, run: Run) -> Any:
        try:
            return fast(value)
        except Exception:
            return slow(value, path, run)

    return complete, fast


def show_one_of(possible: Mapping[str, Complete]) -> Complete:
    return lambda value, path, run: possible[value.__strawberry_definition__.name](value, path, run)


def fast_one_of(possible: Mapping[str, FastComplete]) -> FastComplete:
    return lambda value: possible[value.__strawberry_definition__.name](value)


def fast_object(fields: list[Field]) -> FastComplete | None:
    """None if a field is not a plain attribute."""
    each = [
        (field.key, field.get, field.plain, field.fast, field.required)
        for field in fields
        if field.get is not None and field.fast is not None
    ]
    if len(each) < len(fields):
        return None

    def show(source: Any) -> dict[str, Any]:
        shown: dict[str, Any] = {}
        for key, get, plain, fast, required in each:
            value = get(source)
            if type(value) is plain:
                shown[key] = value
            elif value is not None:
                shown[key] = fast(value)
            elif required:
                raise FastPathFailed
            else:
                shown[key] = None
        return shown

    return show


def fast_list(item: FastComplete | None, *, required: bool) -> FastComplete | None:
    if item is None:
        return None
    on_null = _refuse_null if required else _show_null

    def show(values: Any) -> list[Any]:
        if type(values) is not list:  # other iterables may allow only one pass
            raise FastPathFailed
        return [on_null() if value is None else item(value) for value in values]

    return show


def _show_null() -> None:
    """The value of a nullable item that is null."""


def _refuse_null() -> None:
    raise FastPathFailed


def show_list(item: Complete, field: Field, *, required: bool) -> Complete:
    def show(values: Iterable[Any], path: Path, run: Run) -> Any:
        if type(values) in NO_LISTS:
            raise GraphQLError(f"Expected Iterable, but did not find one for field '{field.name}'.")
        shown: list[Any] = []
        waiting: list[tuple[int, Coroutine[Any, Any, Any]]] = []
        try:
            for place, value in enumerate(values):
                one = _show_item(item, field, value, (path, place), run, required=required)
                if type(one) is CoroutineType:
                    waiting.append((place, one))
                shown.append(one)
        except Exception as error:
            if waiting:
                return _fail_after(waiting, error)
            raise
        return _all_of(shown, waiting) if waiting else shown

    return show


def _show_item(item: Complete, field: Field, value: Any, path: Path, run: Run, *, required: bool) -> Any:
    try:
        if value is None and required:
            raise TypeError(f"Cannot return null for non-nullable field {field.name}.")
        shown = None if value is None else item(value, path, run)
    except Exception as error:
        run.failed(error, field.nodes, path, required=required)
        return None
    return _item_awaited(shown, field, path, run, required=required) if type(shown) is CoroutineType else shown


async def _item_awaited(shown: Coroutine[Any, Any, Any], field: Field, path: Path, run: Run, *, required: bool) -> Any:
    try:
        return await shown
    except Exception as error:
        run.failed(error, field.nodes, path, required=required)


async def _fail_after(waiting: list[tuple[Any, Coroutine[Any, Any, Any]]], error: Exception) -> None:
    """Raise the error once the other coroutines, which have already been made, have ended."""
    await asyncio.gather(*(coroutine for _, coroutine in waiting), return_exceptions=True)
    raise error


async def _all_of(shown: Any, waiting: list[tuple[Any, Coroutine[Any, Any, Any]]]) -> Any:
    """`shown`, after filling in the results of all coroutines, run concurrently. Raises an error of one at the end."""
    if len(waiting) == 1:
        place, coroutine = waiting[0]
        shown[place] = await coroutine
        return shown
    found = await asyncio.gather(*(coroutine for _, coroutine in waiting), return_exceptions=True)
    for (place, _), value in zip(waiting, found, strict=True):
        if isinstance(value, BaseException):
            raise value
        shown[place] = value
    return shown


def shower(kind: GraphQLScalarType | GraphQLEnumType) -> Coerce:
    """A function that shows a value that is not null."""
    show: Coerce = kind.coerce_output_value
    if kind.name in ("String", "ID"):
        return lambda value: value if type(value) is str else show(value)
    if kind.name == "Int":
        return lambda value: value if type(value) is int and -INT_MAX <= value <= INT_MAX else show(value)
    if isinstance(kind, GraphQLEnumType):
        # Look members up by id: their own hash is computed in Python each time.
        names = {id(member): show(member) for member in getattr(kind, "wrapped_cls", ())}
        return lambda value: names.get(id(value)) or show(value)
    return show
