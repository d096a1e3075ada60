"""What WebSockets and event streams share: who may open one, how many there are, and what their clients are told."""

import asyncio
import json
import time
from collections.abc import AsyncGenerator, Hashable, Iterator
from contextlib import aclosing, contextmanager
from typing import NamedTuple

from graphql import GraphQLError

from api.graphql.execution import Answer, Asked, followed, refused
from api.graphql.shared import Context, as_graphql_error
from domain.errors import Rejected

CONNECTIONS_MAX = 2_000  # in this process
SEND_TIMEOUT_S = 10  # a client that does not read for so long is cut off
CLOSE_TIMEOUT_S = 1
PING_EVERY_S = 30
TOKEN_CHECKED_EVERY_S = 10.0

DEAF = "you do not read what you are sent"


class Places:
    """How many connections are open, of both kinds together."""

    def __init__(self) -> None:
        self.taken = 0

    @property
    def full(self) -> bool:
        return self.taken >= CONNECTIONS_MAX

    @contextmanager
    def take(self) -> Iterator[None]:
        """One of them, until the block ends."""
        self.taken += 1
        try:
            yield
        finally:
            self.taken -= 1


async def token_ended(context: Context) -> None:
    """Wait until the token is no longer good by which somebody was let in; for ever if there is none."""
    while context.services.identities.still_good(context.actor):  # noqa: ASYNC110 (that is no event: time goes by)
        await asyncio.sleep(TOKEN_CHECKED_EVERY_S)


class Told(NamedTuple):
    """An answer as JSON, and where the last change in it stands in the log."""

    text: str
    position: int


async def told(asked: Asked, context: Context) -> AsyncGenerator[Told | Answer, None]:
    """What a follower is told, with each change; an answer without data, as the last, if they are refused.

    What one was told is told to others who ask the same and stand at the same place, see `Following.answer`. Whether
    they may is looked at before each. Raises NotHere if it is no subscription.
    """
    begun_s, counted = time.perf_counter(), False
    async with aclosing(followed(asked, context)) as answers:
        async for answer in answers:
            if not counted:
                context.services.requests.answered(context, answer.errors, begun_s)
                counted = True
            if answer.data is None:
                yield answer
                return
            following = context.following
            assert following
            text = json.dumps(answer.body())
            following.made(context.snapshot, text)  # before it is sent: others do not wait for that
            position = following.position
            question = _question(asked, context)
            known: str | None = text
            while known:
                if errors := await _wrong_now(context):
                    yield refused(errors, asked, context)
                    return
                yield Told(known, position)
                known = await following.answer(question)
                position = following.position


async def _wrong_now(context: Context) -> list[GraphQLError]:
    """Why the follower may be told nothing any more, or it can't be found out; empty if they may."""
    context.forget_reads()
    try:
        allowed = await context.may_still()
    except GraphQLError as error:
        return [error]
    return [] if allowed else [as_graphql_error(Rejected("forbidden"), context.language)]


def _question(asked: Asked, context: Context) -> Hashable:
    """By what all are told the same who stand at the same place. `after` said where one began: it is past."""
    variables = {name: value for name, value in asked.variables.items() if name != context.after_variable}
    document = asked.query, asked.document_id
    return document, json.dumps(variables, sort_keys=True), asked.operation_name, context.language
