"""Days on which the city does not work: Saturdays, Sundays, and the holidays that a norm names."""

from collections.abc import Collection
from datetime import date, datetime, timedelta
from typing import Annotated

from msgspec import Meta

from domain.decider import Command, Decided, Event, State, evolves, names_stream_of
from domain.decision import decides
from domain.errors import Hint, InvalidInput
from domain.identifiers import NAME

DAYS_MAX = 60
SATURDAY = 5


class HolidaysPublished(Event, name="holidays_published.v1"):
    """The holidays of a calendar year. A later event replaces all of them."""

    year: int
    norm: str
    days: list[date]


class Holidays(State):
    published: HolidaysPublished | None = None


@names_stream_of(Holidays)
def stream(year: int) -> str:
    return f"holidays/{year}"


@evolves("holidays", Holidays)
def evolve(holidays: Holidays, event: Event) -> Holidays:
    match event:
        case HolidaysPublished():
            holidays.published = event
    return holidays


class HolidaysHint(
    Hint,
    es="los feriados deben ser días distintos del año calendario {year}",
    en="holidays must be different days of the calendar year {year}",
):
    year: int


class PublishHolidays(Command):
    year: Annotated[int, Meta(ge=1990, le=2200)]
    norm: Annotated[str, NAME]
    days: Annotated[list[date], Meta(max_length=DAYS_MAX)]


@decides(PublishHolidays, reads=lambda c: (stream(c.year),))
def publish_holidays(command: PublishHolidays, holidays: Holidays, *, now: datetime) -> Decided:
    if len(set(command.days)) < len(command.days) or any(day.year != command.year for day in command.days):
        raise InvalidInput(path="days", hint=HolidaysHint(year=command.year))
    published = HolidaysPublished(year=command.year, norm=command.norm, days=sorted(command.days))
    if holidays.published != published:
        yield stream(command.year), published


def next_working_day(day: date, holidays: Collection[date]) -> date:
    """The day itself if it is worked, else the next one that is (Ley 2492 art. 4)."""
    while day.weekday() >= SATURDAY or day in holidays:
        day += timedelta(days=1)
    return day
