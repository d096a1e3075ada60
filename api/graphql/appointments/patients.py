"""A patient in the schema: a person's appointments and holds."""

from datetime import datetime
from typing import Annotated

import strawberry

from api.access.grant import Grant
from api.graphql.access import ALL, READERS_OF_ALL, Rule
from api.graphql.appointments.booking import (
    Appointment,
    AppointmentState,
    Hold,
    appointment_to_graphql,
    hold_to_graphql,
)
from api.graphql.fields import Info, query
from api.graphql.links import link
from api.graphql.paging import Connection, Listing, PageArguments, paged
from api.graphql.people.acting import own_people
from domain import people
from domain.appointments import agenda as agendas
from domain.appointments import patient as domain
from domain.appointments.attendance import appointment_state
from domain.identifiers import OPAQUE, agenda_of, hospital_of
from projections.engine.keyset import Order


def readers_of_patient(path: str) -> Rule:
    """Who reads a person's appointments. The bounds of the grant limit a clerk to those at their hospital."""
    return {"citizen": own_people(path), "hospital_clerk": ALL, **READERS_OF_ALL}


def _by_start(visit: domain.VisitTaken) -> tuple[datetime, str]:
    return visit.start, visit.appointment


_APPOINTMENTS = Listing("patient.appointments", Order(tuple[datetime, str], _by_start))


@strawberry.type(description="A person as hospitals see them.")
class Patient:
    person = link("person", "The person.", key="person_id")
    holds: list[Hold] = strawberry.field(description="The live holds at the time of the request, at most two.")
    person_id: strawberry.Private[str]
    patient: strawberry.Private[domain.Patient]
    hospitals: strawberry.Private[frozenset[str] | None]

    @strawberry.field(description="Appointments by start, including cancelled ones.")
    @paged
    async def appointments(self, info: Info, page: PageArguments) -> Connection[Appointment]:
        wanted = page.of(info, _APPOINTMENTS, self.person_id)
        known = {
            name: visit
            for name, visit in (*self.patient.visits.items(), *self.patient.given_up.items())
            if self.hospitals is None or visit.hospital in self.hospitals
        }
        found = wanted.within(sorted(known.values(), key=_by_start))
        states = await _states(info, [visit.appointment for visit in found.items])
        return found.connection(
            [appointment_to_graphql(self.person_id, visit, states[visit.appointment]) for visit in found.items]
        )


async def _states(info: Info, appointments: list[str]) -> dict[str, AppointmentState]:
    """The states of these appointments, from their agendas."""
    streams = sorted({agendas.stream(agenda_of(appointment)) for appointment in appointments})
    found: dict[str, agendas.Agenda] = await info.context.states(streams)
    return {
        appointment: AppointmentState[appointment_state(found[agendas.stream(agenda_of(appointment))], appointment)]
        for appointment in appointments
    }


def _patient(id: str, state: domain.Patient, now: datetime, hospitals: frozenset[str] | None) -> Patient:
    """The person, with appointments at these hospitals only; None for all hospitals."""
    holds = [
        hold_to_graphql(hold.agenda, hold)
        for hold in domain.live_holds(state, now)
        if hospitals is None or hospital_of(hold.agenda) in hospitals
    ]
    return Patient(person_id=id, holds=holds, patient=state, hospitals=hospitals)


@query(
    "A person's appointments and live holds; null if nobody was registered under that id. Those of an"
    " erased person are kept.",
    who=readers_of_patient("id"),
)
async def patient(
    info: Info,
    grant: Grant,
    id: Annotated[strawberry.ID, OPAQUE, strawberry.argument(description="The person's opaque id.")],
) -> Patient | None:
    person, stream = people.stream(id), domain.stream(id)
    states = await info.context.states([person, stream])
    if states[person].registered is None:
        return None
    return _patient(id, states[stream], info.context.services.now(), grant.bounds)
