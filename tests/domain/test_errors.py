"""Refusals are classes: code, fields and texts in one place, checked when the program starts."""

from datetime import UTC, datetime
from typing import Any, get_args

import pytest

from api.contexts import load_domain
from domain.appointments.agenda import Channel
from domain.appointments.booking import CHANNEL_WORDS, QuotaExhausted, SlotTaken
from domain.errors import HINTS, REFUSALS, Hint, InvalidInput, LengthHint, NumberHint, Rejected
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
    assert refusal.message("es") == "La lámpara 3 falló el viernes 15 de enero, 08:30."
    assert refusal.message("en") == "Lamp 3 failed on Friday 15 January, 08:30."


def test_an_invalid_input_hints_at_a_valid_one() -> None:
    refusal = InvalidInput(path="lamp", hint=LampHint(limit=9))
    assert refusal.details == {"hint": "lamp", "limit": 9}
    assert refusal.message("en") == "Invalid value: a lamp is 1 to 9."
    assert InvalidInput(hint=SlugHint()).details == {"hint": "slug"}


def test_a_turn_s_state_is_written_in_words() -> None:
    refusal = TurnElsewhere(path="turn", number="A-017", state="SERVED")
    assert refusal.message("es") == "No se puede hacer eso con el turno A-017: ya fue atendido."
    assert refusal.message("en") == "That can't be done with turn A-017: it was served."
    assert refusal.details == {"number": "A-017", "state": "SERVED"}


def test_bounds_and_channels_are_written_in_words() -> None:
    assert InvalidInput(hint=LengthHint(bound="<= 120")).message("es") == (
        "Dato no válido: debe tener como máximo 120 caracteres o elementos."
    )
    assert InvalidInput(hint=NumberHint(bound=">= 1")).message("en") == "Invalid value: the number must be at least 1."
    assert InvalidInput(hint=NumberHint(bound="3")).message("es") == "Dato no válido: el número debe ser 3."
    assert NumberHint(bound=">= 1").bound == ">= 1"
    refusal = QuotaExhausted(channel="PHONE", limit=4)
    assert refusal.message("es") == "Se agotó el cupo de 4 fichas por teléfono."
    assert refusal.message("en") == "The quota of 4 appointments by telephone is used up."
    assert refusal.details == {"channel": "PHONE", "limit": 4}
    assert set(CHANNEL_WORDS) == set(get_args(Channel))


def test_refusals_write_times_in_words_in_la_paz_time() -> None:
    at = datetime(2026, 12, 1, 12, 40, tzinfo=UTC)
    load_domain()
    for refusal in REFUSALS.values():
        if "at" in refusal.field_names:
            others: dict[str, Any] = {name: "CALLED" for name in refusal.field_names if name != "at"}
            made = refusal(**{"at": at, **others})
            assert "martes 1 de diciembre, 08:40" in made.message("es"), refusal
            assert "Tuesday 1 December, 08:40" in made.message("en"), refusal


def test_a_missing_or_unknown_detail_is_an_error() -> None:
    with pytest.raises(TypeError, match="lamp"):
        LampBroken(at=datetime(2027, 1, 15, tzinfo=UTC))  # type: ignore[call-arg]
    with pytest.raises(TypeError, match="lampe"):
        LampBroken(lampe=1, lamp=1, at=datetime(2027, 1, 15, tzinfo=UTC))  # type: ignore[call-arg]


def test_a_wrongly_declared_refusal_fails_at_import() -> None:
    with pytest.raises(TypeError, match="same code"):

        class _SlotAlreadyTaken(Rejected, code="slot_taken", es="a", en="b"): ...

    with pytest.raises(TypeError, match="_Dark has no field lamp, which its text in en names"):

        class _Dark(Rejected, es="Oscuro.", en="Lamp {lamp} is dark."): ...

    with pytest.raises(TypeError, match="_Bright has no text in es"):

        class _Bright(Rejected, es="", en="Bright."): ...

    with pytest.raises(TypeError, match="en"):

        class _Dim(Rejected, es="Tenue."): ...  # type: ignore[call-arg]

    assert not {"_dark", "_bright", "_dim"} & REFUSALS.keys()
