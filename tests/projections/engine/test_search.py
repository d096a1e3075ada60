"""Texts for search: without accents and case."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from projections.engine.search import search_words, simplified


@pytest.mark.parametrize(
    ("text", "plain"),
    [
        ("Pediatría", "pediatria"),
        ("  Hospital   de la MUJER ", "hospital de la mujer"),
        ("Ñuflo de Chávez", "nuflo de chavez"),
        ("n\u0303andu\u0301", "nandu"),  # accents as characters of their own
        ("Straße", "strasse"),
        ("", ""),
        ("\u0301", ""),
    ],
)
def test_accents_case_and_repeated_blanks_are_ignored(text: str, plain: str) -> None:
    assert simplified(text) == plain


@given(st.text())
def test_a_simplified_text_stays_as_it_is(text: str) -> None:
    assert simplified(simplified(text)) == simplified(text)


def test_words_are_looked_for_once() -> None:
    assert search_words("La MERCED la mercéd") == ["la", "merced"]
    assert search_words(" \t") == []
