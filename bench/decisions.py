"""The domain executed by a single client: the model for checking histories of concurrent clients.

A decision's `now` lies within its call, on clocks that agree with ours to within `slack`. It need not be the moment
at which the operation takes its place in the order, because a committer decides first and appends later. Within a call,
the model tries each moment at which a decision on an agenda or a patient can change: a release, a start, the end of a
hold or a visit, midnight in La Paz. The `held_until` of an answered hold gives the time of its decision. That of an
unanswered hold is unknown: if `judge` can't explain a history with such a hold, it stays undecided. Repeating the
request under its key resolves that.

Not covered: refusals of the API before a decision, such as for an unknown person.
"""

from collections.abc import Hashable, Iterable, Iterator, Mapping
from datetime import datetime, timedelta
from typing import Any

import msgspec

from bench.history import STEPS_MAX, Accepted, Operation, Refused, Step, Verdict, check
from domain.appointments.agenda import Agenda
from domain.appointments.holding import HoldSlot
from domain.appointments.patient import Patient
from domain.calendar import TIME_ZONE
from domain.decider import Command, Event, Recorded, StreamName, copied, fold, fold_of
from domain.decision import DECISIONS, decide
from domain.errors import Rejected

# Refusals without a decision. They claim only that nothing happened.
UNDECIDED = frozenset({"overloaded"})
MICROSECOND = timedelta(microseconds=1)

_encode = msgspec.json.encode


class Town(msgspec.Struct, frozen=True):
    """The states of streams, a number for each stream that identifies its events, and the contents of accepted keys."""

    states: Mapping[StreamName, Any] = {}
    trails: Mapping[StreamName, int] = {}
    keys: Mapping[str, Hashable] = {}


class Decisions:
    """A `bench.history.Model` of all decisions in `domain`, with idempotency keys.

    `began` is the time of the stamp `began_ns`. `states` are those before the history; other streams are empty.
    """

    def __init__(
        self,
        began: datetime,
        began_ns: int,
        *,
        states: Mapping[StreamName, Any] | None = None,
        slack: timedelta = timedelta(0),
    ) -> None:
        self._began = began
        self._began_ns = began_ns
        self._slack = slack
        self._states = dict(states or {})
        self._trails: dict[tuple[int, bytes], int] = {}

    def initial(self) -> Town:
        return Town(states=self._states)

    def fingerprint(self, state: Town) -> Hashable:
        return frozenset(state.trails.items()), frozenset(state.keys.items())

    def step(self, state: Town, operation: Operation) -> list[Step[Town]] | str:
        answer = operation.answer
        if answer in [Refused(code) for code in UNDECIDED]:
            return [Step(state)]
        if operation.key in state.keys:
            return self._known(state, operation)
        found = self._read(state, operation.command)
        steps: list[Step[Town]] = []
        instead = set()
        for now in self._moments(operation, found.values()):
            try:
                recorded = decide(operation.command, found, now)
            except Rejected as refusal:
                if answer == Refused(refusal.code):
                    return [Step(state)]
                instead.add(f"refuses it with {refusal.code}")
                continue
            if isinstance(answer, Refused) or not _matches(answer, recorded):
                instead.add("accepts it" if isinstance(answer, Refused) else "records something else")
            else:
                steps.append(Step(self._after(state, operation, found, recorded), written=len(recorded)))
        return steps or f"one client alone {' or '.join(sorted(instead))}"

    def _known(self, state: Town, operation: Operation) -> list[Step[Town]] | str:
        same = state.keys[operation.key] == operation.content
        match operation.answer:
            case Accepted() if not same:
                return "its key has another content already"
            case Refused(code=code) if same or code != "idempotency_key_reused":
                return f"its key is accepted already, {'with this' if same else 'with another'} content"
        return [Step(state, repeated=True)]

    def _read(self, state: Town, command: Command) -> dict[StreamName, Any]:
        names = DECISIONS[type(command)].streams(command, state.states)
        return {name: state.states[name] if name in state.states else fold(name, ()) for name in names}

    def _after(
        self, state: Town, operation: Operation, found: Mapping[StreamName, Any], recorded: list[Recorded]
    ) -> Town:
        written = {name: copied(found[name]) for name, _ in recorded}
        trails = dict(state.trails)
        for name, event in recorded:
            written[name] = fold_of(name).evolve(written[name], event)
            trails[name] = self._trail(trails.get(name, 0), event)
        keys = {**state.keys, operation.key: operation.content} if operation.key else state.keys
        return Town(states={**state.states, **written}, trails=trails, keys=keys)

    def _trail(self, before: int, event: Event) -> int:
        """A number for these events followed by this one: equal for equal events, different for others."""
        content = event.event_name.encode() + _encode(event)
        return self._trails.setdefault((before, content), len(self._trails) + 1)

    def _moments(self, operation: Operation, states: Iterable[Any]) -> list[datetime]:
        """Moments within the call, in order, at least one from each period with the same decision."""
        begin = self._time(operation.called) - self._slack
        end = None if operation.returned is None else self._time(operation.returned) + MICROSECOND + self._slack
        turns = {turn for state in states for turn in _turning_points(state, operation.command)}
        turns |= set(_decision_times(operation)) | {_midnight_after(begin)}
        return [begin, *sorted(turn for turn in turns if begin < turn and (end is None or turn <= end))]

    def _time(self, stamp: int) -> datetime:
        return self._began + timedelta(microseconds=(stamp - self._began_ns) // 1_000)


def judge(history: Iterable[Operation], model: Decisions, *, steps_max: int = STEPS_MAX) -> Verdict:
    """Check whether the domain explains a history of its commands."""
    history = list(history)
    verdict = check(model, history, steps_max=steps_max)
    answered = {(one.key, one.content) for one in history if one.key and isinstance(one.answer, Accepted)}
    holds = [one for one in history if one.answer is None and isinstance(one.command, HoldSlot)]
    lost = [one for one in holds if (one.key, one.content) not in answered]
    if verdict.kind == "rejected" and lost:
        reasons = [*verdict.reasons, f"it is not known when this was decided, if it was: {lost[0]}"]
        return msgspec.structs.replace(verdict, kind="undecided", reasons=reasons)
    return verdict


def _matches(answer: Accepted | Refused | None, recorded: list[Recorded]) -> bool:
    """Whether everything in the answer is in the events, by field names. No events: only an empty answer matches."""
    if not isinstance(answer, Accepted) or not recorded:
        return True
    return all(
        any(getattr(event, name, None) == value for _, event in recorded) for name, value in answer.details.items()
    )


def _turning_points(state: Any, command: Command) -> Iterator[datetime]:
    """Moments at which a decision on this state can change."""
    match state:
        case Agenda():
            if state.published and state.published.release_at:
                yield state.published.release_at
            booked = state.appointments.get(getattr(command, "appointment", ""))
            number = booked.slot if booked else getattr(command, "slot", 0)
            if slot := state.slots.get(number):
                yield slot.start
            if hold := state.holds.get(number):
                yield hold.held_until
        case Patient():
            yield from (hold.held_until for hold in state.holds.values())
            yield from (visit.end for visit in state.visits.values())


def _decision_times(operation: Operation) -> Iterator[datetime]:
    """The time of the decision, if the answer reveals it."""
    if isinstance(operation.command, HoldSlot) and isinstance(operation.answer, Accepted):
        held_until = operation.answer.details.get("held_until")
        if held_until:
            yield held_until - timedelta(seconds=operation.command.hold_s)


def _midnight_after(moment: datetime) -> datetime:
    local = moment.astimezone(TIME_ZONE)
    return (local + timedelta(days=1)).replace(hour=0, minute=0, second=0, microsecond=0)
