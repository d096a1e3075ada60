"""The mutations of a counter: call turns, serve them, or mark them absent."""

from typing import Any

import strawberry

from api.access.grant import Grant
from api.graphql.commands import Done, Gives, Takes, command
from api.graphql.errors import UserError, error_of
from api.graphql.fields import Info
from api.graphql.queues.access import CLERKS_OF_LINE, CLERKS_OF_TURN
from api.graphql.queues.current_lines import current_line
from api.graphql.queues.turns import Turn, turn_by_id, turn_to_graphql
from domain.identifiers import CallId
from domain.queues import calling
from domain.queues.line_now import LineNow


@strawberry.type(description="Another turn is next.")
class NotNext(UserError):
    number: str = strawberry.field(description="The number of the next turn: A-017.")


@error_of(calling.NotNext)
def _not_next(refusal: calling.NotNext, _grant: Grant | None, **common: Any) -> UserError:
    return NotNext(number=refusal.number, **common)


@command(
    calling.CallNext,
    "Call the turn that is next by the line's policy.",
    who=CLERKS_OF_LINE,
    takes=Takes("A counter that calls the next turn.", line="The line.", counter="The counter's number."),
    gives=Gives(
        "The result of calling the next turn.",
        turn="The called turn; null if the request is a retry and the turn was called again since.",
    ),
    new_id="call",
)
async def call_next(info: Info, done: Done[calling.CallNext]) -> Turn | None:
    called = done.command
    return await current_line(info.context, called.line, lambda now: _called_by(now, called.call))


def _called_by(now: LineNow, call: CallId | None) -> Turn | None:
    """The turn that this request called; None if it has been called again since."""
    return next((turn_to_graphql(now, turn.turn) for turn in now.line.turns.values() if turn.call == call), None)


@command(
    calling.CallTurn,
    "Call a turn. It must be the next one, unless the line's policy allows direct calls.",
    who=CLERKS_OF_TURN,
    takes=Takes("A turn that a counter calls.", turn="The turn.", counter="The counter's number."),
    gives=Gives("The result of calling a turn.", turn="The turn afterwards."),
)
async def call_turn(info: Info, done: Done[calling.CallTurn]) -> Turn | None:
    return await turn_by_id(info, done.command.turn)


@command(
    calling.Recall,
    "Call a turn again. The person again has `callTimeoutSeconds` to come.",
    who=CLERKS_OF_TURN,
    takes=Takes("A turn to call again.", turn="The turn."),
    gives=Gives("The result of calling a turn again.", turn="The turn afterwards."),
)
async def recall(info: Info, done: Done[calling.Recall]) -> Turn | None:
    return await turn_by_id(info, done.command.turn)


@command(
    calling.StartService,
    "Start serving a turn: the person who was called has come.",
    who=CLERKS_OF_TURN,
    takes=Takes("A turn whose service begins.", turn="The turn."),
    gives=Gives("The result of beginning a service.", turn="The turn afterwards."),
)
async def start_service(info: Info, done: Done[calling.StartService]) -> Turn | None:
    return await turn_by_id(info, done.command.turn)


@command(
    calling.FinishService,
    "Finish serving a turn. The counter can then call the next one.",
    who=CLERKS_OF_TURN,
    takes=Takes("A turn whose service is over.", turn="The turn.", outcome="The outcome of the service."),
    gives=Gives("The result of finishing a service.", turn="The turn afterwards."),
)
async def finish_service(info: Info, done: Done[calling.FinishService]) -> Turn | None:
    return await turn_by_id(info, done.command.turn)


@command(
    calling.MarkAbsent,
    "Mark a called turn as absent, once `callTimeoutSeconds` have passed since the last call.",
    who=CLERKS_OF_TURN,
    takes=Takes("A turn that was called and for which nobody came.", turn="The turn."),
    gives=Gives("The result of marking a turn absent.", turn="The turn afterwards."),
)
async def mark_absent(info: Info, done: Done[calling.MarkAbsent]) -> Turn | None:
    return await turn_by_id(info, done.command.turn)
