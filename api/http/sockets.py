"""Subscriptions over WebSockets: who may open a connection, what it may send, and its timeouts."""

import asyncio
import json
import random
import time
from collections.abc import Mapping
from contextlib import aclosing, suppress
from datetime import timedelta
from typing import Any, cast

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from starlette.websockets import WebSocket, WebSocketDisconnect
from strawberry.asgi import ASGIWebSocketAdapter, GraphQL
from strawberry.http.exceptions import WebSocketDisconnected
from strawberry.subscriptions import GRAPHQL_TRANSPORT_WS_PROTOCOL
from strawberry.subscriptions.protocols.graphql_transport_ws.handlers import BaseGraphQLTransportWSHandler, Operation
from strawberry.subscriptions.protocols.graphql_transport_ws.types import (
    ConnectionInitMessage,
    PingMessage,
    SubscribeMessage,
)

from api.graphql.context import Context, RequestRejected
from api.graphql.engine.execution import Asked, Engine, NotHere
from api.graphql.engine.request_errors import as_graphql_error
from api.http.connections import (
    CLOSE_TIMEOUT_S,
    PING_EVERY_S,
    SEND_TIMEOUT_S,
    SLOW_READER,
    Places,
    when_token_ends,
    with_timeout,
)
from api.http.introduction import Introduce
from api.http.limits import Malformed, check_request, headers_of, parse_json, peer_of, persisted_digest
from api.http.origins import Origins
from api.http.refusals import OnlySubscriptions
from api.http.timers import SharedTimers, Timer
from api.http.updates import Update, updates
from domain.errors import Rejected
from infra.running.logging import log_failure
from infra.running.settings import EVERY_ORIGIN

SUBSCRIPTIONS_MAX = 20  # at a time, of one connection
MESSAGE_BYTES_MAX = 64 * 1024  # from a client
ID_LENGTH_MAX = 128
INIT_TIMEOUT_S = 10  # from the handshake to connection_init
SILENCE_MAX_S = 75  # a client that answers no ping for this long is disconnected
PING = '{"type":"ping"}'

POLICY = 1008
TRY_AGAIN_LATER = 1013
BAD_MESSAGE = 4400
FORBIDDEN = 4403
UNAUTHORIZED = 401


class Subscriptions:
    """The ASGI application of one path, for WebSockets: graphql-transport-ws, and nothing else.

    Accepts connections of allowed pages and of programs while there are places, and watches each of them. Browsers let
    any page open a WebSocket, so other pages are refused here.
    """

    def __init__(self, engine: Engine, introduce: Introduce, places: Places, origins: Origins) -> None:
        self._protocol = _Protocol(engine, introduce, places.timers)
        self._introduce = introduce
        self._places = places
        self._origins = origins

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if self._origins.is_foreign(headers_of(scope)):
            await send({"type": "websocket.close", "code": POLICY})  # before it is accepted: the handshake gets a 403
        elif self._places.full:
            await receive()
            await send({"type": "websocket.accept"})  # browsers do not tell a page why a handshake fails
            await send({"type": "websocket.close", "code": TRY_AGAIN_LATER, "reason": "too many connections"})
        elif reason := await self._turned_away(scope):
            await receive()
            await send({"type": "websocket.accept"})
            await send({"type": "websocket.close", "code": TRY_AGAIN_LATER, "reason": reason})
        else:
            with self._places.take():
                await _Connection(self._protocol, scope, receive, send).serve(self._places.timers)

    async def _turned_away(self, scope: Scope) -> str:
        """Why another connection from this address is refused; "" if it is not. A place is taken before the login."""
        try:
            await self._introduce({}, peer_of(scope))
        except RequestRejected as away:
            return str(away)
        return ""


class _Connection:
    """A WebSocket. The client is disconnected if it sends what it must not, or does not read."""

    def __init__(self, app: ASGIApp, scope: Scope, receive: Receive, send: Send) -> None:
        self._app = app
        self._scope = scope
        self._receive = receive
        self._send = send
        self._ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._heard_at_s = time.monotonic()
        self._farewell: Message | None = None
        self._pinging: asyncio.Task[None] | None = None

    async def serve(self, timers: SharedTimers) -> None:
        """Serve the connection until either side ends it."""
        served: asyncio.Future[Any] = asyncio.ensure_future(self._app(self._scope, self.receive, self.send))
        # Spread the pings of clients that connected together.
        pings = timers.start(self._ping, after_s=PING_EVERY_S * random.uniform(0.5, 1))  # noqa: S311
        try:
            await asyncio.wait({served, self._ended}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            pings.stop()
            tasks = {served, self._pinging} if self._pinging else {served}
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)
        if self._farewell:
            with suppress(Exception):  # a client that does not read does not get this either
                async with asyncio.timeout(CLOSE_TIMEOUT_S):
                    await self._send(self._farewell)
        if not served.cancelled() and (error := served.exception()):
            log_failure("a connection failed", error)

    def _ping(self) -> float | None:
        if time.monotonic() - self._heard_at_s > SILENCE_MAX_S:
            self._cut_off(TRY_AGAIN_LATER, "you do not answer")
            return None
        if self._pinging is None or self._pinging.done():
            self._pinging = asyncio.create_task(self._send_ping())
        return PING_EVERY_S

    async def _send_ping(self) -> None:
        with suppress(Exception):  # a client that can't be sent anything is disconnected, or gone
            await self.send({"type": "websocket.send", "text": PING})

    def _cut_off(self, code: int, reason: str) -> None:
        self._farewell = {"type": "websocket.close", "code": code, "reason": reason}
        self._end()

    def _end(self) -> None:
        if not self._ended.done():
            self._ended.set_result(None)

    async def receive(self) -> Message:
        message = await self._receive()
        self._heard_at_s = time.monotonic()
        if message["type"] == "websocket.receive":
            try:
                _check_message(message)
            except Malformed as fault:
                self._cut_off(BAD_MESSAGE, str(fault))
                return {"type": "websocket.disconnect", "code": BAD_MESSAGE}
        return message

    async def send(self, message: Message) -> None:
        if message["type"] == "websocket.close":
            # Send it when nothing else is being received. The client need not answer.
            self._farewell = message
            self._end()
            return
        try:
            await with_timeout(SEND_TIMEOUT_S, self._send(message))
        except TimeoutError:
            self._cut_off(TRY_AGAIN_LATER, SLOW_READER)
            raise OSError("the client does not read") from None


def _check_message(message: Message) -> None:
    """Raise Malformed unless the protocol's handler can take it. The reason travels in a close frame: 123 bytes."""
    text = message.get("text")
    if text is None:
        raise Malformed(en="A message must be text.", es="Un mensaje debe ser texto.")
    if len(text) > MESSAGE_BYTES_MAX or len(text.encode(errors="replace")) > MESSAGE_BYTES_MAX:
        raise Malformed(
            en=f"A message must not be larger than {MESSAGE_BYTES_MAX} bytes.",
            es=f"Un mensaje no puede tener más de {MESSAGE_BYTES_MAX} bytes.",
        )
    message = parse_json(text, "message")
    if not isinstance(message, dict) or not isinstance(message.get("type"), str):
        raise Malformed(
            en='A message must be an object with a "type".', es='Un mensaje debe ser un objeto con un "type".'
        )
    if message["type"] in ("subscribe", "complete"):
        name = message.get("id")
        if not isinstance(name, str) or not 1 <= len(name) <= ID_LENGTH_MAX:
            raise Malformed(
                en=f"`id` must be a string of 1 to {ID_LENGTH_MAX} characters.",
                es=f"`id` debe ser un texto de 1 a {ID_LENGTH_MAX} caracteres.",
            )
    if message["type"] == "subscribe":
        check_request(message.get("payload"))


class TooManySubscriptions(
    Rejected,
    es="Una conexión puede tener {limit} suscripciones a la vez como máximo.",
    en="A connection can have at most {limit} subscriptions at a time.",
):
    limit: int


class SubscriptionHandler(BaseGraphQLTransportWSHandler[Context, None]):
    """Speaks graphql-transport-ws, for subscriptions only: queries and mutations go over HTTP."""

    _token: Timer | None = None
    _closing: asyncio.Task[None] | None = None

    @property
    def _engine(self) -> Engine:
        assert isinstance(self.view, _Protocol)
        return self.view.engine

    async def handle_connection_init(self, message: ConnectionInitMessage) -> None:
        payload = message.get("payload")
        if not self.connection_init_received and isinstance(payload, dict | None):
            assert isinstance(self.websocket, ASGIWebSocketAdapter)
            assert isinstance(self.view, _Protocol)
            scope = self.websocket.ws.scope
            headers = headers_of(scope)
            try:
                headers |= _authorization(payload or {})
                self.context = await self.view.introduce(headers, peer_of(scope))
            except RequestRejected as away:
                self.connection_init_received = True
                self.context.services.requests.turned_away(away.outcome)
                code = FORBIDDEN if away.status == UNAUTHORIZED else TRY_AGAIN_LATER
                await self.websocket.close(code, str(away))
                return
            self._token = when_token_ends(self.context, self.view.timers, self._end_with_token)
        await super().handle_connection_init(message)

    def _end_with_token(self) -> None:
        self._closing = asyncio.create_task(self._close_with_token())

    async def _close_with_token(self) -> None:
        with suppress(Exception):  # the client may be gone already
            await self.websocket.close(FORBIDDEN, "token_invalid")

    async def shutdown(self) -> None:
        if self._token:
            self._token.stop()
        if self._closing:
            self._closing.cancel()
        await super().shutdown()

    async def handle_ping(self, message: PingMessage) -> None:
        try:
            self.context.charge()
        except RequestRejected as away:
            await self.websocket.close(TRY_AGAIN_LATER, str(away))
        else:
            await super().handle_ping(message)

    async def handle_subscribe(self, message: SubscribeMessage) -> None:
        context, payload = self.context, cast("dict[str, Any]", message["payload"])
        # The library closes the connection of a client that has not initialised it, or uses an id twice.
        if self.connection_acknowledged and message["id"] not in self.operations:
            try:
                context.charge()
                if len(self.operations) >= SUBSCRIPTIONS_MAX:
                    raise TooManySubscriptions(limit=SUBSCRIPTIONS_MAX)
                name, digest = payload.get("documentId"), persisted_digest(payload)
                if name is not None or digest is not None:  # unknown to the library
                    payload["query"] = self._engine.trusted.text(payload.get("query"), name, digest)
            except (Rejected, RequestRejected) as refusal:
                away = (
                    refusal if isinstance(refusal, RequestRejected) else RequestRejected(400, refusal, context.language)
                )
                context.services.requests.turned_away(away.outcome)
                await self.send_message({"id": message["id"], "type": "error", "payload": [away.error]})
                return
        await super().handle_subscribe(message)

    async def run_operation(self, operation: Operation[Context, None]) -> None:
        try:
            await self._tell(operation, self.context.for_subscription())
        except (WebSocketDisconnected, WebSocketDisconnect):
            return  # the connection ends, and its handler with it
        except Exception as error:
            log_failure("a subscription failed", error)
            await self.websocket.close(1011, "Something went wrong on our side.")

    async def _tell(self, operation: Operation[Context, None], context: Context) -> None:
        asked = Asked(operation.query or "", operation.variables or {}, operation.operation_name)
        head = f'{{"id":{json.dumps(operation.id)},"type":"next","payload":'
        begun_s = time.perf_counter()
        try:
            async with aclosing(updates(self._engine, asked, context)) as answers:
                async for answer in answers:
                    if isinstance(answer, Update):
                        await self._send_next(operation, head, answer.text)
                    else:
                        await operation.send_initial_errors(answer.errors)
        except NotHere as error:
            refusal = as_graphql_error(OnlySubscriptions(kind=error.kind.value), context.language)
            context.services.requests.answered(context, [refusal], begun_s)
            await operation.send_initial_errors([refusal])

    async def _send_next(self, operation: Operation[Context, None], head: str, answer: str) -> None:
        """Send an answer that was encoded once for all who get it."""
        if not operation.completed:
            assert isinstance(self.websocket, ASGIWebSocketAdapter)
            await self.websocket.ws.send_text(f"{head}{answer}}}")


def _authorization(payload: Mapping[str, Any]) -> dict[bytes, bytes]:
    """The authorization from connection_init: browsers do not let a page set headers of a WebSocket."""
    for name, value in payload.items():
        if name.lower() == "authorization" and isinstance(value, str):
            return {b"authorization": value.encode(errors="replace")}
    return {}


class _Protocol(GraphQL[Context, None]):
    """The library's protocol handler for our schema, for WebSockets only."""

    graphql_transport_ws_handler_class = SubscriptionHandler

    def __init__(self, engine: Engine, introduce: Introduce, timers: SharedTimers) -> None:
        super().__init__(
            engine.schema,
            graphql_ide=None,
            subscription_protocols=(GRAPHQL_TRANSPORT_WS_PROTOCOL,),
            connection_init_wait_timeout=timedelta(seconds=INIT_TIMEOUT_S),
            allowed_origins=[EVERY_ORIGIN],  # Subscriptions accepts nothing else
            max_subscriptions_per_connection=None,  # SubscriptionHandler reports it in the client's language
        )
        self.engine = engine
        self.introduce = introduce
        self.timers = timers

    async def get_context(self, request: Request | WebSocket, response: Response | WebSocket) -> Context:
        # Anonymous for now: the token comes when the connection is initialised, and here nobody can be rejected.
        return await self.introduce({**headers_of(request.scope), b"authorization": b""}, None)
