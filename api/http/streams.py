"""Subscriptions as event streams, by the protocol of graphql-sse in its mode of distinct connections.

A stream sends `complete` only if nothing more will come. In all other cases its body is left unfinished, so that no
client takes it for complete.
"""

import asyncio
import json
import time
from contextlib import aclosing, suppress
from typing import Any

from starlette.types import Message, Receive, Send

from api.graphql.context import Context
from api.graphql.engine.execution import Answer, Asked, Engine
from api.http.connections import (
    CLOSE_TIMEOUT_S,
    PING_EVERY_S,
    SEND_TIMEOUT_S,
    SLOW_READER,
    Places,
    when_token_ends,
)
from api.http.timers import SharedTimers
from api.http.updates import Update, updates
from api.telemetry import CORRELATION
from infra.running.logging import log_failure

EVENT_STREAM = "text/event-stream"
LINGER_S = 0.1  # a server may discard unsent data of an unfinished body
PING = b":\n\n"  # a comment
COMPLETE = b"event: complete\ndata:\n\n"  # browsers do not dispatch an event without data
HEADERS = [
    (b"content-type", f"{EVENT_STREAM}; charset=utf-8".encode()),
    (b"cache-control", b"no-store"),
    (b"x-accel-buffering", b"no"),  # otherwise proxies would buffer it
]


def as_events(body: bytes) -> bytes:
    """A whole stream for a single answer."""
    return b"event: next\ndata: " + body + b"\n\n" + COMPLETE


def _event(answer: Update | Answer) -> bytes:
    """One of several answers. A browser sends its id as Last-Event-ID when it reconnects."""
    if isinstance(answer, Update):
        return f"event: next\nid: {answer.position}\ndata: {answer.text}\n\n".encode()
    return f"event: next\ndata: {json.dumps(answer.body())}\n\n".encode()


def _part(body: bytes, *, more: bool = True) -> Message:
    return {"type": "http.response.body", "body": body, "more_body": more}


class Streams:
    """All event streams of the process. They share their places with its WebSockets."""

    def __init__(self, engine: Engine, places: Places) -> None:
        self._engine = engine
        self._places = places
        self._stopped = asyncio.Event()

    @property
    def room(self) -> bool:
        """Whether another stream may be opened."""
        return not self._places.full and not self._stopped.is_set()

    def stop(self) -> None:
        """End all streams, because the server stops."""
        self._stopped.set()

    async def serve(self, asked: Asked, context: Context, receive: Receive, send: Send) -> None:
        """Send the answers of a subscription until either side ends it."""
        with self._places.take():
            await _Stream(self._engine, asked, context, receive, send).serve(self._stopped, self._places.timers)


class _Stream:
    """One stream. Its client is disconnected if it does not read."""

    def __init__(self, engine: Engine, asked: Asked, context: Context, receive: Receive, send: Send) -> None:
        self._engine = engine
        self._asked = asked
        self._context = context
        self._receive = receive
        self._send = send
        self._sending = asyncio.Lock()
        self._sent_at_s = time.monotonic()
        self._farewell = ""

    async def serve(self, stopped: asyncio.Event, timers: SharedTimers) -> None:
        """Serve until the stream is complete, the client disconnects, or the server stops."""
        ended = asyncio.Event()
        token = when_token_ends(self._context, timers, ended.set)
        try:
            await self._serve(ended, stopped)
        finally:
            if token:
                token.stop()

    async def _serve(self, token_ended: asyncio.Event, stopped: asyncio.Event) -> None:
        work = (self._tell(), self._ping(), self._gone(), token_ended.wait(), stopped.wait())
        tasks: list[asyncio.Future[Any]] = [asyncio.ensure_future(one) for one in work]
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)
            for task in tasks[1:]:
                if not task.cancelled() and (other := task.exception()) and not isinstance(other, OSError):
                    log_failure("an event stream failed", other)
        telling = tasks[0]
        if not telling.cancelled() and (error := telling.exception()) and not isinstance(error, OSError):
            log_failure("a subscription failed", error)
            self._farewell = "something went wrong on our side"
        elif done == {tasks[-1]}:
            self._farewell = "the server stops"
        elif done == {tasks[-2]}:
            self._farewell = "the token has ended"
        if self._farewell:
            with suppress(Exception):  # a client that does not read does not get this either
                async with asyncio.timeout(CLOSE_TIMEOUT_S):
                    await self._send(_part(f": {self._farewell}\n\n".encode()))
                    await asyncio.sleep(LINGER_S)

    async def _tell(self) -> None:
        named = (CORRELATION, self._context.correlation.encode())
        await self._send({"type": "http.response.start", "status": 200, "headers": [*HEADERS, named]})
        await self._say(PING)  # the first answer may take long, and without this not even the headers would be sent
        async with aclosing(updates(self._engine, self._asked, self._context)) as answers:
            async for answer in answers:
                await self._say(_event(answer))
        await self._say(COMPLETE, more=False)

    async def _ping(self) -> None:
        with suppress(OSError):
            while True:
                await asyncio.sleep(self._sent_at_s + PING_EVERY_S - time.monotonic())
                if time.monotonic() >= self._sent_at_s + PING_EVERY_S:
                    await self._say(PING)

    async def _gone(self) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass

    async def _say(self, text: bytes, *, more: bool = True) -> None:
        """Send text. Raises OSError if the client does not read or is gone."""
        try:
            async with asyncio.timeout(SEND_TIMEOUT_S), self._sending:
                await self._send(_part(text, more=more))
        except TimeoutError:
            self._farewell = SLOW_READER
            raise OSError("the client does not read") from None
        self._sent_at_s = time.monotonic()
