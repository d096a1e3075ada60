"""Pages of lists, from either end: the arguments, and the items that they ask for. A list is declared so:

    _TURNS = Listing("lineTurns", views.BY_TAKING)

    @query("A line's turns.", who=…)
    @paged
    async def line_turns(info: Info, *, line: LineName, page: PageArguments) -> Connection[TurnRecord]:
        wanted = page.of(info, _TURNS, line)
        found = wanted.found(await info.context.ask(views.of_line(line, part=wanted.part)))
        return found.connection([_record(row) for row in found.items])

The order, `views.BY_TAKING`, is declared beside the read model: see projections/engine/keyset.py.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Sequence
from functools import wraps
from inspect import Parameter, signature
from typing import Annotated, Any, Generic, NamedTuple, TypeVar, cast

import strawberry

from api.graphql.engine.limits import PAGE_SIZE_MAX
from api.graphql.fields import Info, refuse
from api.graphql.paging.connections import Found
from api.graphql.paging.cursors import Cursors
from domain.errors import Hint
from projections.engine.keyset import Key, Order, Range

T = TypeVar("T")


class CursorHint(
    Hint,
    es="un cursor debe ser el de un elemento de esta misma lista, copiado completo",
    en="a cursor must be that of an item of the same list, copied in full",
): ...


class PageSizeHint(
    Hint, es="se pueden pedir de 1 a {limit} elementos por página", en="ask for 1 to {limit} items per page"
):
    limit: int


class OneEndHint(
    Hint,
    es="indique cuántos elementos quiere: con `first` los primeros o con `last` los últimos, solo uno de los dos",
    en="say how many items you want: the first ones with `first`, or the last ones with `last`, only one of the two",
): ...


class Listing(Generic[T]):
    """A list of the schema. Its cursors depend on `name`: it must not change, and each list has its own."""

    def __init__(self, name: str, order: Order[T]) -> None:
        self.name = name
        self.order = order


class PageArguments(NamedTuple):
    """The arguments of a list."""

    first: int | None
    after: str | None
    last: int | None
    before: str | None

    def of(self, info: Info, listing: Listing[T], *of_list: str) -> "Wanted[T]":
        """The part of the list that they ask for; `of_list` tells the list from others of its kind: the hospital.

        Raises a GraphQLError if they are invalid.
        """
        if (self.first is None) == (self.last is None):
            refuse(info, "first" if self.first is None else "last", OneEndHint())
        size = self.first if self.last is None else self.last
        assert size is not None
        if not 1 <= size <= PAGE_SIZE_MAX:
            refuse(info, "first" if self.last is None else "last", PageSizeHint(limit=PAGE_SIZE_MAX))
        cursors = Cursors(info.context.services.core.secret, listing.order.decoder, listing.name, *of_list)
        after, before = (
            _key(info, cursors, name, cursor) for name, cursor in (("after", self.after), ("before", self.before))
        )
        part = Range(limit=size + 1, after=after, before=before, backward=self.last is not None)
        return Wanted(size, part, listing.order, cursors)


def _key(info: Info, cursors: Cursors, name: str, cursor: str | None) -> Key | None:
    if cursor is None:
        return None
    key = cursors.read(cursor)
    if key is None:
        refuse(info, name, CursorHint())
    return key


class Wanted(Generic[T]):
    """A page that a client asks for. `part` is the page and one more item, which tells whether there are more."""

    def __init__(self, size: int, part: Range, order: Order[T], cursors: Cursors) -> None:
        self.part = part
        self._size = size
        self._order = order
        self._cursors = cursors

    def found(self, rows: Sequence[T]) -> "Found[T]":
        """The page, from the rows that a query returns for `part`.

        If a client passes a cursor, the item there counts as one on that side, though it may have left the list.
        """
        more = len(rows) > self._size
        after, before = self.part.after is not None, self.part.before is not None
        if self.part.backward:
            return self._found(rows[: self._size][::-1], previous=more or after, next=before)
        return self._found(rows[: self._size], previous=after, next=more or before)

    def within(self, items: Sequence[T]) -> "Found[T]":
        """The page, from all items of the list in order."""
        part, key = self.part, self._order.key
        begin = 0 if part.after is None else bisect_right(items, part.after, key=key)
        end = len(items) if part.before is None else bisect_left(items, part.before, lo=begin, key=key)
        if part.backward:
            begin = max(begin, end - self._size)
        else:
            end = min(end, begin + self._size)
        return self._found(items[begin:end], previous=begin > 0, next=end < len(items))

    def _found(self, items: Sequence[T], *, previous: bool, next: bool) -> "Found[T]":
        return Found(items, previous, next, lambda item: self._cursors.write(self._order.key(item)))


_ARGUMENTS: dict[str, Any] = {
    "first": Annotated[
        int | None, strawberry.argument(description=f"The number of items from the start, 1 to {PAGE_SIZE_MAX}.")
    ],
    "after": Annotated[
        str | None,
        strawberry.argument(description="Only items after this one: a cursor, such as a page's `endCursor`."),
    ],
    "last": Annotated[
        int | None,
        strawberry.argument(description=f"The number of items from the end, instead of `first`: 1 to {PAGE_SIZE_MAX}."),
    ],
    "before": Annotated[
        str | None,
        strawberry.argument(description="Only items before this one: a cursor, such as a page's `startCursor`."),
    ],
}

C = TypeVar("C", bound=Callable[..., Any])


def paged(function: C) -> C:
    """Give a field of a list the arguments `first`, `after`, `last` and `before`, for its parameter `page`."""

    @wraps(function)
    def asked(
        *arguments: Any,
        first: int | None = None,
        after: str | None = None,
        last: int | None = None,
        before: str | None = None,
        **named: Any,
    ) -> Any:
        return function(*arguments, page=PageArguments(first, after, last, before), **named)

    declared = signature(function)
    parameters: list[Parameter] = []
    for one in declared.parameters.values():
        own = _ARGUMENTS.items() if one.name == "page" else ()
        parameters += [one.replace(name=name, default=None, annotation=of) for name, of in own] or [one]
    asked.__signature__ = declared.replace(parameters=parameters)  # type: ignore[attr-defined]
    return cast("C", asked)
