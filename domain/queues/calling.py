"""The commands of a counter: call the next turn, serve it, or mark it absent."""

from datetime import datetime, timedelta
from typing import Annotated, Any, Literal

from domain.decider import Command, Decided, Stream
from domain.decision import decides
from domain.errors import Language, Rejected
from domain.identifiers import LINE_NAME, OPAQUE, TURN_NAME, CallId, LineId, SubjectId, TurnId
from domain.queues.line import (
    Counter,
    Line,
    ServiceFinished,
    ServiceStarted,
    Turn,
    TurnAbsent,
    TurnCalled,
    TurnRecalled,
    TurnState,
    stream,
    stream_of,
)
from domain.queues.opening import CounterNumber, counter_of, opening_if_open
from domain.queues.order import next_turn, with_due_notices

Outcome = Literal["DONE", "INCOMPLETE", "REFERRED"]


class NobodyWaits(Rejected, es="No hay nadie esperando en la fila.", en="Nobody is waiting in the line."): ...


class CallNext(Command):
    """Call the turn that is next by the policy."""

    line: Annotated[LineId, LINE_NAME]
    counter: CounterNumber
    call: Annotated[CallId, OPAQUE] | None = None


@decides(CallNext, reads=lambda c: (stream(c.line),))
def call_next(command: CallNext, line: Line, *, now: datetime) -> Decided:
    opening_if_open(line, now, "line")
    _idle(line, command.counter)
    turn = next_turn(line)
    if turn is None:
        raise NobodyWaits(path="line")
    called = TurnCalled(turn=turn, counter=command.counter, called_at=now, call=command.call)
    yield from ((stream(command.line), event) for event in with_due_notices(line, [called], now))


class NotNext(Rejected, es="El siguiente turno es {number}.", en="The next turn is {number}."):
    number: str


class CallTurn(Command):
    """Call this turn. It must be the next one, unless the line's policy allows direct calls."""

    turn: Annotated[TurnId, TURN_NAME]
    counter: CounterNumber


@decides(CallTurn, reads=lambda c: (stream_of(c.turn),))
def call_turn(command: CallTurn, line: Line, *, now: datetime) -> Decided:
    opened = opening_if_open(line, now, "turn")
    turn = turn_in(line, command.turn)
    if turn.state == "CALLED" and turn.counter == command.counter:
        return
    _idle(line, command.counter)
    refuse_unless(turn, "WAITING")
    following = next_turn(line)
    direct = following != command.turn
    if direct and following and not opened.policy.direct_calls:
        raise NotNext(path="turn", number=line.turns[following].shown)
    called = TurnCalled(turn=command.turn, counter=command.counter, called_at=now, direct=direct)
    yield from ((stream_of(command.turn), event) for event in with_due_notices(line, [called], now))


class CounterBusy(
    Rejected,
    es="La ventanilla todavía atiende el turno {number}.",
    en="The counter is still busy with turn {number}.",
):
    number: str


class CounterIsPaused(
    Rejected,
    code="counter_paused",
    es="La ventanilla {counter} está en pausa.",
    en="Counter {counter} is paused.",
):
    counter: int


def _idle(line: Line, number: int) -> Counter:
    """The counter with this number. Raises Rejected if it may not call."""
    counter = counter_of(line, number)
    if counter.turn:
        raise CounterBusy(path="counter", number=line.turns[counter.turn].shown)
    if not counter.open:
        raise CounterIsPaused(path="counter", counter=number)
    return counter


class TurnUnknown(Rejected, es="No existe ese turno.", en="There is no such turn."): ...


def turn_in(line: Line, turn: TurnId) -> Turn:
    """A turn of the line. Raises Rejected if there is no such turn."""
    found = line.turns.get(turn)
    if found is None:
        raise TurnUnknown(path="turn")
    return found


STATE_WORDS: dict[TurnState, dict[Language, str]] = {
    "WAITING": {"es": "está en espera", "en": "it is waiting"},
    "CALLED": {"es": "ya fue llamado", "en": "it was called"},
    "SERVING": {"es": "está siendo atendido", "en": "it is being served"},
    "SERVED": {"es": "ya fue atendido", "en": "it was served"},
    "ABSENT": {"es": "se le llamó y nadie se presentó", "en": "it was called and nobody came"},
    "LEFT": {"es": "salió de la fila", "en": "it left the line"},
    "TRANSFERRED": {"es": "pasó a otra fila", "en": "it moved to another line"},
    "UNSERVED": {"es": "la fila cerró antes de llamarlo", "en": "the line closed before it was called"},
}


class TurnElsewhere(
    Rejected,
    es="No se puede hacer eso con el turno {number}: {state}.",
    en="That can't be done with turn {number}: {state}.",
):
    number: str
    state: TurnState

    def blanks(self, language: Language) -> dict[str, Any]:
        return super().blanks(language) | {"state": STATE_WORDS[self.state][language]}


def refuse_unless(turn: Turn, *states: TurnState) -> None:
    if turn.state not in states:
        raise TurnElsewhere(path="turn", number=turn.shown, state=turn.state)


class HasATurn(
    Rejected,
    es="Ya tiene un turno en esta fila: {number}.",
    en="There is already a turn in this line: {number}.",
):
    turn: TurnId
    number: str


def refuse_another(line: Line, person: SubjectId | None, path: str) -> None:
    """Raise Rejected if the person already has a live turn in the line."""
    if person and person in line.live:
        own = line.turns[line.live[person]]
        raise HasATurn(path=path, turn=own.turn, number=own.shown)


class RecalledTooOften(
    Rejected,
    es="Este turno ya se volvió a llamar {limit} veces.",
    en="This turn was already called again {limit} times.",
):
    limit: int


class Recall(Command):
    """Repeat a call that may not have been heard. The time to come starts again."""

    turn: Annotated[TurnId, TURN_NAME]


class StartService(Command):
    """The person has come: in time, or late while the counter that called them is still free."""

    turn: Annotated[TurnId, TURN_NAME]


class FinishService(Command):
    turn: Annotated[TurnId, TURN_NAME]
    outcome: Outcome = "DONE"


class CalledJustNow(
    Rejected,
    es="El turno se acaba de llamar: la persona tiene hasta el {at} para presentarse.",
    en="The turn was called just now: the person has until {at} to come.",
):
    at: datetime


class MarkAbsent(Command):
    """The person did not come before the time to come was over."""

    turn: Annotated[TurnId, TURN_NAME]


def _reads(command: Recall | StartService | FinishService | MarkAbsent) -> tuple[Stream[Line]]:
    return (stream_of(command.turn),)


@decides(Recall, reads=_reads)
def recall(command: Recall, line: Line, *, now: datetime) -> Decided:
    opened = opening_if_open(line, now, "turn")
    turn = turn_in(line, command.turn)
    refuse_unless(turn, "CALLED")
    if turn.calls > opened.policy.recalls_max:
        raise RecalledTooOften(path="turn", limit=opened.policy.recalls_max)
    yield stream_of(turn.turn), TurnRecalled(turn=turn.turn, counter=turn.counter or 0, called_at=now)


@decides(StartService, reads=_reads)
def start_service(command: StartService, line: Line, *, now: datetime) -> Decided:
    turn = turn_in(line, command.turn)
    if turn.state == "SERVING":
        return
    refuse_unless(turn, "CALLED", "ABSENT")
    if turn.state == "ABSENT":
        _refuse_gone(line, turn, now)
    yield stream_of(turn.turn), ServiceStarted(turn=turn.turn, counter=turn.counter or 0, started_at=now)


def _refuse_gone(line: Line, turn: Turn, now: datetime) -> None:
    """Raise Rejected if a person who came late can no longer be served.

    They can be while their counter has no other turn and they could still come back to the line. So it makes no
    difference whether they were already marked absent.
    """
    assert line.opened
    assert turn.ended_at
    counter = line.counters.get(turn.counter or 0)
    until = turn.ended_at + timedelta(seconds=line.opened.policy.requeue_within_s)
    if counter is None or counter.turn or line.closed or now > until:
        refuse_unless(turn, "CALLED")
    refuse_another(line, turn.person, "turn")


@decides(FinishService, reads=_reads)
def finish_service(command: FinishService, line: Line, *, now: datetime) -> Decided:
    turn = turn_in(line, command.turn)
    if turn.state == "SERVED":
        return
    refuse_unless(turn, "SERVING")
    finished = ServiceFinished(turn=turn.turn, counter=turn.counter or 0, finished_at=now, outcome=command.outcome)
    yield stream_of(turn.turn), finished


@decides(MarkAbsent, reads=_reads)
def mark_absent(command: MarkAbsent, line: Line, *, now: datetime) -> Decided:
    turn = turn_in(line, command.turn)
    if turn.state == "ABSENT":
        return
    refuse_unless(turn, "CALLED")
    absent_from = absent_at(line, turn)
    if now < absent_from:
        raise CalledJustNow(path="turn", at=absent_from)
    yield stream_of(turn.turn), TurnAbsent(turn=turn.turn, counter=turn.counter or 0, absent_at=now)


def absent_at(line: Line, turn: Turn) -> datetime:
    """The moment from which a called turn can be marked absent."""
    assert line.opened
    assert turn.called_at
    return turn.called_at + timedelta(seconds=line.opened.policy.call_timeout_s)
