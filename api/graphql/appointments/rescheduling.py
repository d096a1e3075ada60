"""Rescheduling in the schema: an appointment moves to another slot."""

import asyncio

from api.graphql.access import DOERS_OF_ALL, argument, own_places
from api.graphql.appointments.access import own_appointment
from api.graphql.appointments.booking import AgendaLink, Appointment, appointment_by_id
from api.graphql.commands import Done, Gives, Takes, command
from api.graphql.fields import Info
from domain.appointments import rescheduling
from domain.identifiers import agenda_of, hospital_of

BOTH_HOSPITALS = own_places(
    "hospital_clerk",
    "between hospitals where they work",
    lambda arguments: {hospital_of(str(argument(arguments, f"input.{name}"))) for name in ("appointment", "agenda")},
)


@command(
    rescheduling.RescheduleAppointment,
    "Move an appointment to another slot: the old slot is freed and the new one booked, or nothing changes.",
    who={"citizen": own_appointment("input.appointment"), "hospital_clerk": BOTH_HOSPITALS, **DOERS_OF_ALL},
    takes=Takes(
        "An appointment to move (reprogramación de ficha). Only a clerk may move it to another specialty.",
        appointment="The appointment.",
        agenda="The agenda of the new slot: the same or another one.",
        slot="The new slot, held by the patient or free.",
    ),
    gives=Gives(
        "The result of rescheduling.",
        appointment="The new appointment, in the new slot.",
        moved_from="The old appointment, cancelled.",
        agenda="The agenda of the new appointment.",
        agenda_before="The agenda of the old appointment.",
    ),
    new_id="moved_to",
    within="agenda",
    adds={"any_specialty": lambda _context, grant: grant.role != "citizen"},
)
async def reschedule_appointment(
    info: Info, done: Done[rescheduling.RescheduleAppointment]
) -> tuple[Appointment | None, Appointment | None, AgendaLink, AgendaLink]:
    moved, given_up = done.command.moved_to, done.command.appointment
    appointments = await asyncio.gather(appointment_by_id(info, moved), appointment_by_id(info, given_up))
    return *appointments, agenda_of(moved), agenda_of(given_up)
