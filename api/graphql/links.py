"""Fields that are another object: the hospital of an agenda, the patient of an appointment.

A link answers as the root query of that kind does, including who may use it. It is followed only if a document selects
it. All links of a request that are followed in the same turn of the event loop share their reads of the log.
"""

import asyncio
from functools import partial
from types import GenericAlias, NoneType
from typing import Any, NamedTuple, get_args

import strawberry
from strawberry.dataloader import DataLoader
from strawberry.types.lazy_type import LazyType

from api.access.grant import Forbidden, Grant, LoginRequired
from api.graphql.access import Rule, granted
from api.graphql.engine.request_errors import as_graphql_error
from api.graphql.fields import NODE_QUERIES, Info, Node
from domain.errors import Rejected
from domain.identifiers import kind_of_id


class Target(NamedTuple):
    """An object that a link leads to: its kind, and its id or its code."""

    kind: str
    key: str


class LinkTo(NamedTuple):
    """Marks what a mutation's function returns for a link in the payload: Annotated[str, LinkTo(kind)]."""

    kind: str


class LinkedType(LazyType[Any, Any]):
    """The type of the objects of a kind, known once all contexts have declared their queries."""

    def __init__(self, kind: str) -> None:
        super().__init__(type_name=kind, module=__name__)

    def resolve_type(self) -> Any:
        (found,) = (one for one in get_args(NODE_QUERIES[self.type_name].field.answer) if one is not NoneType)
        return found


def link(kind: str, description: str, key: str) -> Any:
    """A field that is an object of this kind. `key` is the attribute with its id or code, or None for no object."""

    async def linked(root: Any, info: Info) -> Any:
        found = getattr(root, key)
        return None if found is None else await find(info, kind, found)

    return strawberry.field(resolver=linked, description=description, graphql_type=LinkedType(kind) | None)


def link_by_id(description: str, key: str) -> Any:
    """A field that is an object of the kind that its id names: a person or an organisation, say."""

    async def linked(root: Any, info: Info) -> Node | None:
        found = getattr(root, key)
        kind = None if found is None else kind_of_id(found)
        return None if kind is None else await find(info, kind, found)

    return strawberry.field(resolver=linked, description=description)


def links(kind: str, description: str, keys: str) -> Any:
    """A field that is a list of objects of this kind. `keys` is the attribute with their ids or codes."""

    async def linked(root: Any, info: Info) -> Any:
        return list(await asyncio.gather(*(find(info, kind, key) for key in getattr(root, keys))))

    kinds = GenericAlias(list, (LinkedType(kind) | None,))
    return strawberry.field(resolver=linked, description=description, graphql_type=kinds)


async def find(info: Info, kind: str, key: str) -> Node | None:
    """The object of this kind with this id or code, once per request. Raises a GraphQLError like the root query."""
    context = info.context
    if context.links is None:
        context.links = DataLoader(load_fn=partial(_find_all, info))
    found: Node | None = await context.links.load(Target(kind, key))
    return found


async def permit(info: Info, who: Rule, **arguments: Any) -> Grant:
    """The grant for somebody whom the rule allows these arguments; for others, raises a GraphQLError."""
    context = info.context
    grant = await granted(who, context, arguments)
    if grant is None:
        refusal: Rejected = Forbidden() if context.actor.subject else LoginRequired()
        raise as_graphql_error(refusal, context.language)
    return grant


async def _find_all(info: Info, targets: list[Target]) -> list[Node | BaseException | None]:
    return await asyncio.gather(*(_find(info, one) for one in targets), return_exceptions=True)


async def _find(info: Info, target: Target) -> Node | None:
    query = NODE_QUERIES[target.kind]
    grant = await permit(info, query.field.who, **{query.key: target.key})
    answer: Node | None = await query.ask(info, grant, target.key)
    return answer
