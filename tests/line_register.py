"""What a clerk with a ledger would know of two lines: the judge of tests/properties/test_lines.py.

It is told what was accepted and when, and nothing of what was recorded; it shares no code with the decisions that it
judges. It says what speaks against a command, who must be called, which number is given and who must be told.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import takewhile
from typing import Any, NamedTuple

from domain.arrivals import CheckInToLine, TakeTurnForAppointment
from domain.queues.calling import CallNext, CallTurn, FinishService, MarkAbsent, Recall, StartService
from domain.queues.opening import CloseLine, PauseCounter, ResumeCounter
from domain.queues.turns import AskNotice, GiveNotice, LeaveLine, RequeueAbsent, TakeTurn, TransferTurn

HERE = ("WAITING", "CALLED", "SERVING")
Told = tuple[str, int]  # who, and how many are before


@dataclass(eq=False)
class Ticket:
    """A turn, as the clerk follows it."""

    name: str
    line: str
    kind: str
    number: int
    person: str | None
    ficha: str | None
    since: datetime
    state: str = "WAITING"
    counter: int | None = None
    called: list[datetime] = field(default_factory=list)  # and called again, since it came or came back
    gone_at: datetime | None = None
    returns: int = 0
    went_to: str | None = None
    wish: tuple[int | None, int | None] | None = None  # so many ahead, so many minutes
    wishes: int = 0
    moved: bool = False  # from another line


@dataclass
class Rules:
    """What was said of a line when it was opened."""

    opens_at: datetime
    last_turn_at: datetime
    closes_at: datetime
    hospital: str | None
    order: tuple[str, ...]
    share: str | None
    one_in: int
    direct_calls: bool
    recalls_max: int
    call_timeout: timedelta
    back_within: timedelta
    returns_max: int
    early: timedelta


@dataclass
class Sheet:
    """A line. `trail` has the classes of the calls made since somebody of the share began to wait."""

    rules: Rules
    paused: set[int] = field(default_factory=set)
    queue: list[Ticket] = field(default_factory=list)  # whoever comes first of a class is called first of it
    trail: list[str] = field(default_factory=list)
    given: dict[str, int] = field(default_factory=dict)
    closed_at: datetime | None = None


class Register:
    """Both lines, and the fichas of those who come to them, each with its owner and when it begins."""

    def __init__(self, rules: dict[str, Rules], fichas: dict[str, tuple[str, datetime]]) -> None:
        self.sheets = {line: Sheet(said) for line, said in rules.items()}
        self.fichas = fichas
        self.came: set[str] = set()
        self.tickets: dict[str, Ticket] = {}

    # Who is next

    def to_come(self, sheet: Sheet, queue: list[Ticket]) -> Iterator[Ticket]:
        """One call after the other, until nobody is left."""
        left, trail = list(queue), list(sheet.trail)
        while left:
            first = self._first(sheet.rules, left, trail)
            yield first
            left.remove(first)
            trail.append(first.kind)
            if all(ticket.kind != sheet.rules.share for ticket in left):
                trail.clear()

    def _first(self, rules: Rules, queue: list[Ticket], trail: list[str]) -> Ticket:
        others = len(list(takewhile(lambda kind: kind != rules.share, reversed(trail))))
        kinds = [kind for kind in rules.order if any(ticket.kind == kind for ticket in queue)]
        if rules.share in kinds and others + 1 >= rules.one_in:
            kinds = [rules.share]
        return next(ticket for ticket in queue if ticket.kind == kinds[0])

    def following(self, line: str) -> Ticket | None:
        return next(self.to_come(self.sheets[line], self.sheets[line].queue), None)

    def places(self, line: str) -> dict[str, int]:
        """Of everybody who waits, how many are before."""
        sheet = self.sheets[line]
        return {ticket.name: place for place, ticket in enumerate(self.to_come(sheet, sheet.queue))}

    def place_of_one_more(self, line: str, kind: str) -> int:
        sheet = self.sheets[line]
        more = Ticket("more", line, kind, 0, None, None, sheet.rules.closes_at)
        return list(self.to_come(sheet, [*sheet.queue, more])).index(more)

    # What it knows of somebody

    def of(self, line: str) -> list[Ticket]:
        return [ticket for ticket in self.tickets.values() if ticket.line == line]

    def here(self, line: str, person: str | None) -> bool:
        return person is not None and any(t.person == person and t.state in HERE for t in self.of(line))

    def at_counter(self, line: str, counter: int) -> Ticket | None:
        busy = [t for t in self.of(line) if t.counter == counter and t.state in {"CALLED", "SERVING"}]
        assert len(busy) <= 1
        return busy[0] if busy else None

    def ficha_used(self, line: str, ficha: str) -> str:
        """What became of its last turn in the line."""
        return next((ticket.state for ticket in reversed(self.of(line)) if ticket.ficha == ficha), "")

    # What speaks against a command

    def against(self, command: Any, now: datetime) -> set[str]:
        """Everything; it must be accepted exactly if there is nothing."""
        return set(RULES[type(command)].against(self, command, now))

    def known(self, command: Any, now: datetime) -> bool:
        """Whether it was done before, so that there is nothing left to do."""
        return RULES[type(command)].known(self, command, now)

    def shut(self, line: str, now: datetime) -> Iterator[str]:
        sheet = self.sheets[line]
        if sheet.closed_at or now >= sheet.rules.closes_at:
            yield "line_closed"
        if now < sheet.rules.opens_at:
            yield "line_not_open_yet"

    def against_taking(self, command: TakeTurn, now: datetime) -> Iterator[str]:
        yield from self._against_a_place(command.line, command.person, now)

    def _against_a_place(self, line: str, person: str | None, now: datetime) -> Iterator[str]:
        yield from self.shut(line, now)
        if now >= self.sheets[line].rules.last_turn_at:
            yield "no_more_turns"
        if self.here(line, person):
            yield "has_a_turn"
        own = [one for one in self.tickets.values() if one.line == line and one.person == person and not one.moved]
        if person and len(own) >= 5:
            yield "too_many_turns"

    def against_ficha(self, command: Any, now: datetime) -> Iterator[str]:
        person, begins = self.fichas[command.appointment]
        used = self.ficha_used(command.line, command.appointment)
        if isinstance(command, CheckInToLine) and used in HERE:
            return
        yield from self._against_a_place(command.line, person, now)
        rules = self.sheets[command.line].rules
        if rules.hospital != command.appointment.split("/")[0]:
            yield "appointment_elsewhere"
        if now < begins - rules.early:
            yield "too_early"
        if used in (*HERE, "SERVED", "TRANSFERRED"):
            yield "has_a_turn"

    def against_calling(self, command: CallNext, now: datetime) -> Iterator[str]:
        yield from self.shut(command.line, now)
        yield from self._against_counter(command.line, command.counter)
        if not self.sheets[command.line].queue:
            yield "nobody_waits"

    def _against_counter(self, line: str, counter: int) -> Iterator[str]:
        if self.at_counter(line, counter):
            yield "counter_busy"
        if counter in self.sheets[line].paused:
            yield "counter_paused"

    def against_calling_one(self, command: CallTurn, now: datetime) -> Iterator[str]:
        ticket = self.tickets[command.turn]
        yield from self.shut(ticket.line, now)
        yield from self._against_counter(ticket.line, command.counter)
        yield from self._against_state(ticket, "WAITING")
        if not self.sheets[ticket.line].rules.direct_calls and ticket is not self.following(ticket.line):
            yield "not_next"

    def _against_state(self, ticket: Ticket, *fine: str) -> Iterator[str]:
        if ticket.state not in fine:
            yield "turn_elsewhere"

    def against_recall(self, command: Recall, now: datetime) -> Iterator[str]:
        ticket = self.tickets[command.turn]
        yield from self.shut(ticket.line, now)
        yield from self._against_state(ticket, "CALLED")
        if len(ticket.called) - 1 >= self.sheets[ticket.line].rules.recalls_max:
            yield "recalled_too_often"

    def against_start(self, command: StartService, now: datetime) -> Iterator[str]:
        ticket = self.tickets[command.turn]
        yield from self._against_state(ticket, "CALLED", "ABSENT")
        if ticket.state == "ABSENT":
            sheet = self.sheets[ticket.line]
            late = ticket.gone_at is not None and now - ticket.gone_at > sheet.rules.back_within
            if sheet.closed_at or late or self.at_counter(ticket.line, ticket.counter or 0):
                yield "turn_elsewhere"
            if self.here(ticket.line, ticket.person):
                yield "has_a_turn"

    def against_finish(self, command: FinishService, now: datetime) -> Iterator[str]:
        yield from self._against_state(self.tickets[command.turn], "SERVING")

    def against_absent(self, command: MarkAbsent, now: datetime) -> Iterator[str]:
        ticket = self.tickets[command.turn]
        yield from self._against_state(ticket, "CALLED")
        if ticket.called and now < ticket.called[-1] + self.sheets[ticket.line].rules.call_timeout:
            yield "called_just_now"

    def against_leaving(self, command: LeaveLine, now: datetime) -> Iterator[str]:
        yield from self._against_state(self.tickets[command.turn], "WAITING", "CALLED", "ABSENT")

    def against_return(self, command: RequeueAbsent, now: datetime) -> Iterator[str]:
        ticket = self.tickets[command.turn]
        rules = self.sheets[ticket.line].rules
        yield from self.shut(ticket.line, now)
        yield from self._against_state(ticket, "ABSENT")
        if ticket.gone_at and now - ticket.gone_at > rules.back_within:
            yield "absent_too_long"
        if ticket.returns >= rules.returns_max:
            yield "requeued_too_often"
        if self.here(ticket.line, ticket.person):
            yield "has_a_turn"

    def against_transfer(self, command: TransferTurn, now: datetime) -> Iterator[str]:
        ticket = self.tickets[command.turn]
        if command.to == ticket.line or command.moved_to in self.tickets:
            yield "invalid_input"
        yield from self._against_state(ticket, *HERE)
        yield from self.shut(command.to, now)
        if self.here(command.to, ticket.person):
            yield "has_a_turn"

    def against_asking(self, command: AskNotice, now: datetime) -> Iterator[str]:
        ticket = self.tickets[command.turn]
        yield from self.shut(ticket.line, now)
        yield from self._against_state(ticket, "WAITING")
        if ticket.wishes >= 5:
            yield "too_many_wishes"

    def against_counters(self, command: PauseCounter | ResumeCounter, now: datetime) -> Iterator[str]:
        if self.sheets[command.line].closed_at:
            yield "line_closed"

    def against_nothing(self, command: CloseLine | GiveNotice, now: datetime) -> Iterator[str]:
        return iter(())

    # What comes of it

    def accept(self, command: Any, now: datetime) -> list[Told]:
        """Write it down. Returns who must be told now that they are near."""
        RULES[type(command)].accept(self, command, now)
        for sheet in self.sheets.values():
            if all(ticket.kind != sheet.rules.share for ticket in sheet.queue):
                sheet.trail.clear()
        return [told for line in self.sheets for told in self._near(line)]

    def _near(self, line: str) -> Iterator[Told]:
        for name, place in self.places(line).items():
            ticket = self.tickets[name]
            if ticket.wish and ticket.wish[0] is not None and place <= ticket.wish[0]:
                ticket.wish = None
                yield name, place

    def enter(self, name: str, kind: str, now: datetime, *, person: str | None, ficha: str | None = None) -> None:
        line = name.rpartition("/")[0]
        self._put(Ticket(name, line, kind, 0, person, ficha, now))

    def _put(self, ticket: Ticket, *, before: Ticket | None = None) -> None:
        sheet = self.sheets[ticket.line]
        sheet.given[ticket.kind] = ticket.number = sheet.given.get(ticket.kind, 0) + 1
        sheet.queue.insert(sheet.queue.index(before) if before else len(sheet.queue), ticket)
        self.tickets[ticket.name] = ticket

    def take(self, command: TakeTurn, now: datetime) -> None:
        kind = "PREFERENTIAL" if command.reason else "NORMAL"
        self.enter(command.turn, kind, now, person=command.person)

    def take_by_ficha(self, command: TakeTurnForAppointment | CheckInToLine, now: datetime) -> None:
        if isinstance(command, CheckInToLine):
            self.came.add(command.appointment)
            if self.ficha_used(command.line, command.appointment) in HERE:
                return
        person, _ = self.fichas[command.appointment]
        self.enter(command.turn, "APPOINTMENT", now, person=person, ficha=command.appointment)

    def call_next(self, command: CallNext, now: datetime) -> None:
        following = self.following(command.line)
        assert following
        self._call(following, command.counter, now)

    def call_one(self, command: CallTurn, now: datetime) -> None:
        self._call(self.tickets[command.turn], command.counter, now)

    def _call(self, ticket: Ticket, counter: int, now: datetime) -> None:
        sheet = self.sheets[ticket.line]
        sheet.queue.remove(ticket)
        sheet.trail.append(ticket.kind)
        ticket.state, ticket.counter, ticket.called, ticket.wish = "CALLED", counter, [now], None

    def call_again(self, command: Recall, now: datetime) -> None:
        self.tickets[command.turn].called.append(now)

    def become(self, ticket: Ticket, state: str, now: datetime) -> None:
        ticket.state, ticket.gone_at, ticket.wish = state, now, None
        queue = self.sheets[ticket.line].queue
        if ticket in queue:
            queue.remove(ticket)

    def come_back(self, command: RequeueAbsent, now: datetime) -> None:
        ticket = self.tickets[command.turn]
        queue = self.sheets[ticket.line].queue
        new_here = [other for other in queue if other.kind == ticket.kind and not other.returns]
        queue.insert(queue.index(new_here[2]) if len(new_here) > 2 else len(queue), ticket)
        ticket.state, ticket.counter, ticket.returns = "WAITING", None, ticket.returns + 1

    def go_on(self, command: TransferTurn, now: datetime) -> None:
        """In the other line, before the first of its class who has waited less; a wish to be told goes along."""
        ticket = self.tickets[command.turn]
        wish = ticket.wish
        self.become(ticket, "TRANSFERRED", now)
        ticket.went_to = command.moved_to
        there = self.sheets[command.to]
        kind, ficha = ticket.kind, ticket.ficha
        if ficha and ficha.split("/")[0] != there.rules.hospital:
            kind, ficha = "NORMAL", None
        less = [other for other in there.queue if other.kind == kind and other.since > ticket.since]
        moved = Ticket(command.moved_to, command.to, kind, 0, ticket.person, ficha, ticket.since, wish=wish)
        moved.moved, moved.wishes = True, int(wish is not None)
        self._put(moved, before=less[0] if less else None)

    def wish(self, command: AskNotice, now: datetime) -> None:
        ticket = self.tickets[command.turn]
        ticket.wish, ticket.wishes = (command.ahead, command.minutes), ticket.wishes + 1

    def tell(self, command: GiveNotice, now: datetime) -> None:
        self.tickets[command.turn].wish = None

    def pause(self, command: PauseCounter, now: datetime) -> None:
        self.sheets[command.line].paused.add(command.counter)

    def resume(self, command: ResumeCounter, now: datetime) -> None:
        self.sheets[command.line].paused.discard(command.counter)

    def close(self, command: CloseLine, now: datetime) -> None:
        sheet = self.sheets[command.line]
        sheet.closed_at = now
        for ticket in list(sheet.queue):
            self.become(ticket, "UNSERVED", now)

    def took(self, command: Any, now: datetime) -> bool:
        return command.turn in self.tickets

    def is_known_check_in(self, command: CheckInToLine, now: datetime) -> bool:
        placed = command.turn in self.tickets or self.ficha_used(command.line, command.appointment) in HERE
        return command.appointment in self.came and placed

    def is_known_call(self, command: CallTurn, now: datetime) -> bool:
        ticket = self.tickets[command.turn]
        open_now = not list(self.shut(ticket.line, now))
        return open_now and (ticket.state, ticket.counter) == ("CALLED", command.counter)

    def is_known_return(self, command: RequeueAbsent, now: datetime) -> bool:
        ticket = self.tickets[command.turn]
        open_now = not list(self.shut(ticket.line, now))
        return open_now and ticket.state == "WAITING" and ticket.returns > 0

    def is_known_wish(self, command: AskNotice, now: datetime) -> bool:
        return self.tickets[command.turn].wish == (command.ahead, command.minutes)

    def is_known_pause(self, command: PauseCounter, now: datetime) -> bool:
        sheet = self.sheets[command.line]
        return sheet.closed_at is None and command.counter in sheet.paused

    def is_known_resume(self, command: ResumeCounter, now: datetime) -> bool:
        sheet = self.sheets[command.line]
        return sheet.closed_at is None and command.counter not in sheet.paused

    def is_known_notice(self, command: GiveNotice, now: datetime) -> bool:
        wish = self.tickets[command.turn].wish
        return wish is None or wish[1] is None


def _became(state: str) -> Callable[[Register, Any, datetime], None]:
    return lambda register, command, now: register.become(register.tickets[command.turn], state, now)


def _is(state: str) -> Callable[[Register, Any, datetime], bool]:
    return lambda register, command, _: register.tickets[command.turn].state == state


class Rule(NamedTuple):
    against: Callable[[Register, Any, datetime], Iterable[str]]
    accept: Callable[[Register, Any, datetime], None]
    known: Callable[[Register, Any, datetime], bool] = lambda *_: False


RULES: dict[type, Rule] = {
    TakeTurn: Rule(Register.against_taking, Register.take, Register.took),
    TakeTurnForAppointment: Rule(Register.against_ficha, Register.take_by_ficha, Register.took),
    CheckInToLine: Rule(Register.against_ficha, Register.take_by_ficha, Register.is_known_check_in),
    CallNext: Rule(Register.against_calling, Register.call_next),
    CallTurn: Rule(Register.against_calling_one, Register.call_one, Register.is_known_call),
    Recall: Rule(Register.against_recall, Register.call_again),
    StartService: Rule(Register.against_start, _became("SERVING"), _is("SERVING")),
    FinishService: Rule(Register.against_finish, _became("SERVED"), _is("SERVED")),
    MarkAbsent: Rule(Register.against_absent, _became("ABSENT"), _is("ABSENT")),
    LeaveLine: Rule(Register.against_leaving, _became("LEFT"), _is("LEFT")),
    RequeueAbsent: Rule(Register.against_return, Register.come_back, Register.is_known_return),
    TransferTurn: Rule(
        Register.against_transfer, Register.go_on, lambda r, c, _: r.tickets[c.turn].went_to == c.moved_to
    ),
    AskNotice: Rule(Register.against_asking, Register.wish, Register.is_known_wish),
    GiveNotice: Rule(Register.against_nothing, Register.tell, Register.is_known_notice),
    PauseCounter: Rule(Register.against_counters, Register.pause, Register.is_known_pause),
    ResumeCounter: Rule(Register.against_counters, Register.resume, Register.is_known_resume),
    CloseLine: Rule(Register.against_nothing, Register.close, lambda r, c, _: r.sheets[c.line].closed_at is not None),
}
