"""Lists: connections with cursors."""

from collections.abc import Callable, Sequence
from typing import Annotated, Generic, TypeVar, cast

import strawberry

from api.graphql.engine.limits import PAGE_SIZE_MAX
from api.graphql.fields import Info, refuse
from domain.errors import Hint

T = TypeVar("T")

# Arguments of all lists.
First = Annotated[int, strawberry.argument(description=f"The maximum number of items, 1 to {PAGE_SIZE_MAX}.")]
After = Annotated[
    str | None,
    strawberry.argument(description="The `endCursor` of the previous page of the same list; default: the first page."),
]


@strawberry.type(description="Where a page of a list ends.")
class PageInfo:
    end_cursor: str | None = strawberry.field(description="Pass this as `after` to get the next page.")
    has_next_page: bool = strawberry.field(description="Whether there are more items after this page.")


@strawberry.type(description="A page of a list.")
class Connection(Generic[T]):
    nodes: list[T] = strawberry.field(description="The items, in the order of the list.")
    page_info: PageInfo = strawberry.field(description="Where the page ends.")


class CursorHint(
    Hint,
    es="un cursor debe ser el `endCursor` de la página anterior de esta misma lista",
    en="a cursor must be the `endCursor` of the previous page of the same list",
): ...


class PageSizeHint(
    Hint, es="se pueden pedir de 1 a {limit} elementos por página", en="ask for 1 to {limit} items per page"
):
    limit: int


def page_size(first: int, info: Info) -> int:
    """`first`, if it is within bounds. Raises a GraphQLError otherwise."""
    if not 1 <= first <= PAGE_SIZE_MAX:
        refuse(info, "first", PageSizeHint(limit=PAGE_SIZE_MAX))
    return first


def page(items: Sequence[T], first: int, cursor: Callable[[T], str]) -> Connection[T]:
    """A page of at most `first` items. `items` has one more if there is another page."""
    nodes = list(items[:first])
    end = cursor(nodes[-1]) if nodes else None
    info = PageInfo(end_cursor=end, has_next_page=len(items) > first)
    return cast("Connection[T]", Connection(nodes=nodes, page_info=info))
