"""Attendance in the schema: checking in, marking no-shows."""

import strawberry

from api.access.grant import Grant
from api.graphql.appointments.access import CLERKS_AND_SYSTEM, CLERKS_OF_APPOINTMENT
from api.graphql.appointments.booking import Appointment, appointment_by_id
from api.graphql.commands import Done, Gives, Takes, command
from api.graphql.fields import Info, Input, KeyedInput, Payload, mutation
from api.graphql.queues.turns import Turn, turn_for
from api.graphql.scalars import Position
from domain import arrivals
from domain.appointments import attendance
from domain.decider import build


@strawberry.input(description="A patient who is here.")
class CheckInInput(KeyedInput):
    appointment: strawberry.ID = strawberry.field(description="The appointment, which is today.")
    line: strawberry.ID | None = strawberry.field(
        default=None, description="A line of the same hospital, in which the patient waits from now on."
    )


@strawberry.type(description="What came of checking in.")
class CheckInPayload(Payload):
    appointment: Appointment | None = strawberry.field(default=None, description="The appointment, checked in.")
    turn: Turn | None = strawberry.field(default=None, description="The patient's turn, if a line was named.")


@mutation(
    attendance.CheckIn,
    arrivals.CheckInToLine,
    description="Say that the patient is here, on the day of the appointment. It also corrects a no-show.",
    who=CLERKS_OF_APPOINTMENT,
)
async def check_in(info: Info, grant: Grant, input: Input[CheckInInput]) -> CheckInPayload:
    fields = {"appointment": input.appointment, **({"line": input.line} if input.line else {})}
    kind = arrivals.CheckInToLine if input.line else attendance.CheckIn
    _, outcome = await info.context.perform(
        grant,
        input.idempotency_key,
        fields,
        kind,
        lambda id: build(kind, **fields, **({"turn": f"{input.line}/{id}"} if input.line else {})),
    )
    appointment = await appointment_by_id(info, input.appointment)
    turn = await turn_for(info, input.line, input.appointment) if input.line else None
    return CheckInPayload(appointment=appointment, turn=turn, position=Position(outcome.position))


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
