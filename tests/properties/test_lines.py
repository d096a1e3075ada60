"""Two lines of a ward on a morning, many people, any order: whatever is asked, each call can be checked by its policy.

A machine asks for anything at any time and decides and folds as the committer does. Beside it, a register answers every
question from what was accepted (tests/line_register.py), and the laws are read from the log alone.
"""

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Any, TypeVar

from hypothesis import HealthCheck, event, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from domain.arrivals import CheckInToLine, TakeTurnForAppointment
from domain.decider import Command, Event, Recorded, StreamName, copied, fold, fold_of
from domain.decision import decide
from domain.errors import Rejected
from domain.identifiers import line_of
from domain.queues.calling import CallNext, CallTurn, FinishService, MarkAbsent, Recall, StartService
from domain.queues.line import (
    Line,
    LineClosed,
    LineOpened,
    NoticeAsked,
    NoticeGiven,
    ServiceFinished,
    ServiceStarted,
    TurnAbsent,
    TurnCalled,
    TurnLeft,
    TurnRequeued,
    TurnTaken,
    TurnTransferred,
    stream,
)
from domain.queues.opening import CloseLine, PauseCounter, ResumeCounter
from domain.queues.order import ahead_of, ahead_of_new, calls_to_come
from domain.queues.policy import Policy
from domain.queues.turns import (
    AskNotice,
    GiveNotice,
    LeaveLine,
    Reason,
    RequeueAbsent,
    TakeTurn,
    TransferTurn,
)
from tests.examples import examples
from tests.line_register import Register, Rules, Ticket
from tests.office import (
    ANA,
    EVA,
    LA_MERCED,
    LUIS,
    MOMENT,
    appointment,
    at,
    book,
    on_its_stream,
    opaque,
    published,
    states_read,
)
from tests.waiting import LINE, OTHER

T = TypeVar("T")

LINES = (LINE, OTHER)
COUNTERS = (1, 2, 3)
OPENS, LAST_TURN, CLOSES = at("07:00"), at("07:40"), at("07:50")
CLASSES = ("PREFERENTIAL", "APPOINTMENT", "NORMAL")
PEOPLE = (ANA, LUIS, EVA, opaque("rosa"), opaque("juan"), None, None)
REASONS: tuple[Reason | None, ...] = (None, None, "PREGNANT")
PAUSES = (MOMENT, timedelta(seconds=10), timedelta(minutes=1), timedelta(minutes=2))
PATIENTS = [opaque("patient" + letter) for letter in "abcdef"]
FICHAS = [appointment("ficha" + letter) for letter in "abcdef"]

lines = st.sampled_from(LINES)
counters = st.sampled_from(COUNTERS)
nths = st.integers(0, 40)
crowds = st.lists(nths, min_size=2, max_size=8)
policies = st.builds(
    Policy,
    order=st.permutations(CLASSES).map(tuple),
    at_least=st.sampled_from([*CLASSES, None]),
    one_in=st.integers(2, 4),
    direct_calls=st.booleans(),
    recalls_max=st.integers(0, 2),
    call_timeout_s=st.sampled_from([10, 60]),
    requeue_within_s=st.sampled_from([0, 60, 600]),
    requeues_max=st.integers(0, 2),
    early_minutes_max=st.sampled_from([50, 720]),
)
hospitals = st.sampled_from([LA_MERCED, LA_MERCED, None])

# Of each step the states in which it is fine, so that a machine that asks for anything gets somewhere.
STEPS: dict[type[Any], tuple[str, ...]] = {
    Recall: ("CALLED",),
    StartService: ("CALLED",),
    FinishService: ("SERVING",),
    MarkAbsent: ("CALLED",),
    LeaveLine: ("WAITING", "CALLED", "ABSENT"),
    RequeueAbsent: ("ABSENT",),
    GiveNotice: ("WAITING",),
}
# What is wished more often is here more than once.
WISHES = [
    *("take", "call_next", "serve", "leave", "transfer", "ask_notice", "take_a_step", "miss_a_call", "call_one") * 2,
    *(
        "use_ficha",
        "use_ficha",
        "take",
        "ask_notice",
        "begin_anew",
        "come_late",
        "give_notice",
        "pause_or_resume",
        "close",
        "say_again",
        "wait",
    ),
]
MAY_BE_SAID_AGAIN = (Recall, AskNotice)


class Reader:
    """Reads the log of one line from its beginning, and says where it breaks the law. It knows no state but its own."""

    def __init__(self, opened: LineOpened) -> None:
        self.opened = opened
        self.taken: dict[str, TurnTaken] = {}
        self.waits: list[str] = []
        self.came_back: set[str] = set()
        self.at: dict[int, str] = {}
        self.over: set[str] = set()
        self.absent: dict[str, TurnAbsent] = {}  # they are over, but may come back, or leave
        self.others = 0  # calls of others since somebody of the share began to wait, or since its last call
        self.wishes: dict[str, NoticeAsked] = {}
        self.closed = False

    def kind(self, turn: str) -> str:
        return self.taken[turn].priority

    def read(self, happened: Event) -> None:
        match happened:
            case TurnTaken():
                self.take(happened)
            case TurnCalled():
                self.call(happened)
            case TurnRequeued():
                del self.absent[happened.turn]
                self.over.remove(happened.turn)
                self.waits.append(happened.turn)
                self.came_back.add(happened.turn)
            case ServiceStarted():
                self.start(happened)
            case NoticeAsked():
                assert happened.turn in self.waits
                self.wishes[happened.turn] = happened
            case NoticeGiven():
                self.tell(happened)
            case LineClosed():
                assert sorted(happened.unserved) == sorted(self.waits)
                self.closed = True
                self.end(*happened.unserved)
            case TurnLeft() if happened.turn in self.absent:
                del self.absent[happened.turn]
            case TurnLeft() | TurnTransferred() | TurnAbsent() | ServiceFinished():
                self.end(happened.turn)
        if isinstance(happened, TurnAbsent):
            self.absent[happened.turn] = happened
        if all(self.kind(turn) != self.opened.policy.at_least for turn in self.waits):
            self.others = 0

    def take(self, taken: TurnTaken) -> None:
        assert taken.turn not in self.taken
        earlier = [other.number for other in self.taken.values() if other.priority == taken.priority]
        assert taken.number == len(earlier) + 1
        assert self.opened.opens_at <= taken.taken_at < self.opened.closes_at
        assert taken.moved_from or taken.taken_at < self.opened.last_turn_at
        assert not self.closed
        assert taken.person not in self.live()
        self.taken[taken.turn] = taken
        self.waits.append(taken.turn)

    def live(self) -> set[str]:
        """Who has a turn that is not over."""
        return {taken.person for taken in self.taken.values() if taken.person and taken.turn not in self.over}

    def call(self, called: TurnCalled) -> None:
        assert called.turn in self.waits
        assert called.counter not in self.at
        assert self.opened.opens_at <= called.called_at < self.opened.closes_at
        assert not self.closed
        if called.direct:
            assert self.opened.policy.direct_calls
        else:
            self.judge_the_class(self.kind(called.turn))
            self.judge_the_wait(called.turn)
        self.others = 0 if self.kind(called.turn) == self.opened.policy.at_least else self.others + 1
        self.waits.remove(called.turn)
        self.at[called.counter] = called.turn
        self.wishes.pop(called.turn, None)

    def judge_the_class(self, kind: str) -> None:
        """Of any `one_in` calls in a row while somebody of the share waits one is of the share; else order counts."""
        policy = self.opened.policy
        waiting = {self.kind(turn) for turn in self.waits}
        due = policy.at_least in waiting and self.others >= policy.one_in - 1
        assert kind == policy.at_least or not due
        assert due or not any(other in waiting for other in policy.order[: policy.order.index(kind)])

    def judge_the_wait(self, turn: str) -> None:
        """Of those of a class who never were absent, nobody is called before somebody who has waited longer."""
        same = [self.taken[other] for other in self.waits if self.kind(other) == self.kind(turn)]
        if turn not in self.came_back:
            longest = min(other.since for other in same if other.turn not in self.came_back)
            assert self.taken[turn].since == longest

    def start(self, started: ServiceStarted) -> None:
        """Who was absent is served after all by the counter that had called them, while it has nobody else."""
        if started.turn not in self.absent:
            assert self.at[started.counter] == started.turn
            return
        absent = self.absent.pop(started.turn)
        assert started.counter == absent.counter
        assert started.started_at <= absent.absent_at + timedelta(seconds=self.opened.policy.requeue_within_s)
        assert started.counter not in self.at
        assert not self.closed
        assert self.taken[started.turn].person not in self.live()
        self.over.remove(started.turn)
        self.at[started.counter] = started.turn

    def tell(self, given: NoticeGiven) -> None:
        wish = self.wishes.pop(given.turn)  # once
        assert given.turn in self.waits
        assert given.minutes == wish.minutes
        assert wish.ahead is None or given.ahead <= wish.ahead

    def end(self, *turns: str) -> None:
        for turn in turns:
            assert turn in self.taken
            assert turn not in self.over
            self.over.add(turn)
            self.wishes.pop(turn, None)
        self.waits = [turn for turn in self.waits if turn not in turns]
        self.at = {counter: turn for counter, turn in self.at.items() if turn not in turns}


class Ward(RuleBasedStateMachine):
    """Two lines, of which each has a policy of its own; people come and go, counters call, and time goes by."""

    def __init__(self) -> None:
        super().__init__()
        self.now = at("06:00")
        self.states: dict[StreamName, Any] = {}
        self.log: list[Recorded] = []
        self.asked = 0
        self.said: list[Command] = []

    @initialize(
        policies=st.tuples(policies, policies),
        hospitals=st.tuples(hospitals, hospitals),
        begins=st.sampled_from([OPENS, OPENS, OPENS, OPENS - MOMENT, at("06:00")]),
        crowds=st.tuples(crowds, crowds),
    )
    def open(
        self,
        policies: tuple[Policy, Policy],
        hospitals: tuple[str | None, str | None],
        begins: datetime,
        crowds: tuple[list[int], list[int]],
    ) -> None:
        for line, policy, hospital in zip(LINES, policies, hospitals, strict=True):
            opened = LineOpened(
                line=line,
                counters=list(COUNTERS),
                policy=policy,
                opens_at=OPENS,
                last_turn_at=LAST_TURN,
                closes_at=CLOSES,
                hospital=hospital,
            )
            self.record([(stream(line), opened)])
        agenda = published(slots=len(FICHAS))
        self.record([on_its_stream(agenda)])
        for slot, (patient, ficha) in enumerate(zip(PATIENTS, FICHAS, strict=True), start=1):
            booking = book(patient, slot, name="ficha" + "abcdef"[slot - 1])
            assert booking.appointment == ficha
            self.record(decide(booking, states_read(booking, self.state), self.now))
        starts = [slot.start for slot in agenda.slots]
        fichas = dict(zip(FICHAS, zip(PATIENTS, starts, strict=True), strict=True))
        rules = {line: _rules(policy, of) for line, policy, of in zip(LINES, policies, hospitals, strict=True)}
        self.register = Register(rules, fichas)
        self.now = begins
        for line, crowd in zip(LINES, crowds, strict=True):
            for nth in crowd:
                self.take(line, 1, nth)

    # As the committer does it

    def state(self, stream: StreamName) -> Any:
        return self.states.setdefault(stream, fold(stream, ()))

    def record(self, recorded: list[Recorded]) -> None:
        for on, happened in recorded:
            self.states[on] = fold_of(on).evolve(self.state(on), happened)
        self.log.extend(recorded)

    def ask(self, command: Command) -> list[Recorded] | Rejected:
        states = states_read(command, self.state)
        before = {name: copied(state) for name, state in states.items()}
        answer: list[Recorded] | Rejected
        try:
            answer = decide(command, states, self.now)
        except Rejected as refusal:
            answer = refusal
        assert states == before, f"deciding {command} changed what it read"
        return answer

    def submit(self, command: Command) -> None:
        objections = self.register.against(command, self.now)
        known = self.register.known(command, self.now)
        answer = self.ask(command)
        if known:
            assert answer == [], f"{command} was said again, and not to no effect: {answer}"
        elif isinstance(answer, Rejected):
            event(answer.code)
            assert answer.code in objections, f"{command} was refused: {answer}. Objections: {objections or 'none'}"
        else:
            event(type(command).__name__)
            assert not objections, f"{command} was accepted against {objections}"
            assert answer, f"{command} was accepted and nothing recorded"
            self.accept(command, answer)

    def accept(self, command: Any, answer: list[Recorded]) -> None:
        line = command.line if hasattr(command, "line") else line_of(command.turn)
        following = self.register.following(line)
        place = self.register.places(line).get(getattr(command, "turn", ""))
        told = self.register.accept(command, self.now)
        if isinstance(command, GiveNotice):
            assert place is not None
            told = [(command.turn, place)]
        self.said.append(command)
        self.record(answer)
        recorded = [happened for _, happened in answer]
        given = [(notice.turn, notice.ahead) for notice in recorded if isinstance(notice, NoticeGiven)]
        assert sorted(given) == sorted(told), f"{given} were told after {command}, {told} had asked"
        for happened in recorded:
            if isinstance(happened, TurnTaken):
                self.judge_place(happened)
            if isinstance(happened, TurnCalled):
                assert following
                assert happened.direct == (happened.turn != following.name)
        if not isinstance(command, MAY_BE_SAID_AGAIN):
            again = self.ask(command)
            assert again == [] or isinstance(again, Rejected), f"{command} was said again at once: {again}"

    def judge_place(self, taken: TurnTaken) -> None:
        """What it says of itself is true, also how many are called before it."""
        ticket = self.register.tickets[taken.turn]
        said = (taken.number, taken.priority, taken.since, taken.person, taken.appointment, taken.ahead)
        place = self.register.places(ticket.line)[ticket.name]
        assert said == (ticket.number, ticket.kind, ticket.since, ticket.person, ticket.ficha, place)
        assert taken.counters == len(COUNTERS) - len(self.register.sheets[ticket.line].paused)

    def _name(self, line: str) -> str:
        self.asked += 1
        return f"{line}/{opaque(''.join('abcdefghij'[int(digit)] for digit in str(self.asked)))}"

    def _some(self, nth: int, *states: str) -> list[Ticket]:
        """One of those in such a state, or of all if no state is said; none if there is none."""
        return _nth([t for t in self.register.tickets.values() if not states or t.state in states], nth)

    # What people want

    @rule(wishes=st.lists(st.tuples(st.sampled_from(WISHES), lines, counters, nths), min_size=1, max_size=5))
    def go_on(self, wishes: list[tuple[str, str, int, int]]) -> None:
        """One rule for all: with many, an example would do without most of them."""
        for wish, line, counter, nth in wishes:
            getattr(self, wish)(line, counter, nth)

    def take(self, line: str, counter: int, nth: int) -> None:
        person, reason = PEOPLE[nth % len(PEOPLE)], REASONS[nth % len(REASONS)]
        self.submit(TakeTurn(line=line, turn=self._name(line), channel="KIOSK", person=person, reason=reason))

    def use_ficha(self, line: str, counter: int, nth: int) -> None:
        turn, ficha = self._name(line), FICHAS[nth % len(FICHAS)]
        if nth % 2:
            self.submit(CheckInToLine(line=line, turn=turn, appointment=ficha))
        else:
            self.submit(TakeTurnForAppointment(line=line, turn=turn, channel="WEB", appointment=ficha))

    def call_next(self, line: str, counter: int, nth: int) -> None:
        self.submit(CallNext(line=line, counter=counter))

    def serve(self, line: str, counter: int, nth: int) -> None:
        """Whoever is next there, to the end."""
        self.call_next(line, counter, nth)
        ticket = self.register.at_counter(line, counter)
        if ticket:
            self.submit(StartService(turn=ticket.name))
            self.submit(FinishService(turn=ticket.name))

    def call_one(self, line: str, counter: int, nth: int) -> None:
        for ticket in self._some(nth, *(["WAITING"] if nth % 4 else [])):
            self.submit(CallTurn(turn=ticket.name, counter=counter))

    def take_a_step(self, line: str, counter: int, nth: int) -> None:
        step = list(STEPS)[nth % len(STEPS)]
        for ticket in self._some(nth, *(STEPS[step] if nth % 4 else [])):
            self.submit(step(turn=ticket.name))

    def leave(self, line: str, counter: int, nth: int) -> None:
        for ticket in self._some(nth, "WAITING"):
            self.submit(LeaveLine(turn=ticket.name))

    def miss_a_call(self, line: str, counter: int, nth: int) -> None:
        """And come back, or not."""
        for ticket in self._some(nth, "CALLED"):
            self.now += self.register.sheets[ticket.line].rules.call_timeout
            self.submit(MarkAbsent(turn=ticket.name))
            if nth % 3:
                self.submit(RequeueAbsent(turn=ticket.name))

    def come_late(self, line: str, counter: int, nth: int) -> None:
        """And be served to the end."""
        for ticket in self._some(nth, "ABSENT"):
            self.submit(StartService(turn=ticket.name))
            self.submit(FinishService(turn=ticket.name))

    def begin_anew(self, line: str, counter: int, nth: int) -> None:
        """Who was absent takes another turn, and then may want the old one, too."""
        for ticket in self._some(nth, "ABSENT"):
            turn = self._name(ticket.line)
            self.submit(TakeTurn(line=ticket.line, turn=turn, channel="KIOSK", person=ticket.person))
            self.submit((LeaveLine if nth % 2 else RequeueAbsent)(turn=ticket.name))

    def transfer(self, line: str, counter: int, nth: int) -> None:
        for ticket in self._some(nth, *(["WAITING", "CALLED", "SERVING"] if nth % 4 else [])):
            self.submit(TransferTurn(turn=ticket.name, to=line, moved_to=self._name(line)))

    def ask_notice(self, line: str, counter: int, nth: int) -> None:
        for ticket in self._some(nth, *(["WAITING"] if nth % 8 else [])):
            minutes = 15 if nth % 5 == 0 else None
            self.submit(AskNotice(turn=ticket.name, ahead=None if minutes else nth % 4, minutes=minutes))

    def give_notice(self, line: str, counter: int, nth: int) -> None:
        for ticket in _nth([ticket for ticket in self.register.tickets.values() if ticket.wish], nth):
            self.submit(GiveNotice(turn=ticket.name))

    def pause_or_resume(self, line: str, counter: int, nth: int) -> None:
        self.submit((PauseCounter if nth % 3 == 0 else ResumeCounter)(line=line, counter=counter))

    def close(self, line: str, counter: int, nth: int) -> None:
        if nth == 40:
            self.submit(CloseLine(line=line))

    def say_again(self, line: str, counter: int, nth: int) -> None:
        for command in _nth(self.said, nth):
            self.submit(command)

    def wait(self, line: str, counter: int, nth: int) -> None:
        self.now += PAUSES[nth % len(PAUSES)]
        if nth == 40 or self.now < OPENS:
            self.now = min((edge for edge in (OPENS, LAST_TURN, CLOSES) if edge > self.now), default=self.now)

    # What is always true

    @invariant()
    def the_lines_show_what_was_accepted(self) -> None:
        for line in LINES:
            state: Line = self.state(stream(line))
            sheet = self.register.sheets[line]
            tickets = self.register.of(line)
            assert {turn.turn: turn.state for turn in state.turns.values()} == {t.name: t.state for t in tickets}
            for kind in CLASSES:
                assert state.queue(kind) == [ticket.name for ticket in sheet.queue if ticket.kind == kind]
            assert list(calls_to_come(state)) == list(self.register.places(line))
            here = {t.person: t.name for t in tickets if t.person and t.state in {"WAITING", "CALLED", "SERVING"}}
            assert state.live == here
            busy = {number: self.register.at_counter(line, number) for number in COUNTERS}
            assert {counter.number: counter.turn for counter in state.counters.values()} == {
                number: ticket.name if ticket else None for number, ticket in busy.items()
            }
            assert {counter.number for counter in state.counters.values() if not counter.open} == sheet.paused
            wishes = {ticket.name: ticket.wish for ticket in tickets if ticket.wish}
            assert {turn: (wish.ahead, wish.minutes) for turn, wish in state.notices.items()} == wishes

    @invariant()
    def one_more_would_be_called_after_as_many_as_is_said(self) -> None:
        for line in LINES:
            state: Line = self.state(stream(line))
            assert all(ahead_of(state, turn) == place for place, turn in enumerate(calls_to_come(state)))
            for kind in CLASSES:
                one_more = copied(state)
                one_more.queue(kind).append("one more")
                simulated = list(calls_to_come(one_more)).index("one more")
                assert ahead_of_new(state, kind) == simulated == self.register.place_of_one_more(line, kind)

    def teardown(self) -> None:
        """The log alone gives the same states, and keeps the law; its beginnings were judged with it."""
        streams: dict[StreamName, list[Event]] = {name: [] for name in self.states}
        for on, happened in self.log:
            streams[on].append(happened)
        assert self.states == {name: fold(name, events) for name, events in streams.items()}
        for line in LINES:
            events = iter(streams.get(stream(line), ()))
            opened = next(events, None)
            if isinstance(opened, LineOpened):
                reader = Reader(opened)
                for happened in events:
                    reader.read(happened)
        self.judge_transfers([happened for _, happened in self.log])
        for line in LINES:  # any event on any state, also those of the other line
            fold(stream(line), (happened for _, happened in reversed(self.log)))

    def judge_transfers(self, log: list[Event]) -> None:
        """Nobody is lost, nobody is doubled, and the wait goes with them."""
        taken = {event.turn: event for event in log if isinstance(event, TurnTaken)}
        went = {event.turn: event.moved_to for event in log if isinstance(event, TurnTransferred)}
        came = {event.turn: event.moved_from for event in taken.values() if event.moved_from}
        assert {to: turn for turn, to in went.items()} == came
        for turn, to in went.items():
            assert (taken[to].person, taken[to].since) == (taken[turn].person, taken[turn].since)


def _nth(items: Iterable[T], nth: int) -> list[T]:
    """One of them, or none if there are none."""
    there = list(items)
    return [there[nth % len(there)]] if there else []


def _rules(policy: Policy, hospital: str | None) -> Rules:
    return Rules(
        opens_at=OPENS,
        last_turn_at=LAST_TURN,
        closes_at=CLOSES,
        hospital=hospital,
        order=policy.order,
        share=policy.at_least,
        one_in=policy.one_in,
        direct_calls=policy.direct_calls,
        recalls_max=policy.recalls_max,
        call_timeout=timedelta(seconds=policy.call_timeout_s),
        back_within=timedelta(seconds=policy.requeue_within_s),
        returns_max=policy.requeues_max,
        early=timedelta(minutes=policy.early_minutes_max),
    )


TestWard = Ward.TestCase
TestWard.settings = settings(
    deadline=None,
    max_examples=examples(70),
    stateful_step_count=20,
    suppress_health_check=[HealthCheck.too_slow],
)
