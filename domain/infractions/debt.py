"""What is owed for an infraction on a day, and why.

The fine of the day is the whole fine, less the discount of the day, or plus the penalty after the term:

    amount = rest x (1 - discount)    up to `within_days` days after the notice
    amount = rest                     up to the term
    amount = rest x (1 + penalty)     after the term

Days are counted from the day after the notice. While an infraction is contested no day counts: neither the day after
the contest nor any other up to the day of the resolution. So the day after the resolution has the number after that of
the day of the contest.

A part payment takes off the rest what it is worth on its day: its amount divided by the factor of that day. So part and
rest on one day are the whole of that day. Payments of the whole rounded amount of their day settle the fine for ever.
All steps are exact, and the amount is rounded once. Nothing here is stored: it follows from the facts each time.
"""

from collections.abc import Iterator
from datetime import date, timedelta
from fractions import Fraction
from typing import Literal

from domain.decider import Value
from domain.infractions.infraction import Account, Payment, exact_fine
from domain.infractions.terms import WHOLE_HUNDREDTHS
from domain.money import Money, rounded

Adjustment = Literal["DISCOUNT", "NONE", "PENALTY"]
ZERO = Fraction(0)


class Factor(Value):
    """What is asked on a day for a boliviano of the fine.

    Attributes:
        adjustment, hundredths: the discount or the penalty of the day, in hundredths of a percent.
        days: the days that count from the notice.
        until: the last day with this factor, unless a contest begins; None: for ever, or as long as a contest goes on.
    """

    adjustment: Adjustment
    hundredths: int
    days: int
    until: date | None

    @property
    def value(self) -> Fraction:
        sign = {"DISCOUNT": -1, "NONE": 0, "PENALTY": 1}[self.adjustment]
        return 1 + Fraction(sign * self.hundredths, WHOLE_HUNDREDTHS)


class Reduction(Value):
    """The payments of a day, and what they take off the fine.

    Attributes:
        receipts: their references.
        reduces_by: bolivianos of the whole fine.
        settles: whether they pay the whole debt of their day.
    """

    paid_on: date
    amount: Money
    receipts: list[str]
    factor: Factor
    reduces_by: Fraction
    settles: bool


class InfractionDebt(Value):
    """What is owed on a day, with each step.

    Attributes:
        fine: the whole fine before rounding; zero if it was annulled.
        reductions: the payments by day.
        rest: what they leave of the fine.
        exact: the rest times the factor of the day.
        amount: that, rounded.
        overpaid: what was paid beyond the debt.
    """

    as_of: date
    fine: Fraction
    suspended_days: int
    reductions: list[Reduction]
    rest: Fraction
    factor: Factor
    exact: Fraction
    amount: Money
    overpaid: Money


def debt(account: Account, as_of: date) -> InfractionDebt:
    """The debt on a day, with the payments up to that day. An annulled infraction never owed anything."""
    fine = ZERO if account.status == "ANNULLED" else exact_fine(account.fine)
    rest, overpaid, reductions = fine, Money(centavos=0), []
    for day, payments in _by_day(account, as_of):
        factor = factor_on(account, day)
        paid = sum((one.amount for one in payments.values()), Money(centavos=0))
        whole = rounded(rest * factor.value)
        settles = paid >= whole
        reduces_by = rest if settles else Fraction(paid.amount) / factor.value
        if settles:
            overpaid += paid - whole
        rest -= reduces_by
        reductions.append(
            Reduction(
                paid_on=day,
                amount=paid,
                receipts=sorted(payments),
                factor=factor,
                reduces_by=reduces_by,
                settles=settles,
            )
        )
    factor = factor_on(account, as_of)
    exact = rest * factor.value
    return InfractionDebt(
        as_of=as_of,
        fine=fine,
        suspended_days=suspended_days(account, as_of),
        reductions=reductions,
        rest=rest,
        factor=factor,
        exact=exact,
        amount=rounded(exact),
        overpaid=overpaid,
    )


def is_covered(account: Account) -> bool:
    """Whether all payments known cover the whole debt, in the order of their days."""
    last = max((one.paid_on for one in account.payments.values()), default=None)
    return last is not None and debt(account, last).rest == 0


def _by_day(account: Account, until: date) -> Iterator[tuple[date, dict[str, Payment]]]:
    """The payments of each day, in the order of days: the order in which they became known does not matter."""
    for day in sorted({one.paid_on for one in account.payments.values() if one.paid_on <= until}):
        yield day, {reference: one for reference, one in account.payments.items() if one.paid_on == day}


def suspended_days(account: Account, day: date) -> int:
    """The days up to this one that do not count because of a contest."""
    if account.contested_on is None or day <= account.contested_on:
        return 0
    end = day if account.resolved_on is None else min(day, account.resolved_on)
    return (end - account.contested_on).days


def days_counted(account: Account, day: date) -> int:
    """The days from the notice to this day that count."""
    return max((day - account.notified_on).days - suspended_days(account, day), 0)


def last_day(account: Account, days: int) -> date | None:
    """The last day with at most so many days counted, unless a contest begins; None while one goes on."""
    plain = account.notified_on + timedelta(days=days)
    if account.contested_on is None or plain < account.contested_on:
        return plain
    return None if account.resolved_on is None else plain + (account.resolved_on - account.contested_on)


def factor_on(account: Account, day: date) -> Factor:
    """The discount or the penalty of a day."""
    terms, days = account.terms, days_counted(account, day)
    for one in terms.discounts:
        if days <= one.within_days:
            return Factor(
                adjustment="DISCOUNT", hundredths=one.hundredths, days=days, until=last_day(account, one.within_days)
            )
    if days <= terms.term_days:
        return Factor(adjustment="NONE", hundredths=0, days=days, until=last_day(account, terms.term_days))
    return Factor(adjustment="PENALTY", hundredths=terms.penalty_hundredths, days=days, until=None)
