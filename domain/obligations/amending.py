"""Amendments of an assessment: one officer proposes another amount, and another one approves it.

Any officer may reject it.
"""

from datetime import datetime
from typing import Annotated

from domain.decider import Command, Decided
from domain.decision import decides
from domain.errors import Rejected
from domain.identifiers import AMENDMENT_NAME, NAME, OBLIGATION_NAME, OPAQUE, LoginId, ObligationId
from domain.money import Money
from domain.obligations.obligation import (
    Amendment,
    AmendmentApproved,
    AmendmentProposed,
    AmendmentRejected,
    Obligation,
    ObligationUnknown,
    positive,
    stream,
)


class AmendmentUnknown(
    Rejected,
    es="Esta obligación no tiene una enmienda propuesta con ese identificador.",
    en="This obligation has no proposed amendment with that id.",
): ...


class AmendmentDecided(
    Rejected,
    es="Esta enmienda ya fue decidida.",
    en="This amendment is already decided.",
): ...


class ProposedByYourself(
    Rejected,
    es="Usted propuso esta enmienda: debe aprobarla otra persona.",
    en="You proposed this amendment; somebody else must approve it.",
): ...


class ProposeAmendment(Command):
    """`amount` may be zero: a court may find that nothing is owed."""

    obligation: Annotated[ObligationId, OBLIGATION_NAME]
    amendment: Annotated[str, AMENDMENT_NAME]
    amount: Money
    norm: Annotated[str, NAME]
    reason: Annotated[str, NAME]
    proposed_by: Annotated[LoginId, OPAQUE]


@decides(ProposeAmendment, reads=lambda c: (stream(c.obligation),))
def propose_amendment(command: ProposeAmendment, obligation: Obligation, *, now: datetime) -> Decided:
    if command.amount.centavos != 0:
        positive(command.amount, "amount")
    if obligation.assessed is None:
        raise ObligationUnknown(path="obligation", obligation=command.obligation)
    if command.amendment in obligation.amendments or command.amendment in obligation.decided:
        return
    proposed = AmendmentProposed(
        obligation=command.obligation,
        amendment=command.amendment,
        amount=command.amount,
        norm=command.norm,
        reason=command.reason,
        proposed_by=command.proposed_by,
    )
    yield stream(command.obligation), proposed


class ApproveAmendment(Command):
    obligation: Annotated[ObligationId, OBLIGATION_NAME]
    amendment: Annotated[str, AMENDMENT_NAME]
    approved_by: Annotated[LoginId, OPAQUE]


@decides(ApproveAmendment, reads=lambda c: (stream(c.obligation),))
def approve_amendment(command: ApproveAmendment, obligation: Obligation, *, now: datetime) -> Decided:
    proposed = _undecided(obligation, command.amendment, approved=True)
    if proposed is None:
        return
    if proposed.proposed_by == command.approved_by:
        raise ProposedByYourself(path="amendment")
    approved = AmendmentApproved(
        obligation=command.obligation,
        amendment=command.amendment,
        amount=proposed.amount,
        norm=proposed.norm,
        approved_by=command.approved_by,
    )
    yield stream(command.obligation), approved


class RejectAmendment(Command):
    """The one who proposed it may withdraw it in this way."""

    obligation: Annotated[ObligationId, OBLIGATION_NAME]
    amendment: Annotated[str, AMENDMENT_NAME]
    rejected_by: Annotated[LoginId, OPAQUE]


@decides(RejectAmendment, reads=lambda c: (stream(c.obligation),))
def reject_amendment(command: RejectAmendment, obligation: Obligation, *, now: datetime) -> Decided:
    if _undecided(obligation, command.amendment, approved=False):
        rejected = AmendmentRejected(
            obligation=command.obligation, amendment=command.amendment, rejected_by=command.rejected_by
        )
        yield stream(command.obligation), rejected


def _undecided(obligation: Obligation, amendment: str, *, approved: bool) -> Amendment | None:
    """The amendment that is to be decided; None if it was decided in the same way.

    Raises AmendmentUnknown, or AmendmentDecided if it was decided in the other way.
    """
    if amendment in obligation.amendments:
        return obligation.amendments[amendment]
    if amendment not in obligation.decided:
        raise AmendmentUnknown(path="amendment")
    if obligation.decided[amendment] != approved:
        raise AmendmentDecided(path="amendment")
    return None
