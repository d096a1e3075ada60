"""Dates and instants in words, as messages show them."""

from datetime import UTC, date, datetime

import pytest

from domain.calendar import in_words


@pytest.mark.parametrize(
    ("moment", "spanish", "english"),
    [
        (datetime(2026, 12, 1, 12, 40, tzinfo=UTC), "martes 1 de diciembre, 08:40", "Tuesday 1 December, 08:40"),
        (datetime(2026, 12, 2, 2, 0, tzinfo=UTC), "martes 1 de diciembre, 22:00", "Tuesday 1 December, 22:00"),
        (datetime(2027, 1, 2, 12, 5, 9, 500, UTC), "sábado 2 de enero, 08:05:09", "Saturday 2 January, 08:05:09"),
        (date(2026, 12, 1), "martes 1 de diciembre de 2026", "Tuesday 1 December 2026"),
        (date(2027, 8, 4), "miércoles 4 de agosto de 2027", "Wednesday 4 August 2027"),
    ],
)
def test_a_time_is_written_in_words_in_la_paz_time(moment: date, spanish: str, english: str) -> None:
    assert in_words(moment, "es") == spanish
    assert in_words(moment, "en") == english


def test_the_first_instant_of_the_calendar_has_no_earlier_local_time() -> None:
    assert in_words(datetime.min.replace(tzinfo=UTC), "en") == "Monday 1 January, 00:00"
