"""What queries of read models share: how fresh the answer is, and checks of their arguments."""

from datetime import date as Date
from datetime import timedelta

from api.graphql.fields import Info, refuse
from domain.calendar import local_date
from domain.errors import Hint

BEHIND = (
    " `extensions.freshness` says how far the answer is behind the log. With `atLeast`, the query waits at most a few"
    " seconds until the answer includes that position."
)


class DaysHint(
    Hint,
    es="el período debe ir de una fecha a otra igual o posterior, con {limit} días como máximo",
    en="a period must go from one date to the same or a later one, with at most {limit} days",
):
    limit: int


def period(first: Date | None, last: Date | None, info: Info, *, days: int, days_max: int) -> tuple[Date, Date]:
    """The first and the last day of a query: by default from today on and `days` long.

    Raises a GraphQLError if that is more than `days_max` days.
    """
    begin = first or local_date(info.context.services.now())
    try:
        end = last or begin + timedelta(days=days - 1)
    except OverflowError:
        end = Date.max
    if not 0 <= (end - begin).days < days_max:
        refuse(info, "to", DaysHint(limit=days_max))
    return begin, end
