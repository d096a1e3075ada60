"""Anything that has an id, by its id: for caches of front ends, which know what they have by id alone."""

from collections.abc import Awaitable, Callable
from typing import Annotated

import strawberry

from api.graphql.appointments import agenda_by_id, appointment_by_id, hospital_by_id
from api.graphql.fields import Info, Node
from api.graphql.people import person_by_id
from api.graphql.queues import line_by_id, turn_by_id
from domain.identifiers import Kind, kind_of_id

_BY_KIND: dict[Kind, Callable[[Info, str], Awaitable[Node | None]]] = {
    "person": person_by_id,
    "hospital": hospital_by_id,
    "agenda": agenda_by_id,
    "appointment": appointment_by_id,
    "line": line_by_id,
    "turn": turn_by_id,
}


@strawberry.type
class NodeQuery:
    @strawberry.field(
        description="A hospital, an agenda, an appointment, a line, a turn or a person by id, as the field of that name"
        " has it; null if there is none."
    )
    async def node(
        self, info: Info, id: Annotated[strawberry.ID, strawberry.argument(description="An id of any of these.")]
    ) -> Node | None:
        kind = kind_of_id(id)
        return await _BY_KIND[kind](info, id) if kind else None
