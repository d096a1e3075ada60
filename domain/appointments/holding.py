"""Holding a slot for some minutes before it is booked."""

from datetime import datetime, timedelta
from typing import Annotated

from msgspec import Meta

from domain.appointments import patient as patients
from domain.appointments.agenda import Agenda, SlotHeld, SlotNumber, live_hold, stream
from domain.appointments.booking import refuse_taken, slot_on_offer, visit_of
from domain.appointments.patient import HoldTaken, Patient
from domain.decider import MUST_BE_REGISTERED, Command, Decided
from domain.decision import decides
from domain.errors import Rejected
from domain.identifiers import (
    AGENDA_NAME,
    OPAQUE,
    AgendaId,
    HoldId,
    SubjectId,
)

HOLD_RENEWALS_MAX = 1
HOLD_SECONDS_MAX = 3_600


class HoldRenewedAlready(
    Rejected,
    es="La reserva ya se renovó una vez y vence el {at}.",
    en="The hold was already renewed; it expires on {at}.",
):
    at: datetime


class HoldSlot(Command):
    """Hold a slot for `hold_s` seconds. A second command for the same slot renews the hold, once."""

    agenda: Annotated[AgendaId, AGENDA_NAME]
    slot: SlotNumber
    patient: Annotated[SubjectId, OPAQUE, MUST_BE_REGISTERED]
    hold: Annotated[HoldId, OPAQUE]
    hold_s: Annotated[int, Meta(ge=1, le=HOLD_SECONDS_MAX)]


@decides(HoldSlot, reads=lambda c: (stream(c.agenda), patients.stream(c.patient)))
def hold_slot(command: HoldSlot, agenda: Agenda, patient: Patient, *, now: datetime) -> Decided:
    if command.hold in agenda.all_holds:
        return
    published, slot = slot_on_offer(agenda, command.slot, now)
    refuse_taken(agenda, slot, command.patient, now)
    own = live_hold(agenda, slot.number, now)
    if own and own.renewals >= HOLD_RENEWALS_MAX:
        raise HoldRenewedAlready(path="slot", at=own.held_until)
    patients.refuse_another_hold(patient, command.agenda, slot.number, now)
    patients.refuse_another_visit(patient, visit_of("", published, slot), now)
    held_until = now + timedelta(seconds=command.hold_s)
    if own:
        held_until = max(held_until, own.held_until)
    yield (
        stream(command.agenda),
        SlotHeld(
            hold=command.hold,
            slot=slot.number,
            patient=command.patient,
            held_until=held_until,
            renewals=own.renewals + 1 if own else 0,
        ),
    )
    yield (
        patients.stream(command.patient),
        HoldTaken(hold=command.hold, agenda=command.agenda, slot=slot.number, held_at=now, held_until=held_until),
    )
