"""Payments of infractions, their reversal and collection, in the schema."""

from api.graphql.commands import Done, Given, Gives, Takes, command
from api.graphql.fields import Info
from api.graphql.infractions.access import FINANCE
from api.graphql.infractions.infractions import InfractionLink
from api.graphql.infractions.words import AMOUNT
from domain.infractions.settling import ReverseInfractionSettlement, SendToCollection, SettleInfraction


@command(
    SettleInfraction,
    "Record a payment of an infraction, in part or whole. Each receipt counts once.",
    who=FINANCE,
    takes=Takes(
        "A payment that was taken.",
        infraction="The infraction.",
        amount=AMOUNT,
        paid_on="The day of the payment.",
        reference=Given("The number of the receipt.", clean=str.strip),
    ),
    gives=Gives("The result of recording a payment.", infraction="The infraction."),
)
async def settle_infraction(_: Info, done: Done[SettleInfraction]) -> InfractionLink:
    return done.command.infraction


@command(
    ReverseInfractionSettlement,
    "Reverse a payment of an infraction: it is as if it had never been made.",
    who=FINANCE,
    takes=Takes(
        "A payment to reverse.",
        infraction="The infraction.",
        reference=Given("The number of the receipt.", clean=str.strip),
        reason=Given("The reason, such as a dishonoured cheque.", clean=str.strip),
    ),
    gives=Gives("The result of reversing a payment.", infraction="The infraction."),
)
async def reverse_infraction_settlement(_: Info, done: Done[ReverseInfractionSettlement]) -> InfractionLink:
    return done.command.infraction


@command(
    SendToCollection,
    "Send an infraction to collection that was not paid within its term.",
    who=FINANCE,
    takes=Takes(
        "An infraction to send to collection.",
        infraction="The infraction.",
        document=Given("The order of collection.", clean=str.strip),
    ),
    gives=Gives("The result of sending an infraction to collection.", infraction="The infraction."),
)
async def send_to_collection(_: Info, done: Done[SendToCollection]) -> InfractionLink:
    return done.command.infraction
