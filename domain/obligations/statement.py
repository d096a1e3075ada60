"""A statement of account: what somebody owes in all on a day, by fiscal year and by object."""

from collections.abc import Iterable

from domain.decider import Value
from domain.errors import Rejected
from domain.identifiers import TaxableObjectId
from domain.money import Money
from domain.obligations.debt import Debt

OBLIGATIONS_MAX = 100
NOTHING = Money(centavos=0)


class StatementTooLong(
    Rejected,
    es="El estado de cuenta tendría más de {limit} obligaciones: pídalas por páginas con `obligations`.",
    en="The statement would have more than {limit} obligations: ask for them in pages with `obligations`.",
):
    limit: int


class Owed(Value):
    """What is owed for an object and a fiscal year."""

    object: TaxableObjectId
    year: int
    debt: Debt


class Statement(Value):
    """`owed` is the sum of all, `overdue` of those whose due date has passed; by year and by object in their order."""

    owed: Money
    overdue: Money
    by_year: dict[int, Money]
    by_object: dict[TaxableObjectId, Money]


def statement(each: Iterable[Owed]) -> Statement:
    """The sums of the rounded amounts, so that they are what one pays for all of them."""
    owed = overdue = NOTHING
    by_year: dict[int, Money] = {}
    by_object: dict[TaxableObjectId, Money] = {}
    for one in sorted(each, key=lambda owed: (owed.year, owed.object)):
        amount = one.debt.amount
        owed += amount
        overdue += amount if one.debt.as_of > one.debt.due else NOTHING
        by_year[one.year] = by_year.get(one.year, NOTHING) + amount
        by_object[one.object] = by_object.get(one.object, NOTHING) + amount
    return Statement(owed=owed, overdue=overdue, by_year=by_year, by_object=dict(sorted(by_object.items())))
