"""Publishing an agenda."""

from collections.abc import Iterable
from datetime import UTC, date, datetime, timedelta
from typing import Annotated

from msgspec import Meta

from domain.appointments import hospital as hospitals
from domain.appointments import patient as patients
from domain.appointments.agenda import (
    SLOTS_PER_AGENDA_MAX,
    Agenda,
    AgendaPublished,
    Channel,
    stream,
)
from domain.appointments.availability import Slot
from domain.appointments.hospital import Hospital, HospitalUnknown
from domain.calendar import local_date
from domain.decider import Command, Decided, Instant, Value
from domain.decision import decides
from domain.errors import Hint, InThePast, InvalidInput, OnceHint, Rejected, TooFarAhead
from domain.identifiers import (
    SLUG,
    AgendaId,
    HospitalId,
    PractitionerId,
    SpecialtyId,
    agenda_id,
)

PUBLISH_AHEAD_DAYS_MAX = 366
SLOT_MINUTES_MAX = patients.VISIT_MINUTES_MAX  # a slot becomes a visit


class SlotTime(Value, forbid_unknown_fields=True):
    start: Instant
    minutes: Annotated[int, Meta(ge=1, le=SLOT_MINUTES_MAX)]


class AgendaExists(
    Rejected,
    es="Este profesional ya tiene otra agenda para esa fecha.",
    en="This practitioner already has a different agenda on that date.",
):
    agenda: AgendaId


class SlotDateHint(Hint, es="el horario debe empezar el {at}, en La Paz", en="the slot must start on {at} in La Paz"):
    at: date


def quotas_by_channel(quotas: Iterable[tuple[str, int]]) -> dict[str, int]:
    """Untrusted quotas as the command takes them. Raises InvalidInput if a channel is named twice."""
    limits: dict[str, int] = {}
    for channel, limit in quotas:
        if channel in limits:
            raise InvalidInput(path="quotas", hint=OnceHint())
        limits[channel] = limit
    return limits


class PublishAgenda(Command):
    hospital: Annotated[HospitalId, SLUG]
    specialty: Annotated[SpecialtyId, SLUG]
    practitioner: Annotated[PractitionerId, SLUG]
    date: date
    slots: Annotated[list[SlotTime], Meta(min_length=1, max_length=SLOTS_PER_AGENDA_MAX)]
    quotas: dict[Channel, Annotated[int, Meta(ge=0, le=SLOTS_PER_AGENDA_MAX)]] = {}
    release_at: Instant | None = None

    @property
    def agenda(self) -> AgendaId:
        return agenda_id(self.hospital, self.date, self.practitioner)


def _published(command: PublishAgenda) -> AgendaPublished:
    times = sorted(command.slots, key=lambda slot: (slot.start, slot.minutes))
    return AgendaPublished(
        agenda=command.agenda,
        hospital=command.hospital,
        specialty=command.specialty,
        practitioner=command.practitioner,
        date=command.date,
        slots=[
            Slot(number=number, start=slot.start.astimezone(UTC), minutes=slot.minutes)
            for number, slot in enumerate(times, start=1)
        ],
        quotas=dict(command.quotas.items()),
        release_at=command.release_at.astimezone(UTC) if command.release_at else None,
    )


@decides(PublishAgenda, reads=lambda c: (hospitals.stream(c.hospital), stream(c.agenda)))
def publish_agenda(command: PublishAgenda, hospital: Hospital, agenda: Agenda, *, now: datetime) -> Decided:
    published = _published(command)
    if agenda.published == published:
        return
    if agenda.published:
        raise AgendaExists(path="practitioner", agenda=command.agenda)
    if hospital.registered is None:
        raise HospitalUnknown(path="hospital", hospital=command.hospital)
    today = local_date(now)
    if command.date < today:
        raise InThePast(path="date", at=command.date)
    if command.date > today + timedelta(days=PUBLISH_AHEAD_DAYS_MAX):
        raise TooFarAhead(path="date", limit=PUBLISH_AHEAD_DAYS_MAX)
    for index, slot in enumerate(command.slots):
        if local_date(slot.start) != command.date:
            raise InvalidInput(path=f"slots.{index}.start", hint=SlotDateHint(at=command.date))
    yield stream(command.agenda), published
