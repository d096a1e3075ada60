"""Lists: connections with cursors."""

from collections.abc import Callable, Sequence
from typing import Annotated, Generic, TypeVar, cast

import strawberry

from api.graphql.engine.limits import PAGE_SIZE_MAX
from api.graphql.fields import Info, refuse
from domain.errors import Hint

T = TypeVar("T")

# Arguments that come again and again.
First = Annotated[int, strawberry.argument(description=f"How many items at most, 1 to {PAGE_SIZE_MAX}.")]
After = Annotated[
    str | None,
    strawberry.argument(description="The `endCursor` of the page before of this same list; without, the first page."),
]


@strawberry.type(description="Where a page of a list ends.")
class PageInfo:
    end_cursor: str | None = strawberry.field(description="Pass it as `after` for the next page.")
    has_next_page: bool = strawberry.field(description="Whether there is more after this page.")


@strawberry.type(description="A page of a list.")
class Connection(Generic[T]):
    nodes: list[T] = strawberry.field(description="The items, in the order of the list.")
    page_info: PageInfo = strawberry.field(description="Where the page ends.")


class CursorHint(
    Hint,
    es="un cursor es el `endCursor` que dio la página anterior de esta misma lista",
    en="a cursor is the `endCursor` that the page before of this same list gave",
): ...


class PageSizeHint(Hint, es="se piden de 1 a {limit} elementos por página", en="ask for 1 to {limit} items a page"):
    limit: int


def page_size(first: int, info: Info) -> int:
    """`first` if it is within bounds; raises a GraphQLError otherwise."""
    if not 1 <= first <= PAGE_SIZE_MAX:
        refuse(info, "first", PageSizeHint(limit=PAGE_SIZE_MAX))
    return first


def page(items: Sequence[T], first: int, cursor: Callable[[T], str]) -> Connection[T]:
    """A page of at most `first` of these items, of which one more than that was asked for to see whether it goes on."""
    nodes = list(items[:first])
    end = cursor(nodes[-1]) if nodes else None
    info = PageInfo(end_cursor=end, has_next_page=len(items) > first)
    return cast("Connection[T]", Connection(nodes=nodes, page_info=info))
