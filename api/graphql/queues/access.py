"""Scopes and rules of lines: what belongs to an actor's service point, and whose turn it is."""

from api.graphql.access import DOERS_OF_ALL, READERS_OF_ALL, Arguments, Rule, Scope, argument, own_places
from api.graphql.context import Context
from api.graphql.people.acting import acts_for
from api.graphql.queues.current_lines import current_line
from domain.identifiers import line_of, service_point_of


def own_service_point(*paths: str, words: str = "at the service points where they work") -> Scope:
    """Data of service points where the actor works. Ids of lines and turns begin with the service point's code."""

    def asked_about(arguments: Arguments) -> set[str]:
        return {service_point_of(str(argument(arguments, path))) for path in paths}

    return own_places("counter_clerk", words, asked_about)


def own_turn(path: str) -> Scope:
    """Turns of the actor and of the people for whom they act."""

    async def covers(context: Context, arguments: Arguments) -> bool:
        turn = str(argument(arguments, path))
        person = await current_line(
            context, line_of(turn), lambda now: now.line.turns[turn].person if turn in now.line.turns else None
        )
        return person is not None and await acts_for(context, person)

    return Scope("for themselves and their confirmed dependants", covers)


def clerks_of(path: str) -> Rule:
    """Who changes data of a service point: the clerks who work there."""
    return {"counter_clerk": own_service_point(path), **DOERS_OF_ALL}


def readers_at(path: str) -> Rule:
    """Who reads records of a service point: the clerks who work there."""
    return {"counter_clerk": own_service_point(path), **READERS_OF_ALL}


CLERKS_OF_LINE = clerks_of("input.line")
CLERKS_OF_TURN = clerks_of("input.turn")
HOLDERS_AND_CLERKS: Rule = {"citizen": own_turn("input.turn"), **CLERKS_OF_TURN}
CLERKS_OF_BOTH_LINES: Rule = {
    "counter_clerk": own_service_point(
        "input.turn", "input.to", words="between lines of the service points where they work"
    ),
    **DOERS_OF_ALL,
}
