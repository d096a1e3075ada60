"""Records of turns, from the read models: those of a person and those of a line."""

from typing import Annotated, cast

import strawberry

from api.access.grant import Grant
from api.graphql.access import ALL, READERS_OF_ALL
from api.graphql.fields import AtLeast, Info, query
from api.graphql.links import link
from api.graphql.paging import Connection, Listing, PageArguments, paged
from api.graphql.people.acting import own_people
from api.graphql.queues.access import readers_at
from api.graphql.queues.arguments import LineName
from api.graphql.queues.words import PreferenceReason, Priority, ServiceOutcome, TurnChannel, TurnState
from api.graphql.read_models import BEHIND
from api.graphql.scalars import Instant, optional_instant
from domain.identifiers import OPAQUE
from domain.queues.line import TurnState as StateName
from projections.queues import turns as views


@strawberry.type(description="The record of a turn: whose it was, its times, and how it ended.")
class TurnRecord:
    turn = link("turn", "The turn, as it is now in the log.", key="turn_id")
    line = link("line", "The line.", key="line_id")
    number: str = strawberry.field(description="The number that is called: A-017.")
    priority: Priority = strawberry.field(description="Its class.")
    reason: PreferenceReason | None = strawberry.field(description="The reason for a preferential turn.")
    channel: TurnChannel = strawberry.field(description="Where it was taken.")
    person = link("person", "The person whose turn it is; null for a paper ticket.", key="person_id")
    appointment = link(
        "appointment", "The appointment for which it was taken; null if it was for none.", key="appointment_id"
    )
    state: TurnState = strawberry.field(description="Its state.")
    since: Instant = strawberry.field(description="When the wait began, possibly in another line.")
    taken_at: Instant = strawberry.field(description="When it was taken.")
    ahead: int = strawberry.field(description="How many turns were before it when it was taken.")
    counters_open: int = strawberry.field(description="The number of open counters when it was taken.")
    counter: int | None = strawberry.field(description="The counter that called it last.")
    calls: int = strawberry.field(description="How often that counter called it.")
    first_called_at: Instant | None = strawberry.field(description="When it was first called.")
    called_at: Instant | None = strawberry.field(description="When it was last called.")
    started_at: Instant | None = strawberry.field(description="When its service began.")
    ended_at: Instant | None = strawberry.field(description="When it was over.")
    outcome: ServiceOutcome | None = strawberry.field(description="The outcome of the service.")
    requeues: int = strawberry.field(description="How often it came back to the line after an absence.")
    moved_from = link("turn", "The turn in another line from which it was moved.", key="moved_from_id")
    moved_to = link("turn", "The turn in another line to which it was moved.", key="moved_to_id")
    turn_id: strawberry.Private[str]
    line_id: strawberry.Private[str]
    person_id: strawberry.Private[str | None]
    appointment_id: strawberry.Private[str | None]
    moved_from_id: strawberry.Private[str | None]
    moved_to_id: strawberry.Private[str | None]


def _record(row: views.TurnRow) -> TurnRecord:
    return TurnRecord(
        turn_id=row.turn,
        line_id=row.line,
        number=row.shown,
        priority=Priority[row.priority],
        reason=PreferenceReason[row.reason] if row.reason else None,
        channel=TurnChannel[row.channel],
        person_id=row.person,
        appointment_id=row.appointment,
        state=TurnState[row.state],
        since=Instant(row.since),
        taken_at=Instant(row.taken_at),
        ahead=row.ahead,
        counters_open=row.counters,
        counter=row.counter,
        calls=row.calls,
        first_called_at=optional_instant(row.first_called_at),
        called_at=optional_instant(row.called_at),
        started_at=optional_instant(row.started_at),
        ended_at=optional_instant(row.ended_at),
        outcome=ServiceOutcome[row.outcome] if row.outcome else None,
        requeues=row.requeues,
        moved_from_id=row.moved_from,
        moved_to_id=row.moved_to,
    )


_TURNS = Listing("turns", views.LATEST_FIRST)
_LINE_TURNS = Listing("lineTurns", views.BY_TAKING)


@query(
    "A person's turns, the latest first." + BEHIND,
    who={
        "citizen": own_people("person"),
        "counter_clerk": ALL,
        **READERS_OF_ALL,
    },  # limited for clerks, see `Grant.bounds`
)
@paged
async def turns(
    info: Info,
    grant: Grant,
    *,
    person: Annotated[strawberry.ID, OPAQUE, strawberry.argument(description="The person's opaque id.")],
    page: PageArguments,
    at_least: AtLeast = None,
) -> Connection[TurnRecord]:
    wanted = page.of(info, _TURNS, person)
    question = views.of_person(person, service_points=grant.bounds, part=wanted.part)
    found = wanted.found(await info.context.ask(question, at_least=at_least))
    return found.connection([_record(row) for row in found.items])


@query(
    "A line's turns in the order in which they were taken, optionally only those in one state." + BEHIND,
    who=readers_at("line"),
)
@paged
async def line_turns(
    info: Info,
    *,
    line: LineName,
    page: PageArguments,
    state: Annotated[TurnState | None, strawberry.argument(description="A state; default: all.")] = None,
    at_least: AtLeast = None,
) -> Connection[TurnRecord]:
    wanted = page.of(info, _LINE_TURNS, line)
    in_state = cast("StateName", state.name) if state else None
    question = views.of_line(line, state=in_state, part=wanted.part)
    found = wanted.found(await info.context.ask(question, at_least=at_least))
    return found.connection([_record(row) for row in found.items])
