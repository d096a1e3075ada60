"""What is owed for a taxable object and a fiscal year: the assessment, its amendments, and payments."""

from datetime import date, datetime
from typing import Annotated

from msgspec import Meta

from domain.calendar import local_date
from domain.decider import Command, Decided, Event, State, Value, evolves, names_stream_of
from domain.decision import decides
from domain.errors import Hint, InvalidInput, Rejected
from domain.identifiers import (
    NAME,
    OBLIGATION_NAME,
    TAXABLE_OBJECT_CODE,
    LoginId,
    ObligationId,
    TaxableObjectId,
    obligation_id,
)
from domain.money import BOB, Money, PositiveAmountHint
from domain.obligations import scale as scales_module
from domain.obligations.scale import Scales, scale_for, tax_by
from domain.obligations.tax_year import YEAR_MIN, Tax, check_day
from domain.obligations.taxable_object import InTheFuture, TaxableObject, TaxableObjectUnknown
from domain.obligations.taxable_object import stream as object_stream

TAX_ON: dict[str, Tax] = {"PROPERTY": "IPBI", "VEHICLE": "IPVA", "ACTIVITY": "PATENTE"}


class TaxAssessed(Event, name="tax_assessed.v1"):
    """The tax of one object and fiscal year; `due` is the last day to pay without interest.

    If it follows from a `base`, `scale_norm` is the norm of the scale.
    """

    obligation: ObligationId
    object: TaxableObjectId
    tax: str
    year: int
    amount: Money
    due: date
    norm: str
    base: Money | None = None
    scale_norm: str | None = None


class AmendmentProposed(Event, name="amendment_proposed.v1"):
    """Another amount is proposed, by an officer: after a court case, a correction or a remission."""

    obligation: ObligationId
    amendment: str
    amount: Money
    norm: str
    reason: str
    proposed_by: LoginId


class AmendmentApproved(Event, name="amendment_approved.v1"):
    """The amount of the amendment replaces the assessed one, as if it had always been so."""

    obligation: ObligationId
    amendment: str
    amount: Money
    norm: str
    approved_by: LoginId


class AmendmentRejected(Event, name="amendment_rejected.v1"):
    obligation: ObligationId
    amendment: str
    rejected_by: LoginId


class ObligationSettled(Event, name="obligation_settled.v1"):
    """A payment, in part or whole. `reference` is the number of the receipt: it counts once per obligation."""

    obligation: ObligationId
    amount: Money
    paid_on: date
    reference: str


class SettlementReversed(Event, name="settlement_reversed.v1"):
    """A payment is reversed, as if it had never been made: after a refund or a dishonoured cheque."""

    obligation: ObligationId
    reference: str
    reason: str


class Settlement(Value):
    """A payment that counts. `version` is that of its event in the stream."""

    amount: Money
    paid_on: date
    version: int


class Amendment(Value):
    """A proposed amendment that nobody has decided yet."""

    amount: Money
    norm: str
    reason: str
    proposed_by: LoginId


class Obligation(State):
    """`tax` is the assessed or last amended amount, by `norm`, and `tax_version` the version of that event.

    `settlements` and `reversed` by reference. `decided` has the amendments that were approved or rejected. `version`
    counts the events.
    """

    assessed: TaxAssessed | None = None
    tax: Money = Money(centavos=0)
    norm: str = ""
    tax_version: int = 0
    settlements: dict[str, Settlement] = {}
    reversed: dict[str, str] = {}
    amendments: dict[str, Amendment] = {}
    decided: dict[str, bool] = {}
    version: int = 0


@names_stream_of(Obligation)
def stream(obligation: ObligationId) -> str:
    return f"obligation/{obligation}"


@evolves("obligation", Obligation)
def evolve(state: Obligation, event: Event) -> Obligation:
    match event:
        case TaxAssessed():
            state.version += 1
            state.assessed, state.tax, state.norm, state.tax_version = event, event.amount, event.norm, state.version
        case ObligationSettled():
            state.version += 1
            state.settlements[event.reference] = Settlement(
                amount=event.amount, paid_on=event.paid_on, version=state.version
            )
        case SettlementReversed():
            state.version += 1
            state.reversed[event.reference] = event.reason
            state.settlements.pop(event.reference, None)
        case AmendmentProposed():
            state.version += 1
            state.amendments[event.amendment] = Amendment(
                amount=event.amount, norm=event.norm, reason=event.reason, proposed_by=event.proposed_by
            )
        case AmendmentApproved():
            state.version += 1
            state.tax, state.norm, state.tax_version = event.amount, event.norm, state.version
            state.decided[event.amendment] = True
            state.amendments.pop(event.amendment, None)
        case AmendmentRejected():
            state.version += 1
            state.decided[event.amendment] = False
            state.amendments.pop(event.amendment, None)
    return state


class AlreadyAssessed(
    Rejected,
    es="El tributo de la gestión {year} de este objeto ya está determinado en Bs {amount}.",
    en="Year {year} of this object is already assessed at Bs {amount}.",
):
    year: int
    amount: str


class ObligationUnknown(
    Rejected,
    es="No existe la obligación {obligation}.",
    en="There is no obligation {obligation}.",
):
    obligation: ObligationId


class ReferenceUsed(
    Rejected,
    es="El recibo {reference} ya está registrado en esta obligación con otro monto o fecha, o fue revertido.",
    en="Receipt {reference} is already recorded for this obligation with another amount or date, or was reversed.",
):
    reference: str


class SettlementUnknown(
    Rejected,
    es="Esta obligación no tiene el recibo {reference}.",
    en="This obligation has no receipt {reference}.",
):
    reference: str


class YearHint(
    Hint,
    es="la gestión debe ser {first} o posterior, y no posterior al año del vencimiento, como {first}",
    en="the fiscal year must be {first} or later, and not after the year of the due date, like {first}",
):
    first: int


class AmountOrBaseHint(
    Hint,
    es="indique el monto del tributo o su base imponible: uno de los dos",
    en="give either the amount of the tax or its base",
): ...


def positive(amount: Money, path: str) -> None:
    """Raises InvalidInput for an amount of zero or less, or of another currency than that of the debts."""
    if amount.centavos <= 0 or amount.currency != BOB:
        raise InvalidInput(path=path, hint=PositiveAmountHint())


class AssessTax(Command):
    """Give the `amount` of the tax, or the `base` from which it follows by the scale of the year."""

    object: Annotated[TaxableObjectId, TAXABLE_OBJECT_CODE]
    year: Annotated[int, Meta(ge=YEAR_MIN)]
    due: date
    norm: Annotated[str, NAME]
    amount: Money | None = None
    base: Money | None = None

    @property
    def obligation(self) -> ObligationId:
        return obligation_id(self.object, self.year)

    @property
    def tax(self) -> Tax:
        """Each kind of object has one tax, and its code begins with the kind."""
        return TAX_ON[self.object.partition("-")[0].upper()]


@decides(
    AssessTax,
    reads=lambda c: (object_stream(c.object), stream(c.obligation), scales_module.stream(c.tax)),
)
def assess_tax(
    command: AssessTax, state: TaxableObject, obligation: Obligation, scales: Scales, *, now: datetime
) -> Decided:
    check_day(command.due, "due")
    if command.year > command.due.year:
        raise InvalidInput(path="year", hint=YearHint(first=YEAR_MIN))
    amount, scale_norm = _amount(command, scales)
    if state.registered is None:
        raise TaxableObjectUnknown(path="object", object=command.object)
    assessed = TaxAssessed(
        obligation=command.obligation,
        object=command.object,
        tax=command.tax,
        year=command.year,
        amount=amount,
        due=command.due,
        norm=command.norm,
        base=command.base,
        scale_norm=scale_norm,
    )
    if obligation.assessed == assessed:
        return
    if obligation.assessed:
        raise AlreadyAssessed(path="year", year=command.year, amount=str(obligation.assessed.amount))
    yield stream(command.obligation), assessed


def _amount(command: AssessTax, scales: Scales) -> tuple[Money, str | None]:
    """The tax, and the norm of the scale by which it follows from the base."""
    if command.amount is not None and command.base is None:
        positive(command.amount, "amount")
        return command.amount, None
    if command.base is None or command.amount is not None:
        raise InvalidInput(path="amount", hint=AmountOrBaseHint())
    positive(command.base, "base")
    scale = scale_for(scales, command.tax, command.year)
    return tax_by(scale, command.base), scale.norm


class SettleObligation(Command):
    """A payment that was taken. It is never refused because of its amount."""

    obligation: Annotated[ObligationId, OBLIGATION_NAME]
    amount: Money
    paid_on: date
    reference: Annotated[str, NAME]


@decides(SettleObligation, reads=lambda c: (stream(c.obligation),))
def settle_obligation(command: SettleObligation, obligation: Obligation, *, now: datetime) -> Decided:
    positive(command.amount, "amount")
    if obligation.assessed is None:
        raise ObligationUnknown(path="obligation", obligation=command.obligation)
    check_day(command.paid_on, "paid_on")
    if command.paid_on > local_date(now):
        raise InTheFuture(path="paid_on", day=command.paid_on)
    known = obligation.settlements.get(command.reference)
    if known and (known.amount, known.paid_on) == (command.amount, command.paid_on):
        return
    if known or command.reference in obligation.reversed:
        raise ReferenceUsed(path="reference", reference=command.reference)
    settled = ObligationSettled(
        obligation=command.obligation, amount=command.amount, paid_on=command.paid_on, reference=command.reference
    )
    yield stream(command.obligation), settled


class ReverseSettlement(Command):
    obligation: Annotated[ObligationId, OBLIGATION_NAME]
    reference: Annotated[str, NAME]
    reason: Annotated[str, NAME]


@decides(ReverseSettlement, reads=lambda c: (stream(c.obligation),))
def reverse_settlement(command: ReverseSettlement, obligation: Obligation, *, now: datetime) -> Decided:
    if command.reference in obligation.reversed:
        return
    if command.reference not in obligation.settlements:
        raise SettlementUnknown(path="reference", reference=command.reference)
    reversed_ = SettlementReversed(obligation=command.obligation, reference=command.reference, reason=command.reason)
    yield stream(command.obligation), reversed_
