"""An agenda's free slots at a given time."""

from datetime import datetime

import pytest

from domain.appointments.agenda import Agenda, stream
from domain.appointments.availability import SlotState, free_count, numbers_in
from tests.office import AGENDA, ANA, EVA, LUIS, MOMENT, NOW, Office, at, book, cancel, given, hold, published

OPENS = at("07:00")


def agenda(office: Office) -> Agenda:
    state: Agenda = office.state(stream(AGENDA))
    return state


def numbers(state: Agenda, of: SlotState | None, now: datetime = NOW) -> list[int]:
    return [*numbers_in(state, of, now)]


# Six slots of 20 minutes from 8: the second held until 7:05, the fourth and the fifth booked.
MIXED = agenda(given(published(6)).after(hold(ANA, 2), book(LUIS, 4), book(EVA, 5, name="eva")))


@pytest.mark.parametrize(
    ("state", "there"),
    [
        (None, [1, 2, 3, 4, 5, 6]),
        ("FREE", [1, 3, 6]),
        ("HELD", [2]),
        ("BOOKED", [4, 5]),
        ("PAST", []),
        ("NOT_RELEASED", []),
    ],
)
def test_slots_in_a_state_come_in_order(state: SlotState | None, there: list[int]) -> None:
    assert numbers(MIXED, state) == there


def test_an_expired_hold_leaves_its_slot_free() -> None:
    assert (numbers(MIXED, "HELD", at("07:05") - MOMENT), free_count(MIXED, at("07:05") - MOMENT)) == ([2], 3)
    assert (numbers(MIXED, "HELD", at("07:05")), free_count(MIXED, at("07:05"))) == ([], 4)


def test_a_slot_that_has_begun_is_past_unless_it_is_booked() -> None:
    now = at("09:00")  # the fourth begins
    assert numbers(MIXED, "PAST", now) == [1, 2, 3]
    assert numbers(MIXED, "BOOKED", now) == [4, 5]
    assert (numbers(MIXED, "FREE", now), free_count(MIXED, now)) == ([6], 1)
    assert free_count(MIXED, at("10:00")) == 0


def test_a_cancelled_slot_is_free_again() -> None:
    assert numbers(agenda(given(published(2)).after(book(ANA, 1), cancel())), "FREE") == [1, 2]


def test_no_slot_is_free_before_the_release() -> None:
    state = agenda(given(published(2, release_at=OPENS)))
    before = OPENS - MOMENT
    assert (numbers(state, "FREE", before), numbers(state, "NOT_RELEASED", before)) == ([], [1, 2])
    assert free_count(state, before) == 0
    assert (numbers(state, "FREE", OPENS), numbers(state, "NOT_RELEASED", OPENS)) == ([1, 2], [])
    assert free_count(state, OPENS) == 2


def test_an_unpublished_agenda_has_no_free_slots() -> None:
    assert numbers(Agenda(), None) == numbers(Agenda(), "FREE") == numbers(Agenda(), "NOT_RELEASED") == []
    assert free_count(Agenda(), NOW) == 0
