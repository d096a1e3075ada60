"""GraphQL over HTTP, as its specification says.

Where the audits of the npm package `graphql-http` differ from the newest draft, this follows the audits: see
docs/adr/0010-the-endpoint.md.
"""

import json
import re
import time
from collections.abc import Mapping
from functools import lru_cache
from typing import Any, NamedTuple
from urllib.parse import parse_qsl

import orjson
from graphql import OperationType
from starlette.types import ASGIApp, Receive, Scope, Send

from api.graphql.context import Context, RequestRejected
from api.graphql.engine.execution import Asked, Engine, InternalError, NotHere
from api.graphql.engine.request_errors import as_graphql_error
from api.graphql.scalars import Position
from api.http.introduction import Introduce
from api.http.limits import (
    BODY_BYTES_MAX,
    BODY_READ_TIMEOUT_S,
    Gone,
    Malformed,
    TooLarge,
    check_request,
    headers_of,
    parse_json,
    peer_of,
    persisted_digest,
    read_body,
)
from api.http.origins import Origins
from api.http.protocol import Response
from api.http.refusals import (
    BodyCompressed,
    BodyTooLarge,
    BodyTooSlow,
    MutationByGet,
    NotAcceptable,
    Refused,
    StreamForPrograms,
    SubscriptionElsewhere,
    TooManyConnections,
    WrongContentType,
    WrongMethod,
)
from api.http.streams import EVENT_STREAM, Streams, as_events
from api.messages import LANGUAGE_LENGTH_MAX, language_of
from api.telemetry import CORRELATION, Headers, Requests, correlation_of
from domain.errors import Language
from infra.running.logging import log_failure

NAMED = CORRELATION.decode()
GRAPHQL_JSON = "application/graphql-response+json"
JSON = "application/json"
ANY = ("application/*", "*/*")
ACCEPT_LENGTH_MAX = 2_000
CONTENT_TYPE_LENGTH_MAX = 200
HEADERS_MAX = 200  # remembered, of each kind
READ_ONLY = (OperationType.QUERY,)
BOTH = (OperationType.QUERY, OperationType.MUTATION)
HEADS = {
    media: f"content-type: {media}; charset=utf-8\r\ncache-control: no-store\r\n".encode()
    for media in (JSON, GRAPHQL_JSON)
}


def _language(headers: Headers) -> Language:
    return language_of(headers.get(b"accept-language", b"")[:LANGUAGE_LENGTH_MAX])


class _Stream(NamedTuple):
    """A subscription whose updates are sent from now on."""

    asked: Asked
    context: Context


class _Reply(NamedTuple):
    status: int
    media: str
    body: dict[str, Any]
    headers: Mapping[str, str] = {}


class _Request(NamedTuple):
    """A request. `body` is None if it must still be read with `receive`."""

    method: str
    headers: Headers
    peer: str
    query: bytes = b""
    body: bytes | None = None
    receive: Receive | None = None


class Endpoint:
    """The application of the endpoint's path, over ASGI or over the fast path (see api/http/protocol.py).

    `page` answers a browser that opens the path.
    """

    def __init__(
        self,
        engine: Engine,
        introduce: Introduce,
        requests: Requests,
        streams: Streams,
        origins: Origins,
        *,
        page: ASGIApp,
    ) -> None:
        self._engine = engine
        self._introduce = introduce
        self._requests = requests
        self._streams = streams
        self._origins = origins
        self._page = page

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = headers_of(scope)
        if scope["method"] == "GET" and not scope["query_string"] and _wants_page(_accept(headers)):
            await self._page(scope, receive, send)
            return
        request = _Request(scope["method"], headers, peer_of(scope), scope["query_string"], receive=receive)
        try:
            reply = await self._reply(request)
        except Gone:
            return
        if isinstance(reply, _Stream):
            await self._streams.serve(reply.asked, reply.context, receive, send)
            return
        body = _encoded(reply.body)
        if reply.media == EVENT_STREAM:
            body = as_events(body)
        sent = [
            (b"content-type", f"{reply.media}; charset=utf-8".encode()),
            (b"content-length", str(len(body)).encode()),
            (b"cache-control", b"no-store"),
            *((name.encode(), value.encode()) for name, value in reply.headers.items()),
        ]
        await send({"type": "http.response.start", "status": reply.status, "headers": sent})
        await send({"type": "http.response.body", "body": body})

    @staticmethod
    def can_answer(headers: Headers) -> bool:
        """Whether `answer` can answer a POST with these headers. It can't answer with an event stream."""
        try:
            return _media(_accept(headers)) != EVENT_STREAM
        except Refused:
            return True

    async def answer(self, headers: Headers, body: bytes, peer: str) -> Response:
        """The response to a POST whose body has arrived."""
        reply = await self._reply(_Request("POST", headers, peer, body=body))
        assert isinstance(reply, _Reply)
        head = HEADS[reply.media]
        for name, value in reply.headers.items():
            head += f"{name}: {value}\r\n".encode()
        return Response(reply.status, head, _encoded(reply.body))

    async def _reply(self, request: _Request) -> _Reply | _Stream:
        media, method, headers = JSON, request.method, request.headers
        # The body of a refused request is not read, so no other request can follow on the connection.
        last = {} if method == "GET" or request.body is not None else {"connection": "close"}
        try:
            if method not in ("GET", "POST"):
                raise Refused(405, WrongMethod(), allow="GET, POST")
            wanted = _media(_accept(headers))
            if wanted != EVENT_STREAM:
                media = wanted
            elif self._origins.is_foreign(headers):
                raise Refused(403, StreamForPrograms())
            # Before the body is read: that of a stranger may be long.
            context = await self._introduce(headers, request.peer)
            context.resumes_after = _last_event_id(headers)
            parameters = _request_of_url(request.query) if method == "GET" else await _request_of_body(request)
            return await self._answered(parameters, context, wanted, only_reads=method == "GET")
        except Refused as refusal:
            self._requests.turned_away("error")
            shown = as_graphql_error(refusal.refusal, _language(headers)).formatted
            return _turned_away(headers, refusal.status, media, shown, {**refusal.headers, **last})
        except RequestRejected as away:
            self._requests.turned_away(away.outcome)
            return _turned_away(headers, away.status, media, away.error, {**away.headers, **last})
        except Malformed as fault:
            self._requests.turned_away("error")
            return _turned_away(headers, 400, media, {"message": fault.texts[_language(headers)]})
        except Gone:
            raise
        except Exception as error:
            number = correlation_of(headers)
            log_failure("a request failed", error, id=number)
            self._requests.turned_away("failed")
            failure = as_graphql_error(InternalError(id=number), _language(headers))
            return _turned_away(headers, 500, media, failure.formatted, {NAMED: number})

    async def _answered(
        self, parameters: dict[str, Any], context: Context, media: str, *, only_reads: bool
    ) -> _Reply | _Stream:
        begun_s = time.perf_counter()
        asked = Asked(
            parameters.get("query"),
            parameters.get("variables") or {},
            parameters.get("operationName"),
            parameters.get("documentId"),
            persisted_digest(parameters),
        )
        try:
            found = await self._engine.answer(asked, context, READ_ONLY if only_reads else BOTH)
        except NotHere as error:
            if error.kind is not OperationType.SUBSCRIPTION:
                raise Refused(405, MutationByGet(), allow="POST") from None
            if media == EVENT_STREAM:
                return self._stream(asked, context)
            elsewhere = as_graphql_error(SubscriptionElsewhere(media=EVENT_STREAM), context.language)
            found = self._engine.refused([elsewhere], asked, context)
        self._requests.answered(context, found.errors, begun_s)
        status = 400 if media == GRAPHQL_JSON and not found.executed else 200
        return _Reply(status, media, found.body(), {NAMED: context.correlation})

    def _stream(self, asked: Asked, context: Context) -> _Stream:
        if not self._streams.room:
            raise Refused(503, TooManyConnections(), **{"retry-after": "5"})
        return _Stream(asked, context)


def _turned_away(
    headers: Headers, status: int, media: str, error: Mapping[str, Any], more: Mapping[str, str] = {}
) -> _Reply:
    """The answer to a request that was refused before it was read as GraphQL."""
    return _Reply(status, media, {"errors": [error]}, {NAMED: correlation_of(headers), **more})


def _accept(headers: Headers) -> bytes:
    return headers.get(b"accept", b"*/*")[:ACCEPT_LENGTH_MAX]


@lru_cache(HEADERS_MAX)
def _wants_page(accept: bytes) -> bool:
    """Whether HTML is preferred to all that the endpoint answers with, as by a browser that opens an address."""
    wanted = _qualities(accept.decode("latin-1").lower())
    html = wanted.get("text/html", 0.0)
    return html > max(wanted.get(media, 0.0) for media in (JSON, GRAPHQL_JSON, EVENT_STREAM)) and html >= max(
        wanted.get(media, 0.0) for media in ANY
    )


@lru_cache(HEADERS_MAX)
def _media(accept: bytes) -> str:
    """The media type for the answer, by the header Accept (RFC 9110 §12.5.1). Raises Refused if none fits."""
    wanted = _qualities(accept.decode("latin-1").lower())
    quality = {
        media: next((wanted[name] for name in (media, *ANY) if name in wanted), 0.0)  # the most specific range counts
        for media in (GRAPHQL_JSON, JSON)
    }
    # If both are wanted equally: a client that names the first knows the specification; others get plain JSON.
    order = (GRAPHQL_JSON, JSON) if GRAPHQL_JSON in wanted else (JSON, GRAPHQL_JSON)
    best = max(order, key=lambda media: quality[media])
    streamed = wanted.get(EVENT_STREAM, 0.0)  # only if it is named: other clients could not read it
    if streamed > quality[best] or (streamed == quality[best] > 0 and best not in wanted):
        return EVENT_STREAM
    if not quality[best]:
        raise Refused(406, NotAcceptable(media=f"{GRAPHQL_JSON}, {JSON}, {EVENT_STREAM}"))
    return best


def _last_event_id(headers: Headers) -> Position | None:
    """The position at which a browser resumes a stream by itself. Unknown ids are ignored."""
    name = headers.get(b"last-event-id", b"").decode("latin-1")
    return Position(int(name)) if re.fullmatch("[0-9]{1,18}", name) else None


def _qualities(accept: str) -> dict[str, float]:
    """The quality of each media range, from 0 to 1."""
    qualities: dict[str, float] = {}
    for item in accept.split(","):
        name, *parameters = (part.strip() for part in item.split(";"))
        quality = 1.0
        for parameter in parameters:
            key, _, value = parameter.partition("=")
            if key.strip() == "q":
                quality = _quality(value.strip())
            elif key.strip() == "charset" and not _is_utf8(value):
                quality = 0.0
        qualities[name] = max(quality, qualities.get(name, 0.0))
    return qualities


def _quality(text: str) -> float:
    try:
        quality = float(text)
    except ValueError:
        return 0.0
    return quality if 0 <= quality <= 1 else 0.0  # "nan" is neither


def _is_utf8(charset: str) -> bool:
    return charset.strip().strip('"').lower() in ("utf-8", "utf8")


def _request_of_url(query: bytes) -> dict[str, Any]:
    found: dict[str, Any] = {}
    found.update(parse_qsl(query.decode("latin-1"), keep_blank_values=True))
    for name in ("variables", "extensions"):
        found[name] = parse_json(found[name], name) if found.get(name) else None
    found["operationName"] = found.get("operationName") or None  # an empty header counts as absent
    check_request(found)
    return found


@lru_cache(HEADERS_MAX)
def _wrong_type(content_type: bytes) -> str:
    """What a body of this type should be instead; "" if it is accepted."""
    name, *parameters = content_type.decode("latin-1").split(";")
    if name.strip().lower() != JSON:
        return JSON
    for parameter in parameters:
        key, _, value = parameter.partition("=")
        if key.strip().lower() == "charset" and not _is_utf8(value):
            return "UTF-8"
    return ""


async def _request_of_body(request: _Request) -> dict[str, Any]:
    headers, body = request.headers, request.body
    if wrong := _wrong_type(headers.get(b"content-type", b"")[:CONTENT_TYPE_LENGTH_MAX]):
        raise Refused(415, WrongContentType(wanted=wrong))
    if headers.get(b"content-encoding", b"identity").lower() != b"identity":
        raise Refused(415, BodyCompressed())
    if body is None:
        assert request.receive
        try:
            body = await read_body(headers, request.receive)
        except TooLarge:
            raise Refused(413, BodyTooLarge(limit=BODY_BYTES_MAX)) from None
        except TimeoutError:
            raise Refused(408, BodyTooSlow(seconds=BODY_READ_TIMEOUT_S)) from None
    found: dict[str, Any] = parse_json(body, "body")
    check_request(found, length_bytes=len(body))
    return found


def _encoded(body: dict[str, Any]) -> bytes:
    try:
        return orjson.dumps(body)
    except TypeError:  # an unpaired surrogate from the client
        return json.dumps(body).encode()
