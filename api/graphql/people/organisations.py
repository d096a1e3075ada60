"""Organisations in the schema: registering, finding, correcting."""

from typing import Annotated, Any

import strawberry

from api.access.grant import Grant
from api.graphql.access import ALL, CLERKS, DOERS_OF_ALL, FINANCE, READERS_OF_ALL, Rule
from api.graphql.context import Context
from api.graphql.fields import Info, Input, KeyedInput, Node, Payload, mutation, node_query, query
from api.graphql.links import permit
from api.graphql.paging import Connection, PageArguments, paged
from api.graphql.people import representations
from api.graphql.people.acting import not_their_organisation
from api.graphql.people.representations import Representation, representatives_of
from api.graphql.scalars import Position
from domain.decider import build
from domain.identifiers import ORGANISATION, organisation_id, parse_nit
from domain.people import organisation as organisations


@strawberry.type(description="An organisation with a NIT, such as a company, a cooperative or an association.")
class Organisation(Node):
    id: strawberry.ID = strawberry.field(description="Opaque: it reveals nothing about the organisation.")
    name: str = strawberry.field(description="The name under which it is registered.")
    nit: str | None = strawberry.field(description="The tax number; null if it was made unreadable.")
    listed: strawberry.Private[list[str]]

    @strawberry.field(
        description="The present and former representatives, in the order in which they were first confirmed; null if"
        " you may not use the query of that name for this organisation."
    )
    @paged
    async def representatives(self, info: Info, page: PageArguments) -> Connection[Representation] | None:
        await permit(info, representations.representatives.who, organisation=self.id)
        return await representatives_of(info, self.id, self.listed, page)


def _organisation(state: organisations.Organisation) -> Organisation | None:
    details = state.registered
    if details is None:
        return None
    return Organisation(
        id=strawberry.ID(details.organisation), name=details.name, nit=details.nit, listed=state.representatives
    )


async def _organisation_by_id(info: Info, id: str) -> Organisation | None:
    return _organisation(await info.context.state(organisations.stream(id)))


READERS: Rule = {"citizen": ALL, **CLERKS, **FINANCE, "procedures_officer": ALL, **READERS_OF_ALL}


@node_query("organisation", "An organisation by id; null if there is none.", who=READERS)
async def organisation(
    info: Info,
    id: Annotated[strawberry.ID, ORGANISATION, strawberry.argument(description="The organisation's opaque id.")],
) -> Organisation | None:
    return await _organisation_by_id(info, id)


@query("The organisation that has a NIT now; null if none does.", who=READERS)
async def organisation_by_nit(
    info: Info,
    nit: Annotated[str, strawberry.argument(description="Tax number of 7 to 13 digits: 1023467024.")],
) -> Organisation | None:
    digest = info.context.services.core.secret.nit_digest(parse_nit(nit))
    bearer = await info.context.state(organisations.nit_stream(digest))
    return await _organisation_by_id(info, bearer.organisation) if bearer.organisation else None


@strawberry.input(description="An organisation to register.")
class RegisterOrganisationInput(KeyedInput):
    nit: str = strawberry.field(description="Tax number of 7 to 13 digits: 1023467024.")
    name: str = strawberry.field(description="The name under which it is registered. It is public.")


@strawberry.type(description="The result of registering an organisation.")
class RegisterOrganisationPayload(Payload):
    organisation: Organisation | None = strawberry.field(default=None, description="The registered organisation.")


@mutation(
    organisations.RegisterOrganisation,
    description="Register an organisation. A NIT belongs to one organisation. A sole trader is a person, not an"
    " organisation.",
    who={"counter_clerk": ALL, "procedures_officer": ALL, **DOERS_OF_ALL},
)
async def register_organisation(
    info: Info, grant: Grant, input: Input[RegisterOrganisationInput]
) -> RegisterOrganisationPayload:
    context, kind = info.context, organisations.RegisterOrganisation
    fields = _fields(context, input)
    command, outcome = await context.perform(
        grant, input.idempotency_key, fields, kind, lambda id: build(kind, **fields, organisation=organisation_id(id))
    )
    return RegisterOrganisationPayload(
        organisation=await _organisation_by_id(info, command.organisation), position=Position(outcome.position)
    )


@strawberry.input(description="The fields to correct; fields that are left out or null stay as they are.")
class CorrectOrganisationInput(KeyedInput):
    organisation: strawberry.ID = strawberry.field(description="The organisation.")
    nit: str | None = strawberry.field(default=None, description="The new NIT; the previous one becomes free.")
    name: str | None = strawberry.field(default=None, description="The new name.")


@strawberry.type(description="The result of correcting an organisation's data.")
class CorrectOrganisationPayload(Payload):
    organisation: Organisation | None = strawberry.field(default=None, description="The corrected organisation.")


@mutation(
    organisations.CorrectOrganisation,
    description="Correct an organisation's data. The previous data stay in the log, the NIT encrypted.",
    who={"procedures_officer": not_their_organisation("input.organisation"), **DOERS_OF_ALL},
)
async def correct_organisation(
    info: Info, grant: Grant, input: Input[CorrectOrganisationInput]
) -> CorrectOrganisationPayload:
    context, kind = info.context, organisations.CorrectOrganisation
    fields = {"organisation": input.organisation, **_fields(context, input)}
    command, outcome = await context.perform(
        grant, input.idempotency_key, fields, kind, lambda _: build(kind, **fields)
    )
    return CorrectOrganisationPayload(
        organisation=await _organisation_by_id(info, command.organisation), position=Position(outcome.position)
    )


def _fields(context: Context, input: RegisterOrganisationInput | CorrectOrganisationInput) -> dict[str, Any]:
    """An organisation's data as commands take them; None for fields that the client left out. Raises Rejected."""
    nit = None if input.nit is None else parse_nit(input.nit)
    return {
        "nit": nit,
        "nit_digest": nit and context.services.core.secret.nit_digest(nit),
        "name": None if input.name is None else input.name.strip(),
    }
