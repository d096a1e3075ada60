"""The commands of people in line: take a turn, come back, move to another line, leave, ask for a notice."""

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Annotated, Literal, get_args

from msgspec import Meta
from msgspec.structs import replace

from domain.decider import MUST_BE_REGISTERED, Command, Decided, StreamName, copied
from domain.decision import decides
from domain.errors import Hint, InvalidInput, OneOfHint, Rejected
from domain.identifiers import (
    LINE_NAME,
    OPAQUE,
    TURN_NAME,
    AppointmentId,
    LineId,
    OpaqueHint,
    SubjectId,
    TurnId,
    hospital_of,
    line_of,
)
from domain.queues.calling import refuse_another, refuse_unless, turn_in
from domain.queues.line import (
    Line,
    Notice,
    NoticeAsked,
    Turn,
    TurnLeft,
    TurnRequeued,
    TurnTaken,
    TurnTransferred,
    evolve,
    stream,
    stream_of,
)
from domain.queues.opening import opening_if_open
from domain.queues.order import ahead_of, ahead_of_new, notice_of, with_due_notices
from domain.queues.policy import Priority

TURNS_PER_LINE_MAX = 50_000
TURNS_PER_PERSON_MAX = 5  # in one line: somebody who leaves and comes again uses up numbers
WISHES_PER_TURN_MAX = 5  # each may become a message that costs money
NOTICE_AHEAD_MAX = 100
NOTICE_MINUTES_MAX = 240

Channel = Literal["WEB", "KIOSK", "COUNTER"]
# Reasons for a preferential turn. The age of a registered person is looked up, not claimed: see domain/arrivals.py.
Reason = Literal["AGE", "PREGNANT", "DISABILITY", "INFANT"]


class TakeTurn(Command):
    """Take a turn. `person` is None for a turn on paper.

    With a `reason`, the turn is of the class PREFERENTIAL.
    """

    line: Annotated[LineId, LINE_NAME]
    turn: Annotated[TurnId, TURN_NAME]
    channel: Channel
    person: Annotated[SubjectId, OPAQUE, MUST_BE_REGISTERED] | None = None
    reason: Reason | None = None


@decides(TakeTurn, reads=lambda c: (stream(c.line),))
def take_turn(command: TakeTurn, line: Line, *, now: datetime) -> Decided:
    if command.person and command.reason == "AGE":
        raise InvalidInput(
            path="reason", hint=OneOfHint(values=", ".join(reason for reason in get_args(Reason) if reason != "AGE"))
        )
    if command.person is None and command.channel == "WEB":
        raise InvalidInput(path="person", hint=OpaqueHint())
    yield from turn_taken(
        line,
        command.turn,
        priority="PREFERENTIAL" if command.reason else "NORMAL",
        channel=command.channel,
        person=command.person,
        reason=command.reason or "",
        now=now,
    )


class NoMoreTurns(
    Rejected,
    es="Esta fila ya no da turnos desde el {at}.",
    en="This line stopped giving turns on {at}.",
):
    at: datetime


class TooManyTurns(
    Rejected,
    es="Una persona puede sacar {limit} turnos en una fila como máximo.",
    en="A person can take at most {limit} turns in a line.",
):
    limit: int


def turn_taken(
    line: Line,
    turn: TurnId,
    *,
    priority: Priority,
    channel: Channel,
    person: SubjectId | None,
    now: datetime,
    reason: str = "",
    appointment: AppointmentId | None = None,
) -> Iterator[tuple[StreamName, TurnTaken]]:
    """A new turn at the end of its class; nothing if it was taken before. Raises Rejected."""
    if turn in line.turns:
        return
    opened = opening_if_open(line, now, "line")
    if line_of(turn) != opened.line:
        raise InvalidInput(path="turn", hint=OpaqueHint())
    if now >= opened.last_turn_at:
        raise NoMoreTurns(path="line", at=opened.last_turn_at)
    path = "appointment" if appointment else "person"
    refuse_another(line, person, path)
    if person and line.times.get(person, 0) >= TURNS_PER_PERSON_MAX:
        raise TooManyTurns(path=path, limit=TURNS_PER_PERSON_MAX)
    yield (
        stream(opened.line),
        TurnTaken(
            turn=turn,
            number=_new_number(line, priority, "line"),
            priority=priority,
            channel=channel,
            since=now,
            taken_at=now,
            ahead=ahead_of_new(line, priority),
            counters=line.counters_open,
            person=person,
            reason=reason,
            appointment=appointment,
        ),
    )


class LineFull(Rejected, es="La fila ya dio sus {limit} turnos.", en="The line has given all of its {limit} turns."):
    limit: int


def _new_number(line: Line, priority: str, path: str) -> int:
    """The next number of a class. Raises Rejected if the line is full."""
    if len(line.turns) >= TURNS_PER_LINE_MAX:
        raise LineFull(path=path, limit=TURNS_PER_LINE_MAX)
    return line.numbers.get(priority, 0) + 1


class LeaveLine(Command):
    """Give up a turn."""

    turn: Annotated[TurnId, TURN_NAME]


@decides(LeaveLine, reads=lambda c: (stream_of(c.turn),))
def leave_line(command: LeaveLine, line: Line, *, now: datetime) -> Decided:
    turn = turn_in(line, command.turn)
    if turn.state == "LEFT":
        return
    refuse_unless(turn, "WAITING", "CALLED", "ABSENT")
    left = TurnLeft(turn=turn.turn, left_at=now)
    yield from ((stream_of(turn.turn), event) for event in with_due_notices(line, [left], now))


class AbsentTooLong(
    Rejected,
    es="Se le llamó y no se presentó; podía volver a la fila hasta el {at}. Saque un turno nuevo.",
    en="You were called and did not come; you could return to the line until {at}. Take a new turn.",
):
    at: datetime


class RequeuedTooOften(
    Rejected,
    es="Ya volvió a la fila {limit} veces: saque un turno nuevo.",
    en="You have already come back {limit} times: take a new turn.",
):
    limit: int


class RequeueAbsent(Command):
    """A person who was absent has come after all. They are called after the next two of their class."""

    turn: Annotated[TurnId, TURN_NAME]


@decides(RequeueAbsent, reads=lambda c: (stream_of(c.turn),))
def requeue_absent(command: RequeueAbsent, line: Line, *, now: datetime) -> Decided:
    opened = opening_if_open(line, now, "turn")
    turn = turn_in(line, command.turn)
    if turn.state == "WAITING" and turn.requeues:
        return
    refuse_unless(turn, "ABSENT")
    assert turn.ended_at
    until = turn.ended_at + timedelta(seconds=opened.policy.requeue_within_s)
    if now > until:
        raise AbsentTooLong(path="turn", at=until)
    if turn.requeues >= opened.policy.requeues_max:
        raise RequeuedTooOften(path="turn", limit=opened.policy.requeues_max)
    refuse_another(line, turn.person, "turn")
    yield stream_of(turn.turn), TurnRequeued(turn=turn.turn, requeued_at=now)


class AnotherLineHint(
    Hint,
    es="debe ser una fila distinta de la del turno",
    en="it must be a line other than the turn's own",
): ...


class TransferTurn(Command):
    """Move a turn to another line. It keeps its waiting time and gets a number of that line."""

    turn: Annotated[TurnId, TURN_NAME]
    to: Annotated[LineId, LINE_NAME]
    moved_to: Annotated[TurnId, TURN_NAME]


@decides(TransferTurn, reads=lambda c: (stream_of(c.turn), stream(c.to)))
def transfer_turn(command: TransferTurn, line: Line, other: Line, *, now: datetime) -> Decided:
    turn = turn_in(line, command.turn)
    if turn.moved_to == command.moved_to:
        return
    if command.to == line_of(command.turn):
        raise InvalidInput(path="to", hint=AnotherLineHint())
    if line_of(command.moved_to) != command.to or command.moved_to in other.turns:
        raise InvalidInput(path="moved_to", hint=OpaqueHint())
    refuse_unless(turn, "WAITING", "CALLED", "SERVING")
    opening_if_open(other, now, "to")
    refuse_another(other, turn.person, "turn")
    moved = TurnTransferred(turn=turn.turn, moved_to=command.moved_to, moved_at=now)
    arrived = _arrived(turn, other, command.moved_to, now)
    yield from ((stream_of(turn.turn), event) for event in with_due_notices(line, [moved], now))
    # A requested notice moves with the turn.
    wish = line.notices.get(turn.turn)
    asked = [NoticeAsked(turn=arrived.turn, ahead=wish.ahead, minutes=wish.minutes)] if wish else []
    yield from ((stream_of(arrived.turn), event) for event in with_due_notices(other, [arrived, *asked], now))


def _arrived(turn: Turn, other: Line, moved_to: TurnId, now: datetime) -> TurnTaken:
    """The turn in the other line. Its waiting time may put it before others there. Raises Rejected."""
    priority = _class_in(other, turn)
    arrived = TurnTaken(
        turn=moved_to,
        number=_new_number(other, priority, "to"),
        priority=priority,
        channel="COUNTER",
        since=turn.since,
        taken_at=now,
        ahead=0,
        counters=other.counters_open,
        person=turn.person,
        reason=turn.reason,
        appointment=turn.appointment if priority == "APPOINTMENT" else None,
        moved_from=turn.turn,
    )
    return replace(arrived, ahead=ahead_of(evolve(copied(other), arrived), moved_to))


def _class_in(other: Line, turn: Turn) -> str:
    """The turn keeps its class, except APPOINTMENT, which counts only in lines of the appointment's hospital."""
    if turn.priority != "APPOINTMENT":
        return turn.priority
    counts = turn.appointment and other.opened and other.opened.hospital == hospital_of(turn.appointment)
    return "APPOINTMENT" if counts else "NORMAL"


class TooManyWishes(
    Rejected,
    es="Para un turno se puede pedir aviso {limit} veces como máximo.",
    en="A notice can be requested at most {limit} times for a turn.",
):
    limit: int


class OneOfTwoHint(
    Hint,
    es="indique cuántos turnos antes o cuántos minutos antes, solo uno de los dos",
    en="give either the number of turns before or the number of minutes before",
): ...


class AskNotice(Command):
    """Ask for a notice with `ahead` turns before, or about `minutes` before the call. The last request counts."""

    turn: Annotated[TurnId, TURN_NAME]
    ahead: Annotated[int, Meta(ge=0, le=NOTICE_AHEAD_MAX)] | None = None
    minutes: Annotated[int, Meta(ge=1, le=NOTICE_MINUTES_MAX)] | None = None


@decides(AskNotice, reads=lambda c: (stream_of(c.turn),))
def ask_notice(command: AskNotice, line: Line, *, now: datetime) -> Decided:
    turn = turn_in(line, command.turn)
    if (command.ahead is None) == (command.minutes is None):
        raise InvalidInput(path="minutes", hint=OneOfTwoHint())
    opening_if_open(line, now, "turn")
    refuse_unless(turn, "WAITING")
    if line.notices.get(turn.turn) == Notice(ahead=command.ahead, minutes=command.minutes):
        return
    if turn.wishes >= WISHES_PER_TURN_MAX:
        raise TooManyWishes(path="turn", limit=WISHES_PER_TURN_MAX)
    asked = NoticeAsked(turn=turn.turn, ahead=command.ahead, minutes=command.minutes)
    yield from ((stream_of(turn.turn), event) for event in with_due_notices(line, [asked], now))


class GiveNotice(Command):
    """A notice some minutes before the call is due, by the expected wait."""

    turn: Annotated[TurnId, TURN_NAME]


@decides(GiveNotice, reads=lambda c: (stream_of(c.turn),))
def give_notice(command: GiveNotice, line: Line, *, now: datetime) -> Decided:
    turn = turn_in(line, command.turn)
    notice = line.notices.get(turn.turn)
    if notice is None or notice.minutes is None:
        return  # it was given, or the turn was called meanwhile
    yield stream_of(turn.turn), notice_of(turn, ahead_of(line, turn.turn), now, notice.minutes)
