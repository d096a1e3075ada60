"""The city's calendar: instants are UTC, days are those of La Paz."""

from contextlib import suppress
from datetime import date, datetime
from typing import Literal
from zoneinfo import ZoneInfo

TIME_ZONE = ZoneInfo("America/La_Paz")
WEEKDAYS = {
    "es": ("lunes", "martes", "miércoles", "jueves", "viernes", "sábado", "domingo"),
    "en": ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"),
}
MONTHS = {
    "es": ("enero", "febrero", "marzo", "abril", "mayo", "junio", "julio", "agosto", "septiembre", "octubre",
           "noviembre", "diciembre"),
    "en": ("January", "February", "March", "April", "May", "June", "July", "August", "September", "October",
           "November", "December"),
}  # fmt: skip
OF = {"es": " de ", "en": " "}


def local_date(instant: datetime) -> date:
    """The date in La Paz of an aware instant. At the very ends of the calendar, the date in its own time zone."""
    try:
        return instant.astimezone(TIME_ZONE).date()
    except OverflowError:
        return instant.date()


def in_words(moment: date | datetime, language: Literal["es", "en"]) -> str:
    """A date with its year, or an aware instant in the time of La Paz, for people to read.

    "Tuesday 1 December 2026" and "Tuesday 1 December, 08:40"; in Spanish "martes 1 de diciembre de 2026" and
    "martes 1 de diciembre, 08:40". An instant has no year because it is near the present.
    Seconds are shown if there are any.
    """
    if not isinstance(moment, datetime):
        return f"{_day(moment, language)}{OF[language]}{moment.year}"
    with suppress(OverflowError):  # at the very ends of the calendar
        moment = moment.astimezone(TIME_ZONE)
    return f"{_day(moment, language)}, {moment:%H:%M:%S}".removesuffix(":00")


def _day(day: date, language: Literal["es", "en"]) -> str:
    return f"{WEEKDAYS[language][day.weekday()]} {day.day}{OF[language]}{MONTHS[language][day.month - 1]}"
