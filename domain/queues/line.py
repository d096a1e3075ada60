"""A line: one service on one day at a service point, with its counters and its turns.

Everything that happens in a line is on its one stream, so that each decision sees the whole line: numbers have no gaps,
a counter has one turn, and calls follow the policy. The commands that open and close it are in `opening`, those of
people who wait in `turns`, and those of counters in `calling`.
"""

from datetime import datetime
from typing import Literal

from msgspec import field
from msgspec.structs import replace

from domain.copy_on_write import CopyOnWriteDict
from domain.decider import Event, Instant, State, Stream, Value, evolves, names_stream_of
from domain.identifiers import AppointmentId, CallId, HospitalId, LineId, SubjectId, TurnId, line_of
from domain.queues.policy import Policy, format_number

REQUEUED_BEHIND = 2
LAST_CALLS_MAX = 10  # shown on the board

TurnState = Literal["WAITING", "CALLED", "SERVING", "SERVED", "ABSENT", "LEFT", "TRANSFERRED", "UNSERVED"]

LIVE = frozenset({"WAITING", "CALLED", "SERVING"})  # a person has at most one turn in these states


class LineOpened(Event, name="line_opened.v1"):
    line: LineId
    counters: list[int]
    policy: Policy
    opens_at: Instant
    last_turn_at: Instant
    closes_at: Instant
    hospital: HospitalId | None = None


class TurnTaken(Event, name="turn_taken.v1"):
    """`since` is when the wait began, possibly in the line of `moved_from`.

    `ahead` turns were to be called before it, with `counters` open; waits are learned from both.
    """

    turn: TurnId
    number: int
    priority: str
    channel: str
    since: Instant
    taken_at: Instant
    ahead: int
    counters: int
    person: SubjectId | None = None
    reason: str = ""
    appointment: AppointmentId | None = None
    moved_from: TurnId | None = None


class TurnCalled(Event, name="turn_called.v1"):
    """`direct`: it was not the next one. `call` is the id of the request, so that a repeated one gets the same turn."""

    turn: TurnId
    counter: int
    called_at: Instant
    direct: bool = False
    call: CallId | None = None


class TurnRecalled(Event, name="turn_recalled.v1"):
    turn: TurnId
    counter: int
    called_at: Instant


class ServiceStarted(Event, name="service_started.v1"):
    turn: TurnId
    counter: int
    started_at: Instant


class ServiceFinished(Event, name="service_finished.v1"):
    turn: TurnId
    counter: int
    finished_at: Instant
    outcome: str


class TurnAbsent(Event, name="turn_absent.v1"):
    turn: TurnId
    counter: int
    absent_at: Instant


class TurnRequeued(Event, name="turn_requeued.v1"):
    turn: TurnId
    requeued_at: Instant


class TurnLeft(Event, name="turn_left.v1"):
    turn: TurnId
    left_at: Instant


class TurnTransferred(Event, name="turn_transferred.v1"):
    """The turn continues as `moved_to` in another line."""

    turn: TurnId
    moved_to: TurnId
    moved_at: Instant


class CounterPaused(Event, name="counter_paused.v1"):
    counter: int
    paused_at: Instant


class CounterResumed(Event, name="counter_resumed.v1"):
    counter: int
    resumed_at: Instant


class NoticeAsked(Event, name="notice_asked.v1"):
    """A request for a notice when only `ahead` turns are before this one, or about `minutes` before its call."""

    turn: TurnId
    ahead: int | None = None
    minutes: int | None = None


class NoticeGiven(Event, name="notice_given.v1"):
    """The notice is due; webhooks deliver it. `ahead` turns are still before this one."""

    turn: TurnId
    number: int
    priority: str
    ahead: int
    given_at: Instant
    person: SubjectId | None = None
    minutes: int | None = None


class LineClosed(Event, name="line_closed.v1"):
    """`unserved` are the turns that were still waiting; the people are notified."""

    line: LineId
    closed_at: Instant
    unserved: list[TurnId]


class Turn(Value):
    """A place in the line.

    `counter` is the one that called it last, `calls` times. `called_at` is its last call, `first_called_at` its first.
    """

    turn: TurnId
    number: int
    priority: str
    since: Instant
    taken_at: Instant
    state: TurnState = "WAITING"
    person: SubjectId | None = None
    reason: str = ""
    appointment: AppointmentId | None = None
    counter: int | None = None
    call: CallId | None = None
    calls: int = 0
    first_called_at: Instant | None = None
    called_at: Instant | None = None
    started_at: Instant | None = None
    ended_at: Instant | None = None
    requeues: int = 0
    wishes: int = 0
    moved_to: TurnId | None = None

    @property
    def shown(self) -> str:
        return format_number(self.priority, self.number)


class Counter(Value):
    """`turn` is the one that it has, `busy_since` when it called that one. A paused counter finishes its turn."""

    number: int
    open: bool = True
    turn: TurnId | None = None
    busy_since: Instant | None = None


class Notice(Value):
    ahead: int | None = None
    minutes: int | None = None


class Line(State):
    """`numbers` has the last number of each class. Waiting turns are in three lists, each in the order of calls.

    `passed` counts calls of other classes since the class `at_least` began to wait, or since its last call. `live` maps
    a person to the turn with which they wait or are served, `times` to the number of turns they took here, and
    `appointments` an appointment to its last turn. They grow all day and each batch copies them, hence copy-on-write.
    """

    opened: LineOpened | None = None
    closed: LineClosed | None = None
    turns: CopyOnWriteDict[TurnId, Turn] = field(default_factory=CopyOnWriteDict)
    numbers: dict[str, int] = {}
    preferential: list[TurnId] = []
    appointment: list[TurnId] = []
    normal: list[TurnId] = []
    passed: int = 0
    counters: dict[int, Counter] = {}
    last_calls: list[TurnId] = []
    live: CopyOnWriteDict[SubjectId, TurnId] = field(default_factory=CopyOnWriteDict)
    times: CopyOnWriteDict[SubjectId, int] = field(default_factory=CopyOnWriteDict)
    appointments: CopyOnWriteDict[AppointmentId, TurnId] = field(default_factory=CopyOnWriteDict)
    notices: dict[TurnId, Notice] = {}

    def queue(self, priority: str) -> list[TurnId]:
        """The waiting turns of a class, the next one first."""
        if priority == "NORMAL":
            return self.normal
        return self.preferential if priority == "PREFERENTIAL" else self.appointment

    @property
    def waiting(self) -> int:
        """The number of waiting turns."""
        return len(self.preferential) + len(self.appointment) + len(self.normal)

    @property
    def counters_open(self) -> int:
        return sum(
            [counter.open for counter in self.counters.values()]
        )  # a list is faster than a generator, and every new turn computes this


@names_stream_of(Line)
def stream(line: LineId) -> str:
    return f"line/{line}"


def stream_of(turn: TurnId) -> Stream[Line]:
    return stream(line_of(turn))


def touches(event: Event) -> list[TurnId]:
    """The turns that an event concerns."""
    if isinstance(event, LineClosed):
        return event.unserved
    turn: TurnId | None = getattr(event, "turn", None)
    return [turn] if turn else []


@evolves("line", Line, touches=touches)
def evolve(line: Line, event: Event) -> Line:
    match event:
        case TurnTaken():  # first, because it is the most frequent
            _take(line, event)
        case LineOpened():
            line.opened = event
            line.counters = {number: Counter(number=number) for number in event.counters}
        case TurnCalled():
            _call(line, event)
        case CounterPaused() | CounterResumed():
            counter = line.counters.get(event.counter)
            if counter:
                line.counters[event.counter] = replace(counter, open=isinstance(event, CounterResumed))
        case NoticeAsked():
            line.notices[event.turn] = Notice(ahead=event.ahead, minutes=event.minutes)
            if turn := line.turns.get(event.turn):
                line.turns[event.turn] = replace(turn, wishes=turn.wishes + 1)
        case NoticeGiven():
            line.notices.pop(event.turn, None)
        case LineClosed():
            line.closed = event
            for unserved in event.unserved:
                _end(line, unserved, "UNSERVED", event.closed_at)
        case _:
            _go_on(line, event)
    return line


def _take(line: Line, event: TurnTaken) -> None:
    turn = Turn(
        turn=event.turn,
        number=event.number,
        priority=event.priority,
        since=event.since,
        taken_at=event.taken_at,
        person=event.person,
        reason=event.reason,
        appointment=event.appointment,
    )
    line.turns[event.turn] = turn
    line.numbers[event.priority] = event.number
    if event.person:
        line.live[event.person] = event.turn
        line.times[event.person] = line.times.get(event.person, 0) + (event.moved_from is None)
    if event.appointment:
        line.appointments[event.appointment] = event.turn
    queue = line.queue(event.priority)
    at = len(queue)
    if event.moved_from:  # it has already waited in another line
        at = next((place for place, other in enumerate(queue) if line.turns[other].since > event.since), at)
    queue.insert(at, event.turn)


def _call(line: Line, event: TurnCalled) -> None:
    turn = line.turns.get(event.turn)
    if turn is None:
        return
    _unqueue(line, turn)
    shared = line.opened.policy.at_least if line.opened else None
    if shared is not None:
        line.passed = line.passed + 1 if turn.priority != shared and line.queue(shared) else 0
    line.turns[event.turn] = replace(
        turn,
        state="CALLED",
        counter=event.counter,
        call=event.call,
        calls=1,
        called_at=event.called_at,
        first_called_at=turn.first_called_at or event.called_at,
    )
    line.notices.pop(event.turn, None)
    _announce(line, event.turn)
    if counter := line.counters.get(event.counter):
        line.counters[event.counter] = replace(counter, turn=event.turn, busy_since=event.called_at)


def _announce(line: Line, turn: TurnId) -> None:
    line.last_calls = [turn, *(other for other in line.last_calls if other != turn)][:LAST_CALLS_MAX]


def _go_on(line: Line, event: Event) -> None:
    """Apply an event about one turn after it was taken."""
    turn = line.turns.get(getattr(event, "turn", ""))
    if turn is None:
        return
    match event:
        case TurnRecalled():
            line.turns[event.turn] = replace(turn, calls=turn.calls + 1, called_at=event.called_at)
            _announce(line, event.turn)
        case ServiceStarted():
            _serve(line, turn, event)
        case ServiceFinished():
            _end(line, event.turn, "SERVED", event.finished_at)
        case TurnAbsent():
            _end(line, event.turn, "ABSENT", event.absent_at)
        case TurnRequeued():
            line.turns[event.turn] = replace(turn, state="WAITING", ended_at=None, requeues=turn.requeues + 1)
            _put_back(line, turn)
            if turn.person:
                line.live[turn.person] = event.turn
        case TurnLeft():
            _end(line, event.turn, "LEFT", event.left_at)
        case TurnTransferred():
            line.turns[event.turn] = replace(turn, moved_to=event.moved_to)
            _end(line, event.turn, "TRANSFERRED", event.moved_at)


def _serve(line: Line, turn: Turn, event: ServiceStarted) -> None:
    """The turn is served at the counter that called it, even if it was marked absent meanwhile."""
    line.turns[event.turn] = replace(turn, state="SERVING", started_at=event.started_at, ended_at=None)
    if turn.person:
        line.live[turn.person] = event.turn
    counter = line.counters.get(event.counter)
    if counter and counter.turn != event.turn:
        line.counters[event.counter] = replace(counter, turn=event.turn, busy_since=event.started_at)


def _put_back(line: Line, turn: Turn) -> None:
    """Queue the turn behind the next two of its class that have not come back, and behind earlier ones that have."""
    queue, place, passed = line.queue(turn.priority), 0, 0
    for other in queue:
        if not line.turns[other].requeues:
            if passed == REQUEUED_BEHIND:
                break
            passed += 1
        place += 1
    queue.insert(place, turn.turn)


def _unqueue(line: Line, turn: Turn) -> None:
    queue = line.queue(turn.priority)
    if turn.state == "WAITING" and turn.turn in queue:
        queue.remove(turn.turn)
        if line.opened and turn.priority == line.opened.policy.at_least and not queue:
            line.passed = 0


def _end(line: Line, ended: TurnId, state: TurnState, at: datetime) -> None:
    turn = line.turns.get(ended)
    if turn is None:
        return
    _unqueue(line, turn)
    line.turns[ended] = replace(turn, state=state, ended_at=at)
    line.notices.pop(ended, None)
    if turn.person and line.live.get(turn.person) == ended:
        del line.live[turn.person]
    counter = line.counters.get(turn.counter or 0)
    if counter and counter.turn == ended:
        line.counters[counter.number] = replace(counter, turn=None, busy_since=None)
