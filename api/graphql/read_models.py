"""What queries of read models have in common: how fresh the answer is, and the forms of their arguments."""

from datetime import date as Date
from datetime import timedelta

from api.graphql.fields import Info, refuse
from domain.calendar import local_date
from domain.errors import Hint
from domain.identifiers import SLUG, SlugHint, fits

BEHIND = (
    " How far behind the log the answer is stands in `extensions.freshness`; with `atLeast` it waits, a few seconds at"
    " most, until what stands at that position is in it."
)


class DaysHint(
    Hint,
    es="el período va de una fecha a otra posterior o igual, {limit} días a lo más",
    en="a period goes from one date to the same or a later one, {limit} days at most",
):
    limit: int


def period(first: Date | None, last: Date | None, info: Info, *, days: int, days_max: int) -> tuple[Date, Date]:
    """The first and the last day of a query: from today on and `days` long if it does not say otherwise.

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


def code(value: str | None, path: str, info: Info) -> str | None:
    """A code, if the query has one. Raises a GraphQLError if it is not of the form of a code."""
    if value is not None and not fits(SLUG, value):
        refuse(info, path, SlugHint())
    return value
