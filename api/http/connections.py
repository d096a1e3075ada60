"""What WebSockets and event streams share: who may open one, how many there are, and what their clients are told."""

import asyncio
import json
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine, Generator, Hashable, Iterator
from contextlib import aclosing, contextmanager
from functools import partial
from types import CoroutineType, coroutine
from typing import Any, NamedTuple

import msgspec
from graphql import GraphQLError

from api.graphql.context import Context
from api.graphql.engine.execution import Answer, Asked, Engine
from api.graphql.engine.live import Following
from api.graphql.engine.plans.plan import FollowedPlan
from api.graphql.engine.request_errors import as_graphql_error
from api.graphql.guard import Forbidden
from api.http.timers import SharedTimers, Timer

CONNECTIONS_MAX = 2_000  # in this process
SEND_TIMEOUT_S = 10  # a client that does not read for so long is cut off
CLOSE_TIMEOUT_S = 1
PING_EVERY_S = 30
TOKEN_CHECKED_EVERY_S = 10.0

_encode = msgspec.json.Encoder().encode

DEAF = "you do not read what you are sent"


class Places:
    """How many connections are open, of both kinds together."""

    def __init__(self) -> None:
        self.taken = 0
        self.timers = SharedTimers()  # of all open connections

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


def when_token_ends(context: Context, timers: SharedTimers, act: Callable[[], None]) -> Timer | None:
    """Call `act` once the client's token is no longer valid; None if the client has no token."""
    if not context.actor.subject:
        return None

    def look() -> float | None:
        if context.services.identities.still_good(context.actor):
            return TOKEN_CHECKED_EVERY_S
        act()
        return None

    again_s = look()
    return None if again_s is None else timers.start(look, after_s=again_s)


async def with_timeout(timeout_s: float, sending: Awaitable[None]) -> None:
    """Wait for a send. Raises TimeoutError after `timeout_s`.

    Nearly every send completes at once, and sets no timer then.
    """
    if not isinstance(sending, CoroutineType):
        async with asyncio.timeout(timeout_s):
            await sending
        return
    try:
        waits_for = sending.send(None)
    except StopIteration:
        return
    async with asyncio.timeout(timeout_s):
        await _resume(sending, waits_for)


@coroutine
def _resume(begun: Coroutine[Any, Any, None], waits_for: Any) -> Generator[Any, Any, None]:
    """Resume a started coroutine that is suspended on `waits_for`."""
    while True:
        try:
            sent = yield waits_for
        except BaseException as error:  # such as a timeout or a cancellation: pass it to the coroutine
            step = partial(begun.throw, error)
        else:
            step = partial(begun.send, sent)
        try:
            waits_for = step()
        except StopIteration:
            return


class Told(NamedTuple):
    """An answer as JSON, and where the last change in it stands in the log."""

    text: str
    position: int


async def told(engine: Engine, asked: Asked, context: Context) -> AsyncGenerator[Told | Answer, None]:
    """What a follower is told, with each change; an answer without data, as the last, if they are refused.

    The library makes the first answer, and those that `_PlannedAnswers` can't make. Followers that ask the same at the
    same position share an answer, see `Following.answer`. Permission is checked before each. Raises NotHere if it is no
    subscription.
    """
    begun_s, counted = time.perf_counter(), False
    planned = _PlannedAnswers(engine, asked, context)
    async with aclosing(engine.followed(asked, context)) as answers:
        async for answer in answers:
            if not counted:
                context.services.requests.answered(context, answer.errors, begun_s)
                counted = True
            if answer.data is None:
                yield answer
                return
            following = context.following
            assert following
            text = _text(answer.body())
            following.made(context.snapshot, text)  # before it is sent: others do not wait for that
            position, question = following.position, _question(asked, context)
            known: str | None = text
            while known:
                if errors := await _wrong_now(context):
                    yield engine.refused(errors, asked, context)
                    return
                yield Told(known, position)
                known = await following.answer(question) or await planned.next(following, answer.extensions)
                position = following.position


class _PlannedAnswers:
    """Makes later answers with the document's plan, in a small part of the library's time."""

    def __init__(self, engine: Engine, asked: Asked, context: Context) -> None:
        self._engine = engine
        self._asked = asked
        self._context = context
        self._plan: FollowedPlan | None = None
        self._looked = False

    async def next(self, following: Following, extensions: dict[str, Any]) -> str | None:
        """The next answer; None if the library has to make it."""
        context = self._context
        if not self._looked:  # plan only for a second answer: many followers never get one
            self._plan, self._looked = self._engine.followed_plan(self._asked), True
        if self._plan is None or context.show is None or context.freshness:
            return None
        change = await following.change()
        try:
            data = await self._plan.show(context.show(change), self._asked.variables, context)
            text = _text({"data": data, "extensions": extensions} if extensions else {"data": data})
        except Exception:  # the library meets the same error and reports it
            following.take_back(change)
            return None
        following.made(change.snapshot, text)
        return text


def _text(body: dict[str, Any]) -> str:
    try:
        return _encode(body).decode()
    except UnicodeEncodeError:  # an unpaired surrogate from the client; json escapes it
        return json.dumps(body)


async def _wrong_now(context: Context) -> list[GraphQLError]:
    """Why the follower may be told nothing any more, or it can't be found out; empty if they may."""
    context.forget_reads()
    try:
        allowed = await context.may_still()
    except GraphQLError as error:
        return [error]
    return [] if allowed else [as_graphql_error(Forbidden(), context.language)]


def _question(asked: Asked, context: Context) -> Hashable:
    """By what all are told the same who stand at the same place. `after` said where one began: it is past."""
    variables = {name: value for name, value in asked.variables.items() if name != context.after_variable}
    document = asked.query, asked.document_id
    return document, json.dumps(variables, sort_keys=True), asked.operation_name, context.language
