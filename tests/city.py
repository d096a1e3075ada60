"""A hospital with one agenda and some people, for tests that need a log with contents."""

import base64
import hashlib
from datetime import UTC, date, datetime, time, timedelta
from typing import Any

from domain.appointments.booking import BookAppointment
from domain.appointments.hospital import RegisterHospital
from domain.appointments.publishing import PublishAgenda
from domain.appointments.rescheduling import RescheduleAppointment
from domain.calendar import TIME_ZONE
from domain.decider import build
from domain.identifiers import agenda_id, ci_key, organisation_id, parse_ci
from domain.people import RegisterPerson
from domain.people.organisation import RegisterOrganisation
from domain.queues.opening import OpenLine
from domain.queues.turns import TakeTurn
from domain.service_points import RegisterServicePoint
from infra.log.core import Core
from infra.log.submission import Key

DAY = date(2027, 1, 5)
TODAY = date(2027, 1, 4)  # by a test's clock
FIRST_SLOT = datetime(2027, 1, 5, 12, tzinfo=UTC)
AGENDA = agenda_id("la-merced", DAY, "p-01")


def opaque(name: str) -> str:
    """An opaque id for a name."""
    return base64.b32encode(hashlib.sha256(name.encode()).digest()[:16]).decode().rstrip("=").lower()


def key(name: str, actor: str = "test") -> Key:
    return Key(actor, name)


def hospital(code: str = "la-merced") -> RegisterHospital:
    return build(RegisterHospital, hospital=code, name=f"Hospital {code}")


def agenda(
    slots: int = 6, *, practitioner: str = "p-01", specialty: str = "pediatrics", day: date = DAY
) -> PublishAgenda:
    begin = FIRST_SLOT + (day - DAY)
    return build(
        PublishAgenda,
        hospital="la-merced",
        specialty=specialty,
        practitioner=practitioner,
        date=day,
        slots=[{"start": begin + timedelta(minutes=20 * (n % 36)), "minutes": 20} for n in range(slots)],
    )


def person(name: str, core: Core, *, ci: str = "4820193") -> RegisterPerson:
    identity = parse_ci(ci)
    return build(
        RegisterPerson,
        person=opaque(name),
        identity=identity,
        identity_digest=core.secret.identity_digest(ci_key(identity)),
        given_names=name,
        family_names="Mamani Quispe",
        birth_date=date(1990, 5, 17),
        sex="F",
        phone="+59171234567",
        email=f"{name.lower()}@example.org",
    )


def organisation(name: str, core: Core, *, nit: str = "1023467024") -> RegisterOrganisation:
    return build(
        RegisterOrganisation,
        organisation=organisation_id(opaque(name)),
        nit=nit,
        nit_digest=core.secret.nit_digest(nit),
        name=f"Cooperativa {name}",
    )


def service_point(code: str = "sopocachi", hospital: str | None = None) -> RegisterServicePoint:
    return build(RegisterServicePoint, service_point=code, name=f"Oficina {code}", hospital=hospital)


def open_line(
    service_point: str = "sopocachi", service: str = "cadastre", *, day: date = TODAY, counters: int = 2, **policy: Any
) -> OpenLine:
    """A line of that day, from seven to four."""
    begin = datetime.combine(day, time(7), TIME_ZONE).astimezone(UTC)
    return build(
        OpenLine,
        service_point=service_point,
        service=service,
        date=day,
        counters=list(range(1, counters + 1)),
        opens_at=begin,
        closes_at=begin + timedelta(hours=9),
        policy=policy,
    )


def turn_of(name: str, line: str) -> str:
    """The id of the turn with this name."""
    return f"{line}/{opaque(f'{line} {name}')}"


def take(line: str, name: str, *, reason: str | None = None) -> TakeTurn:
    """A turn by WEB."""
    return build(TakeTurn, line=line, turn=turn_of(name, line), channel="WEB", person=opaque(name), reason=reason)


def booking(slot: int, patient: str, *, agenda: str = AGENDA, name: str = "") -> BookAppointment:
    """A booking; `name` distinguishes equal ones."""
    return build(
        BookAppointment,
        appointment=f"{agenda}/{opaque(f'{agenda} {slot} {patient} {name}')}",
        agenda=agenda,
        slot=slot,
        patient=opaque(patient),
        channel="WEB",
    )


def moving(booked: BookAppointment, slot: int, *, to: str = AGENDA) -> RescheduleAppointment:
    """Reschedule a booking to a slot of this agenda."""
    return build(
        RescheduleAppointment,
        appointment=booked.appointment,
        agenda=to,
        slot=slot,
        moved_to=f"{to}/{opaque(f'{booked.appointment} to {to} {slot}')}",
    )


async def open_agenda(core: Core, slots: int = 6) -> None:
    """Publish the hospital and its agenda."""
    await core.committer.submit(hospital(), key("hospital"))
    await core.committer.submit(agenda(slots), key("agenda"))
