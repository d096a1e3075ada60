"""No-shows in the schema. Check-in is in api/graphql/arrivals.py."""

from api.graphql.appointments.access import CLERKS_AND_SYSTEM
from api.graphql.appointments.booking import Appointment, appointment_by_id
from api.graphql.commands import Done, Gives, Takes, command
from api.graphql.fields import Info
from domain.appointments import attendance


@command(
    attendance.MarkNoShow,
    "Mark an appointment as a no-show, once its slot has begun.",
    who=CLERKS_AND_SYSTEM,
    takes=Takes("A patient who did not come.", appointment="The appointment, whose slot has begun."),
    gives=Gives(
        "The result of marking a no-show.",
        appointment="The appointment as it is now: checked in, if the patient came later that day.",
    ),
)
async def mark_no_show(info: Info, done: Done[attendance.MarkNoShow]) -> Appointment | None:
    return await appointment_by_id(info, done.command.appointment)
