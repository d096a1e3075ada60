"""What laws and regulations set for a tax in the schema: discount windows, extensions, scales; and holidays."""

from collections.abc import Sequence
from datetime import date
from enum import Enum
from typing import Annotated, Any

import strawberry

from api.graphql.access import EVERYBODY
from api.graphql.commands import Done, Given, Gives, Takes, command, words_of
from api.graphql.fields import Info, query
from api.graphql.obligations.access import OFFICERS
from api.graphql.obligations.figures import hundredths, percent
from api.graphql.scalars import DecimalText, Money, Position, money_to_graphql
from domain import money
from domain.errors import InvalidInput
from domain.obligations import holidays as holidays_domain
from domain.obligations import scale
from domain.obligations import tax_year as terms

Year = Annotated[int, strawberry.argument(description="A fiscal year.")]


@words_of(terms.Tax)
@strawberry.enum(description="A tax.")
class Tax(Enum):
    IPBI = strawberry.enum_value("IPBI", description="Tax on real estate.")
    IPVA = strawberry.enum_value("IPVA", description="Tax on vehicles.")
    PATENTE = strawberry.enum_value("PATENTE", description="Licence fee of an economic activity.")


WhichTax = Annotated[Tax, strawberry.argument(description="A tax.")]


@strawberry.type(description="A discount for what is paid within some days.")
class DiscountWindow:
    first: date = strawberry.field(description="The first day.")
    last: date = strawberry.field(description="The last day. It does not move if it is not a working day.")
    percent: DecimalText = strawberry.field(description="The discount in percent: 10.00.")


@strawberry.type(description="What laws and regulations set for a tax in a fiscal year.")
class TaxYear:
    tax: Tax = strawberry.field(description="The tax.")
    year: int = strawberry.field(description="The fiscal year.")
    windows: list[DiscountWindow] = strawberry.field(description="The discount windows, by day.")
    windows_norm: str | None = strawberry.field(description="The norm of the windows; null if there is none.")
    extended_until: date | None = strawberry.field(
        description="The last day to pay by a general extension; null if there is none."
    )
    extension_norm: str | None = strawberry.field(description="The norm of the extension.")
    versions: strawberry.Private[tuple[int, int]]

    @strawberry.field(description="The position of the event that published the windows.")
    async def windows_event(self, info: Info) -> Position | None:
        return await self._position(info, self.versions[0])

    @strawberry.field(description="The position of the event that declared the extension.")
    async def extension_event(self, info: Info) -> Position | None:
        return await self._position(info, self.versions[1])

    async def _position(self, info: Info, version: int) -> Position | None:
        return await info.context.position_of(terms.stream(self.tax.name, self.year), version) if version else None


def windows_to_graphql(windows: Sequence[terms.Window]) -> list[DiscountWindow]:
    return [DiscountWindow(first=one.first, last=one.last, percent=percent(one.hundredths)) for one in windows]


def tax_year_to_graphql(tax: str, year: int, state: terms.TaxYear) -> TaxYear:
    return TaxYear(
        tax=Tax[tax],
        year=year,
        windows=windows_to_graphql(state.windows.windows if state.windows else ()),
        windows_norm=state.windows.norm if state.windows else None,
        extended_until=state.extension.until if state.extension else None,
        extension_norm=state.extension.norm if state.extension else None,
        versions=(state.windows_version, state.extension_version),
    )


async def _tax_year(info: Info, tax: str, year: int) -> TaxYear:
    return tax_year_to_graphql(tax, year, await info.context.state(terms.stream(tax, year)))


@query("The discount windows and the extension of a tax in a fiscal year.", who=EVERYBODY)
async def tax_year(info: Info, tax: WhichTax, year: Year) -> TaxYear:
    return await _tax_year(info, tax.name, year)


@strawberry.input(description="A discount for what is paid within some days.")
class DiscountWindowInput:
    first: date = strawberry.field(description="The first day.")
    last: date = strawberry.field(description="The last day.")
    percent: DecimalText = strawberry.field(description="The discount in percent: 10.")


def windows_from_input(given: list[DiscountWindowInput]) -> list[dict[str, Any]]:
    return [
        {
            "first": one.first,
            "last": one.last,
            "hundredths": hundredths(one.percent, f"windows.{n}.percent", most="99.99"),
        }
        for n, one in enumerate(given)
    ]


@command(
    terms.PublishDiscountWindows,
    "Publish the discount windows of a tax and a fiscal year, or move them: they replace those published before.",
    who=OFFICERS,
    takes=Takes(
        "The discount windows of a tax and a fiscal year.",
        tax="The tax.",
        year="The fiscal year.",
        norm="The law or regulation that sets them.",
        windows=Given(
            f"The windows in the order of their days, at most {terms.WINDOWS_MAX}; they do not overlap.",
            type=list[DiscountWindowInput],
            clean=windows_from_input,
        ),
    ),
    gives=Gives("The result of publishing discount windows.", tax_year="The tax in that year."),
)
async def publish_discount_windows(info: Info, done: Done[terms.PublishDiscountWindows]) -> TaxYear:
    return await _tax_year(info, done.command.tax, done.command.year)


@command(
    terms.ExtendPaymentTerm,
    "Declare a general extension: nobody pays interest or indexation for the extended time, whenever they pay.",
    who=OFFICERS,
    takes=Takes(
        "A general extension of the time to pay.",
        tax="The tax.",
        year="The fiscal year.",
        norm="The law or regulation that sets it.",
        until="The new due date. Taxes that are due later than this are not affected.",
    ),
    gives=Gives("The result of declaring a general extension.", tax_year="The tax in that year."),
)
async def extend_payment_term(info: Info, done: Done[terms.ExtendPaymentTerm]) -> TaxYear:
    return await _tax_year(info, done.command.tax, done.command.year)


@strawberry.type(description="A step of a scale: for a base from `above` on, `fixed` and a rate on the excess.")
class ScaleStep:
    above: Money = strawberry.field(description="The lowest base of the step.")
    excess_above: Money = strawberry.field(description="The rate applies to the part of the base above this amount.")
    fixed: Money = strawberry.field(description="The fixed amount.")
    percent: DecimalText = strawberry.field(description="The rate in percent: 0.35.")


@strawberry.type(description="How a tax is calculated from its base, from a fiscal year on.")
class Scale:
    tax: Tax = strawberry.field(description="The tax.")
    from_year: int = strawberry.field(description="The first fiscal year.")
    norm: str = strawberry.field(description="The law or regulation that sets it.")
    steps: list[ScaleStep] = strawberry.field(description="The steps, from the lowest base.")


def _scale(published: scale.ScalePublished) -> Scale:
    def amount(centavos: int) -> Money:
        return money_to_graphql(money.Money(centavos=centavos))

    return Scale(
        tax=Tax[published.tax],
        from_year=published.from_year,
        norm=published.norm,
        steps=[
            ScaleStep(
                above=amount(one.above_centavos),
                excess_above=amount(one.excess_centavos),
                fixed=amount(one.fixed_centavos),
                percent=percent(one.hundredths),
            )
            for one in published.steps
        ],
    )


@query("The scales of a tax, by fiscal year.", who=EVERYBODY)
async def scales(info: Info, tax: WhichTax) -> list[Scale]:
    state = await info.context.state(scale.stream(tax.name))
    return [_scale(one) for _, one in sorted(state.scales.items())]


@strawberry.input(description="A step of a scale: for a base from `above` on, `fixed` and a rate on the excess.")
class ScaleStepInput:
    above: DecimalText = strawberry.field(description="The lowest base of the step, in bolivianos; 0 for the first.")
    excess_above: DecimalText = strawberry.field(
        description="The rate applies to the part of the base above this amount: often the end of the step before."
    )
    fixed: DecimalText = strawberry.field(description="The fixed amount in bolivianos.")
    percent: DecimalText = strawberry.field(description="The rate in percent: 0.35.")


def _steps(given: list[ScaleStepInput]) -> list[dict[str, Any]]:
    return [
        {
            "above_centavos": _centavos(one.above, f"steps.{n}.above"),
            "excess_centavos": _centavos(one.excess_above, f"steps.{n}.excessAbove"),
            "fixed_centavos": _centavos(one.fixed, f"steps.{n}.fixed"),
            "hundredths": hundredths(one.percent, f"steps.{n}.percent"),
        }
        for n, one in enumerate(given)
    ]


def _centavos(text: str, path: str) -> int:
    """An amount of zero or more. Raises InvalidInput."""
    found = money.parse_amount(text, path).centavos
    if found < 0:
        raise InvalidInput(path=path, hint=money.AmountHint())
    return found


@command(
    scale.PublishScale,
    "Publish the scale of a tax from a fiscal year on. Taxes that were assessed by an earlier one stay as they are.",
    who=OFFICERS,
    takes=Takes(
        "The scale of a tax from a fiscal year on.",
        tax="The tax.",
        from_year="The first fiscal year.",
        norm="The law or regulation that sets it.",
        steps=Given(
            f"The steps, from the lowest base, at most {scale.STEPS_MAX}.", type=list[ScaleStepInput], clean=_steps
        ),
    ),
    gives=Gives("The result of publishing a scale.", scale="The scale."),
)
async def publish_scale(info: Info, done: Done[scale.PublishScale]) -> Scale:
    state = await info.context.state(scale.stream(done.command.tax))
    return _scale(state.scales[done.command.from_year])


@strawberry.type(description="The holidays of a calendar year.")
class Holidays:
    year: int = strawberry.field(description="The calendar year.")
    norm: str = strawberry.field(description="The norm that names them.")
    days: list[date] = strawberry.field(description="The days.")


def _holidays(published: holidays_domain.HolidaysPublished) -> Holidays:
    return Holidays(year=published.year, norm=published.norm, days=published.days)


@query("The holidays of a calendar year; null if none are published.", who=EVERYBODY)
async def holidays(
    info: Info, year: Annotated[int, strawberry.argument(description="A calendar year.")]
) -> Holidays | None:
    published = (await info.context.state(holidays_domain.stream(year))).published
    return _holidays(published) if published else None


@command(
    holidays_domain.PublishHolidays,
    "Publish the holidays of a calendar year; they replace those published before. A due date on a holiday, a Saturday"
    " or a Sunday moves to the next working day.",
    who=OFFICERS,
    takes=Takes(
        "The holidays of a calendar year.",
        year="The calendar year.",
        norm="The norm that names them.",
        days=Given(f"The days, at most {holidays_domain.DAYS_MAX}.", type=list[date]),
    ),
    gives=Gives("The result of publishing holidays.", holidays="The holidays."),
)
async def publish_holidays(info: Info, done: Done[holidays_domain.PublishHolidays]) -> Holidays:
    published = (await info.context.state(holidays_domain.stream(done.command.year))).published
    assert published
    return _holidays(published)
