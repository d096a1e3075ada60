"""What is owed for an infraction in the schema, with each step of the calculation."""

from datetime import date as Date

import strawberry

from api.graphql.infractions.words import InfractionAdjustment, percent_text, step_text
from api.graphql.scalars import DecimalText, Money, money_to_graphql
from domain.infractions import debt as domain
from domain.infractions import infraction as infractions
from domain.money import Money as Amount


@strawberry.type(description="A fine as it was fixed when the infraction was issued: a fixed amount, or day-fines.")
class InfractionFine:
    amount: Money = strawberry.field(description="The whole fine, rounded: wage * dayFinePercent / 100 * dayFines.")
    norm: str = strawberry.field(description="The norm of the infraction's code.")
    day_fines: int | None = strawberry.field(description="The number of day-fines; null for a fixed amount.")
    wage: Money | None = strawberry.field(description="The monthly minimum wage of the day of the infraction.")
    wage_norm: str | None = strawberry.field(description="The decree of that wage.")
    day_fine_percent: DecimalText | None = strawberry.field(description="The part of it that is a day-fine.")
    day_fine_norm: str | None = strawberry.field(description="The norm that says which part.")


def fine_to_graphql(fine: infractions.Fine) -> InfractionFine:
    return InfractionFine(
        amount=money_to_graphql(fine.amount),
        norm=fine.norm,
        day_fines=fine.day_fines,
        wage=_optional(fine.wage),
        wage_norm=fine.wage_norm,
        day_fine_percent=None if fine.day_fine_hundredths is None else percent_text(fine.day_fine_hundredths),
        day_fine_norm=fine.day_fine_norm,
    )


def _optional(amount: Amount | None) -> Money | None:
    return None if amount is None else money_to_graphql(amount)


@strawberry.type(description="The payments of a day, and what they take off the fine.")
class InfractionPaymentDay:
    paid_on: Date = strawberry.field(description="The day.")
    amount: Money = strawberry.field(description="The sum of the payments.")
    adjustment: InfractionAdjustment = strawberry.field(description="What changed the fine on that day.")
    percent: DecimalText = strawberry.field(description="By how much, in percent.")
    reduces_by: DecimalText = strawberry.field(
        description="What they take off the whole fine: the amount divided by 1 minus the discount or plus the penalty."
    )
    settles: bool = strawberry.field(description="Whether they pay all that was owed on that day.")


@strawberry.type(
    description="How an amount follows from the facts: rest = fine - reductions, and exact = rest * (1 - discount) or"
    " rest * (1 + penalty)."
)
class InfractionDebtExplanation:
    fine: DecimalText = strawberry.field(description="The whole fine before it is rounded; zero if it was annulled.")
    payments: list[InfractionPaymentDay] = strawberry.field(description="The payments up to the day, by day.")
    rest: DecimalText = strawberry.field(description="What they leave of the fine.")
    adjustment: InfractionAdjustment = strawberry.field(description="What changes the rest on the day.")
    percent: DecimalText = strawberry.field(description="By how much, in percent.")
    norm: str = strawberry.field(description="The norm of the discounts, the term and the penalty.")
    days: int = strawberry.field(description="The days that count from the notice to the day.")
    suspended_days: int = strawberry.field(description="The days that do not count, because of a contest.")
    until: Date | None = strawberry.field(
        description="The last day with this percentage, unless the infraction is contested; null if there is none."
    )
    exact: DecimalText = strawberry.field(
        description="The amount in bolivianos before it is rounded, once, half a centavo up."
    )


@strawberry.type(description="What is owed for an infraction on a day.")
class InfractionDebt:
    as_of: Date = strawberry.field(description="The day.")
    amount: Money = strawberry.field(description="What is owed: never less than zero.")
    overpaid: Money = strawberry.field(description="What was paid beyond the debt.")
    explanation: InfractionDebtExplanation = strawberry.field(description="How the amount follows from the facts.")


def debt_to_graphql(account: infractions.Account, as_of: Date) -> InfractionDebt | None:
    """What is owed on a day; None for a day before the infraction."""
    if as_of < account.occurred_on:
        return None
    found = domain.debt(account, as_of)
    return InfractionDebt(
        as_of=as_of,
        amount=money_to_graphql(found.amount),
        overpaid=money_to_graphql(found.overpaid),
        explanation=InfractionDebtExplanation(
            fine=step_text(found.fine),
            payments=[_payments(one) for one in found.reductions],
            rest=step_text(found.rest),
            adjustment=InfractionAdjustment[found.factor.adjustment],
            percent=percent_text(found.factor.hundredths),
            norm=account.terms.norm,
            days=found.factor.days,
            suspended_days=found.suspended_days,
            until=found.factor.until,
            exact=step_text(found.exact),
        ),
    )


def _payments(of_day: domain.Reduction) -> InfractionPaymentDay:
    return InfractionPaymentDay(
        paid_on=of_day.paid_on,
        amount=money_to_graphql(of_day.amount),
        adjustment=InfractionAdjustment[of_day.factor.adjustment],
        percent=percent_text(of_day.factor.hundredths),
        reduces_by=step_text(of_day.reduces_by),
        settles=of_day.settles,
    )
