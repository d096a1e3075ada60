"""Lines in the schema: the board, how a line is opened and closed, and how its counters pause and go on."""

from datetime import date as Date
from enum import Enum
from itertools import islice
from typing import Annotated, Any

import strawberry

from api.access.grant import Grant
from api.graphql.access import EVERYBODY
from api.graphql.commands import Done, Gives, Takes, command
from api.graphql.fields import Info, Input, KeyedInput, Node, Payload, mutation, query, refuse
from api.graphql.queues.access import CLERKS_OF_LINE, clerks_of
from api.graphql.queues.current_lines import current_line
from api.graphql.queues.waits import ExpectedWait, expected_wait
from api.graphql.queues.words import Priority, TurnState
from api.graphql.scalars import Instant, Position, optional_id, optional_instant
from domain.decider import build
from domain.identifiers import LINE_NAME, LineHint, fits, line_parts
from domain.queues import line as lines
from domain.queues import opening, order
from domain.queues.policy import Policy, PolicyTerms
from infra.reactions.queues.lines import LineNow

NEXT_SHOWN = 5


@strawberry.enum(description="What can be done in a line at the time of asking.")
class LineState(Enum):
    NOT_OPEN_YET = strawberry.enum_value("NOT_OPEN_YET", description="It opens at `opensAt`.")
    OPEN = strawberry.enum_value("OPEN", description="Turns are given and called.")
    NO_MORE_TURNS = strawberry.enum_value("NO_MORE_TURNS", description="Turns are called, and no more are given.")
    CLOSED = strawberry.enum_value("CLOSED", description="Nobody is called any more.")


@strawberry.type(description="Who is called next, as data. Anybody can check each call against it.")
class LinePolicy:
    order: list[Priority] = strawberry.field(
        description="The classes in the order in which they are called, each as long as somebody of it waits."
    )
    at_least: Priority | None = strawberry.field(
        description="The class of which at least one in `oneIn` calls is, as long as somebody of it waits."
    )
    one_in: int = strawberry.field(description="See `atLeast`.")
    direct_calls: bool = strawberry.field(description="Whether a counter may call somebody who is not next.")
    recalls_max: int = strawberry.field(description="How often a call is repeated.")
    call_timeout_seconds: int = strawberry.field(description="How long who was called has to come.")
    requeue_within_seconds: int = strawberry.field(description="How long who was absent can still come back.")
    requeues_max: int = strawberry.field(description="How often.")
    early_minutes_max: int = strawberry.field(
        description="How long before its time an appointment has a place in the line."
    )


@strawberry.type(description="A turn at a counter, as the board shows it.")
class Call:
    number: str = strawberry.field(description="The turn's number: A-017.")
    counter: int = strawberry.field(description="The counter that called it.")
    called_at: Instant = strawberry.field(description="When it was called last.")
    calls: int = strawberry.field(description="How often it was called.")
    state: TurnState = strawberry.field(description="What became of it.")


@strawberry.type(description="A counter (ventanilla) of a line.")
class Counter:
    number: int = strawberry.field(description="Its number.")
    open: bool = strawberry.field(description="Whether it goes on calling.")
    turn: Call | None = strawberry.field(description="Whom it called or serves.")


@strawberry.type(description="A class of a line.")
class ClassOfLine:
    priority: Priority = strawberry.field(description="The class.")
    waiting: int = strawberry.field(description="How many of it wait.")
    taken: int = strawberry.field(description="How many numbers of it were given.")
    ahead: int = strawberry.field(description="How many would be called before one who takes a turn now.")
    now: strawberry.Private[LineNow | None]

    @strawberry.field(
        description="How long one will wait who takes a turn now; null if no turns are given, or no counter is open."
    )
    def expected(self, info: Info) -> ExpectedWait | None:
        return expected_wait(self.now.expected(self.priority.name, self.ahead)) if self.now else None


@strawberry.type(description="One service on one day at a service point: the board. Numbers only, nobody's name.")
class Line(Node):
    id: strawberry.ID = strawberry.field(description="service point/service/date")
    service_point: strawberry.ID = strawberry.field(description="The service point's code.")
    service: str = strawberry.field(description="The service's code.")
    date: Date = strawberry.field(description="The date in La Paz.")
    state: LineState = strawberry.field(description="What can be done in it at the time of asking.")
    opens_at: Instant = strawberry.field(description="From when on turns are given.")
    last_turn_at: Instant = strawberry.field(description="From when on none are given any more.")
    closes_at: Instant = strawberry.field(description="From when on nobody is called any more.")
    closed_at: Instant | None = strawberry.field(description="When it was closed, if it was.")
    hospital: strawberry.ID | None = strawberry.field(
        description="The hospital whose fichas have a class of their own here."
    )
    policy: LinePolicy = strawberry.field(description="Who is called next.")
    waiting: int = strawberry.field(description="How many wait.")
    classes: list[ClassOfLine] = strawberry.field(description="The same by class, in the order of the policy.")
    counters_open: int = strawberry.field(description="How many counters go on calling.")
    counters: list[Counter] = strawberry.field(description="The counters, by number.")
    last_calls: list[Call] = strawberry.field(description="The last calls, the latest first; ten at most.")
    next: list[str] = strawberry.field(description="The next numbers in the order of their calls; five at most.")


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


def shown_line(now: LineNow) -> Line | None:
    """The board; None for a line that was never opened."""
    line, opened = now.line, now.line.opened
    if opened is None:
        return None
    service_point, service, day = line_parts(opened.line)
    state = _state(now, opened)
    return Line(
        id=strawberry.ID(opened.line),
        service_point=strawberry.ID(service_point),
        service=service,
        date=day,
        state=state,
        opens_at=Instant(opened.opens_at),
        last_turn_at=Instant(opened.last_turn_at),
        closes_at=Instant(opened.closes_at),
        closed_at=optional_instant(line.closed.closed_at if line.closed else None),
        hospital=optional_id(opened.hospital),
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
    return await current_line(info.context, id, shown_line)


@query("A line by id: the board, as the log has it; null if it was never opened.", who=EVERYBODY)
async def line(
    info: Info,
    id: Annotated[strawberry.ID, strawberry.argument(description="service point/service/date")],
) -> Line | None:
    if not fits(LINE_NAME, id):
        refuse(info, "id", LineHint())
    return await line_by_id(info, id)


@strawberry.input(description="Who is to be called next. What is left out is as usual.")
class LinePolicyInput:
    order: list[Priority] | None = strawberry.field(
        default=None, description="The three classes, the first first; as usual preferential, appointment, normal."
    )
    at_least: Priority | None = strawberry.field(
        default=Priority.NORMAL, description="The class of which at least one in `oneIn` calls is; null: none."
    )
    one_in: int = strawberry.field(default=3, description="2 to 20.")
    direct_calls: bool = strawberry.field(default=False, description="May a counter call somebody who is not next?")
    recalls_max: int = strawberry.field(default=3, description="0 to 10.")
    call_timeout_seconds: int = strawberry.field(default=90, description="10 to 1800.")
    requeue_within_seconds: int = strawberry.field(default=900, description="0 to 14400.")
    requeues_max: int = strawberry.field(default=2, description="0 to 10.")
    early_minutes_max: int = strawberry.field(default=60, description="0 to 720.")


@strawberry.input(description="A line to open, of today or of a day to come.")
class OpenLineInput(KeyedInput):
    service_point: strawberry.ID = strawberry.field(description="The service point's code.")
    service: str = strawberry.field(description="The service's code: cadastre.")
    date: Date = strawberry.field(description="The date in La Paz.")
    counters: list[int] = strawberry.field(description="Numbers of its counters, 1 to 100 each.")
    opens_at: Instant = strawberry.field(description="From when on turns are given, on that date.")
    closes_at: Instant = strawberry.field(description="From when on nobody is called any more.")
    last_turn_at: Instant | None = strawberry.field(
        default=None, description="From when on no turns are given any more; null: `closesAt`."
    )
    policy: LinePolicyInput | None = strawberry.field(default=None, description="Who is called next; null: as usual.")


@strawberry.type(description="What came of opening a line.")
class OpenLinePayload(Payload):
    line: Line | None = strawberry.field(default=None, description="The line after it.")


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
    description="Open a line, of today or of a day to come. The same again changes nothing.",
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
    "Close a line: nobody is called any more, and who waits is told.",
    who=CLERKS_OF_LINE,
    takes=Takes("A line to close.", line="The line."),
    gives=Gives("What came of closing a line.", line="The line after it."),
)
async def close_line(info: Info, done: Done[opening.CloseLine]) -> Line | None:
    return await line_by_id(info, done.command.line)


@command(
    opening.PauseCounter,
    "Have a counter call nobody for a while. It finishes with whom it has.",
    who=CLERKS_OF_LINE,
    takes=Takes("A counter of a line.", line="The line.", counter="The counter's number."),
    gives=Gives("What came of pausing a counter.", line="The line after it."),
)
async def pause_counter(info: Info, done: Done[opening.PauseCounter]) -> Line | None:
    return await line_by_id(info, done.command.line)


@command(
    opening.ResumeCounter,
    "Have a counter go on calling.",
    who=CLERKS_OF_LINE,
    takes=Takes("A counter of a line.", line="The line.", counter="The counter's number."),
    gives=Gives("What came of resuming a counter.", line="The line after it."),
)
async def resume_counter(info: Info, done: Done[opening.ResumeCounter]) -> Line | None:
    return await line_by_id(info, done.command.line)
