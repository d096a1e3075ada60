"""No-shows in the schema. Checking in stands in api/graphql/arrivals.py."""

from api.graphql.appointments.access import CLERKS_AND_SYSTEM
from api.graphql.appointments.booking import Appointment, appointment_by_id
from api.graphql.commands import Done, Gives, Takes, command
from api.graphql.fields import Info
from domain.appointments import attendance


@command(
    attendance.MarkNoShow,
    "Say that the patient did not come, once the slot has begun.",
    who=CLERKS_AND_SYSTEM,
    takes=Takes("A patient who did not come.", appointment="The appointment, whose slot has begun."),
    gives=Gives(
        "What came of marking a no-show.",
        appointment="The appointment as it is now: who came later that day is checked in.",
    ),
)
async def mark_no_show(info: Info, done: Done[attendance.MarkNoShow]) -> Appointment | None:
    return await appointment_by_id(info, done.command.appointment)
