"""What is owed for an obligation on a day, and why: Ley 2492 art. 47 with Ley 812; DS 27310 arts. 8 to 10.

Up to the due date, the debt is the tax less what was paid, with the discount of the day. After it

    DT = TO + I, in UFV
    TO   the unpaid tax (tributo omitido), in UFV of the due date
    I    the sum over the rate periods of TO x ((1 + r / 360)^n - 1)

`n` is the number of days at each rate. Together the periods run from the day after the due date to the payment day,
both included. The debt becomes bolivianos with the UFV of the payment day, and is rounded once.

A part payment reduces TO: it is taken in UFV of its day and divided by the factor of that day; up to the due date, it
is divided by 1 minus the discount of its day. Within an amnesty, interest, indexation or both are waived, and there may
be a discount. So paying in two parts on one day costs the same as paying at once. A payment of the whole rounded amount
settles the debt: no fraction of a centavo goes on bearing interest.

Nothing here is stored: the amount follows from the facts each time.
"""

from collections.abc import Collection, Iterator, Mapping
from datetime import date, timedelta
from decimal import Context, Decimal, localcontext
from functools import lru_cache

from domain.decider import Value
from domain.errors import Rejected
from domain.money import Money, rounded
from domain.obligations.amnesty import Amnesties, Amnesty, amnesty_on
from domain.obligations.holidays import next_working_day
from domain.obligations.interest import InterestRates, Rate, Table, table_on
from domain.obligations.obligation import Obligation, Settlement
from domain.obligations.tax_year import TaxYear, Window, discount_on
from domain.obligations.ufv import Quote, quote_on

DAYS_OF_YEAR = 360  # by the law's formula, whatever the calendar says
PRECISION = 50  # significant digits of every step
HUNDREDTHS = 10_000  # 400 is 4 %
ZERO, ONE = Decimal(0), Decimal(1)
EXACT_DIGITS = Decimal("1e-25")  # PRECISION leaves ten digits more for the largest debt
DEBT_MAX = 10**15  # bolivianos: more is a wrong figure


class DebtTooLarge(
    Rejected,
    es="La deuda calculada no tiene un monto razonable: revise la UFV y las tasas de interés publicadas.",
    en="The calculated debt is not a reasonable amount: check the published UFV and interest rates.",
): ...


class Period(Value):
    """The days of one rate, first and last day included; `factor` is (1 + r / 360)^n - 1."""

    first: date
    last: date
    days: int
    rate_hundredths: int
    factor: Decimal


class Reduction(Value):
    """The payments of a day, and what they take off the tax.

    Attributes:
        amount: the sum of the payments.
        receipts: their references, with the versions of their events.
        discount_hundredths: the discount of the day: of a window up to the due date, of an amnesty after it.
        quote, factor: the UFV by which the payments are divided, and 1 plus the sum of the factors of the periods,
            after the due date. An amnesty may waive both: then they are the UFV of the due date, and 1.
        amnesty: the amnesty of the day, after the due date.
        reduces_by: bolivianos up to the due date; UFV of the due date after it.
        settles: whether they pay the whole debt of their day.
    """

    paid_on: date
    amount: Money
    receipts: dict[str, int]
    reduces_by: Decimal
    settles: bool
    discount_hundredths: int = 0
    quote: Quote | None = None
    factor: Decimal = ONE
    amnesty: Amnesty | None = None


class Debt(Value):
    """What is owed on a day, with each step.

    Attributes:
        due: the last day without interest; `assessed_due` is the one of the assessment, before an extension and days
            that are not worked.
        discount_hundredths: of the day: of a window up to the due date, of an amnesty after it.
        unpaid_at_due: the tax less payments up to the due date, in bolivianos.
        quote_due, quote_paid: the UFV of the due date, and that by which the debt becomes bolivianos, if it is indexed.
            The second is that of the day, or of the due date if an amnesty waives indexation.
        amnesty: the amnesty of the day, after the due date.
        reductions: the payments by day.
        rest: what is left of the tax after them: in bolivianos up to the due date, in UFV of the due date after it.
        factor: 1 plus the sum of the factors of the periods.
        exact: bolivianos before rounding.
        overpaid: what was paid beyond the debt.
    """

    as_of: date
    tax: Money
    assessed_due: date
    due: date
    unpaid_at_due: Decimal
    reductions: list[Reduction]
    rest: Decimal
    exact: Decimal
    amount: Money
    overpaid: Money
    discount_hundredths: int = 0
    quote_due: Quote | None = None
    quote_paid: Quote | None = None
    table: Table | None = None
    periods: tuple[Period, ...] = ()
    factor: Decimal = ONE
    amnesty: Amnesty | None = None


class Facts(Value):
    """What a debt follows from: the obligation, the terms of its tax and year, and published figures.

    `quotes` and `rates` are asked for only after the due date, and only while something is owed.
    """

    obligation: Obligation
    tax_year: TaxYear
    amnesties: Amnesties
    holidays: Collection[date]
    quotes: Mapping[date, Quote]
    rates: InterestRates

    @property
    def due_before_holidays(self) -> date:
        """The due date of the assessment or of a general extension. Raises ValueError if nothing was assessed."""
        if self.obligation.assessed is None:
            raise ValueError("nothing was assessed")
        assessed = self.obligation.assessed.due
        return max(assessed, self.tax_year.extension.until) if self.tax_year.extension else assessed

    @property
    def due(self) -> date:
        """The last day without interest: moved to a working day. Raises ValueError if nothing was assessed."""
        return next_working_day(self.due_before_holidays, self.holidays)


def days_needed(facts: Facts, as_of: date) -> set[date]:
    """The days whose UFV the debt of a day may depend on."""
    due = facts.due
    if as_of <= due:
        return set()
    paid = (one.paid_on for one in facts.obligation.settlements.values())
    return {due, as_of} | {day for day in paid if due < day <= as_of}


def debt(facts: Facts, as_of: date) -> Debt:
    """The debt on a day, with the payments up to that day.

    Raises UfvUnknown for a day whose UFV is needed, RatesUnknown, and DebtTooLarge.
    """
    with localcontext(Context(prec=PRECISION)):
        return _Calculation(facts, as_of).debt()


class _Calculation:
    """The steps in the order of the days: payments up to the due date, later payments, the day of the question."""

    def __init__(self, facts: Facts, as_of: date) -> None:
        self._facts, self._as_of, self._due = facts, as_of, facts.due
        self._rest = facts.obligation.tax.amount
        self._overpaid = Money(centavos=0)
        self._reductions: list[Reduction] = []

    def debt(self) -> Debt:
        late = self._as_of > self._due
        by_day = list(_by_day(self._facts.obligation.settlements, self._as_of))
        for day, payments in by_day:
            if day <= self._due:
                self._take(day, payments, 1 - self._discount(day), indexed=False)
        unpaid = self._rest
        indexed = late and unpaid > 0
        if indexed:
            self._rest /= self._quote(self._due).bolivianos
        for day, payments in by_day:
            if day > self._due and indexed:
                self._take(day, payments, self._worth(day), indexed=True)
            elif day > self._due:
                self._take(day, payments, ONE, indexed=False)
        return self._answer(unpaid, late=late, indexed=indexed)

    def _answer(self, unpaid: Decimal, *, late: bool, indexed: bool) -> Debt:
        owed = indexed and self._rest > 0  # no UFV is needed to say that nothing is owed
        if owed:
            exact = self._rest * self._worth(self._as_of)
        else:
            exact = ZERO if late else self._rest * (1 - self._discount(self._as_of))
        assert self._facts.obligation.assessed
        return Debt(
            as_of=self._as_of,
            tax=self._facts.obligation.tax,
            assessed_due=self._facts.obligation.assessed.due,
            due=self._due,
            discount_hundredths=self._hundredths(self._as_of) if owed or not late else 0,
            unpaid_at_due=unpaid,
            reductions=self._reductions,
            rest=self._rest,
            quote_due=self._quote(self._due) if indexed else None,
            quote_paid=self._quote_taken(self._as_of) if owed else None,
            table=None if not owed or self._waives_interest(self._as_of) else table_on(self._facts.rates, self._as_of),
            periods=() if not owed or self._waives_interest(self._as_of) else self._periods(self._as_of).each,
            factor=self._factor(self._as_of) if owed else ONE,
            amnesty=self._amnesty(self._as_of) if owed else None,
            exact=exact,
            amount=amount_of(exact),
            overpaid=self._overpaid,
        )

    def _take(self, day: date, payments: dict[str, Settlement], worth: Decimal, *, indexed: bool) -> None:
        """Take the payments of a day off the rest. `worth`: the bolivianos of that day for one unit of the rest."""
        paid = sum((one.amount for one in payments.values()), Money(centavos=0))
        whole = amount_of(self._rest * worth)
        settles = paid >= whole
        reduces_by = self._rest if settles else paid.amount / worth
        if settles:
            self._overpaid += paid - whole
        self._rest -= reduces_by
        self._reductions.append(
            Reduction(
                paid_on=day,
                amount=paid,
                receipts={reference: one.version for reference, one in sorted(payments.items())},
                discount_hundredths=self._hundredths(day) if indexed or day <= self._due else 0,
                quote=self._quote_taken(day) if indexed else None,
                factor=self._factor(day) if indexed else ONE,
                amnesty=self._amnesty(day) if indexed else None,
                reduces_by=reduces_by,
                settles=settles,
            )
        )

    def _worth(self, day: date) -> Decimal:
        """The bolivianos of a day after the due date for one UFV of the rest."""
        return self._factor(day) * self._quote_taken(day).bolivianos * (1 - self._discount(day))

    def _amnesty(self, day: date) -> Amnesty | None:
        found = self._amnesty_and_window(day)
        return found[0] if found else None

    def _amnesty_and_window(self, day: date) -> tuple[Amnesty, Window] | None:
        assessed = self._facts.obligation.assessed
        return amnesty_on(self._facts.amnesties, assessed.year, day) if assessed and day > self._due else None

    def _waives_interest(self, day: date) -> bool:
        found = self._amnesty(day)
        return found is not None and found.declared.waives_interest

    def _hundredths(self, day: date) -> int:
        if day <= self._due:
            return discount_on(self._facts.tax_year, day)
        found = self._amnesty_and_window(day)
        return found[1].hundredths if found else 0

    def _discount(self, day: date) -> Decimal:
        return Decimal(self._hundredths(day)) / HUNDREDTHS

    def _quote_taken(self, day: date) -> Quote:
        """The UFV by which bolivianos of a day after the due date become UFV, and back."""
        found = self._amnesty(day)
        return self._quote(self._due if found and found.declared.waives_indexation else day)

    def _quote(self, day: date) -> Quote:
        return quote_on(self._facts.quotes, day)

    def _periods(self, day: date) -> "Periods":
        return periods(self._due, day, tuple(table_on(self._facts.rates, day).published.rates))

    def _factor(self, day: date) -> Decimal:
        return ONE if self._waives_interest(day) else self._periods(day).factor


def _by_day(settlements: Mapping[str, Settlement], until: date) -> Iterator[tuple[date, dict[str, Settlement]]]:
    """The payments of each day, in the order of days, so that the order in which they became known does not matter."""
    days: dict[date, dict[str, Settlement]] = {}
    for reference, one in settlements.items():
        if one.paid_on <= until:
            days.setdefault(one.paid_on, {})[reference] = one
    yield from sorted(days.items())


def amount_of(exact: Decimal) -> Money:
    """The exact amount as money. Raises DebtTooLarge.

    Dividing and multiplying again may leave 0.00499… of half a centavo: the digits beyond EXACT_DIGITS are not exact.
    """
    if exact >= DEBT_MAX:
        raise DebtTooLarge()
    return rounded(exact.quantize(EXACT_DIGITS))


class Periods(Value):
    """The days after the due date by rate; `factor` is 1 plus the sum of their factors."""

    each: tuple[Period, ...]
    factor: Decimal


@lru_cache(maxsize=4_096)  # most debts have the due date of their year, and are asked for on the same day
def periods(due: date, paid_on: date, rates: tuple[Rate, ...]) -> Periods:
    """The days after the due date up to the payment day, by rate."""
    found = []
    last = due
    with localcontext(Context(prec=PRECISION)):
        for rate in rates:
            end = paid_on if rate.until_year is None else min(paid_on, anniversary(due, rate.until_year))
            if days := (end - last).days:
                daily = Decimal(rate.hundredths) / HUNDREDTHS / DAYS_OF_YEAR
                first = last + timedelta(days=1)
                factor = (1 + daily) ** days - 1
                found.append(Period(first=first, last=end, days=days, rate_hundredths=rate.hundredths, factor=factor))
            last = end
        return Periods(each=tuple(found), factor=1 + sum((one.factor for one in found), ZERO))


def anniversary(due: date, years: int) -> date:
    """The day on which so many years after the due date end: for 29 February, 28 where there is none."""
    try:
        return due.replace(year=due.year + years)
    except ValueError:
        return date(due.year + years, 2, 28)
