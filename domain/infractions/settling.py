"""Payments of an infraction, their reversal, and sending what nobody pays to collection."""

from datetime import date, datetime
from typing import Annotated

from domain.calendar import local_date
from domain.decider import Command, Decided
from domain.decision import decides
from domain.errors import Rejected
from domain.identifiers import INFRACTION_NAME, NAME, InfractionId
from domain.infractions.debt import is_covered, last_day
from domain.infractions.infraction import (
    Infraction,
    InfractionSentToCollection,
    InfractionSettled,
    InfractionSettlementReversed,
    Payment,
    allow,
    known,
    stream,
    with_payment,
    without_payment,
)
from domain.money import Centavos, Money

RECEIPTS_MAX = 200  # of an infraction, whose stream must stay short


class ReceiptUsed(
    Rejected,
    es="El recibo {reference} ya está registrado en esta infracción con otro monto o fecha, o fue revertido.",
    en="Receipt {reference} is already recorded for this infraction with another amount or date, or was reversed.",
):
    reference: str


class ReceiptUnknown(
    Rejected,
    es="Esta infracción no tiene el recibo {reference}.",
    en="This infraction has no receipt {reference}.",
):
    reference: str


class PaidOutOfTime(
    Rejected,
    es="Un pago es del día de la infracción, el {first}, o de uno posterior, y no del futuro.",
    en="A payment is made on the day of the infraction, {first}, or later, and not in the future.",
):
    first: date


class PaymentTermNotOver(
    Rejected,
    es="El plazo de pago de esta infracción termina recién el {last}.",
    en="The time to pay this infraction only ends on {last}.",
):
    last: date


class TooManyReceipts(
    Rejected,
    es="Una infracción puede tener {limit} recibos como máximo, contando los revertidos.",
    en="An infraction can have at most {limit} receipts, counting reversed ones.",
):
    limit: int


class SettleInfraction(Command):
    """A payment that was taken. It is never refused because of its amount or of the infraction's status.

    `amount` is in centavos.
    """

    infraction: Annotated[InfractionId, INFRACTION_NAME]
    amount: Centavos
    paid_on: date
    reference: Annotated[str, NAME]


@decides(SettleInfraction, reads=lambda c: (stream(c.infraction),))
def settle_infraction(command: SettleInfraction, state: Infraction, *, now: datetime) -> Decided:
    _, account = known(state, command.infraction)
    payment = Payment(amount=Money(centavos=command.amount), paid_on=command.paid_on)
    if account.payments.get(command.reference) == payment:
        return
    if command.reference in account.payments or command.reference in state.reversed:
        raise ReceiptUsed(path="reference", reference=command.reference)
    if not account.occurred_on <= command.paid_on <= local_date(now):
        raise PaidOutOfTime(path="paid_on", first=account.occurred_on)
    if len(account.payments) + len(state.reversed) >= RECEIPTS_MAX:
        raise TooManyReceipts(path="reference", limit=RECEIPTS_MAX)
    settled = InfractionSettled(
        infraction=command.infraction,
        amount=payment.amount,
        paid_on=command.paid_on,
        reference=command.reference,
        settles=is_covered(with_payment(account, command.reference, payment)),
    )
    yield stream(command.infraction), settled


class ReverseInfractionSettlement(Command):
    """A refund, or a dishonoured cheque."""

    infraction: Annotated[InfractionId, INFRACTION_NAME]
    reference: Annotated[str, NAME]
    reason: Annotated[str, NAME]


@decides(ReverseInfractionSettlement, reads=lambda c: (stream(c.infraction),))
def reverse_infraction_settlement(command: ReverseInfractionSettlement, state: Infraction, *, now: datetime) -> Decided:
    _, account = known(state, command.infraction)
    if command.reference in state.reversed:
        return
    if command.reference not in account.payments:
        raise ReceiptUnknown(path="reference", reference=command.reference)
    left = without_payment(account, command.reference)
    reversed_ = InfractionSettlementReversed(
        infraction=command.infraction,
        reference=command.reference,
        reason=command.reason,
        reopens=account.status == "PAID" and not is_covered(left),
    )
    yield stream(command.infraction), reversed_


class SendToCollection(Command):
    """`document` names the order of collection."""

    infraction: Annotated[InfractionId, INFRACTION_NAME]
    document: Annotated[str, NAME]


@decides(SendToCollection, reads=lambda c: (stream(c.infraction),))
def send_to_collection(command: SendToCollection, state: Infraction, *, now: datetime) -> Decided:
    _, account = known(state, command.infraction)
    if state.collection and state.collection.document == command.document:
        return
    allow(account, "COLLECT")
    today, last = local_date(now), last_day(account, account.terms.term_days)
    assert last, "no contest goes on"
    if today <= last:
        raise PaymentTermNotOver(path="infraction", last=last)
    sent = InfractionSentToCollection(infraction=command.infraction, document=command.document, sent_on=today)
    yield stream(command.infraction), sent
