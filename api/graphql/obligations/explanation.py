"""A debt in the schema, with each step of its calculation: a reader with a calculator gets the same amount."""

from datetime import date as Date
from decimal import Decimal

import strawberry

from api.graphql.fields import Info
from api.graphql.obligations.amnesties import Amnesty, amnesty_to_graphql
from api.graphql.obligations.figures import (
    InterestRates,
    UfvQuote,
    percent,
    quote_to_graphql,
    rates_to_graphql,
)
from api.graphql.obligations.tax_years import TaxYear, tax_year_to_graphql
from api.graphql.scalars import DecimalText, Money, Position, decimal_text, money_to_graphql
from domain.obligations import amnesty, obligation, ufv
from domain.obligations import debt as domain

DIGITS = 15  # of the steps of a calculation, beyond which the result can't depend on them
BEFORE = "unpaid * (1 - discount)"
AFTER = "rest * factor * ufvPaid * (1 - discount)"


@strawberry.type(description="The days of one interest rate.")
class InterestPeriod:
    first: Date = strawberry.field(description="The first day.")
    last: Date = strawberry.field(description="The last day.")
    days: int = strawberry.field(description="The number of days, n.")
    rate_percent: DecimalText = strawberry.field(description="The yearly rate in percent, r.")
    factor: DecimalText = strawberry.field(description="(1 + r / 100 / 360)^n - 1")


@strawberry.type(description="A receipt, and the event that recorded it.")
class CountedReceipt:
    reference: str = strawberry.field(description="The number of the receipt.")
    stream: strawberry.Private[str]
    version: strawberry.Private[int]

    @strawberry.field(description="The position of the event that recorded the payment.")
    async def event(self, info: Info) -> Position | None:
        return await info.context.position_of(self.stream, self.version)


@strawberry.type(description="The payments of a day, and how they reduce the tax.")
class Reduction:
    paid_on: Date = strawberry.field(description="The day.")
    amount: Money = strawberry.field(description="The sum of the payments.")
    receipts: list[CountedReceipt] = strawberry.field(description="Their receipts.")
    discount_percent: DecimalText = strawberry.field(
        description="The discount of the day: of a window up to the due date, of an amnesty after it."
    )
    amnesty: Amnesty | None = strawberry.field(description="The amnesty of the day, after the due date.")
    ufv: UfvQuote | None = strawberry.field(
        description="The UFV of the day, after the due date; that of the due date if the amnesty waives indexation."
    )
    factor: DecimalText = strawberry.field(
        description="1 plus the factors of the periods up to that day, after the due date."
    )
    reduces_by: DecimalText = strawberry.field(
        description="What they take off. Up to the due date, bolivianos: amount / (1 - discount). After it, UFV of the"
        " due date: amount / ufv / factor / (1 - discount). If they settle the debt: all that was left."
    )
    settles: bool = strawberry.field(description="Whether they paid the whole debt of that day.")


@strawberry.type(description="How a debt was calculated.")
class DebtExplanation:
    formula: str = strawberry.field(
        description=f"The last step: `{BEFORE}` up to the due date, `{AFTER}` after it. The result is rounded once,"
        " half a centavo up."
    )
    tax: Money = strawberry.field(description="The tax as assessed or amended.")
    tax_norm: str = strawberry.field(description="The norm by which it was assessed or amended.")
    due: Date = strawberry.field(
        description="The last day without interest: that of the assessment or of an extension, moved to a working day."
    )
    terms: TaxYear = strawberry.field(description="Discount windows and extension.")
    discount_percent: DecimalText = strawberry.field(
        description="The discount of the day: of a window up to the due date, of an amnesty after it."
    )
    amnesty: Amnesty | None = strawberry.field(description="The amnesty of the day, after the due date.")
    reductions: list[Reduction] = strawberry.field(description="The payments up to that day, by day.")
    unpaid: DecimalText = strawberry.field(
        description="The tax less what payments took off up to that day or the due date, whichever is earlier, in"
        " bolivianos."
    )
    ufv_due: UfvQuote | None = strawberry.field(description="The UFV of the due date, if the debt is indexed.")
    ufv_paid: UfvQuote | None = strawberry.field(
        description="The UFV of the day for which the debt is asked; that of the due date if the amnesty waives"
        " indexation."
    )
    tax_in_ufv: DecimalText | None = strawberry.field(description="unpaid / ufvDue, if the debt is indexed.")
    rest: DecimalText | None = strawberry.field(
        description="What is left of `taxInUfv` after the payments made after the due date."
    )
    interest: InterestRates | None = strawberry.field(description="The interest rates, if the debt bears interest.")
    periods: list[InterestPeriod] = strawberry.field(description="The periods from the due date to the day.")
    factor: DecimalText = strawberry.field(description="1 plus the factors of the periods.")
    exact: DecimalText = strawberry.field(description="The debt in bolivianos before it is rounded.")
    stream: strawberry.Private[str]
    tax_version: strawberry.Private[int]

    @strawberry.field(description="The position of the event by which the tax was assessed or last amended.")
    async def tax_event(self, info: Info) -> Position | None:
        return await info.context.position_of(self.stream, self.tax_version)


@strawberry.type(description="What is owed on a day.")
class Debt:
    as_of: Date = strawberry.field(description="The day.")
    amount: Money = strawberry.field(description="What is owed: never less than zero.")
    overpaid: Money = strawberry.field(description="What was paid beyond the debt.")
    found: strawberry.Private[domain.Debt]
    state: strawberry.Private[obligation.Obligation]
    terms: strawberry.Private[TaxYear]

    @strawberry.field(description="How the amount was calculated.")
    async def explanation(self, info: Info) -> DebtExplanation:
        return _explanation(self.found, self.state, self.terms)


def _shown(value: Decimal) -> DecimalText:
    return decimal_text(value, DIGITS)


def _quote(day: Date, due: Date, quote: ufv.Quote | None, waived_by: amnesty.Amnesty | None) -> UfvQuote | None:
    """The UFV that was taken, with its day."""
    if quote is None:
        return None
    return quote_to_graphql(due if waived_by and waived_by.declared.waives_indexation else day, quote)


def _reduction(one: domain.Reduction, stream: str, due: Date) -> Reduction:
    return Reduction(
        paid_on=one.paid_on,
        amount=money_to_graphql(one.amount),
        receipts=[
            CountedReceipt(reference=reference, stream=stream, version=version)
            for reference, version in one.receipts.items()
        ],
        discount_percent=percent(one.discount_hundredths),
        amnesty=amnesty_to_graphql(one.amnesty) if one.amnesty else None,
        ufv=_quote(one.paid_on, due, one.quote, one.amnesty),
        factor=_shown(one.factor),
        reduces_by=_shown(one.reduces_by),
        settles=one.settles,
    )


def _period(one: domain.Period) -> InterestPeriod:
    return InterestPeriod(
        first=one.first,
        last=one.last,
        days=one.days,
        rate_percent=percent(one.rate_hundredths),
        factor=_shown(one.factor),
    )


def debt_to_graphql(facts: domain.Facts, found: domain.Debt) -> Debt:
    """The debt; its explanation is made if a document selects it."""
    assessed = facts.obligation.assessed
    assert assessed
    return Debt(
        as_of=found.as_of,
        amount=money_to_graphql(found.amount),
        overpaid=money_to_graphql(found.overpaid),
        found=found,
        state=facts.obligation,
        terms=tax_year_to_graphql(assessed.tax, assessed.year, facts.tax_year),
    )


def _explanation(found: domain.Debt, state: obligation.Obligation, terms: TaxYear) -> DebtExplanation:
    assert state.assessed
    stream = obligation.stream(state.assessed.obligation)
    due = found.quote_due
    return DebtExplanation(
        formula=AFTER if found.as_of > found.due else BEFORE,
        tax=money_to_graphql(found.tax),
        tax_norm=state.norm,
        due=found.due,
        terms=terms,
        discount_percent=percent(found.discount_hundredths),
        amnesty=amnesty_to_graphql(found.amnesty) if found.amnesty else None,
        reductions=[_reduction(one, stream, found.due) for one in found.reductions],
        unpaid=_shown(found.unpaid_at_due),
        ufv_due=quote_to_graphql(found.due, due) if due else None,
        ufv_paid=_quote(found.as_of, found.due, found.quote_paid, found.amnesty),
        tax_in_ufv=_shown(found.unpaid_at_due / due.bolivianos) if due else None,
        rest=_shown(found.rest) if due else None,
        interest=rates_to_graphql(found.table) if found.table else None,
        periods=[_period(one) for one in found.periods],
        factor=_shown(found.factor),
        exact=_shown(found.exact),
        stream=stream,
        tax_version=state.tax_version,
    )
