"""Arrivals in the schema: the fields that concern both appointments and lines. No other module knows both."""

from typing import Any

import strawberry

from api.access.grant import Grant
from api.graphql.access import DOERS_OF_ALL, Arguments, Rule, Scope, only
from api.graphql.appointments.access import CLERKS_OF_APPOINTMENT, by_web, is_own_appointment, not_by_web
from api.graphql.appointments.booking import Appointment, appointment_by_id
from api.graphql.context import Context
from api.graphql.errors import UserError, error_of
from api.graphql.fields import Info, Input, KeyedInput, Payload, mutation
from api.graphql.people.acting import acts_for
from api.graphql.queues.access import own_service_point
from api.graphql.queues.turns import NotBefore, Turn, just_taken, turn_by_id, turn_for
from api.graphql.queues.words import PreferenceReason, TurnChannel
from api.graphql.scalars import Instant, Position
from domain import arrivals
from domain.appointments import attendance
from domain.decider import build
from domain.errors import Hint, InvalidInput
from domain.queues.turns import TakeTurn


class AloneHint(
    Hint,
    es="con una ficha no se indica nada más: la ficha ya dice de quién es el turno",
    en="give nothing else with an appointment: it already says whose turn it is",
): ...


@strawberry.input(description="A patient who has arrived.")
class CheckInInput(KeyedInput):
    appointment: strawberry.ID = strawberry.field(description="The appointment. It must be today.")
    line: strawberry.ID | None = strawberry.field(
        default=None, description="A line of the same hospital in which the patient takes a turn; null for none."
    )


@strawberry.type(description="The result of checking in.")
class CheckInPayload(Payload):
    appointment: Appointment | None = strawberry.field(default=None, description="The appointment, checked in.")
    turn: Turn | None = strawberry.field(default=None, description="The patient's turn, if a line was named.")


@error_of(arrivals.TooEarly)
def _too_early(refusal: arrivals.TooEarly, _grant: Grant | None, **common: Any) -> UserError:
    return NotBefore(at=Instant(refusal.at), **common)


@mutation(
    attendance.CheckIn,
    arrivals.CheckInToLine,
    description="Check a patient in, on the day of the appointment. This also corrects a no-show.",
    who=CLERKS_OF_APPOINTMENT,
)
async def check_in(info: Info, grant: Grant, input: Input[CheckInInput]) -> CheckInPayload:
    fields = {"appointment": input.appointment, **({} if input.line is None else {"line": input.line})}
    kind = attendance.CheckIn if input.line is None else arrivals.CheckInToLine
    _, outcome = await info.context.perform(
        grant,
        input.idempotency_key,
        fields,
        kind,
        lambda id: build(kind, **fields, **({} if input.line is None else {"turn": f"{input.line}/{id}"})),
    )
    appointment = await appointment_by_id(info, input.appointment)
    turn = await turn_for(info, input.line, input.appointment) if input.line else None
    return CheckInPayload(appointment=appointment, turn=turn, position=Position(outcome.position))


@strawberry.input(description="A turn to take: for an appointment, for a person, or anonymously on paper.")
class TakeTurnInput(KeyedInput):
    line: strawberry.ID = strawberry.field(description="The line.")
    channel: TurnChannel = strawberry.field(description="Where it is taken.")
    person: strawberry.ID | None = strawberry.field(
        default=None, description="The person's opaque id; null for a paper ticket at the office."
    )
    reason: PreferenceReason | None = strawberry.field(
        default=None, description="The reason for a preferential turn; null if it is not preferential."
    )
    appointment: strawberry.ID | None = strawberry.field(
        default=None,
        description="An appointment (ficha) of today at the line's hospital, instead of `person` and `reason`.",
    )


@strawberry.type(description="The result of taking a turn.")
class TakeTurnPayload(Payload):
    turn: Turn | None = strawberry.field(default=None, description="The turn that was taken.")


TakesTurn = TakeTurn | arrivals.TakeTurnByAge | arrivals.TakeTurnForAppointment


def _wish(input: TakeTurnInput) -> tuple[type[TakesTurn], dict[str, Any]]:
    """The command for this request, and its fields. Raises Rejected."""
    content: dict[str, Any] = {"line": input.line, "channel": input.channel.value}
    if input.appointment is not None:
        if input.person is not None or input.reason:
            raise InvalidInput(path="appointment", hint=AloneHint())
        return arrivals.TakeTurnForAppointment, content | {"appointment": input.appointment}
    if input.person is not None and input.reason is PreferenceReason.AGE:
        return arrivals.TakeTurnByAge, content | {"person": input.person}
    reason = input.reason.value if input.reason else None
    return TakeTurn, content | {"person": input.person, "reason": reason}


async def _is_own_turn(context: Context, arguments: Arguments) -> bool:
    """Whether the turn is taken by WEB for the actor or a dependant, or for an appointment of theirs."""
    wish = arguments["input"]
    if not by_web(arguments) or (wish.person is None and wish.appointment is None):
        return False
    if wish.person is not None and not await acts_for(context, wish.person):
        return False
    return wish.appointment is None or await is_own_appointment(context, wish.appointment)


TAKERS: Rule = {
    "citizen": Scope("for themselves and their confirmed dependants, through WEB", _is_own_turn),
    "counter_clerk": only(own_service_point("input.line"), "through other channels than WEB", not_by_web),
    **DOERS_OF_ALL,
}


@mutation(
    TakeTurn,
    arrivals.TakeTurnByAge,
    arrivals.TakeTurnForAppointment,
    description="Take a turn in a line. A person has at most one live turn in a line.",
    who=TAKERS,
)
async def take_turn(info: Info, grant: Grant, input: Input[TakeTurnInput]) -> TakeTurnPayload:
    kind, content = _wish(input)
    command, outcome = await info.context.perform(
        grant,
        input.idempotency_key,
        content,
        kind,
        lambda id: build(kind, **content, turn=f"{input.line}/{id}"),
    )
    turn = just_taken(outcome) or await turn_by_id(info, command.turn)
    return TakeTurnPayload(turn=turn, position=Position(outcome.position))
