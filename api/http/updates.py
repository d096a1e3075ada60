"""Updates of a subscription as JSON. Followers with the same question share them."""

import json
import time
from collections.abc import AsyncGenerator, Hashable
from contextlib import aclosing
from typing import Any, NamedTuple

import msgspec
from graphql import GraphQLError

from api.access.grant import Forbidden
from api.graphql.context import Context
from api.graphql.engine.execution import Answer, Asked, Engine
from api.graphql.engine.live import Following
from api.graphql.engine.plans.plan import FollowedPlan
from api.graphql.engine.request_errors import as_graphql_error

_encode = msgspec.json.Encoder().encode


class Update(NamedTuple):
    """An answer as JSON, and the log position of the last change in it."""

    text: str
    position: int


async def updates(engine: Engine, asked: Asked, context: Context) -> AsyncGenerator[Update | Answer, None]:
    """Yield an update for each change; if the follower is refused, a last answer without data.

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
            # Before it is sent, so that others do not wait for the sending.
            following.made(context.snapshot, _for_all(text, context))
            position, question = following.position, _question(asked, context)
            known: str | None = text
            while known:
                if errors := await _wrong_now(context):
                    yield engine.refused(errors, asked, context)
                    return
                yield Update(known, position)
                known = await following.answer(question) or await planned.next(following, answer.extensions)
                position = following.position


class _PlannedAnswers:
    """Makes later answers with the document's plan, in a fraction of the library's time."""

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
        following.made(change.snapshot, _for_all(text, context))
        return text


def _for_all(text: str, context: Context) -> str | None:
    """An update, if others may get the same. What a follower sees of linked objects depends on their rights."""
    return text if context.links is None else None


def _text(body: dict[str, Any]) -> str:
    try:
        return _encode(body).decode()
    except UnicodeEncodeError:  # an unpaired surrogate from the client; json escapes it
        return json.dumps(body)


async def _wrong_now(context: Context) -> list[GraphQLError]:
    """Why the follower may get no more updates, or why that can't be determined; empty if they may."""
    context.forget_reads()
    try:
        allowed = await context.may_still()
    except GraphQLError as error:
        return [error]
    return [] if allowed else [as_graphql_error(Forbidden(), context.language)]


def _question(asked: Asked, context: Context) -> Hashable:
    """Equal for followers that get the same updates at the same position. `after` matters only for the start."""
    variables = {name: value for name, value in asked.variables.items() if name != context.after_variable}
    document = asked.query, asked.document_id, asked.digest
    return document, json.dumps(variables, sort_keys=True), asked.operation_name, context.language
