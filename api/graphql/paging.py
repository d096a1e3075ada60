"""Lists: Relay's connections, with pages from either end.

_TURNS = Listing("lineTurns", views.BY_TAKING)

@query("A line's turns.", who=…)
@paged
async def line_turns(info: Info, *, line: LineName, page: PageArguments) -> Connection[TurnRecord]:
    wanted = page.of(info, _TURNS, line)
    found = wanted.found(await info.context.ask(views.of_line(line, part=wanted.part), at_least=None))
    return found.connection([_record(row) for row in found.items])
"""

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Sequence
from functools import wraps
from inspect import Parameter, signature
from typing import Annotated, Any, Generic, NamedTuple, TypeVar, cast

import strawberry

from api.graphql.engine.cursors import Cursors
from api.graphql.engine.limits import PAGE_SIZE_MAX
from api.graphql.fields import Info, refuse
from domain.errors import Hint
from projections.engine.keyset import Key, Order, Range

T = TypeVar("T")
N = TypeVar("N")


@strawberry.type(description="The place of a page in its list.")
class PageInfo:
    has_next_page: bool = strawberry.field(description="Whether the list has items after this page.")
    has_previous_page: bool = strawberry.field(description="Whether the list has items before this page.")
    start_cursor: str | None = strawberry.field(
        description="The cursor of the first item. Pass it as `before`, with `last`, to get the previous page."
    )
    end_cursor: str | None = strawberry.field(
        description="The cursor of the last item. Pass it as `after`, with `first`, to get the next page."
    )


@strawberry.type(description="An item of a list, with its place there.")
class Edge(Generic[T]):
    node: T = strawberry.field(description="The item.")
    cursor: str = strawberry.field(description="Its place, to pass as `after` or `before`.")


@strawberry.type(description="A page of a list.")
class Connection(Generic[T]):
    edges: list[Edge[T]] = strawberry.field(description="The items with their cursors, in the order of the list.")
    nodes: list[T] = strawberry.field(description="The items alone, in the same order.")
    page_info: PageInfo = strawberry.field(description="The place of the page in the list.")


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


class Found(Generic[T]):
    """The items of a page, in the order of the list."""

    def __init__(self, items: Sequence[T], previous: bool, next: bool, cursor: Callable[[T], str]) -> None:
        self.items = items
        self.has_previous = previous
        self.has_next = next
        self.cursor = cursor

    def connection(self, nodes: list[N]) -> Connection[N]:
        """The page as the schema has it. `nodes` are the items as clients see them."""
        return cast("Connection[N]", _Connection(nodes, self))


class _Connection:
    """A Connection whose edges and cursors are made only if they are selected. All are attributes, for plans."""

    __slots__ = ("_found", "nodes")

    def __init__(self, nodes: list[Any], found: Found[Any]) -> None:
        self.nodes = nodes
        self._found = found

    @property
    def edges(self) -> list["_Edge"]:
        cursor = self._found.cursor
        return [_Edge(node, item, cursor) for node, item in zip(self.nodes, self._found.items, strict=True)]

    @property
    def page_info(self) -> "_PageInfo":
        return _PageInfo(self._found)


class _Edge:
    """An Edge."""

    __slots__ = ("_cursor", "_item", "node")

    def __init__(self, node: Any, item: Any, cursor: Callable[[Any], str]) -> None:
        self.node = node
        self._item = item
        self._cursor = cursor

    @property
    def cursor(self) -> str:
        return self._cursor(self._item)


class _PageInfo:
    """A PageInfo."""

    __slots__ = ("_found",)

    def __init__(self, found: Found[Any]) -> None:
        self._found = found

    @property
    def has_next_page(self) -> bool:
        return self._found.has_next

    @property
    def has_previous_page(self) -> bool:
        return self._found.has_previous

    @property
    def start_cursor(self) -> str | None:
        items = self._found.items
        return self._found.cursor(items[0]) if items else None

    @property
    def end_cursor(self) -> str | None:
        items = self._found.items
        return self._found.cursor(items[-1]) if items else None


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
