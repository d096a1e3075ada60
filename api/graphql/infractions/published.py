"""What norms publish about infractions: the minimum wage, the catalogue, the terms; and where fines are paid."""

from datetime import date as Date
from typing import Annotated, Any

import strawberry

from api.access.grant import Grant
from api.graphql.access import EVERYBODY
from api.graphql.commands import Done, Given, Gives, Takes, command
from api.graphql.fields import Info, Input, KeyedInput, Node, Payload, coded_id, mutation, node_query, query
from api.graphql.infractions.access import FINANCE
from api.graphql.infractions.words import AMOUNT, hundredths, percent_text
from api.graphql.links import LinkTo
from api.graphql.scalars import DecimalText, Money, Position, money_to_graphql
from domain.calendar import local_date
from domain.decider import build
from domain.identifiers import SLUG
from domain.infractions import catalogue, places, terms, wage
from domain.money import Money as Amount

OnDay = Annotated[Date | None, strawberry.argument(description="A day in La Paz; default: today.")]
Code = Annotated[str, SLUG, strawberry.argument(description="The code of an infraction: t-12.")]
FROM = "The first day on which it applies. Publishing it again for the same day replaces it."
NORM = "The norm that decrees it."


def day_or_today(day: Date | None, info: Info) -> Date:
    return day or local_date(info.context.services.now())


@strawberry.type(description="The monthly minimum wage from a day on.")
class MinimumWage:
    effective_from: Date = strawberry.field(description="The first day on which it applies.")
    amount: Money = strawberry.field(description="The wage.")
    norm: str = strawberry.field(description="The decree.")


def _wage(found: wage.MinimumWagePublished) -> MinimumWage:
    return MinimumWage(effective_from=found.effective_from, amount=money_to_graphql(found.amount), norm=found.norm)


@query("The monthly minimum wage of a day; null if none is published for it.", who=EVERYBODY)
async def minimum_wage(info: Info, day: OnDay = None) -> MinimumWage | None:
    found = wage.wage_on(await info.context.state(wage.stream()), day_or_today(day, info))
    return _wage(found) if found else None


@command(
    wage.PublishMinimumWage,
    "Publish the monthly minimum wage from a day on. Infractions that were issued before keep their fines.",
    who=FINANCE,
    takes=Takes(
        "A minimum wage to publish.", effective_from=FROM, amount=AMOUNT, norm=Given("The decree.", clean=str.strip)
    ),
    gives=Gives("The result of publishing a minimum wage.", wage="The wage."),
)
async def publish_minimum_wage(_: Info, done: Done[wage.PublishMinimumWage]) -> MinimumWage:
    published = done.command
    return MinimumWage(
        effective_from=published.effective_from,
        amount=money_to_graphql(Amount(centavos=published.amount)),
        norm=published.norm,
    )


@strawberry.type(description="What the code of an infraction means from a day on. It has day-fines or an amount.")
class InfractionMeaning:
    effective_from: Date = strawberry.field(description="The first day on which it applies.")
    description: str = strawberry.field(description="The description in Spanish.")
    norm: str = strawberry.field(description="The norm that decrees it.")
    day_fines: int | None = strawberry.field(description="The number of day-fines.")
    amount: Money | None = strawberry.field(description="The fixed amount.")


@strawberry.type(description="A code of the catalogue of infractions.")
class InfractionCode(Node):
    code: str = strawberry.field(description="The code: t-12.")
    state: strawberry.Private[catalogue.InfractionCode]

    @strawberry.field(description="What it means on a day; null if nothing is published for it.")
    def meaning(self, info: Info, day: OnDay = None) -> InfractionMeaning | None:
        found = catalogue.code_on(self.state, day_or_today(day, info))
        return (
            found
            if found is None
            else InfractionMeaning(
                effective_from=found.effective_from,
                description=found.description,
                norm=found.norm,
                day_fines=found.day_fines,
                amount=None if found.amount is None else money_to_graphql(found.amount),
            )
        )


@node_query("infraction-code", "A code of the catalogue of infractions; null if there is none.", who=EVERYBODY)
async def infraction_code(info: Info, code: Code) -> InfractionCode | None:
    state = await info.context.state(catalogue.stream(code))
    return InfractionCode(id=coded_id("infraction-code", code), code=code, state=state) if state.published else None


@command(
    catalogue.PublishInfractionCode,
    "Publish what the code of an infraction means from a day on. Infractions that were issued before stay as they are.",
    who=FINANCE,
    takes=Takes(
        "A code to publish. Give `dayFines` or `amount`.",
        code="The code: t-12.",
        effective_from=FROM,
        description=Given("The description in Spanish.", clean=str.strip),
        norm=Given(NORM, clean=str.strip),
        day_fines="The number of day-fines.",
        amount=Given("A fixed amount in bolivianos: 300.00.", type=DecimalText | None, clean=AMOUNT.clean),
    ),
    gives=Gives("The result of publishing a code.", infraction_code="The code."),
)
async def publish_infraction_code(
    _: Info, done: Done[catalogue.PublishInfractionCode]
) -> Annotated[str, LinkTo("infraction-code")]:
    return done.command.code


@strawberry.type(description="A discount for early payment.")
class InfractionDiscount:
    within_days: int = strawberry.field(description="The last day with it, counted from the notice.")
    percent: DecimalText = strawberry.field(description="The discount in percent.")


@strawberry.type(description="The terms of payment of an infraction. Days are calendar days after that of the notice.")
class InfractionTerms:
    norm: str = strawberry.field(description="The norm that decrees them.")
    day_fine_percent: DecimalText = strawberry.field(
        description="The part of the monthly minimum wage that is a day-fine, in percent."
    )
    discounts: list[InfractionDiscount] = strawberry.field(description="The discounts in the order of their days.")
    term_days: int = strawberry.field(description="The last day without a penalty.")
    penalty_percent: DecimalText = strawberry.field(description="What is added to the fine after the term, in percent.")
    contest_days: int = strawberry.field(description="The last day on which the infraction may be contested.")


def terms_to_graphql(found: terms.PaymentTerms) -> InfractionTerms:
    return InfractionTerms(
        norm=found.norm,
        day_fine_percent=percent_text(found.day_fine_hundredths),
        discounts=[
            InfractionDiscount(within_days=one.within_days, percent=percent_text(one.hundredths))
            for one in found.discounts
        ],
        term_days=found.term_days,
        penalty_percent=percent_text(found.penalty_hundredths),
        contest_days=found.contest_days,
    )


@query("The terms of payment for infractions of a day; null if none are published for it.", who=EVERYBODY)
async def infraction_terms(info: Info, day: OnDay = None) -> InfractionTerms | None:
    found = terms.terms_on(await info.context.state(terms.stream()), day_or_today(day, info))
    return terms_to_graphql(found) if found else None


@strawberry.input(description="A discount for early payment.")
class InfractionDiscountInput:
    within_days: int = strawberry.field(description="The last day with it, counted from the notice.")
    percent: DecimalText = strawberry.field(description="The discount in percent: 20 or 12.5.")


@strawberry.input(description="Terms to publish. Days are calendar days after that of the notice.")
class PublishInfractionTermsInput(KeyedInput):
    effective_from: Date = strawberry.field(description=FROM)
    norm: str = strawberry.field(description=NORM)
    day_fine_percent: DecimalText = strawberry.field(
        description="The part of the monthly minimum wage that is a day-fine, in percent: 5."
    )
    discounts: list[InfractionDiscountInput] = strawberry.field(
        description="The discounts in the order of their days, each lower than the one before, and within the term;"
        f" {terms.DISCOUNTS_MAX} at most."
    )
    term_days: int = strawberry.field(description="The last day without a penalty.")
    penalty_percent: DecimalText = strawberry.field(
        description="What is added to the fine after the term, in percent: 10."
    )
    contest_days: int = strawberry.field(description="The last day on which an infraction may be contested.")


@strawberry.type(description="The result of publishing terms.")
class PublishInfractionTermsPayload(Payload):
    terms: InfractionTerms | None = strawberry.field(default=None, description="The terms.")


def _terms_of(input: PublishInfractionTermsInput) -> dict[str, Any]:
    """The fields of the command. Raises InvalidInput for a wrong percentage."""
    whole = terms.WHOLE_HUNDREDTHS
    return {
        "effective_from": input.effective_from,
        "norm": input.norm.strip(),
        "day_fine_hundredths": hundredths(input.day_fine_percent, "day_fine_percent", least=1, most=whole),
        "discounts": [
            {
                "within_days": one.within_days,
                "hundredths": hundredths(one.percent, f"discounts.{place}.percent", least=1, most=whole - 1),
            }
            for place, one in enumerate(input.discounts)
        ],
        "term_days": input.term_days,
        "penalty_hundredths": hundredths(input.penalty_percent, "penalty_percent", most=terms.PENALTY_HUNDREDTHS_MAX),
        "contest_days": input.contest_days,
    }


@mutation(
    terms.PublishInfractionTerms,
    description="Publish the terms of payment for infractions from a day on. Infractions that were issued before keep"
    " theirs.",
    who=FINANCE,
)
async def publish_infraction_terms(
    info: Info, grant: Grant, input: Input[PublishInfractionTermsInput]
) -> PublishInfractionTermsPayload:
    fields, kind = _terms_of(input), terms.PublishInfractionTerms
    command, outcome = await info.context.perform(
        grant, input.idempotency_key, fields, kind, lambda _: build(kind, **fields)
    )
    state = await info.context.state(terms.stream())
    found = terms.terms_on(state, command.effective_from)
    return PublishInfractionTermsPayload(
        terms=None if found is None else terms_to_graphql(found), position=Position(outcome.position)
    )


@strawberry.type(description="A place where fines are paid: an office, a bank or a page.")
class InfractionPaymentPlace:
    name: str = strawberry.field(description="Its name.")
    address: str = strawberry.field(description="Its address, or that of the page.")


@query("Where fines of infractions are paid.", who=EVERYBODY)
async def infraction_payment_places(info: Info) -> list[InfractionPaymentPlace]:
    return await _places(info)


async def _places(info: Info) -> list[InfractionPaymentPlace]:
    published = (await info.context.state(places.stream())).published
    return [
        InfractionPaymentPlace(name=one.name, address=one.address) for one in (published.places if published else ())
    ]


@strawberry.input(description="A place where fines are paid.")
class InfractionPaymentPlaceInput:
    name: str = strawberry.field(description="Its name.")
    address: str = strawberry.field(description="Its address, or that of the page.")


@command(
    places.PublishInfractionPaymentPlaces,
    "Publish all places where fines are paid, in the order in which they are shown.",
    who=FINANCE,
    takes=Takes(
        "Places to publish.",
        places=Given(
            f"The places, {places.PLACES_MAX} at most; they replace those of before.",
            type=list[InfractionPaymentPlaceInput],
            clean=lambda given: [{"name": one.name.strip(), "address": one.address.strip()} for one in given],
        ),
    ),
    gives=Gives("The result of publishing places.", places="The places."),
)
async def publish_infraction_payment_places(
    info: Info, done: Done[places.PublishInfractionPaymentPlaces]
) -> list[InfractionPaymentPlace]:
    return await _places(info)
