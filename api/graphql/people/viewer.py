"""The query `viewer`: the actor of the request, as the schema shows them."""

from enum import Enum, EnumMeta
from types import GenericAlias

import strawberry

from api.access.identity import ROLES, Actor, Role
from api.graphql.access import EVERYBODY
from api.graphql.fields import Info, query
from api.graphql.links import link, links
from api.graphql.paging import Connection, PageArguments, paged
from api.graphql.people.acting import person_of
from api.graphql.people.dependants import Dependant, dependants_of
from api.graphql.people.representations import Representation, representations_of

DESCRIPTIONS: dict[Role, str] = {
    "anonymous": "Somebody without a token.",
    "citizen": "A person, who acts for themselves and for their dependants.",
    "hospital_clerk": "A clerk of hospitals.",
    "counter_clerk": "A clerk at the counters of service points.",
    "transport_guard": "A guard of the municipal transport service, who issues infractions.",
    "cashier": "A cashier.",
    "finance_officer": "An officer of the finance department.",
    "finance_supervisor": "A supervisor of the finance department.",
    "procedures_officer": "An officer who confirms what people declare.",
    "gateway": "A payment gateway.",
    "auditor": "An auditor, who may read everything and change nothing.",
    "system": "A part of this system.",
    "administrator": "An administrator of this system.",
    "developer": "A developer on their own machine, who may do everything.",
}


def _roles() -> type[Enum]:
    values = {role.upper(): strawberry.enum_value(role, description=DESCRIPTIONS[role]) for role in ROLES}
    return EnumMeta.__call__(Enum, "ViewerRole", values)


ViewerRole = strawberry.enum(_roles(), description="A role in the city, which decides what somebody may do.")
ViewerRoles = GenericAlias(list, (ViewerRole,))  # mypy allows no variable in `list[...]`


@strawberry.type(description="Whoever has the token of the request.")
class Viewer:
    roles: list[Enum] = strawberry.field(description="Their roles.", graphql_type=ViewerRoles)
    person = link(
        "person",
        "The person with the identity number of the token; null if it has none, or nobody is registered with it.",
        key="person_id",
    )
    hospitals = links("hospital", "The hospitals where they work as a clerk.", keys="hospital_codes")
    service_points = links(
        "service-point", "The service points where they work as a clerk.", keys="service_point_codes"
    )
    person_id: strawberry.Private[str | None]
    hospital_codes: strawberry.Private[list[str]]
    service_point_codes: strawberry.Private[list[str]]

    @strawberry.field(
        description="Their present and former dependants, in the order in which they were first declared."
    )
    @paged
    async def dependants(self, info: Info, page: PageArguments) -> Connection[Dependant]:
        return await dependants_of(info, self.person_id, page)

    @strawberry.field(
        description="The organisations that they represent, represented or asked to represent, in the order in which"
        " they first asked."
    )
    @paged
    async def organisations(self, info: Info, page: PageArguments) -> Connection[Representation]:
        return await representations_of(info, self.person_id, page)


def _viewer(actor: Actor, person: str) -> Viewer:
    return Viewer(
        roles=[ViewerRole(role) for role in actor.roles],
        person_id=person or None,
        hospital_codes=sorted(actor.hospitals),
        service_point_codes=sorted(actor.service_points),
    )


@query(
    "Who makes this request: roles, person, places of work, dependants, organisations; null without a token.",
    who=EVERYBODY,
)
async def viewer(info: Info) -> Viewer | None:
    actor = info.context.actor
    return _viewer(actor, await person_of(info.context)) if actor.subject else None
