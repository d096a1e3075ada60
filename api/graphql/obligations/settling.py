"""Assessing a tax and recording payments in the schema."""

from typing import Annotated

from api.graphql.commands import Done, Given, Gives, Takes, command
from api.graphql.fields import Info
from api.graphql.links import LinkTo
from api.graphql.obligations.access import OFFICERS
from api.graphql.scalars import DecimalText
from domain.money import parse_amount
from domain.obligations import obligation as domain

AMOUNT = Given("The amount in bolivianos: 1015.62.", type=DecimalText, clean=parse_amount)
ObligationLink = Annotated[str, LinkTo("obligation")]


@command(
    domain.AssessTax,
    "Assess the tax of an object and a fiscal year: give its amount, or the base from which it follows by the scale.",
    who=OFFICERS,
    takes=Takes(
        "A tax to assess.",
        object="The object's code: vehicle-1234abc.",
        year="The fiscal year.",
        due="The last day to pay. If that is not a working day, the due date moves to the next working day.",
        norm="The norm or resolution by which it is assessed.",
        amount=Given("The tax in bolivianos: 1015.62.", type=DecimalText | None, clean=parse_amount),
        base=Given(
            "The base in bolivianos, such as the value of the property.",
            type=DecimalText | None,
            clean=lambda text: parse_amount(text, "base"),
        ),
    ),
    gives=Gives("The result of assessing a tax.", obligation="The obligation."),
)
async def assess_tax(_: Info, done: Done[domain.AssessTax]) -> ObligationLink:
    return done.command.obligation


@command(
    domain.SettleObligation,
    "Record a payment for an obligation, in part or whole. A payment is never refused because of its amount. A receipt"
    " counts once per obligation.",
    who=OFFICERS,
    takes=Takes(
        "A payment that was received.",
        obligation="The obligation that the payer chose.",
        amount=AMOUNT,
        paid_on="The day of the payment.",
        reference=Given("The number of the receipt.", clean=str.strip),
    ),
    gives=Gives("The result of recording a payment.", obligation="The obligation."),
)
async def settle_obligation(_: Info, done: Done[domain.SettleObligation]) -> ObligationLink:
    return done.command.obligation


@command(
    domain.ReverseSettlement,
    "Reverse a payment, for example after a refund or a dishonoured cheque. The debt returns with its interest.",
    who=OFFICERS,
    takes=Takes(
        "A payment to reverse.",
        obligation="The obligation.",
        reference=Given("The number of the receipt.", clean=str.strip),
        reason="The reason.",
    ),
    gives=Gives("The result of reversing a payment.", obligation="The obligation."),
)
async def reverse_settlement(_: Info, done: Done[domain.ReverseSettlement]) -> ObligationLink:
    return done.command.obligation
