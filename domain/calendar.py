"""The city's calendar: instants are UTC, days are those of La Paz."""

from datetime import date, datetime
from zoneinfo import ZoneInfo

TIME_ZONE = ZoneInfo("America/La_Paz")


def local_date(instant: datetime) -> date:
    """The date in La Paz of an aware instant. At the very ends of the calendar, the date in its own time zone."""
    try:
        return instant.astimezone(TIME_ZONE).date()
    except OverflowError:
        return instant.date()
