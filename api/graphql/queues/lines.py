"""Lines in the schema: the board, opening and closing a line, pausing and resuming its counters."""

from datetime import date as Date
from enum import Enum
from itertools import islice
from typing import Annotated, Any

import strawberry

from api.access.grant import Grant
from api.graphql.access import EVERYBODY
from api.graphql.commands import Done, Gives, Takes, command
from api.graphql.fields import Info, Input, KeyedInput, Node, Payload, mutation, node_query
from api.graphql.links import link
from api.graphql.queues.access import CLERKS_OF_LINE, clerks_of
from api.graphql.queues.current_lines import current_line
from api.graphql.queues.waits import ExpectedWait, expected_wait
from api.graphql.queues.words import Priority, TurnState
from api.graphql.scalars import Instant, Position, optional_instant
from domain.decider import build
from domain.identifiers import LINE_NAME, line_parts
from domain.queues import line as lines
from domain.queues import opening, order
from domain.queues.line_now import LineNow
from domain.queues.policy import Policy, PolicyTerms

NEXT_SHOWN = 5


@strawberry.enum(description="The state of a line at the time of the request.")
class LineState(Enum):
    NOT_OPEN_YET = strawberry.enum_value("NOT_OPEN_YET", description="It opens at `opensAt`.")
    OPEN = strawberry.enum_value("OPEN", description="Turns are given and called.")
    NO_MORE_TURNS = strawberry.enum_value("NO_MORE_TURNS", description="Turns are called, but no more are given.")
    CLOSED = strawberry.enum_value("CLOSED", description="No more turns are called.")


@strawberry.type(description="The rules by which turns are called. Anybody can check each call against them.")
class LinePolicy:
    order: list[Priority] = strawberry.field(
        description="The classes in the order in which they are called, each as long as a turn of it is waiting."
    )
    at_least: Priority | None = strawberry.field(
        description="The class that gets at least one in `oneIn` calls while a turn of it is waiting; null: none."
    )
    one_in: int = strawberry.field(description="See `atLeast`.")
    direct_calls: bool = strawberry.field(description="Whether a counter may call a turn that is not next.")
    recalls_max: int = strawberry.field(description="How often a call may be repeated.")
    call_timeout_seconds: int = strawberry.field(description="How long a person has to come after a call.")
    requeue_within_seconds: int = strawberry.field(description="How long an absent person can still come back.")
    requeues_max: int = strawberry.field(description="How often an absent person can come back.")
    early_minutes_max: int = strawberry.field(description="How long before its start an appointment gets a turn.")


@strawberry.type(description="A turn at a counter, as the board shows it.")
class Call:
    number: str = strawberry.field(description="The turn's number: A-017.")
    counter: int = strawberry.field(description="The counter that called it.")
    called_at: Instant = strawberry.field(description="When it was last called.")
    calls: int = strawberry.field(description="How often it was called.")
    state: TurnState = strawberry.field(description="The turn's state.")


@strawberry.type(description="A counter (ventanilla) of a line.")
class Counter:
    number: int = strawberry.field(description="Its number.")
    open: bool = strawberry.field(description="Whether it calls turns; false while it is paused.")
    turn: Call | None = strawberry.field(description="The turn that it has called or is serving.")


@strawberry.type(description="A class of turns in a line.")
class ClassOfLine:
    priority: Priority = strawberry.field(description="The class.")
    waiting: int = strawberry.field(description="The number of waiting turns of this class.")
    taken: int = strawberry.field(description="How many turns of this class were given.")
    ahead: int = strawberry.field(description="How many turns would be called before one that is taken now.")
    now: strawberry.Private[LineNow | None]

    @strawberry.field(
        description="The expected wait of a turn taken now; null if no turns are given or no counter is open."
    )
    def expected(self, info: Info) -> ExpectedWait | None:
        return expected_wait(self.now.expected(self.priority.name, self.ahead)) if self.now else None


@strawberry.type(
    description="A line: one service on one day at a service point, as its board shows it, without personal data."
)
class Line(Node):
    id: strawberry.ID = strawberry.field(description="service point/service/date")
    service_point = link("service-point", "The service point.", key="service_point_code")
    service: str = strawberry.field(description="The service's code.")
    date: Date = strawberry.field(description="The date in La Paz.")
    state: LineState = strawberry.field(description="Its state at the time of the request.")
    opens_at: Instant = strawberry.field(description="When it begins to give turns.")
    last_turn_at: Instant = strawberry.field(description="When it stops giving turns.")
    closes_at: Instant = strawberry.field(description="When it stops calling turns.")
    closed_at: Instant | None = strawberry.field(description="When it was closed; null if it was not.")
    hospital = link(
        "hospital",
        "The hospital whose appointments (fichas) have their own class in this line; null if there is none.",
        key="hospital_code",
    )
    policy: LinePolicy = strawberry.field(description="The rules by which turns are called.")
    waiting: int = strawberry.field(description="The number of waiting turns.")
    classes: list[ClassOfLine] = strawberry.field(description="The figures by class, in the order of the policy.")
    counters_open: int = strawberry.field(description="The number of open counters.")
    counters: list[Counter] = strawberry.field(description="The counters, by number.")
    last_calls: list[Call] = strawberry.field(description="The last calls, the latest first; at most ten.")
    next: list[str] = strawberry.field(description="The next numbers in the order of their calls; at most five.")
    service_point_code: strawberry.Private[str]
    hospital_code: strawberry.Private[str | None]


def _policy(policy: Policy) -> LinePolicy:
    return LinePolicy(
        order=[Priority[priority] for priority in policy.order],
        at_least=Priority[policy.at_least] if policy.at_least else None,
        one_in=policy.one_in,
        direct_calls=policy.direct_calls,
        recalls_max=policy.recalls_max,
        call_timeout_seconds=policy.call_timeout_s,
        requeue_within_seconds=policy.requeue_within_s,
        requeues_max=policy.requeues_max,
        early_minutes_max=policy.early_minutes_max,
    )


def _call(turn: lines.Turn) -> Call:
    assert turn.called_at
    assert turn.counter
    return Call(
        number=turn.shown,
        counter=turn.counter,
        called_at=Instant(turn.called_at),
        calls=turn.calls,
        state=TurnState[turn.state],
    )


def _state(now: LineNow, opened: lines.LineOpened) -> LineState:
    if now.is_over:
        return LineState.CLOSED
    if now.now < opened.opens_at:
        return LineState.NOT_OPEN_YET
    return LineState.OPEN if now.now < opened.last_turn_at else LineState.NO_MORE_TURNS


def line_to_graphql(now: LineNow) -> Line | None:
    """The board of a line; None if it was never opened."""
    line, opened = now.line, now.line.opened
    if opened is None:
        return None
    service_point, service, day = line_parts(opened.line)
    state = _state(now, opened)
    return Line(
        id=strawberry.ID(opened.line),
        service_point_code=service_point,
        service=service,
        date=day,
        state=state,
        opens_at=Instant(opened.opens_at),
        last_turn_at=Instant(opened.last_turn_at),
        closes_at=Instant(opened.closes_at),
        closed_at=optional_instant(line.closed.closed_at if line.closed else None),
        hospital_code=opened.hospital,
        policy=_policy(opened.policy),
        waiting=0 if now.is_over else line.waiting,
        classes=[_class(now, state, priority) for priority in opened.policy.order],
        counters_open=line.counters_open,
        counters=[
            Counter(
                number=counter.number,
                open=counter.open,
                turn=_call(line.turns[counter.turn]) if counter.turn else None,
            )
            for counter in line.counters.values()
        ],
        last_calls=[_call(line.turns[turn]) for turn in line.last_calls],
        next=[] if now.is_over else [line.turns[turn].shown for turn in islice(order.calls_to_come(line), NEXT_SHOWN)],
    )


def _class(now: LineNow, state: LineState, priority: str) -> ClassOfLine:
    return ClassOfLine(
        priority=Priority[priority],
        waiting=0 if now.is_over else len(now.line.queue(priority)),
        taken=now.line.numbers.get(priority, 0),
        ahead=order.ahead_of_new(now.line, priority),
        now=now if state is LineState.OPEN else None,
    )


async def line_by_id(info: Info, id: str) -> Line | None:
    return await current_line(info.context, id, line_to_graphql)


@node_query("line", "A line by id, from the log: its board. Null if it was never opened.", who=EVERYBODY)
async def line(
    info: Info,
    id: Annotated[strawberry.ID, LINE_NAME, strawberry.argument(description="service point/service/date")],
) -> Line | None:
    return await line_by_id(info, id)


@strawberry.input(description="The rules by which turns are to be called. Each field has a default.")
class LinePolicyInput:
    order: list[Priority] | None = strawberry.field(
        default=None, description="The three classes in order; default: preferential, appointment, normal."
    )
    at_least: Priority | None = strawberry.field(
        default=Priority.NORMAL, description="The class that gets at least one in `oneIn` calls; null: none."
    )
    one_in: int = strawberry.field(default=3, description="2 to 20.")
    direct_calls: bool = strawberry.field(
        default=False, description="Whether a counter may call a turn that is not next."
    )
    recalls_max: int = strawberry.field(default=3, description="0 to 10.")
    call_timeout_seconds: int = strawberry.field(default=90, description="10 to 1800.")
    requeue_within_seconds: int = strawberry.field(default=900, description="0 to 14400.")
    requeues_max: int = strawberry.field(default=2, description="0 to 10.")
    early_minutes_max: int = strawberry.field(default=60, description="0 to 720.")


@strawberry.input(description="A line to open, today or for a later day.")
class OpenLineInput(KeyedInput):
    service_point: str = strawberry.field(description="The service point's code.")
    service: str = strawberry.field(description="The service's code: cadastre.")
    date: Date = strawberry.field(description="The date in La Paz.")
    counters: list[int] = strawberry.field(description="The numbers of its counters, each from 1 to 100.")
    opens_at: Instant = strawberry.field(description="When it begins to give turns, on that date.")
    closes_at: Instant = strawberry.field(description="When it stops calling turns.")
    last_turn_at: Instant | None = strawberry.field(
        default=None, description="When it stops giving turns; null: `closesAt`."
    )
    policy: LinePolicyInput | None = strawberry.field(
        default=None, description="The rules by which turns are called; null: the defaults."
    )


@strawberry.type(description="The result of opening a line.")
class OpenLinePayload(Payload):
    line: Line | None = strawberry.field(default=None, description="The opened line.")


def _policy_terms(policy: LinePolicyInput) -> dict[str, Any]:
    return {
        "order": [one.value for one in policy.order] if policy.order else list(PolicyTerms().order),
        "at_least": policy.at_least.value if policy.at_least else None,
        "one_in": policy.one_in,
        "direct_calls": policy.direct_calls,
        "recalls_max": policy.recalls_max,
        "call_timeout_s": policy.call_timeout_seconds,
        "requeue_within_s": policy.requeue_within_seconds,
        "requeues_max": policy.requeues_max,
        "early_minutes_max": policy.early_minutes_max,
    }


@mutation(
    opening.OpenLine,
    description="Open a line, today or for a later day. Opening the same line again changes nothing.",
    who=clerks_of("input.service_point"),
)
async def open_line(info: Info, grant: Grant, input: Input[OpenLineInput]) -> OpenLinePayload:
    kind = opening.OpenLine
    fields = {
        "service_point": input.service_point,
        "service": input.service,
        "date": input.date,
        "counters": input.counters,
        "opens_at": input.opens_at,
        "closes_at": input.closes_at,
        "last_turn_at": input.last_turn_at,
        **({"policy": _policy_terms(input.policy)} if input.policy else {}),
    }
    command, outcome = await info.context.perform(
        grant, input.idempotency_key, fields, kind, lambda _: build(kind, **fields)
    )
    return OpenLinePayload(line=await line_by_id(info, command.line), position=Position(outcome.position))


@command(
    opening.CloseLine,
    "Close a line: no more turns are called, and people who are waiting are notified.",
    who=CLERKS_OF_LINE,
    takes=Takes("A line to close.", line="The line."),
    gives=Gives("The result of closing a line.", line="The line afterwards."),
)
async def close_line(info: Info, done: Done[opening.CloseLine]) -> Line | None:
    return await line_by_id(info, done.command.line)


@command(
    opening.PauseCounter,
    "Pause a counter: it finishes its present turn and calls no other until it is resumed.",
    who=CLERKS_OF_LINE,
    takes=Takes("A counter of a line.", line="The line.", counter="The counter's number."),
    gives=Gives("The result of pausing a counter.", line="The line afterwards."),
)
async def pause_counter(info: Info, done: Done[opening.PauseCounter]) -> Line | None:
    return await line_by_id(info, done.command.line)


@command(
    opening.ResumeCounter,
    "Resume a paused counter.",
    who=CLERKS_OF_LINE,
    takes=Takes("A counter of a line.", line="The line.", counter="The counter's number."),
    gives=Gives("The result of resuming a counter.", line="The line afterwards."),
)
async def resume_counter(info: Info, done: Done[opening.ResumeCounter]) -> Line | None:
    return await line_by_id(info, done.command.line)
