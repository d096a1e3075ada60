"""The domain as a model: it explains sequential histories however wide their calls, and rejects falsified ones."""

from collections.abc import Callable, Hashable
from datetime import datetime, timedelta
from typing import Any

import msgspec
from hypothesis import assume, event, given, settings
from hypothesis import strategies as st

from bench.decisions import Decisions, judge
from bench.history import Accepted, Answer, Operation, Refused, Verdict
from domain.appointments.agenda import SlotHeld, stream
from domain.appointments.booking import BookAppointment
from domain.appointments.holding import HoldSlot
from domain.decider import Command, Event, fold, fold_of
from domain.decision import decide
from domain.errors import Rejected
from tests.examples import examples
from tests.office import (
    ANA,
    EVA,
    LUIS,
    NOW,
    appointment,
    book,
    cancel,
    check_in,
    hold,
    mark_no_show,
    opaque,
    published,
    states_read,
)

SECOND_NS = 1_000_000_000
SLOTS = 3
AGENDA = published(SLOTS, first="07:30")

BECOMES: dict[str, Callable[..., Command]] = {"c": cancel, "i": check_in, "n": mark_no_show}

letters = "abcdefghijklmnopqrstuvwxyz"


def judged(history: list[Operation]) -> Verdict:
    name = stream(AGENDA.agenda)
    return judge(history, Decisions(NOW, 0, states={name: fold(name, [AGENDA])}))


class OneClient:
    """Sends one request after another; the answers are those of its own log."""

    def __init__(self) -> None:
        self.events: list[tuple[str, Event]] = [(stream(AGENDA.agenda), AGENDA)]
        self.states: dict[str, Any] = {name: fold(name, [said]) for name, said in self.events}
        self.keys: dict[str, tuple[Hashable, Accepted, Command]] = {}
        self.history: list[Operation] = []

    def asks(self, command: Command, at_s: float, *, key: str = "", content: Hashable = None) -> Operation:
        """One operation, called and answered at the same moment, `at_s` seconds after NOW."""
        content = str(command) if content is None else content
        answer, command = self._answer(command, key, content, NOW + timedelta(seconds=at_s))
        at_ns = round(at_s * SECOND_NS)
        operation = Operation(
            number=len(self.history), command=command, called=at_ns, returned=at_ns, answer=answer, key=key,
            content=content,
        )  # fmt: skip
        self.history.append(operation)
        return operation

    def _answer(self, command: Command, key: str, content: Hashable, now: datetime) -> tuple[Answer, Command]:
        if key in self.keys:
            known, answer, same = self.keys[key]
            return (answer, same) if known == content else (Refused("idempotency_key_reused"), command)
        try:
            recorded = decide(command, states_read(command, lambda name: self.states.get(name) or fold(name, ())), now)
        except Rejected as refusal:
            return Refused(refusal.code), command
        for name, said in recorded:
            state = self.states[name] if name in self.states else fold(name, ())
            self.states[name] = fold_of(name).evolve(state, said)
        self.events += recorded
        told: dict[str, Any] = {"slot": command.slot} if isinstance(command, BookAppointment) else {}
        for _, one in recorded:
            if isinstance(one, SlotHeld):
                told["held_until"] = one.held_until
        answer = Accepted(len(self.events), told)
        if key:
            self.keys[key] = (content, answer, command)
        return answer, command


@st.composite
def runs(draw: st.DrawFn, *, kinds: str = "bbbhhcin", slots: int = SLOTS) -> list[Operation]:
    """One client's history: three patients on some slots, repeated keys, holds that expire."""
    client, at_s = OneClient(), 0.0
    for number in range(draw(st.integers(2, 14))):
        at_s += draw(st.sampled_from([0.001, 0.4, 1.0, 1_200]))
        kind, slot = draw(st.sampled_from(kinds)), draw(st.integers(1, slots))
        patient, name = draw(st.sampled_from([ANA, LUIS, EVA])), letters[number]
        command: Command = book(patient, slot, agenda=AGENDA.agenda, name=name)
        if kind == "h":
            command = hold(patient, slot, agenda=AGENDA.agenda, name=name, hold_s=draw(st.sampled_from([1, 2, 600])))
        if kind in BECOMES:
            command = BECOMES[kind](draw(st.sampled_from(letters[: number + 1])), agenda=AGENDA.agenda)
        key = draw(st.sampled_from(["", "", name, "k"]))
        client.asks(command, at_s, key=key, content=str(command) if kind in BECOMES else f"{kind} {slot} {patient}")
    return client.history


@st.composite
def widened(draw: st.DrawFn, *, lost: bool = True, slots: int = SLOTS) -> list[Operation]:
    """Such a history as if from many clients: calls begin earlier and end later, and some are never answered."""
    history = []
    for operation in draw(runs(slots=slots)):
        assert operation.returned is not None
        longer = msgspec.structs.replace(
            operation,
            called=operation.called - draw(st.integers(0, 2 * SECOND_NS)),
            returned=operation.returned + draw(st.integers(0, 2 * SECOND_NS)),
        )
        if lost and draw(st.integers(0, 4)) == 0 and not isinstance(longer.command, HoldSlot):
            longer = msgspec.structs.replace(longer, returned=None, answer=None)
        history.append(longer)
    return history


def said_of(history: list[Operation]) -> str:
    return "\n".join(f"{one.called / SECOND_NS:.3f}–{(one.returned or 0) / SECOND_NS:.3f} {one}" for one in history)


@settings(max_examples=examples(150), deadline=None)
@given(widened())
def test_a_sequential_history_is_accepted_however_wide_the_calls(history: list[Operation]) -> None:
    verdict = judged(history)
    assert verdict.kind == "accepted", said_of(history) + "\n" + "\n".join(verdict.reasons)
    fields = {operation.number for operation in history if operation.answer}
    assert fields <= set(verdict.order)
    for operation in history:
        event(type(operation.answer).__name__)


@settings(max_examples=examples(60), deadline=None)
@given(runs(kinds="b"), st.integers(0, 2 * SECOND_NS))
def test_a_slot_booked_twice_is_rejected(history: list[Operation], wide: int) -> None:
    booked = [one for one in history if isinstance(one.answer, Accepted) and isinstance(one.command, BookAppointment)]
    assume(booked)
    slot, now = booked[0].command.slot, history[-1].returned
    assert now is not None
    twice = Operation(
        number=99,
        command=book(opaque("rosa"), slot, agenda=AGENDA.agenda, name="twice"),
        called=booked[0].called - wide,
        returned=now + wide,
        answer=Accepted(1_000, {"slot": slot}),
    )
    verdict = judged([*history, twice])
    assert verdict.kind == "rejected"
    (reason,) = [reason for reason in verdict.reasons if reason.startswith("#99")]
    assert "refuses it with slot_taken, since #" in reason


@settings(max_examples=examples(60), deadline=None)
@given(widened(lost=False), st.data())
def test_swapped_answers_are_rejected(history: list[Operation], data: st.DataObject) -> None:
    booked = [one for one in history if isinstance(one.command, BookAppointment) and isinstance(one.answer, Accepted)]
    pairs = [(one, other) for one in booked for other in booked if one.command.slot != other.command.slot]
    assume(pairs)
    one, other = data.draw(st.sampled_from(pairs))
    answers = {one.number: other.answer, other.number: one.answer}
    swapped = [msgspec.structs.replace(o, answer=answers.get(o.number, o.answer)) for o in history]
    assert judged(swapped).kind == "rejected"


@settings(max_examples=examples(60), deadline=None)
@given(runs(kinds="bh"), st.data())
def test_positions_that_contradict_time_are_rejected(history: list[Operation], data: st.DataObject) -> None:
    places: dict[int, Operation] = {}
    for operation in history:
        if isinstance(operation.answer, Accepted) and operation.answer.position:
            places.setdefault(operation.answer.position, operation)
    assume(len(places) > 1)
    one, other = data.draw(st.permutations(sorted(places)))[:2]
    moved = {one: other, other: one}
    turned = [
        msgspec.structs.replace(o, answer=Accepted(moved.get(o.answer.position, o.answer.position), o.answer.details))
        if isinstance(o.answer, Accepted) and o.answer.position
        else o
        for o in history
    ]
    assert judged(turned).kind == "rejected"


@settings(max_examples=examples(60), deadline=None)
@given(widened(slots=SLOTS - 1), st.integers(0, 20), st.integers(0, SECOND_NS))
def test_a_refusal_of_a_free_slot_is_rejected(history: list[Operation], at_s: int, wide: int) -> None:
    refused = Operation(
        number=99,
        command=book(opaque("rosa"), SLOTS, agenda=AGENDA.agenda, name="never"),
        called=at_s * SECOND_NS,
        returned=at_s * SECOND_NS + wide,
        answer=Refused("slot_taken"),
    )
    verdict = judged([*history, refused])
    assert verdict.kind == "rejected"
    assert any("refused with slot_taken: one client alone accepts it" in reason for reason in verdict.reasons)


def test_the_answer_s_id_must_be_that_of_the_event() -> None:
    client = OneClient()
    asked = client.asks(book(ANA, 1, agenda=AGENDA.agenda), 0)
    other = msgspec.structs.replace(asked, answer=Accepted(3, {"appointment": appointment("other", AGENDA.agenda)}))
    assert judged([asked]).kind == "accepted"
    assert judged([other]).reasons == [
        f"{other}: one client alone records something else, and never otherwise until here"
    ]


def test_a_hold_that_ended_during_the_call_explains_both_answers() -> None:
    client = OneClient()
    held = client.asks(hold(ANA, 1, agenda=AGENDA.agenda, hold_s=2), 0)
    wide = {"called": SECOND_NS, "returned": 3 * SECOND_NS}
    booked = msgspec.structs.replace(client.asks(book(LUIS, 1, agenda=AGENDA.agenda), 2), **wide)
    assert judged([held, booked]).kind == "accepted"
    refused = msgspec.structs.replace(booked, answer=Refused("slot_taken"))
    assert judged([held, refused]).kind == "accepted"
    early = msgspec.structs.replace(booked, returned=2 * SECOND_NS - 2_000)
    assert judged([held, early]).kind == "rejected"
    late = msgspec.structs.replace(refused, called=2 * SECOND_NS)
    assert judged([held, late]).kind == "rejected"


def test_a_refusal_without_a_decision_is_always_accepted() -> None:
    client = OneClient()
    asked = client.asks(book(ANA, 1, agenda=AGENDA.agenda), 0)
    assert judged([msgspec.structs.replace(asked, answer=Refused("overloaded"))]).kind == "accepted"
    assert judged([msgspec.structs.replace(asked, answer=Refused("slot_taken"))]).kind == "rejected"


def test_an_unanswered_hold_leaves_the_history_undecided() -> None:
    client = OneClient()
    lost = msgspec.structs.replace(client.asks(hold(ANA, 1, agenda=AGENDA.agenda, hold_s=2), 1), called=-SECOND_NS)
    lost = msgspec.structs.replace(lost, returned=None, answer=None)
    refused = client.asks(book(LUIS, 1, agenda=AGENDA.agenda), 2.5)
    verdict = judged([lost, refused])
    assert verdict.kind == "undecided"
    assert "it is not known when this was decided" in verdict.reasons[-1]


def test_a_repeated_hold_reveals_its_decision_time() -> None:
    client = OneClient()
    held = client.asks(hold(ANA, 1, agenda=AGENDA.agenda, hold_s=2), 1, key="k")
    refused = client.asks(book(LUIS, 1, agenda=AGENDA.agenda), 2.5)
    again = client.asks(hold(ANA, 1, agenda=AGENDA.agenda, hold_s=2), 5, key="k")
    lost = msgspec.structs.replace(held, called=-SECOND_NS, returned=None, answer=None)
    assert judged([lost, refused, again]).order == [0, 1, 2]
    late = msgspec.structs.replace(refused, called=4 * SECOND_NS, returned=4 * SECOND_NS)
    assert judged([lost, late, again]).kind == "rejected"  # it had ended
