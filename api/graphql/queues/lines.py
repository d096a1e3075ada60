"""Waiting in line, in the schema: the board, a turn's follow-up, and what is done at a window or from home."""

from datetime import date as Date
from datetime import timedelta
from enum import Enum
from itertools import islice
from typing import Annotated, Any, TypeVar

import strawberry

from api.graphql.current_lines import current_line
from api.graphql.errors import ERROR_TYPES, UserError
from api.graphql.fields import Info, Input, KeyedInput, Node, Payload, explain, refuse
from api.graphql.scalars import Instant, Position
from domain import arrivals
from domain.appointments import hospital as hospitals
from domain.decider import Command, build
from domain.errors import Rejected
from domain.identifiers import LINE_NAME, TURN_NAME, fits, line_of, line_parts
from domain.queues import calling, opening, order, turns
from domain.queues import line as lines
from domain.queues import service_point as service_points
from domain.queues.policy import Policy, PolicyTerms
from domain.queues.wait import Wait
from infra.log.lane import Outcome
from infra.reactions.lines import LineNow

NEXT_SHOWN = 5

C = TypeVar("C", bound=Command)


@strawberry.enum(description="The class of a turn: by the line's policy, one is called before the other.")
class Priority(Enum):
    PREFERENTIAL = strawberry.enum_value(
        "PREFERENTIAL", description="60 years or older, pregnant, with a disability, or carrying an infant: P-003."
    )
    APPOINTMENT = strawberry.enum_value("APPOINTMENT", description="Who has a ficha today: F-002.")
    NORMAL = strawberry.enum_value("NORMAL", description="Everybody else: A-017.")


@strawberry.enum(description="Where a turn is on its way.")
class TurnState(Enum):
    WAITING = strawberry.enum_value("WAITING", description="It waits.")
    CALLED = strawberry.enum_value("CALLED", description="A counter called it: come now.")
    SERVING = strawberry.enum_value("SERVING", description="It is being served.")
    SERVED = strawberry.enum_value("SERVED", description="It was served.")
    ABSENT = strawberry.enum_value("ABSENT", description="It was called and nobody came; see `backUntil`.")
    LEFT = strawberry.enum_value("LEFT", description="It was given up.")
    TRANSFERRED = strawberry.enum_value("TRANSFERRED", description="It goes on in another line: see `movedTo`.")
    UNSERVED = strawberry.enum_value("UNSERVED", description="The line closed before it was called.")


@strawberry.enum(description="Where a turn was taken.")
class TurnChannel(Enum):
    WEB = strawberry.enum_value("WEB", description="On a page or in an app.")
    KIOSK = strawberry.enum_value("KIOSK", description="At a machine of the office.")
    COUNTER = strawberry.enum_value("COUNTER", description="At a counter, by a clerk.")


@strawberry.enum(description="What gives a preference.")
class PreferenceReason(Enum):
    AGE = strawberry.enum_value("AGE", description="60 years or older: looked up, if it is known who it is.")
    PREGNANT = strawberry.enum_value("PREGNANT", description="Pregnant.")
    DISABILITY = strawberry.enum_value("DISABILITY", description="With a disability.")
    INFANT = strawberry.enum_value("INFANT", description="Carrying an infant.")


@strawberry.enum(description="What came of a service.")
class ServiceOutcome(Enum):
    DONE = strawberry.enum_value("DONE", description="What was wanted is done.")
    INCOMPLETE = strawberry.enum_value("INCOMPLETE", description="Something was missing.")
    REFERRED = strawberry.enum_value("REFERRED", description="It is somebody else's matter.")


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


@strawberry.type(description="From so many seconds to so many, from now.")
class WaitInterval:
    from_seconds: int = strawberry.field(description="Rarely sooner.")
    to_seconds: int = strawberry.field(description="Rarely later.")


@strawberry.type(
    description="How long it will take until a turn is called, by what this service was like: an interval with a known"
    " reliability. It is wide where little is known, and made anew with each change in the line."
)
class ExpectedWait:
    middle_seconds: int = strawberry.field(description="As often sooner as later.")
    half: WaitInterval = strawberry.field(description="One of two turns is called in it.")
    most: WaitInterval = strawberry.field(description="Nine of ten turns are called in it.")


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
        return _expected(self.now.expected(self.priority.name, self.ahead)) if self.now else None


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


@strawberry.type(description="A wish to be told.")
class Notice:
    ahead: int | None = strawberry.field(description="When so many others are still before.")
    minutes: int | None = strawberry.field(description="About so many minutes before the call.")


@strawberry.type(description="A place in a line, as whoever has it follows it. Numbers only, nobody's name.")
class Turn(Node):
    id: strawberry.ID = strawberry.field(description="The line, then an opaque part.")
    line: strawberry.ID = strawberry.field(description="The line.")
    number: str = strawberry.field(description="What is called: A-017.")
    priority: Priority = strawberry.field(description="Its class.")
    state: TurnState = strawberry.field(description="Where it is on its way.")
    since: Instant = strawberry.field(description="Since when it has waited, in this line or the one before.")
    taken_at: Instant = strawberry.field(description="When it was taken.")
    ahead: int | None = strawberry.field(
        description="How many are called before it if nobody else comes; null if it does not wait."
    )
    counters_open: int = strawberry.field(description="How many counters go on calling.")
    counter: int | None = strawberry.field(description="The counter that called it last.")
    calls: int = strawberry.field(description="How often that counter called it.")
    called_at: Instant | None = strawberry.field(description="When it was called last.")
    come_until: Instant | None = strawberry.field(description="Called: until when whoever has it should be there.")
    started_at: Instant | None = strawberry.field(description="When its service began.")
    ended_at: Instant | None = strawberry.field(description="When it was over.")
    back_until: Instant | None = strawberry.field(
        description="Absent: until when it can be put in the line again; null if it can't."
    )
    moved_to: strawberry.ID | None = strawberry.field(description="The turn as which it goes on in another line.")
    notice: Notice | None = strawberry.field(description="When whoever has it wishes to be told.")
    now: strawberry.Private[LineNow | None]  # None of one just taken: nobody has looked at its line yet

    @strawberry.field(
        description="How long it will wait until it is called; null if it does not wait, or no counter is open."
    )
    async def expected(self, info: Info) -> ExpectedWait | None:
        if self.now:
            return _expected(self.now.expected(self.priority.name, self.ahead))
        return await current_line(
            info.context, self.line, lambda now: _expected(now.expected(self.priority.name, now.ahead(self.id)))
        )


def _expected(wait: Wait | None) -> ExpectedWait | None:
    if wait is None:
        return None
    return ExpectedWait(
        middle_seconds=wait.middle_s,
        half=WaitInterval(from_seconds=wait.low_50_s, to_seconds=wait.high_50_s),
        most=WaitInterval(from_seconds=wait.low_90_s, to_seconds=wait.high_90_s),
    )


def _instant(at: Any) -> Instant | None:
    return None if at is None else Instant(at)


def _policy(said: Policy) -> LinePolicy:
    return LinePolicy(
        order=[Priority[priority] for priority in said.order],
        at_least=Priority[said.at_least] if said.at_least else None,
        one_in=said.one_in,
        direct_calls=said.direct_calls,
        recalls_max=said.recalls_max,
        call_timeout_seconds=said.call_timeout_s,
        requeue_within_seconds=said.requeue_within_s,
        requeues_max=said.requeues_max,
        early_minutes_max=said.early_minutes_max,
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


def _state(now: LineNow, said: lines.LineOpened) -> LineState:
    if now.is_over:
        return LineState.CLOSED
    if now.now < said.opens_at:
        return LineState.NOT_OPEN_YET
    return LineState.OPEN if now.now < said.last_turn_at else LineState.NO_MORE_TURNS


def shown_line(now: LineNow) -> Line | None:
    """The board; None for a line that was never opened."""
    line, said = now.line, now.line.opened
    if said is None:
        return None
    service_point, service, day = line_parts(said.line)
    state = _state(now, said)
    return Line(
        id=strawberry.ID(said.line),
        service_point=strawberry.ID(service_point),
        service=service,
        date=day,
        state=state,
        opens_at=Instant(said.opens_at),
        last_turn_at=Instant(said.last_turn_at),
        closes_at=Instant(said.closes_at),
        closed_at=_instant(line.closed and line.closed.closed_at),
        hospital=strawberry.ID(said.hospital) if said.hospital else None,
        policy=_policy(said.policy),
        waiting=0 if now.is_over else line.waiting,
        classes=[
            ClassOfLine(
                priority=Priority[priority],
                waiting=0 if now.is_over else len(line.queue(priority)),
                taken=line.numbers.get(priority, 0),
                ahead=order.ahead_of_new(line, priority),
                now=now if state is LineState.OPEN else None,
            )
            for priority in said.policy.order
        ],
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


def shown_turn(now: LineNow, id: str) -> Turn | None:
    """A turn's follow-up; None for one that nobody took."""
    line, turn = now.line, now.line.turns.get(id)
    if turn is None or line.opened is None:
        return None
    policy, notice = line.opened.policy, line.notices.get(id)
    unserved = turn.state == "WAITING" and now.is_over  # by the clock, also before the line was closed
    return Turn(
        id=strawberry.ID(id),
        line=strawberry.ID(line_of(id)),
        number=turn.shown,
        priority=Priority[turn.priority],
        state=TurnState.UNSERVED if unserved else TurnState[turn.state],
        since=Instant(turn.since),
        taken_at=Instant(turn.taken_at),
        ahead=now.ahead(id),
        counters_open=line.counters_open,
        counter=turn.counter,
        calls=turn.calls,
        called_at=_instant(turn.called_at),
        come_until=Instant(calling.absent_at(line, turn)) if turn.state == "CALLED" else None,
        started_at=_instant(turn.started_at),
        ended_at=_instant(turn.ended_at),
        back_until=_back_until(line, turn, policy),
        moved_to=strawberry.ID(turn.moved_to) if turn.moved_to else None,
        notice=Notice(ahead=notice.ahead, minutes=notice.minutes) if notice else None,
        now=now,
    )


def _back_until(line: lines.Line, turn: lines.Turn, policy: Policy) -> Instant | None:
    if turn.state != "ABSENT" or turn.requeues >= policy.requeues_max or line.closed:
        return None
    assert turn.ended_at
    return Instant(turn.ended_at + timedelta(seconds=policy.requeue_within_s))


async def line_by_id(info: Info, id: str) -> Line | None:
    return await current_line(info.context, id, shown_line)


async def turn_by_id(info: Info, id: str) -> Turn | None:
    return await current_line(info.context, line_of(id), lambda now: shown_turn(now, id))


async def turn_for(info: Info, line: str, appointment: str) -> Turn | None:
    """The last turn of who has this ficha in a line."""
    return await current_line(
        info.context, line, lambda now: shown_turn(now, now.line.appointments.get(appointment, ""))
    )


@strawberry.type(description="There is a turn in the line already: go on with that one.")
class HasATurn(UserError):
    turn: strawberry.ID = strawberry.field(description="The turn.")
    number: str = strawberry.field(description="Its number: A-017.")


@strawberry.type(description="Not yet: ask again then.")
class NotBefore(UserError):
    at: Instant = strawberry.field(description="From when on.")


@strawberry.type(description="Somebody else is next.")
class NotNext(UserError):
    number: str = strawberry.field(description="Who: A-017.")


ERROR_TYPES |= {
    "has_a_turn": lambda details, **said: HasATurn(
        turn=strawberry.ID(details["turn"]), number=details["number"], **said
    ),
    "line_not_open_yet": lambda details, **said: NotBefore(at=details["at"], **said),
    "called_just_now": lambda details, **said: NotBefore(at=details["at"], **said),
    "too_early": lambda details, **said: NotBefore(at=details["at"], **said),
    "not_next": lambda details, **said: NotNext(number=details["number"], **said),
}


@strawberry.type
class QueuesQuery:
    @strawberry.field(description="A line by id: the board, as the log has it; null if it was never opened.")
    async def line(
        self,
        info: Info,
        id: Annotated[strawberry.ID, strawberry.argument(description="service point/service/date")],
    ) -> Line | None:
        if not fits(LINE_NAME, id):
            refuse(info, "id", "line")
        return await line_by_id(info, id)

    @strawberry.field(description="A turn by id, as the log has it; null if nobody took it.")
    async def turn(
        self, info: Info, id: Annotated[strawberry.ID, strawberry.argument(description="The turn's id.")]
    ) -> Turn | None:
        if not fits(TURN_NAME, id):
            refuse(info, "id", "opaque")
        return await turn_by_id(info, id)


@strawberry.input(description="Something that is done with a turn.")
class _OfTurn(KeyedInput):
    turn: strawberry.ID = strawberry.field(description="The turn.")


@strawberry.input(description="Something that is done at a counter.")
class _OfCounter(KeyedInput):
    line: strawberry.ID = strawberry.field(description="The line.")
    counter: int = strawberry.field(description="The counter's number.")


@strawberry.input(description="A service point to register.")
class RegisterServicePointInput(KeyedInput):
    service_point: strawberry.ID = strawberry.field(description="Its code: sopocachi.")
    name: str = strawberry.field(description="Its name.")
    hospital: strawberry.ID | None = strawberry.field(
        default=None, description="The hospital whose ward it is: its fichas have a class of their own here."
    )


@strawberry.type(description="What came of registering a service point.")
class RegisterServicePointPayload(Payload):
    service_point: strawberry.ID | None = strawberry.field(default=None, description="Its code.")


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


@strawberry.type(description="What came of something that was done with a line.")
class _LinePayload(Payload):
    line: Line | None = strawberry.field(default=None, description="The line after it.")


@strawberry.type(description="What came of opening a line.")
class OpenLinePayload(_LinePayload):
    pass


@strawberry.input(description="A line to close.")
class CloseLineInput(KeyedInput):
    line: strawberry.ID = strawberry.field(description="The line.")


@strawberry.type(description="What came of closing a line.")
class CloseLinePayload(_LinePayload):
    pass


@strawberry.input(description="A counter of a line.")
class PauseCounterInput(_OfCounter):
    pass


@strawberry.type(description="What came of pausing a counter.")
class PauseCounterPayload(_LinePayload):
    pass


@strawberry.input(description="A counter of a line.")
class ResumeCounterInput(_OfCounter):
    pass


@strawberry.type(description="What came of resuming a counter.")
class ResumeCounterPayload(_LinePayload):
    pass


@strawberry.input(description="A turn to take: with a ficha, or for a person, or on paper for nobody in particular.")
class TakeTurnInput(KeyedInput):
    line: strawberry.ID = strawberry.field(description="The line.")
    channel: TurnChannel = strawberry.field(description="Where it is taken.")
    person: strawberry.ID | None = strawberry.field(
        default=None, description="The person's opaque id; null for a paper at the office."
    )
    reason: PreferenceReason | None = strawberry.field(default=None, description="What gives a preference; null: none.")
    appointment: strawberry.ID | None = strawberry.field(
        default=None, description="A ficha of today at the line's hospital. It says already who it is."
    )


@strawberry.type(description="What came of something that was done with a turn.")
class _TurnPayload(Payload):
    turn: Turn | None = strawberry.field(default=None, description="The turn after it.")


@strawberry.type(description="What came of taking a turn.")
class TakeTurnPayload(_TurnPayload):
    pass


@strawberry.input(description="A counter that calls whoever is next.")
class CallNextInput(_OfCounter):
    pass


@strawberry.type(description="What came of calling the next.")
class CallNextPayload(_TurnPayload):
    pass


@strawberry.input(description="A turn that a counter calls.")
class CallTurnInput(_OfTurn):
    counter: int = strawberry.field(description="The counter's number.")


@strawberry.type(description="What came of calling a turn.")
class CallTurnPayload(_TurnPayload):
    pass


@strawberry.input(description="A turn to call again.")
class RecallInput(_OfTurn):
    pass


@strawberry.type(description="What came of calling a turn again.")
class RecallPayload(_TurnPayload):
    pass


@strawberry.input(description="A turn whose service begins.")
class StartServiceInput(_OfTurn):
    pass


@strawberry.type(description="What came of beginning a service.")
class StartServicePayload(_TurnPayload):
    pass


@strawberry.input(description="A turn whose service is over.")
class FinishServiceInput(_OfTurn):
    outcome: ServiceOutcome = strawberry.field(default=ServiceOutcome.DONE, description="What came of it.")


@strawberry.type(description="What came of finishing a service.")
class FinishServicePayload(_TurnPayload):
    pass


@strawberry.input(description="A turn that was called, and nobody came.")
class MarkAbsentInput(_OfTurn):
    pass


@strawberry.type(description="What came of marking a turn absent.")
class MarkAbsentPayload(_TurnPayload):
    pass


@strawberry.input(description="A turn that was absent and has come after all.")
class RequeueAbsentInput(_OfTurn):
    pass


@strawberry.type(description="What came of putting a turn in the line again.")
class RequeueAbsentPayload(_TurnPayload):
    pass


@strawberry.input(description="A turn that goes on in another line.")
class TransferTurnInput(_OfTurn):
    to: strawberry.ID = strawberry.field(description="The other line.")


@strawberry.type(description="What came of moving a turn to another line.")
class TransferTurnPayload(_TurnPayload):
    pass


@strawberry.input(description="A turn to give up.")
class LeaveLineInput(_OfTurn):
    pass


@strawberry.type(description="What came of giving a turn up.")
class LeaveLinePayload(_TurnPayload):
    pass


@strawberry.input(description="When to be told: by the number of others who are before, or by time; one of the two.")
class AskNoticeInput(_OfTurn):
    ahead: int | None = strawberry.field(default=None, description="When so many others are still before: 0 to 100.")
    minutes: int | None = strawberry.field(default=None, description="About so many minutes before: 1 to 240.")


@strawberry.type(description="What came of asking for a notice.")
class AskNoticePayload(_TurnPayload):
    pass


P = TypeVar("P", bound=_TurnPayload)
L = TypeVar("L", bound=_LinePayload)


async def _with_line(info: Info, input: KeyedInput, kind: type[C], fields: dict[str, Any], payload: type[L]) -> L:
    """Have a command about a line decided, and show the line after it."""
    try:
        command, outcome = await info.context.perform(
            input.idempotency_key, fields, kind, lambda _: build(kind, **fields)
        )
    except Rejected as refusal:
        return payload(errors=explain(refusal, info.context))
    line = await line_by_id(info, command.line)  # type: ignore[attr-defined]  # each of these has one
    return payload(line=line, position=Position(outcome.position))


async def _with_turn(info: Info, input: Any, kind: type[Command], payload: type[P], **more: Any) -> P:
    """Have a command about a turn decided, and show the turn after it."""
    fields = {"turn": input.turn, **more}
    try:
        _, outcome = await info.context.perform(input.idempotency_key, fields, kind, lambda _: build(kind, **fields))
    except Rejected as refusal:
        return payload(errors=explain(refusal, info.context))
    return payload(turn=await turn_by_id(info, input.turn), position=Position(outcome.position))


def _policy_said(said: LinePolicyInput) -> dict[str, Any]:
    return {
        "order": [one.value for one in said.order] if said.order else list(PolicyTerms().order),
        "at_least": said.at_least.value if said.at_least else None,
        "one_in": said.one_in,
        "direct_calls": said.direct_calls,
        "recalls_max": said.recalls_max,
        "call_timeout_s": said.call_timeout_seconds,
        "requeue_within_s": said.requeue_within_seconds,
        "requeues_max": said.requeues_max,
        "early_minutes_max": said.early_minutes_max,
    }


def _wish(input: TakeTurnInput) -> tuple[type[Command], dict[str, Any]]:
    """Which command it is, and what was said. Raises Rejected."""
    said: dict[str, Any] = {"line": input.line, "channel": input.channel.value}
    if input.appointment:
        if input.person or input.reason:
            raise Rejected("invalid_input", path="appointment", hint="alone")
        return arrivals.TakeTurnForAppointment, said | {"appointment": input.appointment}
    if input.person and input.reason is PreferenceReason.AGE:
        return arrivals.TakeTurnByAge, said | {"person": input.person}
    reason = input.reason.value if input.reason else None
    return turns.TakeTurn, said | {"person": input.person, "reason": reason}


def just_taken(outcome: Outcome) -> Turn | None:
    """A turn that was taken just now, as the log has it at the outcome's position; None if it was taken earlier."""
    taken = next((event for _, event in outcome.recorded if isinstance(event, lines.TurnTaken)), None)
    if taken is None:
        return None
    return Turn(
        id=strawberry.ID(taken.turn),
        line=strawberry.ID(line_of(taken.turn)),
        number=lines.shown_number(taken.priority, taken.number),
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
        moved_to=None,
        notice=None,
        now=None,
    )


def _called(now: LineNow, call: str | None) -> Turn | None:
    """Whom this call called; None if they were called again since."""
    return next((shown_turn(now, turn.turn) for turn in now.line.turns.values() if turn.call == call), None)


@strawberry.type
class QueuesMutation:
    @strawberry.mutation(description="Register a service point. Repeating it changes nothing.")
    async def register_service_point(
        self, info: Info, input: Input[RegisterServicePointInput]
    ) -> RegisterServicePointPayload:
        fields = {"service_point": input.service_point, "name": input.name.strip(), "hospital": input.hospital}
        kind = service_points.RegisterServicePoint
        try:
            if input.hospital is not None:  # none is ever taken away: it need not be looked up in the same commit
                known = await info.context.state(hospitals.stream(input.hospital))
                if known.registered is None:
                    raise Rejected("hospital_unknown", path="hospital", hospital=input.hospital)
            command, outcome = await info.context.perform(
                input.idempotency_key, fields, kind, lambda _: build(kind, **fields)
            )
        except Rejected as refusal:
            return RegisterServicePointPayload(errors=explain(refusal, info.context))
        return RegisterServicePointPayload(
            service_point=strawberry.ID(command.service_point), position=Position(outcome.position)
        )

    @strawberry.mutation(description="Open a line, of today or of a day to come. The same again changes nothing.")
    async def open_line(self, info: Info, input: Input[OpenLineInput]) -> OpenLinePayload:
        fields = {
            "service_point": input.service_point,
            "service": input.service,
            "date": input.date,
            "counters": input.counters,
            "opens_at": input.opens_at,
            "closes_at": input.closes_at,
            "last_turn_at": input.last_turn_at,
            **({"policy": _policy_said(input.policy)} if input.policy else {}),
        }
        return await _with_line(info, input, opening.OpenLine, fields, OpenLinePayload)

    @strawberry.mutation(description="Close a line: nobody is called any more, and who waits is told.")
    async def close_line(self, info: Info, input: Input[CloseLineInput]) -> CloseLinePayload:
        return await _with_line(info, input, opening.CloseLine, {"line": input.line}, CloseLinePayload)

    @strawberry.mutation(description="Have a counter call nobody for a while. It finishes with whom it has.")
    async def pause_counter(self, info: Info, input: Input[PauseCounterInput]) -> PauseCounterPayload:
        fields = {"line": input.line, "counter": input.counter}
        return await _with_line(info, input, opening.PauseCounter, fields, PauseCounterPayload)

    @strawberry.mutation(description="Have a counter go on calling.")
    async def resume_counter(self, info: Info, input: Input[ResumeCounterInput]) -> ResumeCounterPayload:
        fields = {"line": input.line, "counter": input.counter}
        return await _with_line(info, input, opening.ResumeCounter, fields, ResumeCounterPayload)

    @strawberry.mutation(description="Take a turn: a number in the line. One has one in a line at a time.")
    async def take_turn(self, info: Info, input: Input[TakeTurnInput]) -> TakeTurnPayload:
        try:
            kind, fields = _wish(input)
            command, outcome = await info.context.perform(
                input.idempotency_key,
                fields,
                kind,
                lambda id: build(kind, **fields, turn=f"{input.line}/{id}"),
                person=fields.get("person") or "",
            )
        except Rejected as refusal:
            return TakeTurnPayload(errors=explain(refusal, info.context))
        turn = just_taken(outcome) or await turn_by_id(info, command.turn)  # type: ignore[attr-defined]
        return TakeTurnPayload(turn=turn, position=Position(outcome.position))

    @strawberry.mutation(description="Call whoever is next by the line's policy.")
    async def call_next(self, info: Info, input: Input[CallNextInput]) -> CallNextPayload:
        fields = {"line": input.line, "counter": input.counter}
        kind = calling.CallNext
        try:
            command, outcome = await info.context.perform(
                input.idempotency_key, fields, kind, lambda id: build(kind, **fields, call=id)
            )
        except Rejected as refusal:
            return CallNextPayload(errors=explain(refusal, info.context))
        called = await current_line(info.context, command.line, lambda now: _called(now, command.call))
        return CallNextPayload(turn=called, position=Position(outcome.position))

    @strawberry.mutation(description="Call this turn: the next one, unless the line's policy allows direct calls.")
    async def call_turn(self, info: Info, input: Input[CallTurnInput]) -> CallTurnPayload:
        return await _with_turn(info, input, calling.CallTurn, CallTurnPayload, counter=input.counter)

    @strawberry.mutation(description="Call a turn again. Its time to come begins anew.")
    async def recall(self, info: Info, input: Input[RecallInput]) -> RecallPayload:
        return await _with_turn(info, input, calling.Recall, RecallPayload)

    @strawberry.mutation(description="Whoever was called has come.")
    async def start_service(self, info: Info, input: Input[StartServiceInput]) -> StartServicePayload:
        return await _with_turn(info, input, calling.StartService, StartServicePayload)

    @strawberry.mutation(description="The service is over; the counter can call the next.")
    async def finish_service(self, info: Info, input: Input[FinishServiceInput]) -> FinishServicePayload:
        outcome = input.outcome.value
        return await _with_turn(info, input, calling.FinishService, FinishServicePayload, outcome=outcome)

    @strawberry.mutation(description="Whoever was called has not come, and their time to come is over.")
    async def mark_absent(self, info: Info, input: Input[MarkAbsentInput]) -> MarkAbsentPayload:
        return await _with_turn(info, input, calling.MarkAbsent, MarkAbsentPayload)

    @strawberry.mutation(description="Put a turn that was absent in the line again, behind the next two of its class.")
    async def requeue_absent(self, info: Info, input: Input[RequeueAbsentInput]) -> RequeueAbsentPayload:
        return await _with_turn(info, input, turns.RequeueAbsent, RequeueAbsentPayload)

    @strawberry.mutation(description="Move a turn to another line. It keeps its wait, and gets a number of that line.")
    async def transfer_turn(self, info: Info, input: Input[TransferTurnInput]) -> TransferTurnPayload:
        fields = {"turn": input.turn, "to": input.to}
        kind = turns.TransferTurn
        try:
            command, outcome = await info.context.perform(
                input.idempotency_key, fields, kind, lambda id: build(kind, **fields, moved_to=f"{input.to}/{id}")
            )
        except Rejected as refusal:
            return TransferTurnPayload(errors=explain(refusal, info.context))
        moved = await turn_by_id(info, command.moved_to)
        return TransferTurnPayload(turn=moved, position=Position(outcome.position))

    @strawberry.mutation(description="Give a turn up.")
    async def leave_line(self, info: Info, input: Input[LeaveLineInput]) -> LeaveLinePayload:
        return await _with_turn(info, input, turns.LeaveLine, LeaveLinePayload)

    @strawberry.mutation(description="Ask to be told before a turn is called. The last wish counts.")
    async def ask_notice(self, info: Info, input: Input[AskNoticeInput]) -> AskNoticePayload:
        more = {"ahead": input.ahead, "minutes": input.minutes}
        return await _with_turn(info, input, turns.AskNotice, AskNoticePayload, **more)
