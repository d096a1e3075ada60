"""Rescheduling in the schema: an appointment moves to another slot."""

from api.graphql.access import DOERS_OF_ALL, argument, own_places
from api.graphql.appointments.access import own_appointment
from api.graphql.appointments.booking import Appointment, appointment_by_id
from api.graphql.commands import Done, Gives, Takes, command
from api.graphql.fields import Info
from domain.appointments import rescheduling
from domain.identifiers import hospital_of

BOTH_HOSPITALS = own_places(
    "hospital_clerk",
    "own hospitals",
    lambda arguments: {hospital_of(str(argument(arguments, f"input.{name}"))) for name in ("appointment", "agenda")},
)


@command(
    rescheduling.RescheduleAppointment,
    "Give an appointment up for another slot: both happen, or neither.",
    who={"citizen": own_appointment("input.appointment"), "hospital_clerk": BOTH_HOSPITALS, **DOERS_OF_ALL},
    takes=Takes(
        "An appointment to move (reprogramación de ficha). Only a clerk may move it to another specialty.",
        appointment="The appointment.",
        agenda="The agenda to which it moves: its own, or another one.",
        slot="The slot to which it moves, held by the patient before or not.",
    ),
    gives=Gives(
        "What came of rescheduling.",
        appointment="The new appointment, in the new slot.",
        moved_from="The old appointment, cancelled.",
    ),
    new_id="moved_to",
    within="agenda",
    adds={"any_specialty": lambda _context, grant: grant.role != "citizen"},
)
async def reschedule_appointment(
    info: Info, done: Done[rescheduling.RescheduleAppointment]
) -> tuple[Appointment | None, Appointment | None]:
    moved, given_up = done.command.moved_to, done.command.appointment
    return await appointment_by_id(info, moved), await appointment_by_id(info, given_up)
