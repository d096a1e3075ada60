"""The representatives of organisations in the schema."""

from collections.abc import Sequence
from datetime import date
from enum import Enum
from typing import Annotated, NamedTuple

import strawberry

from api.graphql.access import ALL, CLERKS, DOERS_OF_ALL, READERS_OF_ALL, Arguments, Rule, Scope, argument, only
from api.graphql.commands import Done, Gives, Takes, command, words_of
from api.graphql.context import Context
from api.graphql.fields import Info, Node, node_query, query
from api.graphql.links import link
from api.graphql.paging import Connection, Listing, PageArguments, paged
from api.graphql.people.acting import acts_for, is_one_of, outsiders, own_organisations, themselves
from domain.identifiers import OPAQUE, ORGANISATION, REPRESENTATION_NAME, representation_id, representation_parts
from domain.people import organisation as organisations
from domain.people.representatives import (
    ConfirmRepresentation,
    EndReason,
    EndRepresentation,
    RejectRepresentation,
    Representative,
    RequestRepresentation,
    Stage,
    stage_at,
    stream,
)
from projections.engine.keyset import Order


@words_of(Stage)
@strawberry.enum(description="How far a request to represent an organisation has come.")
class RepresentationState(Enum):
    REQUESTED = strawberry.enum_value("REQUESTED", description="An officer has yet to confirm or reject it.")
    CONFIRMED = strawberry.enum_value("CONFIRMED", description="The person acts for the organisation.")
    REJECTED = strawberry.enum_value("REJECTED", description="An officer rejected it. It can be requested again.")
    ENDED = strawberry.enum_value(
        "ENDED", description="It was ended, or its last day is over. It can be requested again."
    )


@words_of(EndReason)
@strawberry.enum(description="Who or what ends a representation.")
class RepresentationEndReason(Enum):
    REPRESENTATIVE = strawberry.enum_value("REPRESENTATIVE", description="The representative.")
    ORGANISATION = strawberry.enum_value("ORGANISATION", description="The organisation.")
    AUTHORITY = strawberry.enum_value("AUTHORITY", description="A court or another authority.")
    MISTAKE = strawberry.enum_value("MISTAKE", description="It was requested or confirmed by mistake.")
    OTHER = strawberry.enum_value("OTHER", description="None of these.")


@strawberry.type(
    description="A person who acts for an organisation, from the confirmation until the end of the representation."
)
class Representation(Node):
    id: strawberry.ID = strawberry.field(description="organisation/representative: the ids of both.")
    organisation = link("organisation", "The organisation.", key="organisation_id")
    representative = link("person", "The person who represents it.", key="person_id")
    state: RepresentationState = strawberry.field(description="The state at the time of the request.")
    last_day: date | None = strawberry.field(
        description="The last day on which the person acts for the organisation; null if there is none, or before the"
        " confirmation."
    )
    organisation_id: strawberry.Private[str]
    person_id: strawberry.Private[str]


def _representation(info: Info, state: Representative, organisation: str, representative: str) -> Representation:
    known = state.organisations[organisation]
    return Representation(
        id=strawberry.ID(representation_id(organisation, representative)),
        organisation_id=organisation,
        person_id=representative,
        state=RepresentationState(stage_at(known, info.context.services.now())),
        last_day=known.last_day,
    )


READERS: Rule = {**CLERKS, "procedures_officer": ALL, **READERS_OF_ALL}


class _Listed(NamedTuple):
    """A place in an order that never changes, and the id of the organisation or person there."""

    place: int
    party: str


_BY_PLACE = Order[_Listed](tuple[int], lambda one: (one.place,))
_REPRESENTATIONS = Listing("representations", _BY_PLACE)
_REPRESENTATIVES = Listing("representatives", _BY_PLACE)


@query(
    "The organisations that a person represents, represented or asked to represent, in the order in which they first"
    " asked.",
    who={"citizen": themselves("representative"), **READERS},
)
@paged
async def representations(
    info: Info,
    representative: Annotated[strawberry.ID, OPAQUE, strawberry.argument(description="The person's opaque id.")],
    page: PageArguments,
) -> Connection[Representation]:
    return await representations_of(info, representative, page)


async def representations_of(info: Info, person: str | None, page: PageArguments) -> Connection[Representation]:
    """A page of the organisations of a person; empty for nobody."""
    wanted = page.of(info, _REPRESENTATIONS, person or "")
    state: Representative = await info.context.state(stream(person)) if person else Representative()
    found = wanted.within([_Listed(*one) for one in enumerate(state.organisations)])
    return found.connection([_representation(info, state, one.party, person or "") for one in found.items])


@query(
    "The present and former representatives of an organisation, in the order in which they were first confirmed.",
    who={"citizen": own_organisations("organisation"), **READERS},
)
@paged
async def representatives(
    info: Info,
    organisation: Annotated[
        strawberry.ID, ORGANISATION, strawberry.argument(description="The organisation's opaque id.")
    ],
    page: PageArguments,
) -> Connection[Representation]:
    state = await info.context.state(organisations.stream(organisation))
    return await representatives_of(info, organisation, state.representatives, page)


async def representatives_of(
    info: Info, organisation: str, persons: Sequence[str], page: PageArguments
) -> Connection[Representation]:
    """A page of the representatives of an organisation, who are these persons."""
    found = page.of(info, _REPRESENTATIVES, organisation).within([_Listed(*one) for one in enumerate(persons)])
    states = await info.context.states([stream(one.party) for one in found.items])
    return found.connection(
        [_representation(info, states[stream(one.party)], organisation, one.party) for one in found.items]
    )


async def _is_party(context: Context, organisation: str, representative: str) -> bool:
    """Whether the actor is the representative, or acts for the organisation."""
    return await is_one_of(context, [representative]) or await acts_for(context, organisation)


@node_query(
    "representation",
    "A person who represents an organisation, represented it or asked to; null if they never asked.",
    who={
        "citizen": Scope(
            "about themselves or their organisations",
            lambda context, arguments: _is_party(context, *representation_parts(argument(arguments, "id"))),
        ),
        **READERS,
    },
)
async def representation(
    info: Info,
    id: Annotated[strawberry.ID, REPRESENTATION_NAME, strawberry.argument(description="organisation/representative")],
) -> Representation | None:
    organisation, representative = representation_parts(id)
    state = await info.context.state(stream(representative))
    known = organisation in state.organisations
    return _representation(info, state, organisation, representative) if known else None


@command(
    RequestRepresentation,
    "Ask to represent an organisation. This takes effect once an officer has confirmed it.",
    who={"citizen": themselves("input.representative"), **CLERKS, **DOERS_OF_ALL},
    takes=Takes(
        "A request to represent an organisation.",
        organisation="The organisation.",
        representative="The person who is to represent it, who must be of age.",
    ),
    gives=Gives("The result of the request.", representation="The representation, not yet confirmed."),
    adds={"requested_by": lambda context, grant: grant.actor.name},
)
async def request_representation(info: Info, done: Done[RequestRepresentation]) -> Representation:
    return await _representation_of(info, done.command)


_OFFICERS: Rule = {"procedures_officer": outsiders("input.representative", "input.organisation"), **DOERS_OF_ALL}


@command(
    ConfirmRepresentation,
    "Confirm, as an officer, that a person represents an organisation.",
    who=_OFFICERS,
    takes=Takes(
        "A representation to confirm.",
        organisation="The organisation.",
        representative="The person who asked to represent it.",
        last_day="The last day on which the papers let the person act; null if they name none.",
    ),
    gives=Gives("The result of confirming a representation.", representation="The representation."),
    adds={"confirmed_by": lambda context, grant: grant.actor.name},
)
async def confirm_representation(info: Info, done: Done[ConfirmRepresentation]) -> Representation:
    return await _representation_of(info, done.command)


@command(
    RejectRepresentation,
    "Reject, as an officer, a request to represent an organisation.",
    who=_OFFICERS,
    takes=Takes(
        "A request to reject.", organisation="The organisation.", representative="The person who asked to represent it."
    ),
    gives=Gives("The result of rejecting a request.", representation="The rejected representation."),
)
async def reject_representation(info: Info, done: Done[RejectRepresentation]) -> Representation:
    return await _representation_of(info, done.command)


def _not_as_authority(arguments: Arguments) -> bool:
    return bool(argument(arguments, "input.reason") != "AUTHORITY")


_ENDING = Scope(
    "about themselves or their organisations",
    lambda context, arguments: _is_party(
        context, argument(arguments, "input.organisation"), argument(arguments, "input.representative")
    ),
)


@command(
    EndRepresentation,
    "End a representation, or withdraw a request: the person does not act for the organisation any more.",
    who={
        "citizen": only(_ENDING, "except with the reason AUTHORITY", _not_as_authority),
        "procedures_officer": ALL,
        **DOERS_OF_ALL,
    },
    takes=Takes(
        "A representation to end.",
        organisation="The organisation.",
        representative="The person who represents it.",
        reason="Who or what ends it.",
    ),
    gives=Gives("The result of ending a representation.", representation="The ended representation."),
)
async def end_representation(info: Info, done: Done[EndRepresentation]) -> Representation:
    return await _representation_of(info, done.command)


async def _representation_of(
    info: Info,
    command: RequestRepresentation | ConfirmRepresentation | RejectRepresentation | EndRepresentation,
) -> Representation:
    """The representation of a command, as it is now."""
    state = await info.context.state(stream(command.representative))
    return _representation(info, state, command.organisation, command.representative)
