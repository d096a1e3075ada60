"""Turns in the schema: following a turn, and the mutations of people in line."""

from datetime import timedelta
from typing import Annotated, Any

import strawberry

from api.access.grant import Grant
from api.graphql.access import EVERYBODY
from api.graphql.commands import Done, Gives, Takes, command
from api.graphql.errors import UserError, error_of
from api.graphql.fields import Info, Node, node_query
from api.graphql.links import link
from api.graphql.queues.access import CLERKS_OF_BOTH_LINES, HOLDERS_AND_CLERKS
from api.graphql.queues.current_lines import current_line
from api.graphql.queues.waits import ExpectedWait, expected_wait
from api.graphql.queues.words import Priority, TurnState
from api.graphql.scalars import Instant, optional_instant
from domain.identifiers import TURN_NAME, line_of
from domain.queues import calling, opening, turns
from domain.queues import line as lines
from domain.queues.line_now import LineNow
from domain.queues.policy import Policy, format_number
from infra.log.submission import Outcome


@strawberry.type(description="A request for a notice: by turns ahead, or by time.")
class Notice:
    ahead: int | None = strawberry.field(description="Give the notice when only this many turns are ahead.")
    minutes: int | None = strawberry.field(description="Give the notice about this many minutes before the call.")


@strawberry.type(description="A turn in a line, for the person who waits with it; without personal data.")
class Turn(Node):
    id: strawberry.ID = strawberry.field(description="The line's id, then an opaque part.")
    line = link("line", "The line.", key="line_id")
    number: str = strawberry.field(description="The number that is called: A-017.")
    priority: Priority = strawberry.field(description="Its class.")
    state: TurnState = strawberry.field(description="Its state.")
    since: Instant = strawberry.field(description="When the wait began, possibly in another line.")
    taken_at: Instant = strawberry.field(description="When it was taken.")
    ahead: int | None = strawberry.field(
        description="How many turns are called before it if nobody else comes; null if it is not waiting."
    )
    counters_open: int = strawberry.field(description="The number of open counters.")
    counter: int | None = strawberry.field(description="The counter that called it last.")
    calls: int = strawberry.field(description="How often that counter called it.")
    called_at: Instant | None = strawberry.field(description="When it was last called.")
    come_until: Instant | None = strawberry.field(description="If it is called: until when the person has to come.")
    started_at: Instant | None = strawberry.field(description="When its service began.")
    ended_at: Instant | None = strawberry.field(description="When it was over.")
    back_until: Instant | None = strawberry.field(
        description="If it is absent: until when the person can come back to the line; null if they can't."
    )
    moved_to = link("turn", "The turn in another line to which it was moved.", key="moved_to_id")
    notice: Notice | None = strawberry.field(description="The notice that the person asked for.")
    line_id: strawberry.Private[str]
    moved_to_id: strawberry.Private[str | None]
    now: strawberry.Private[LineNow | None]  # None right after the turn was taken: its line has not been loaded

    @strawberry.field(
        description="The expected wait until it is called; null if it is not waiting or no counter is open."
    )
    async def expected(self, info: Info) -> ExpectedWait | None:
        if self.now:
            return expected_wait(self.now.expected(self.priority.name, self.ahead))
        return await current_line(
            info.context, self.line_id, lambda now: expected_wait(now.expected(self.priority.name, now.ahead(self.id)))
        )


def turn_to_graphql(now: LineNow, id: str) -> Turn | None:
    """A turn as its holder sees it; None if there is no such turn."""
    line, turn = now.line, now.line.turns.get(id)
    if turn is None or line.opened is None:
        return None
    policy, notice = line.opened.policy, line.notices.get(id)
    unserved = turn.state == "WAITING" and now.is_over  # closing time counts even before the line is closed
    return Turn(
        id=strawberry.ID(id),
        line_id=line_of(id),
        number=turn.shown,
        priority=Priority[turn.priority],
        state=TurnState.UNSERVED if unserved else TurnState[turn.state],
        since=Instant(turn.since),
        taken_at=Instant(turn.taken_at),
        ahead=now.ahead(id),
        counters_open=line.counters_open,
        counter=turn.counter,
        calls=turn.calls,
        called_at=optional_instant(turn.called_at),
        come_until=Instant(calling.absent_at(line, turn)) if turn.state == "CALLED" else None,
        started_at=optional_instant(turn.started_at),
        ended_at=optional_instant(turn.ended_at),
        back_until=_back_until(line, turn, policy),
        moved_to_id=turn.moved_to,
        notice=Notice(ahead=notice.ahead, minutes=notice.minutes) if notice else None,
        now=now,
    )


def _back_until(line: lines.Line, turn: lines.Turn, policy: Policy) -> Instant | None:
    if turn.state != "ABSENT" or turn.requeues >= policy.requeues_max or line.closed:
        return None
    assert turn.ended_at
    return Instant(turn.ended_at + timedelta(seconds=policy.requeue_within_s))


def just_taken(outcome: Outcome) -> Turn | None:
    """The turn that this outcome recorded, at the outcome's position; None if it was taken before."""
    taken = next((event for _, event in outcome.recorded if isinstance(event, lines.TurnTaken)), None)
    if taken is None:
        return None
    return Turn(
        id=strawberry.ID(taken.turn),
        line_id=line_of(taken.turn),
        number=format_number(taken.priority, taken.number),
        priority=Priority[taken.priority],
        state=TurnState.WAITING,
        since=Instant(taken.since),
        taken_at=Instant(taken.taken_at),
        ahead=taken.ahead,
        counters_open=taken.counters,
        counter=None,
        calls=0,
        called_at=None,
        come_until=None,
        started_at=None,
        ended_at=None,
        back_until=None,
        moved_to_id=None,
        notice=None,
        now=None,
    )


async def turn_by_id(info: Info, id: str) -> Turn | None:
    return await current_line(info.context, line_of(id), lambda now: turn_to_graphql(now, id))


async def turn_for(info: Info, line: str, appointment: str) -> Turn | None:
    """The last turn for this appointment in a line."""
    return await current_line(
        info.context, line, lambda now: turn_to_graphql(now, now.line.appointments.get(appointment, ""))
    )


@strawberry.type(description="The person already has a turn in the line.")
class HasATurn(UserError):
    turn = link("turn", "The turn.", key="turn_id")
    number: str = strawberry.field(description="The number of the turn: A-017.")
    turn_id: strawberry.Private[str]


@strawberry.type(description="The request came too early.")
class NotBefore(UserError):
    at: Instant = strawberry.field(description="When it can be repeated.")


@error_of(calling.HasATurn)
def _has_a_turn(refusal: calling.HasATurn, _grant: Grant | None, **common: Any) -> UserError:
    return HasATurn(turn_id=refusal.turn, number=refusal.number, **common)


@error_of(opening.LineNotOpenYet, calling.CalledJustNow)
def _not_before(
    refusal: opening.LineNotOpenYet | calling.CalledJustNow, _grant: Grant | None, **common: Any
) -> UserError:
    return NotBefore(at=Instant(refusal.at), **common)


@node_query("turn", "A turn by id, from the log; null if there is none.", who=EVERYBODY)
async def turn(
    info: Info, id: Annotated[strawberry.ID, TURN_NAME, strawberry.argument(description="The turn's id.")]
) -> Turn | None:
    return await turn_by_id(info, id)


@command(
    turns.RequeueAbsent,
    "Put an absent turn back in the line, behind the next two of its class.",
    who=HOLDERS_AND_CLERKS,
    takes=Takes("An absent turn whose person has come after all.", turn="The turn."),
    gives=Gives("The result of putting a turn back in the line.", turn="The turn afterwards."),
)
async def requeue_absent(info: Info, done: Done[turns.RequeueAbsent]) -> Turn | None:
    return await turn_by_id(info, done.command.turn)


@command(
    turns.TransferTurn,
    "Move a turn to another line. It keeps its waiting time and gets a number of that line.",
    who=CLERKS_OF_BOTH_LINES,
    takes=Takes("A turn to move to another line.", turn="The turn.", to="The other line."),
    gives=Gives("The result of moving a turn to another line.", turn="The turn afterwards."),
    new_id="moved_to",
    within="to",
)
async def transfer_turn(info: Info, done: Done[turns.TransferTurn]) -> Turn | None:
    return await turn_by_id(info, done.command.moved_to)


@command(
    turns.LeaveLine,
    "Give up a turn.",
    who=HOLDERS_AND_CLERKS,
    takes=Takes("A turn to give up.", turn="The turn."),
    gives=Gives("The result of giving up a turn.", turn="The turn afterwards."),
)
async def leave_line(info: Info, done: Done[turns.LeaveLine]) -> Turn | None:
    return await turn_by_id(info, done.command.turn)


@command(
    turns.AskNotice,
    "Ask for a notice before a turn is called. The last request counts.",
    who=HOLDERS_AND_CLERKS,
    takes=Takes(
        "When to give the notice: by the number of turns ahead or by time. Give one of the two.",
        turn="The turn.",
        ahead="The number of turns that are still ahead: 0 to 100.",
        minutes="About how many minutes before the call: 1 to 240.",
    ),
    gives=Gives("The result of asking for a notice.", turn="The turn afterwards."),
)
async def ask_notice(info: Info, done: Done[turns.AskNotice]) -> Turn | None:
    return await turn_by_id(info, done.command.turn)
