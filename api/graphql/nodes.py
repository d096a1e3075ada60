"""The query `node`: an object by its id, for the caches of front ends, which know objects by id only.

An id is unique among all objects. Its form tells the kind of object: "hospital:la-merced" is the id of the hospital
with the code "la-merced"; objects without a code have ids of other forms. The root query of that kind answers, and its
rule applies.
"""

from typing import Annotated

import strawberry

from api.access.grant import Grant
from api.access.identity import ROLES, Role
from api.graphql.access import Arguments, Scope, Verdict
from api.graphql.context import Context
from api.graphql.fields import NODE_QUERIES, Info, Node, query, refuse
from api.graphql.links import Target
from domain.errors import Hint
from domain.identifiers import SLUG, fits, kind_of_id


class NodeHint(
    Hint,
    es="un identificador se copia completo, como hospital:la-merced o la-merced/2027-01-15/p-0012",
    en="an id is copied in full, like hospital:la-merced or la-merced/2027-01-15/p-0012",
): ...


def target_of(id: str) -> Target | None:
    """The kind and the id or code of the object with this id, by its form alone. None for an unknown form."""
    kind, colon, code = id.partition(":")
    if colon:
        known = kind in NODE_QUERIES and NODE_QUERIES[kind].key == "code" and fits(SLUG, code)
        return Target(kind, code) if known else None
    by_form = kind_of_id(id)
    return Target(by_form, id) if by_form else None


def _as_its_kind(role: Role) -> Scope:
    def covers(context: Context, arguments: Arguments) -> Verdict:
        target = target_of(str(arguments["id"]))
        if target is None:
            return True  # the field refuses it
        found = NODE_QUERIES[target.kind]
        scope = found.field.who.get(role)
        return scope is not None and scope.covers(context, {found.key: target.key})

    return Scope("as the query of its type", covers)


@query(
    "An object by its id, as the query of its kind returns it; null if there is none.",
    who={role: _as_its_kind(role) for role in ROLES},
)
async def node(
    info: Info,
    grant: Grant,
    id: Annotated[strawberry.ID, strawberry.argument(description="The id of an object of any kind.")],
) -> Node | None:
    target = target_of(id)
    if target is None:
        refuse(info, "id", NodeHint())
    found: Node | None = await NODE_QUERIES[target.kind].ask(info, grant, target.key)
    return found
