"""The rule by which the Central Bank makes the UFV of each day, and invented price indexes to follow it.

The UFV grows each day by the average change of prices over twelve months:

    UFV of the day = UFV of the day before × ((I_m / I_m-12) ^ (1 / 12)) ^ (1 / days of the day's calendar month)

`I_m` is the consumer price index of month m. From the 11th of a month on it is that of the last month; until the 10th,
that of the month before it. Each value is rounded to five decimals, and the next one is made from the rounded one. If
prices fell over twelve months, the UFV falls.
"""

import random
from calendar import monthrange
from collections.abc import Iterator, Mapping
from datetime import date, timedelta
from decimal import ROUND_HALF_UP, Decimal, localcontext
from typing import TypeAlias

NEW_INDEX_DAY = 11
STEP = Decimal("0.00001")
DIGITS = 50
MONTHS_BEFORE = 14  # that the first day of a series may need

USUAL_CHANGE = (0.0025, 0.003)  # mean and deviation of the change of prices in a month
SLUMP_CHANGE = (-0.002, 0.001)
SLUMP_MONTHS = 15  # longer than twelve, so that the UFV falls for a while

Month: TypeAlias = int  # counted from the beginning of year 0


def month_of(day: date) -> Month:
    return day.year * 12 + day.month - 1


def ruling_month(day: date) -> Month:
    """The month whose index rules on a day."""
    return month_of(day) - (1 if day.day >= NEW_INDEX_DAY else 2)


def ufv_series(indexes: Mapping[Month, Decimal], *, first: date, last: date, value: Decimal) -> Iterator[Decimal]:
    """The UFV of each day from `first`, on which it is `value`, to `last`."""
    yield value
    for day in (first + timedelta(days=n) for n in range(1, (last - first).days + 1)):
        value = next_value(indexes, day, value)
        yield value


def next_value(indexes: Mapping[Month, Decimal], day: date, before: Decimal) -> Decimal:
    """The UFV of a day, given that of the day before."""
    month = ruling_month(day)
    with localcontext() as context:
        context.prec = DIGITS
        days = monthrange(day.year, day.month)[1]
        factor = (indexes[month] / indexes[month - 12]) ** (Decimal(1) / (12 * days))
        return (before * factor).quantize(STEP, rounding=ROUND_HALF_UP)


def invented_indexes(dice: random.Random, *, first: date, last: date) -> dict[Month, Decimal]:
    """Price indexes for a series from `first` to `last`, with one time of falling prices if it has room for that."""
    months = range(month_of(first) - MONTHS_BEFORE, month_of(last) + 1)
    slump = dice.randrange(max(1, len(months) - SLUMP_MONTHS))
    indexes, index = {}, 100.0
    for number, month in enumerate(months):
        mean, deviation = SLUMP_CHANGE if slump <= number < slump + SLUMP_MONTHS else USUAL_CHANGE
        index *= 1 + dice.gauss(mean, deviation)
        indexes[month] = Decimal(f"{index:.2f}")
    return indexes
