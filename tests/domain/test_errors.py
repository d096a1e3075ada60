"""Refusals are classes: code, fields and texts in one place, checked when the program starts."""

from datetime import UTC, datetime

import pytest

from domain.appointments.booking import SlotTaken
from domain.errors import HINTS, REFUSALS, Hint, InvalidInput, Rejected
from domain.identifiers import SlugHint
from domain.queues.calling import TurnElsewhere


class LampBroken(Rejected, es="La lámpara {lamp} falló el {at}.", en="Lamp {lamp} failed on {at}."):
    lamp: int
    at: datetime


class LampHint(Hint, es="una lámpara va de 1 a {limit}", en="a lamp is 1 to {limit}"):
    limit: int


del REFUSALS["lamp_broken"], HINTS["lamp"]  # clients never see them


def test_a_refusal_has_the_code_of_its_name_and_is_registered_under_it() -> None:
    assert LampBroken.code == "lamp_broken"
    assert REFUSALS["slot_taken"] is SlotTaken
    assert HINTS["slug"] is SlugHint
    assert REFUSALS["line_closed"].code == "line_closed"


def test_a_refusal_has_its_path_its_details_and_a_text_in_each_language() -> None:
    refusal = LampBroken(path="lamp", lamp=3, at=datetime(2027, 1, 15, 12, 30, tzinfo=UTC))
    assert refusal.path == "lamp"
    assert refusal.details == {"lamp": 3, "at": refusal.at}
    assert refusal.message("es") == "La lámpara 3 falló el 15/01/2027 08:30:00."
    assert refusal.message("en") == "Lamp 3 failed on 15/01/2027 08:30:00."


def test_a_wrong_input_says_what_a_right_one_looks_like() -> None:
    refusal = InvalidInput(path="lamp", hint=LampHint(limit=9))
    assert refusal.details == {"hint": "lamp", "limit": 9}
    assert refusal.message("en") == "Invalid value: a lamp is 1 to 9."
    assert InvalidInput(hint=SlugHint()).details == {"hint": "slug"}


def test_the_state_of_a_turn_is_said_in_words() -> None:
    refusal = TurnElsewhere(path="turn", number="A-017", state="SERVED")
    assert refusal.message("es") == "No se puede hacer eso con el turno A-017: ya fue atendido."
    assert refusal.message("en") == "That can't be done with turn A-017: it was served."
    assert refusal.details == {"number": "A-017", "state": "SERVED"}


def test_a_detail_that_is_missing_or_unknown_is_an_error() -> None:
    with pytest.raises(TypeError, match="lamp"):
        LampBroken(at=datetime(2027, 1, 15, tzinfo=UTC))  # type: ignore[call-arg]
    with pytest.raises(TypeError, match="lampe"):
        LampBroken(lampe=1, lamp=1, at=datetime(2027, 1, 15, tzinfo=UTC))  # type: ignore[call-arg]


def test_a_refusal_that_is_declared_wrongly_keeps_the_program_from_starting() -> None:
    with pytest.raises(TypeError, match="same code"):

        class _SlotAlreadyTaken(Rejected, code="slot_taken", es="a", en="b"): ...

    with pytest.raises(TypeError, match="_Dark has no field lamp, which its text in en names"):

        class _Dark(Rejected, es="Oscuro.", en="Lamp {lamp} is dark."): ...

    with pytest.raises(TypeError, match="_Bright has no text in es"):

        class _Bright(Rejected, es="", en="Bright."): ...

    with pytest.raises(TypeError, match="en"):

        class _Dim(Rejected, es="Tenue."): ...  # type: ignore[call-arg]

    assert not {"_dark", "_bright", "_dim"} & REFUSALS.keys()
