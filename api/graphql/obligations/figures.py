"""Published figures in the schema: the UFV of each day, and interest rates."""

from datetime import date
from decimal import Decimal
from typing import Annotated, Any

import strawberry

from api.graphql.access import EVERYBODY
from api.graphql.commands import Done, Given, Gives, Takes, command
from api.graphql.fields import Info, query
from api.graphql.obligations.access import OFFICERS
from api.graphql.scalars import DecimalText, Position, decimal_text
from domain.errors import Hint, InvalidInput
from domain.obligations import interest, ufv

PERCENT_DIGITS = 2


class UfvHint(
    Hint,
    es="una UFV es mayor que 0 y menor que 10000, con cinco decimales como máximo, como 2.35851",
    en="a UFV is greater than 0 and less than 10000, with at most five decimals, like 2.35851",
): ...


class PercentHint(
    Hint,
    es="el porcentaje va de 0 a {most}, con dos decimales como máximo, como 4 o 0.35",
    en="the percentage is from 0 to {most}, with at most two decimals, like 4 or 0.35",
):
    most: str


def _whole(text: str, decimals: int) -> int | None:
    """The number times 10 to the power of `decimals`, if that is a whole number."""
    scaled = Decimal(text).scaleb(decimals)
    return int(scaled) if scaled == scaled.to_integral_value() else None


def hundredths(text: str, path: str, *, most: str = "100") -> int:
    """A percentage from 0 to `most` in hundredths of a percent: "0.35" is 35. Raises InvalidInput."""
    found = _whole(text, PERCENT_DIGITS)
    if found is None or not 0 <= Decimal(text) <= Decimal(most):
        raise InvalidInput(path=path, hint=PercentHint(most=most))
    return found


def _ufv(text: str) -> int:
    """A UFV in hundred-thousandths of a boliviano. Raises InvalidInput."""
    found = _whole(text, ufv.DECIMALS)
    if found is None or not 0 < found < ufv.VALUE_MAX:
        raise InvalidInput(path="value", hint=UfvHint())
    return found


def percent(in_hundredths: int) -> DecimalText:
    """Hundredths of a percent as a percentage: 35 is "0.35"."""
    return decimal_text(Decimal(in_hundredths) / 100, PERCENT_DIGITS)


@strawberry.type(description="The UFV of a day.")
class UfvQuote:
    day: date = strawberry.field(description="The day.")
    value: DecimalText = strawberry.field(description="Bolivianos for one UFV, with five decimals: 2.35851.")
    version: strawberry.Private[int]

    @strawberry.field(description="The position of the event that published it.")
    async def event(self, info: Info) -> Position | None:
        return await info.context.position_of(ufv.stream(self.day.year), self.version)


def quote_to_graphql(day: date, quote: ufv.Quote) -> UfvQuote:
    return UfvQuote(day=day, value=decimal_text(quote.bolivianos, ufv.DECIMALS), version=quote.version)


@query("The UFV of the days of a year, as far as they are published.", who=EVERYBODY)
async def ufv_quotes(
    info: Info, year: Annotated[int, strawberry.argument(description="A calendar year.")]
) -> list[UfvQuote]:
    state = await info.context.state(ufv.stream(year))
    return [quote_to_graphql(day, quote) for day, quote in sorted(state.values.items())]


@command(
    ufv.PublishUfv,
    "Publish the UFV of a day, or correct it. Earlier answers can still be reproduced with `knownAt`.",
    who=OFFICERS,
    takes=Takes(
        "The UFV of a day, as the Central Bank publishes it.",
        day="The day.",
        value=Given(
            "Bolivianos for one UFV: 2.35851.",
            type=DecimalText,
            clean=_ufv,
        ),
    ),
    gives=Gives("The result of publishing a UFV.", quote="The UFV."),
)
async def publish_ufv(info: Info, done: Done[ufv.PublishUfv]) -> UfvQuote:
    day = done.command.day
    return quote_to_graphql(day, (await info.context.state(ufv.stream(day.year))).values[day])


@strawberry.type(description="A yearly interest rate, for a part of the time after the due date.")
class InterestRate:
    percent: DecimalText = strawberry.field(description="The yearly rate in percent: 4.00.")
    until_year: int | None = strawberry.field(
        description="The rate applies up to this anniversary of the due date, such as 4; null: no limit."
    )


@strawberry.type(description="The interest rates for payments from a day on.")
class InterestRates:
    norm: str = strawberry.field(description="The law or regulation that sets them.")
    effective_from: date = strawberry.field(description="The first day on which payments follow them.")
    rates: list[InterestRate] = strawberry.field(description="The rates in the order of their years.")
    version: strawberry.Private[int]

    @strawberry.field(description="The position of the event that published them.")
    async def event(self, info: Info) -> Position | None:
        return await info.context.position_of(interest.stream(), self.version)


def rates_to_graphql(table: interest.Table) -> InterestRates:
    published = table.published
    return InterestRates(
        norm=published.norm,
        effective_from=published.effective_from,
        rates=[InterestRate(percent=percent(one.hundredths), until_year=one.until_year) for one in published.rates],
        version=table.version,
    )


@query("The interest rates of tax debts that were published, by day.", who=EVERYBODY)
async def interest_rates(info: Info) -> list[InterestRates]:
    state = await info.context.state(interest.stream())
    return [rates_to_graphql(table) for _, table in sorted(state.tables.items())]


@strawberry.input(description="A yearly interest rate, for a part of the time after the due date.")
class InterestRateInput:
    percent: DecimalText = strawberry.field(description="The yearly rate in percent: 4 or 6.25.")
    until_year: int | None = strawberry.field(
        default=None, description="The rate applies up to this anniversary of the due date, such as 4; null: no limit."
    )


def _rates(given: list[InterestRateInput]) -> list[dict[str, Any]]:
    return [
        {"hundredths": hundredths(one.percent, f"rates.{n}.percent"), "until_year": one.until_year}
        for n, one in enumerate(given)
    ]


@command(
    interest.PublishInterestRates,
    "Publish the interest rates for payments from a day on.",
    who=OFFICERS,
    takes=Takes(
        "The interest rates for payments from a day on.",
        norm="The law or regulation that sets them: Ley 812.",
        effective_from="The first day on which payments follow them.",
        rates=Given(
            "The rates in the order of their years; only the last one has no `untilYear`. At most"
            f" {interest.RATES_MAX}.",
            type=list[InterestRateInput],
            clean=_rates,
        ),
    ),
    gives=Gives("The result of publishing interest rates.", rates="The rates."),
)
async def publish_interest_rates(info: Info, done: Done[interest.PublishInterestRates]) -> InterestRates:
    state = await info.context.state(interest.stream())
    return rates_to_graphql(state.tables[done.command.effective_from])
