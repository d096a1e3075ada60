"""Relay's connections: the types of a page in the schema, and the objects that answer them."""

from collections.abc import Callable, Sequence
from typing import Any, Generic, TypeVar, cast

import strawberry

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
