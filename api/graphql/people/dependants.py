"""Guardians and their dependants in the schema."""

from collections.abc import Coroutine
from datetime import date, datetime
from enum import Enum
from typing import Annotated, Any, NamedTuple

import strawberry

from api.graphql.access import ALL, CLERKS, DOERS_OF_ALL, READERS_OF_ALL, Arguments, Rule, Scope, argument, only
from api.graphql.commands import Done, Gives, Takes, command, words_of
from api.graphql.context import Context
from api.graphql.fields import Info, Node, node_query, query
from api.graphql.links import link
from api.graphql.paging import Connection, Listing, PageArguments, paged
from api.graphql.people.acting import is_one_of, others, themselves
from domain.identifiers import DEPENDANT_NAME, OPAQUE, dependant_id, dependant_parts
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
from projections.engine.keyset import Order


@words_of(Relation)
@strawberry.enum(description="The relation of a guardian to a dependant.")
class DependantRelation(Enum):
    MINOR = strawberry.enum_value(
        "MINOR", description="The dependant is a minor. The dependency ends on the 18th birthday."
    )
    CARE = strawberry.enum_value(
        "CARE", description="The dependant is in care. The dependency lasts until it is ended."
    )


@words_of(EndReason)
@strawberry.enum(description="Who or what ends a dependency.")
class DependencyEndReason(Enum):
    GUARDIAN = strawberry.enum_value("GUARDIAN", description="The guardian.")
    DEPENDANT = strawberry.enum_value("DEPENDANT", description="The dependant.")
    AUTHORITY = strawberry.enum_value("AUTHORITY", description="A court or another authority.")
    MISTAKE = strawberry.enum_value("MISTAKE", description="It was declared by mistake.")
    OTHER = strawberry.enum_value("OTHER", description="None of these.")


@strawberry.type(
    description="A person for whom a guardian acts, from the confirmation until the end of the dependency."
)
class Dependant(Node):
    id: strawberry.ID = strawberry.field(description="guardian/dependant: the ids of the two persons.")
    guardian = link("person", "The guardian.", key="guardian_id")
    person = link("person", "The dependant.", key="person_id")
    relation: DependantRelation = strawberry.field(description="The relation of the guardian to the dependant.")
    confirmed: bool = strawberry.field(description="Whether an officer has confirmed the dependency.")
    until: date | None = strawberry.field(
        description="A minor's 18th birthday, on which the dependency ends. Null for a person in care, before the"
        " confirmation, and after the end."
    )
    ended: bool = strawberry.field(description="Whether the dependency is over at the time of the request.")
    guardian_id: strawberry.Private[str]
    person_id: strawberry.Private[str]


def _dependant(guardian: str, state: Guardian, dependant: str, now: datetime) -> Dependant:
    known = state.dependants[dependant]
    over = is_over(known, now)
    return Dependant(
        id=strawberry.ID(dependant_id(guardian, dependant)),
        guardian_id=guardian,
        person_id=dependant,
        relation=DependantRelation(known.relation),
        confirmed=known.confirmed,
        until=None if over else known.until,
        ended=over,
    )


READERS: Rule = {**CLERKS, "procedures_officer": ALL, **READERS_OF_ALL}


class _Declared(NamedTuple):
    """A dependant's place in the order of declaration, which never changes, and their id."""

    place: int
    dependant: str


_DEPENDANTS = Listing("dependants", Order[_Declared](tuple[int], lambda one: (one.place,)))


@query(
    "The present and former dependants of a guardian, in the order in which they were first declared.",
    who={"citizen": themselves("guardian"), **READERS},
)
@paged
async def dependants(
    info: Info,
    guardian: Annotated[strawberry.ID, OPAQUE, strawberry.argument(description="The guardian's opaque id.")],
    page: PageArguments,
) -> Connection[Dependant]:
    return await dependants_of(info, guardian, page)


async def dependants_of(info: Info, guardian: str | None, page: PageArguments) -> Connection[Dependant]:
    """A page of a guardian's dependants; empty for nobody."""
    wanted = page.of(info, _DEPENDANTS, guardian or "")
    state: Guardian = await info.context.state(stream(guardian)) if guardian else Guardian()
    found = wanted.within([_Declared(*one) for one in enumerate(state.dependants)])
    now = info.context.services.now()
    return found.connection([_dependant(guardian or "", state, one.dependant, now) for one in found.items])


def _guardian_themselves(context: Context, arguments: Arguments) -> Coroutine[Any, Any, bool]:
    return is_one_of(context, str(argument(arguments, "id")).split("/")[:1])


@node_query(
    "dependant",
    "A present or former dependant of a guardian; null if nobody declared one.",
    who={"citizen": Scope("about their own dependants", _guardian_themselves), **READERS},
)
async def dependant(
    info: Info,
    id: Annotated[strawberry.ID, DEPENDANT_NAME, strawberry.argument(description="guardian/dependant")],
) -> Dependant | None:
    guardian, person = dependant_parts(id)
    state: Guardian = await info.context.state(stream(guardian))
    known = person in state.dependants
    return _dependant(guardian, state, person, info.context.services.now()) if known else None


@command(
    DeclareDependant,
    "Declare that a guardian acts for a dependant. This takes effect once an officer has confirmed it.",
    who={"citizen": themselves("input.guardian"), **CLERKS, **DOERS_OF_ALL},
    takes=Takes(
        "A dependency to declare.",
        guardian="The guardian, who must be of age.",
        dependant="The dependant.",
        relation="The relation of the guardian to the dependant.",
    ),
    gives=Gives("The result of declaring a dependant.", dependant="The dependant, not yet confirmed."),
    adds={"declared_by": lambda context, grant: grant.actor.name},
)
async def declare_dependant(info: Info, done: Done[DeclareDependant]) -> Dependant:
    return await _dependant_of(info, done.command)


@command(
    ConfirmDependant,
    "Confirm, as an officer, that a guardian acts for a dependant.",
    who={"procedures_officer": others("input.guardian", "input.dependant"), **DOERS_OF_ALL},
    takes=Takes(
        "A dependency to confirm.",
        guardian="The guardian.",
        dependant="The dependant.",
        relation="The relation that the papers show. It must be the one declared.",
    ),
    gives=Gives("The result of confirming a dependant.", dependant="The dependant."),
    adds={"confirmed_by": lambda context, grant: grant.actor.name},
)
async def confirm_dependant(info: Info, done: Done[ConfirmDependant]) -> Dependant:
    return await _dependant_of(info, done.command)


def _not_as_authority(arguments: Arguments) -> bool:
    return bool(argument(arguments, "input.reason") != "AUTHORITY")


@command(
    EndDependency,
    "End a dependency: the guardian no longer acts for the dependant.",
    who={
        "citizen": only(
            themselves("input.guardian", "input.dependant"), "except with the reason AUTHORITY", _not_as_authority
        ),
        "procedures_officer": ALL,
        **DOERS_OF_ALL,
    },
    takes=Takes(
        "A dependency to end.",
        guardian="The guardian.",
        dependant="The dependant.",
        reason="Who or what ends it.",
    ),
    gives=Gives("The result of ending a dependency.", dependant="The former dependant."),
)
async def end_dependency(info: Info, done: Done[EndDependency]) -> Dependant:
    return await _dependant_of(info, done.command)


async def _dependant_of(info: Info, command: DeclareDependant | ConfirmDependant | EndDependency) -> Dependant:
    """The dependant of a command, as they are now."""
    state: Guardian = await info.context.state(stream(command.guardian))
    return _dependant(command.guardian, state, command.dependant, info.context.services.now())
