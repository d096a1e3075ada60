"""Who came, in the schema: checking in, marking no-shows."""

import strawberry

from api.graphql.appointments import Appointment, appointment_by_id
from api.graphql.fields import Info, Input, KeyedInput, Payload, explain
from api.graphql.queues import Turn, turn_for
from api.graphql.scalars import Position
from domain import arrivals
from domain.appointments import attendance
from domain.decider import build
from domain.errors import Rejected


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


@strawberry.input(description="A patient who did not come.")
class MarkNoShowInput(KeyedInput):
    appointment: strawberry.ID = strawberry.field(description="The appointment, whose slot has begun.")


@strawberry.type(description="What came of marking a no-show.")
class MarkNoShowPayload(Payload):
    appointment: Appointment | None = strawberry.field(
        default=None, description="The appointment as it is now: who came later that day is checked in."
    )


@strawberry.type
class AttendanceMutation:
    @strawberry.mutation(
        description="Say that the patient is here, on the day of the appointment. It also corrects a no-show."
    )
    async def check_in(self, info: Info, input: Input[CheckInInput]) -> CheckInPayload:
        fields = {"appointment": input.appointment, **({"line": input.line} if input.line else {})}
        kind = arrivals.CheckInToLine if input.line else attendance.CheckIn
        try:
            _, outcome = await info.context.perform(
                input.idempotency_key,
                fields,
                kind,
                lambda id: build(kind, **fields, **({"turn": f"{input.line}/{id}"} if input.line else {})),
            )
        except Rejected as refusal:
            return CheckInPayload(errors=explain(refusal, info.context))
        appointment = await appointment_by_id(info, input.appointment)
        turn = await turn_for(info, input.line, input.appointment) if input.line else None
        return CheckInPayload(appointment=appointment, turn=turn, position=Position(outcome.position))

    @strawberry.mutation(description="Say that the patient did not come, once the slot has begun.")
    async def mark_no_show(self, info: Info, input: Input[MarkNoShowInput]) -> MarkNoShowPayload:
        fields = {"appointment": input.appointment}
        try:
            command, outcome = await info.context.perform(
                input.idempotency_key, fields, attendance.MarkNoShow, lambda _: build(attendance.MarkNoShow, **fields)
            )
        except Rejected as refusal:
            return MarkNoShowPayload(errors=explain(refusal, info.context))
        appointment = await appointment_by_id(info, command.appointment)
        return MarkNoShowPayload(appointment=appointment, position=Position(outcome.position))
