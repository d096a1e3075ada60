"""Guardians and their dependants in the schema."""

from datetime import date, datetime
from enum import Enum
from itertools import islice
from typing import Annotated

import strawberry

from api.graphql.access import ALL, CLERKS, DOERS_OF_ALL, READERS_OF_ALL, Arguments, argument, only
from api.graphql.commands import Done, Gives, Takes, command, words_of
from api.graphql.fields import Info, query, refuse
from api.graphql.paging import After, Connection, CursorHint, First, page, page_size
from api.graphql.people.acting import others, themselves
from domain.people.dependants import (
    ConfirmDependant,
    DeclareDependant,
    EndDependency,
    EndReason,
    Guardian,
    Relation,
    is_over,
    stream,
)


@words_of(Relation)
@strawberry.enum(description="Why somebody acts for another.")
class DependantRelation(Enum):
    MINOR = strawberry.enum_value("MINOR", description="A minor; it ends by itself on the 18th birthday.")
    CARE = strawberry.enum_value("CARE", description="A person in care; it lasts until it is ended.")


@words_of(EndReason)
@strawberry.enum(description="Whose cause the end of a dependency is.")
class DependencyEndReason(Enum):
    GUARDIAN = strawberry.enum_value("GUARDIAN", description="The guardian's.")
    DEPENDANT = strawberry.enum_value("DEPENDANT", description="The dependant's.")
    AUTHORITY = strawberry.enum_value("AUTHORITY", description="A court's or another authority's.")
    MISTAKE = strawberry.enum_value("MISTAKE", description="It was declared by mistake.")
    OTHER = strawberry.enum_value("OTHER", description="Another.")


@strawberry.type(description="Somebody for whom another acts, once that is confirmed and as long as it is not over.")
class Dependant:
    id: strawberry.ID = strawberry.field(description="The dependant's opaque id.")
    guardian: strawberry.ID = strawberry.field(description="The guardian's opaque id.")
    relation: DependantRelation = strawberry.field(description="Why the guardian acts for them.")
    confirmed: bool = strawberry.field(description="Whether an officer has confirmed it.")
    until: date | None = strawberry.field(
        description="Of a minor, the 18th birthday: from that day on it is over. Null for a person in care, before it"
        " is confirmed, and once it is over."
    )
    ended: bool = strawberry.field(description="Whether it is over at the time of asking, by a word or by itself.")


def _dependant(guardian: str, state: Guardian, dependant: str, now: datetime) -> Dependant:
    known = state.dependants[dependant]
    over = is_over(known, now)
    return Dependant(
        id=strawberry.ID(dependant),
        guardian=strawberry.ID(guardian),
        relation=DependantRelation(known.relation),
        confirmed=known.confirmed,
        until=None if over else known.until,
        ended=over,
    )


@query(
    "Those whose guardian somebody is or was, in the order in which they were first declared.",
    who={"citizen": themselves("guardian"), **CLERKS, "procedures_officer": ALL, **READERS_OF_ALL},
)
async def dependants(
    info: Info,
    guardian: Annotated[strawberry.ID, strawberry.argument(description="The guardian's opaque id.")],
    first: First,
    after: After = None,
) -> Connection[Dependant]:
    first = page_size(first, info)
    state: Guardian = await info.context.state(stream(guardian))
    ids = list(state.dependants)
    if after is not None and after not in state.dependants:
        refuse(info, "after", CursorHint())
    begin = 0 if after is None else ids.index(after) + 1
    now = info.context.services.now()
    nodes = [_dependant(guardian, state, one, now) for one in islice(ids, begin, begin + first + 1)]
    return page(nodes, first, lambda dependant: dependant.id)


@command(
    DeclareDependant,
    "Say that somebody acts for another. It counts once an officer has confirmed it.",
    who={"citizen": themselves("input.guardian"), **CLERKS, **DOERS_OF_ALL},
    takes=Takes("For whom somebody acts.", guardian="Who acts: of age.", dependant="For whom.", relation="Why."),
    gives=Gives("What came of declaring a dependant.", dependant="The dependant, to be confirmed."),
    adds={"declared_by": lambda context, grant: grant.actor.name},
)
async def declare_dependant(info: Info, done: Done[DeclareDependant]) -> Dependant:
    return await _dependant_of(info, done.command)


@command(
    ConfirmDependant,
    "Confirm as an officer that somebody acts for another.",
    who={"procedures_officer": others("input.guardian", "input.dependant"), **DOERS_OF_ALL},
    takes=Takes(
        "Which dependant an officer confirms.",
        guardian="Who acts.",
        dependant="For whom.",
        relation="Why, as the papers have it and as it was declared.",
    ),
    gives=Gives("What came of confirming a dependant.", dependant="The dependant."),
    adds={"confirmed_by": lambda context, grant: grant.actor.name},
)
async def confirm_dependant(info: Info, done: Done[ConfirmDependant]) -> Dependant:
    return await _dependant_of(info, done.command)


def _not_as_authority(arguments: Arguments) -> bool:
    return bool(argument(arguments, "input.reason") != "AUTHORITY")


@command(
    EndDependency,
    "End it: the guardian acts for the dependant no more.",
    who={
        "citizen": only(themselves("input.guardian", "input.dependant"), "not as AUTHORITY", _not_as_authority),
        "procedures_officer": ALL,
        **DOERS_OF_ALL,
    },
    takes=Takes(
        "Which dependant somebody acts for no more.",
        guardian="Who acts.",
        dependant="For whom.",
        reason="Whose cause it is.",
    ),
    gives=Gives("What came of ending a dependency.", dependant="The dependant that was."),
)
async def end_dependency(info: Info, done: Done[EndDependency]) -> Dependant:
    return await _dependant_of(info, done.command)


async def _dependant_of(info: Info, command: DeclareDependant | ConfirmDependant | EndDependency) -> Dependant:
    """The dependant of a command as they stand now."""
    state: Guardian = await info.context.state(stream(command.guardian))
    return _dependant(command.guardian, state, command.dependant, info.context.services.now())
