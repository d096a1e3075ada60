"""The query `node`: an object by its id, for the caches of front ends, which know objects by id only.

An object's kind follows from the form of its id. The root query of that kind answers, and its rule applies.
"""

from collections.abc import Mapping
from typing import Annotated, get_args

import strawberry

from api.access.grant import Grant
from api.access.identity import ROLES, Role
from api.graphql.access import Arguments, Scope, Verdict
from api.graphql.context import Context
from api.graphql.fields import Info, Node, RootField, query
from domain.identifiers import Kind, kind_of_id


def node_field(fields: Mapping[str, RootField]) -> RootField:
    """The root field `node`, which uses these queries. Raises KeyError if a kind of id has no query."""
    by_kind: dict[str, RootField] = {kind: fields[f"Query.{kind}"] for kind in get_args(Kind)}

    def as_its_kind(role: Role) -> Scope:
        def covers(context: Context, arguments: Arguments) -> Verdict:
            kind = kind_of_id(str(arguments["id"]))
            if kind is None:
                return True  # no object has such an id
            scope = by_kind[kind].who.get(role)
            return scope is not None and scope.covers(context, arguments)

        return Scope("as the field of its kind", covers)

    @query(
        "A hospital, agenda, appointment, line, turn or person by id, as the query of that name returns it;"
        " null if there is none.",
        who={role: as_its_kind(role) for role in ROLES},
    )
    async def node(
        info: Info,
        grant: Grant,
        id: Annotated[strawberry.ID, strawberry.argument(description="The id of one of these objects.")],
    ) -> Node | None:
        kind = kind_of_id(id)
        if kind is None:
            return None
        field = by_kind[kind]
        found: Node | None = await (field.function(info, grant, id) if field.takes_grant else field.function(info, id))
        return found

    return node
