"""Queries of the read models of appointments: free slots, a hospital's day, and a hospital's figures."""

import asyncio
from datetime import date as Date
from typing import Annotated

import strawberry

from api.access.grant import Grant
from api.graphql.access import EVERYBODY
from api.graphql.appointments.access import HOSPITAL_READERS
from api.graphql.appointments.agendas import Agenda, published_to_graphql
from api.graphql.appointments.booking import Appointment, AppointmentState
from api.graphql.appointments.directory import Specialty, specialty_of
from api.graphql.appointments.hospitals import HospitalCode
from api.graphql.appointments.patients import readers_of_patient
from api.graphql.context import AGENDAS_AT_ONCE_MAX
from api.graphql.fields import AtLeast, Info, query
from api.graphql.links import link
from api.graphql.paging import Connection, Listing, PageArguments, paged
from api.graphql.read_models import BEHIND, period
from api.graphql.scalars import Instant
from domain.calendar import local_date
from domain.identifiers import OPAQUE, SLUG, agenda_of
from projections.appointments import appointments as visits
from projections.appointments import availability as slots

DAYS_MAX = 62
DAYS_SHOWN = 30  # by default
WEEKS_MAX = 26

OnOrAfter = Annotated[Date | None, strawberry.argument(description="The first day in La Paz; default: today.")]
OfSpecialty = Annotated[str | None, SLUG, strawberry.argument(description="The code of a specialty; default: all.")]
OfPractitioner = Annotated[
    str | None, SLUG, strawberry.argument(description="The code of a practitioner or room; default: all.")
]


@strawberry.type(description="A slot that is free at the time of the request.")
class FreeSlot:
    agenda = link("agenda", "The agenda.", key="agenda_id")
    slot: int = strawberry.field(description="The slot's number.")
    start: Instant = strawberry.field(description="When it begins.")
    minutes: int = strawberry.field(description="Its length in minutes.")
    agenda_id: strawberry.Private[str]


@strawberry.type(description="The free slots of a day.")
class AvailableDay:
    date: Date = strawberry.field(description="The date in La Paz.")
    agendas: int = strawberry.field(description="The number of agendas published for that day.")
    free_slots: int = strawberry.field(description="The number of slots that are free at the time of the request.")
    next_start: Instant | None = strawberry.field(description="When the first of these slots begins.")


@strawberry.type(description="The free slots of a specialty.")
class Availability:
    free_slots: int = strawberry.field(description="The number of free slots on all these days.")
    next_free: FreeSlot | None = strawberry.field(description="The first free slot.")
    days: list[AvailableDay] = strawberry.field(description="The days that have agendas, in order.")


def _first_free(days: list[slots.FreeDay]) -> FreeSlot | None:
    for day in days:
        if day.agenda is not None and day.slot is not None and day.start is not None and day.minutes is not None:
            return FreeSlot(agenda_id=day.agenda, slot=day.slot, start=Instant(day.start), minutes=day.minutes)
    return None


@strawberry.type(description="A specialty of a hospital in a week.")
class Utilisation:
    specialty: Specialty = strawberry.field(description="The specialty.")
    week: Date = strawberry.field(description="The week's Monday.")
    slots: int = strawberry.field(description="Slots published.")
    booked: int = strawberry.field(description="The number of appointments that were not cancelled.")
    cancelled: int = strawberry.field(description="The number of appointments that were cancelled.")
    checked_in: int = strawberry.field(description="How many of those booked were checked in.")
    no_shows: int = strawberry.field(description="How many of those booked were no-shows.")


def _visit(row: visits.AppointmentRow) -> Appointment:
    return Appointment(
        id=strawberry.ID(row.appointment),
        agenda_id=agenda_of(row.appointment),
        hospital_code=row.hospital,
        specialty=specialty_of(row.specialty),
        slot=row.slot,
        start=Instant(row.start),
        minutes=row.minutes,
        patient_id=row.patient,
        state=AppointmentState(row.state),
    )


_AGENDAS = Listing("agendas", slots.BY_ID)
_DAY_LIST = Listing("dayList", visits.BY_START)
_APPOINTMENTS = Listing("appointments", visits.BY_START)


@query(
    f"The free slots of a specialty by day: default {DAYS_SHOWN} days from today, at most {DAYS_MAX}." + BEHIND,
    who=EVERYBODY,
)
async def availability(
    info: Info,
    *,
    specialty: Annotated[str, SLUG, strawberry.argument(description="The specialty's code: pediatrics.")],
    hospital: Annotated[str | None, SLUG, strawberry.argument(description="A hospital's code; default: all.")] = None,
    practitioner: OfPractitioner = None,
    on_or_after: OnOrAfter = None,
    to: Annotated[
        Date | None,
        strawberry.argument(
            description=f"The last day in La Paz; default: the {DAYS_SHOWN}th day, counting the first."
        ),
    ] = None,
    at_least: AtLeast = None,
) -> Availability:
    first, last = period(on_or_after, to, info, days=DAYS_SHOWN, days_max=DAYS_MAX)
    question = slots.free_by_day(
        specialty=specialty,
        hospital=hospital,
        practitioner=practitioner,
        first=first,
        last=last,
        now=info.context.services.now(),
    )
    days = await info.context.ask(question, at_least=at_least)
    return Availability(
        free_slots=sum(day.free for day in days),
        next_free=_first_free(days),
        days=[
            AvailableDay(
                date=day.date,
                agendas=day.agendas,
                free_slots=day.free,
                next_start=Instant(day.start) if day.start else None,
            )
            for day in days
        ],
    )


@query(
    "A hospital's agendas by date and practitioner, by default from today on, and optionally only those of a"
    " specialty or a practitioner." + BEHIND,
    who=EVERYBODY,
)
@paged
async def agendas(
    info: Info,
    *,
    hospital: HospitalCode,
    page: PageArguments,
    on_or_after: OnOrAfter = None,
    specialty: OfSpecialty = None,
    practitioner: OfPractitioner = None,
    at_least: AtLeast = None,
) -> Connection[Agenda]:
    wanted = page.of(info, _AGENDAS, hospital)
    now = info.context.services.now()
    question = slots.agendas_from(
        hospital=hospital,
        specialty=specialty,
        practitioner=practitioner,
        on_or_after=on_or_after or local_date(now),
        part=wanted.part,
    )
    found = wanted.found(await info.context.ask(question, at_least=at_least))
    nodes = []
    for number, row in enumerate(found.items):
        if number % AGENDAS_AT_ONCE_MAX == 0:
            await asyncio.sleep(0)  # let other requests run in between: an agenda may have 5,000 slots
        nodes.append(published_to_graphql(slots.published_agenda(row), now))
    return found.connection(nodes)


@query(
    "A hospital's appointments on a day by start, including cancelled ones, and optionally only those of one specialty."
    + BEHIND,
    who=HOSPITAL_READERS,
)
@paged
async def day_list(
    info: Info,
    *,
    hospital: HospitalCode,
    date: Annotated[Date, strawberry.argument(description="The date in La Paz.")],
    page: PageArguments,
    specialty: OfSpecialty = None,
    at_least: AtLeast = None,
) -> Connection[Appointment]:
    wanted = page.of(info, _DAY_LIST, hospital, str(date))
    question = visits.of_day(hospital, date, specialty=specialty, part=wanted.part)
    found = wanted.found(await info.context.ask(question, at_least=at_least))
    return found.connection([_visit(row) for row in found.items])


@query(
    "A person's appointments by start, including cancelled ones, from the read models. `patient` reads the"
    " log instead." + BEHIND,
    who=readers_of_patient("patient"),
)
@paged
async def appointments(
    info: Info,
    grant: Grant,
    *,
    patient: Annotated[strawberry.ID, OPAQUE, strawberry.argument(description="The person's opaque id.")],
    page: PageArguments,
    at_least: AtLeast = None,
) -> Connection[Appointment]:
    wanted = page.of(info, _APPOINTMENTS, patient)
    question = visits.of_patient(patient, hospitals=grant.bounds, part=wanted.part)
    found = wanted.found(await info.context.ask(question, at_least=at_least))
    return found.connection([_visit(row) for row in found.items])


@query(
    f"How a hospital's slots were used, by specialty and week, for at most {WEEKS_MAX} weeks." + BEHIND,
    who=HOSPITAL_READERS,
)
async def utilisation(
    info: Info,
    hospital: HospitalCode,
    on_or_after: Annotated[Date, strawberry.argument(description="The first day in La Paz.")],
    to: Annotated[Date, strawberry.argument(description="The last day in La Paz.")],
    at_least: AtLeast = None,
) -> list[Utilisation]:
    first, last = period(on_or_after, to, info, days=1, days_max=7 * WEEKS_MAX)
    rows = await info.context.ask(visits.utilisation(hospital, first=first, last=last), at_least=at_least)
    return [
        Utilisation(
            specialty=specialty_of(row.specialty),
            week=row.week,
            slots=row.slots,
            booked=row.booked,
            cancelled=row.cancelled,
            checked_in=row.came,
            no_shows=row.missed,
        )
        for row in rows
    ]
