"""The city's calendar: instants are UTC, days are those of La Paz."""

from datetime import date, datetime
from zoneinfo import ZoneInfo

TIME_ZONE = ZoneInfo("America/La_Paz")


def local_date(instant: datetime) -> date:
    """The day in La Paz on which an aware instant falls; of instants at the very ends of the calendar, their own."""
    try:
        return instant.astimezone(TIME_ZONE).date()
    except OverflowError:
        return instant.date()
