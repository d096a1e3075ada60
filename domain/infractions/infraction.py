"""An infraction: its events, its state, and the account from which its status and what is owed follow.

Neither the owner of the vehicle nor the driver is stored: the place and the plate are what the city knows.
"""

from collections.abc import Mapping
from datetime import date
from fractions import Fraction
from typing import Any, Literal

from msgspec.structs import replace

from domain.decider import Event, Instant, State, Value, evolves, names_stream_of
from domain.errors import Language, Rejected
from domain.identifiers import InfractionId, LoginId, Plate
from domain.infractions.terms import WHOLE_HUNDREDTHS, PaymentTerms
from domain.money import Money, rounded

Status = Literal["ISSUED", "CONTESTED", "ANNULLED", "PAID", "IN_COLLECTION"]
Step = Literal["CONTEST", "UPHOLD", "ANNUL", "COLLECT", "PAY"]
Outcome = Literal["UPHELD", "ANNULLED"]

# From which status each step leads where; in any other status the step is refused. PAY is the payment that covers the
# rest, and reversing one of the payments leads back to where PAY began. A payment is never refused: money was taken.
TRANSITIONS: Mapping[Step, Mapping[Status, Status]] = {
    "CONTEST": {"ISSUED": "CONTESTED"},
    "UPHOLD": {"CONTESTED": "ISSUED"},
    "ANNUL": {"CONTESTED": "ANNULLED"},
    "COLLECT": {"ISSUED": "IN_COLLECTION"},
    "PAY": {"ISSUED": "PAID", "CONTESTED": "PAID", "IN_COLLECTION": "PAID"},
}


class Fine(Value):
    """The fine as it was fixed at issue: a given amount, or day-fines of a share of the minimum wage.

    Attributes:
        norm: the norm of the code.
        amount: the whole fine, rounded.
        day_fines, wage, wage_norm: of a fine in day-fines.
        day_fine_hundredths: the share of the wage that is a day-fine, in hundredths of a percent.
        day_fine_norm: the norm that says so.
    """

    norm: str
    amount: Money
    day_fines: int | None = None
    wage: Money | None = None
    wage_norm: str | None = None
    day_fine_hundredths: int | None = None
    day_fine_norm: str | None = None


def exact_fine(fine: Fine) -> Fraction:
    """The whole fine in bolivianos, before rounding."""
    if fine.day_fines is None or fine.wage is None or fine.day_fine_hundredths is None:
        return Fraction(fine.amount.amount)
    return Fraction(fine.wage.amount) * fine.day_fine_hundredths * fine.day_fines / WHOLE_HUNDREDTHS


def fine_in_day_fines(
    *, norm: str, day_fines: int, wage: Money, wage_norm: str, day_fine_hundredths: int, day_fine_norm: str
) -> Fine:
    """A fine of so many day-fines; its amount is rounded once."""
    fine = Fine(
        norm=norm,
        amount=wage,
        day_fines=day_fines,
        wage=wage,
        wage_norm=wage_norm,
        day_fine_hundredths=day_fine_hundredths,
        day_fine_norm=day_fine_norm,
    )
    return replace(fine, amount=rounded(exact_fine(fine)))


class InfractionIssued(Event, name="infraction_issued.v1"):
    """`description`, `fine` and `terms` are those that were published for the day of the infraction.

    `guard` is the guard's code, `evidence` names where photographs and papers are kept. `notified_on`: the day on which
    the notice was handed over or left on the vehicle.
    """

    infraction: InfractionId
    plate: Plate
    code: str
    description: str
    place: str
    district: str
    occurred_at: Instant
    occurred_on: date
    notified_on: date
    guard: str
    evidence: str
    issued_by: LoginId
    fine: Fine
    terms: PaymentTerms


class InfractionContested(Event, name="infraction_contested.v1"):
    """`statement` names the paper in which somebody contests it."""

    infraction: InfractionId
    statement: str
    contested_on: date


class InfractionContestResolved(Event, name="infraction_contest_resolved.v1"):
    """`outcome` is UPHELD or ANNULLED; an annulled infraction is as if it had never been issued."""

    infraction: InfractionId
    outcome: str
    resolution: str
    norm: str
    resolved_on: date
    resolved_by: LoginId


class InfractionSettled(Event, name="infraction_settled.v1"):
    """A payment, in part or whole. `reference` is the number of the receipt: each counts once.

    `settles`: with this payment, all payments known cover the whole debt.
    """

    infraction: InfractionId
    amount: Money
    paid_on: date
    reference: str
    settles: bool = False


class InfractionSettlementReversed(Event, name="infraction_settlement_reversed.v1"):
    """A payment does not count, as if it had never been made. `reopens`: the others do not cover the debt."""

    infraction: InfractionId
    reference: str
    reason: str
    reopens: bool = False


class InfractionSentToCollection(Event, name="infraction_sent_to_collection.v1"):
    """`document` names the order of collection."""

    infraction: InfractionId
    document: str
    sent_on: date


class Payment(Value):
    amount: Money
    paid_on: date


class Account(Value):
    """What the status of an infraction and the amount owed on any day follow from.

    `payments` by receipt. `unpaid_status` is the status apart from payments: where a reversal leads back to.
    """

    occurred_on: date
    notified_on: date
    fine: Fine
    terms: PaymentTerms
    status: Status = "ISSUED"
    unpaid_status: Status = "ISSUED"
    contested_on: date | None = None
    resolved_on: date | None = None
    payments: dict[str, Payment] = {}


def account_after(account: Account | None, event: Event) -> Account | None:
    """The account after an event of the infraction."""
    if isinstance(event, InfractionIssued):
        return Account(occurred_on=event.occurred_on, notified_on=event.notified_on, fine=event.fine, terms=event.terms)
    return None if account is None else _changed(account, event)


def _changed(account: Account, event: Event) -> Account:
    match event:
        case InfractionContested():
            return replace(_after(account, "CONTEST"), contested_on=event.contested_on)
        case InfractionContestResolved():
            resolved = _after(account, "UPHOLD" if event.outcome == "UPHELD" else "ANNUL")
            return replace(resolved, resolved_on=event.resolved_on)
        case InfractionSentToCollection():
            return _after(account, "COLLECT")
        case InfractionSettled():
            paid = with_payment(account, event.reference, Payment(amount=event.amount, paid_on=event.paid_on))
            settles = event.settles and paid.status in TRANSITIONS["PAY"]
            return replace(paid, status=TRANSITIONS["PAY"][paid.status]) if settles else paid
        case InfractionSettlementReversed():
            left = without_payment(account, event.reference)
            return replace(left, status=left.unpaid_status) if event.reopens else left
    return account


def with_payment(account: Account, reference: str, payment: Payment) -> Account:
    """The account with one more payment; its status stays."""
    return replace(account, payments={**account.payments, reference: payment})


def without_payment(account: Account, reference: str) -> Account:
    """The account without a payment; its status stays."""
    left = {name: one for name, one in account.payments.items() if name != reference}
    return replace(account, payments=left)


def _after(account: Account, step: Step) -> Account:
    status = TRANSITIONS[step].get(account.status, account.status)  # a fold takes any events in any order
    return replace(account, status=status, unpaid_status=status)


class Infraction(State):
    """`reversed` has the reasons of reversed payments, by receipt."""

    issued: InfractionIssued | None = None
    account: Account | None = None
    contest: InfractionContested | None = None
    resolution: InfractionContestResolved | None = None
    collection: InfractionSentToCollection | None = None
    reversed: dict[str, str] = {}


@names_stream_of(Infraction)
def stream(infraction: InfractionId) -> str:
    return f"infraction/{infraction}"


@evolves("infraction", Infraction)
def evolve(state: Infraction, event: Event) -> Infraction:
    state.account = account_after(state.account, event)
    match event:
        case InfractionIssued():
            state.issued = event
        case InfractionContested():
            state.contest = event
        case InfractionContestResolved():
            state.resolution = event
        case InfractionSentToCollection():
            state.collection = event
        case InfractionSettlementReversed():
            state.reversed[event.reference] = event.reason
    return state


class InfractionUnknown(
    Rejected,
    es="No existe la infracción {infraction}.",
    en="There is no infraction {infraction}.",
):
    infraction: InfractionId


STATUS_WORDS: Mapping[Status, Mapping[Language, str]] = {
    "ISSUED": {"es": "está impuesta y sin pagar", "en": "is issued and unpaid"},
    "CONTESTED": {"es": "está impugnada", "en": "is contested"},
    "ANNULLED": {"es": "fue anulada", "en": "was annulled"},
    "PAID": {"es": "está pagada", "en": "is paid"},
    "IN_COLLECTION": {"es": "está en cobranza", "en": "is in collection"},
}


class InfractionStatusForbids(
    Rejected,
    es="Esto no se puede hacer: la infracción {status}.",
    en="This can't be done: the infraction {status}.",
):
    status: Status

    def blanks(self, language: Language) -> dict[str, Any]:
        return {"status": STATUS_WORDS[self.status][language]}


def known(state: Infraction, infraction: InfractionId) -> tuple[InfractionIssued, Account]:
    """What was issued, and its account. Raises InfractionUnknown."""
    if state.issued is None or state.account is None:
        raise InfractionUnknown(path="infraction", infraction=infraction)
    return state.issued, state.account


def allow(account: Account, step: Step) -> None:
    """Raises InfractionStatusForbids unless the step is legal now."""
    if account.status not in TRANSITIONS[step]:
        raise InfractionStatusForbids(path="infraction", status=account.status)
