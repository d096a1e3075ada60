"""The HTTP side of a worker: uvicorn's protocol with bounds on what clients send, and a short way for most requests.

Most requests are a POST to /graphql with a short body that arrives in one piece. Such a request needs neither an ASGI
scope nor its messages: the protocol parses its head, asks the application and writes the answer. Everything else (other
methods, long or chunked bodies, WebSockets, event streams, pages of other origins) goes through uvicorn as ever.
"""

import asyncio
import time
from collections import deque
from collections.abc import Callable, Mapping
from functools import lru_cache
from http import HTTPStatus
from typing import Any, NamedTuple, Protocol, cast

import httptools
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle

from api.limits import BODY_BYTES_MAX
from infra.logging import log_failure

HEAD_BYTES_MAX = 64 * 1024  # request line and headers
HEADERS_MAX = 100
# A body in chunks of one byte takes six times its size; a request that is longer than this is nobody's honest one.
REQUEST_BYTES_MAX = HEAD_BYTES_MAX + 8 * BODY_BYTES_MAX
HEADS_MAX = 2_000  # remembered, with what they say
REMEMBERED_HEAD_BYTES_MAX = 2_000
SHORT_BODY_BYTES_MAX = 64 * 1024  # of a request that goes the short way
WAITING_BYTES_MAX = 256 * 1024  # received while a request is being answered; beyond that the socket is not read
IDLE_TIMEOUT_S = 30  # without a whole request head, and for a client to read its last answer
SWEEP_EVERY_S = 1.0
LINGER_S = 2.0  # a client that is refused while it still sends is heard for so long, or it would not get the answer
DRAIN_S = 0.05  # told to stop: what is in the socket already is still read

# Headers that change how a request is framed, or who may read its answer.
LONG_WAY = frozenset({b"connection", b"upgrade", b"transfer-encoding", b"expect", b"origin"})
END_OF_HEAD = b"\r\n\r\n"


class Response(NamedTuple):
    """An answer in one piece. `head`: header lines except Content-Length, Date and Connection."""

    status: int
    head: bytes
    body: bytes


class Exchange(Protocol):
    """The application's part of the short way."""

    def takes(self, path: bytes, headers: Mapping[bytes, bytes], peer: str) -> bool:
        """Whether `answer` can answer a POST with this target and these headers."""

    async def answer(self, headers: Mapping[bytes, bytes], body: bytes, peer: str) -> Response:
        """The answer to a request that it takes. Never raises. `peer`: the client's address."""


class Connections:
    """All HTTP connections of a worker. One timer closes those that are idle for too long."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._open: set[HttpProtocol] = set()
        self._sweeping: asyncio.TimerHandle | None = None
        self.now_s = time.monotonic()

    def enter(self, connection: "HttpProtocol") -> bool:
        """Whether there was room for one more."""
        if len(self._open) >= self._most:
            return False
        self._open.add(connection)
        if self._sweeping is None:
            self._sweep()
        return True

    def leave(self, connection: "HttpProtocol") -> None:
        self._open.discard(connection)

    def _sweep(self) -> None:
        self.now_s = time.monotonic()
        for connection in [one for one in self._open if one.idle_since_s is not None]:
            connection.close_if_idle(self.now_s - IDLE_TIMEOUT_S)
        loop = asyncio.get_running_loop()
        self._sweeping = loop.call_later(SWEEP_EVERY_S, self._sweep) if self._open else None


class _Head:
    """A request's head as httptools reads it."""

    __slots__ = ("complete", "headers", "plain", "target")

    def __init__(self) -> None:
        self.target = b""
        self.headers: dict[bytes, bytes] = {}
        self.plain = True  # no header comes twice, and no byte belongs to a body
        self.complete = False

    def on_url(self, url: bytes) -> None:
        self.target += url

    def on_header(self, name: bytes, value: bytes) -> None:
        name = name.lower()
        if name in self.headers:
            self.plain = False
        self.headers[name] = value

    def on_headers_complete(self) -> None:
        self.complete = True

    def on_body(self, body: bytes) -> None:
        self.plain = False  # the blank line that was found is not the end of this head


def _parsed(head: bytes) -> _Head | None:
    """The head of a POST by HTTP/1.1 that can go the short way; None for any other. Only to be read."""
    found = _Head()
    parser = httptools.HttpRequestParser(found)
    try:
        parser.feed_data(head)
    except httptools.HttpParserError:
        return None
    if not found.complete or not found.plain or parser.get_method() != b"POST" or parser.get_http_version() != "1.1":
        return None
    return found if len(found.headers) <= HEADERS_MAX and found.headers.keys().isdisjoint(LONG_WAY) else None


# A client sends the same head again and again: looking it up takes a tenth of parsing it.
_remembered = lru_cache(HEADS_MAX)(_parsed)


def _body_length(headers: Mapping[bytes, bytes]) -> int:
    """What Content-Length says; -1 if that is no number, or more than a short body."""
    said = headers.get(b"content-length", b"")
    length = int(said) if said.isdigit() and len(said) < 10 else -1
    return length if length <= SHORT_BODY_BYTES_MAX else -1


class _LingeringTransport:
    """What uvicorn answers through: closed only when the client had time to read why its request was not read."""

    __slots__ = ("_close", "is_closing", "write")

    def __init__(self, transport: asyncio.Transport, close: Callable[[], None]) -> None:
        self.write = transport.write
        self.is_closing = transport.is_closing
        self._close = close

    def close(self) -> None:
        self._close()


def _end(cycle: RequestResponseCycle) -> None:
    """Nothing more can be sent. uvicorn tells only the last one, and an event stream would go on for ever."""
    cycle.disconnected = True
    cycle.message_event.set()


class HttpProtocol(HttpToolsProtocol):
    """A connection. `exchange` and `open_connections` are set in a subclass, see `protocol_class`."""

    exchange: Exchange
    open_connections: Connections

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self.idle_since_s: float | None = None  # None while a request is being read or answered by somebody
        self._answering: asyncio.Task[None] | None = None
        self._waiting = b""  # received while a request is being answered
        self._stopping = False
        self._lingering = False
        self._unsent_bytes = 0  # of an answer, when it was last looked at
        self._peer = ""
        self._cycles: deque[RequestResponseCycle] = deque()  # of uvicorn, not answered yet, in the order of requests
        # Of the request that uvicorn reads:
        self._reading_message = False
        self._reading_head = False
        self._request_bytes = 0
        self._head_bytes = 0
        self._refusal = HTTPStatus.BAD_REQUEST
        self._refused = b""  # what is answered when all earlier requests are; nothing is read from then on

    # The life of a connection

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._peer = self.client[0] if self.client else ""
        if self.open_connections.enter(self):
            self._becomes_idle()
        else:
            self._refuse(HTTPStatus.SERVICE_UNAVAILABLE, b"retry-after: 5\r\n")

    def connection_lost(self, exc: Exception | None) -> None:
        self.open_connections.leave(self)
        self.idle_since_s = None
        self._waiting = b""
        super().connection_lost(exc)
        for cycle in self._cycles:
            _end(cycle)
        self._cycles.clear()
        self.pipeline.clear()

    def handle_websocket_upgrade(self) -> None:
        if self._cycles:  # their answers would get into the WebSocket, and nobody would tell them that it is closed
            self.transport.close()
            return
        self.open_connections.leave(self)
        self.idle_since_s = None
        super().handle_websocket_upgrade()

    def close_if_idle(self, before_s: float) -> None:
        """Close it if since then no whole head came, and the client read nothing of an answer."""
        if self.idle_since_s is None or self.idle_since_s >= before_s:
            return
        unsent_bytes = self.transport.get_write_buffer_size()
        if unsent_bytes and unsent_bytes != self._unsent_bytes:
            self._unsent_bytes = unsent_bytes
            self._becomes_idle()
        else:
            self.transport.abort()

    def shutdown(self) -> None:
        """The server stops: answer what was asked, then close."""
        self._stopping = True
        if self._answering is not None:
            return  # it is closed with the answer
        if self._uvicorn_rests():
            self.loop.call_later(DRAIN_S, self._close_if_resting)
        else:
            super().shutdown()

    def _close_if_resting(self) -> None:
        if self._answering is None:
            super().shutdown()

    def _uvicorn_rests(self) -> bool:
        """Whether uvicorn neither reads a request nor answers one."""
        return not self._reading_message and (self.cycle is None or self.cycle.response_complete)

    def _becomes_idle(self) -> None:
        self.idle_since_s = self.open_connections.now_s

    # What comes

    def data_received(self, data: bytes) -> None:
        if self._lingering or self._refused:
            return
        if self._answering is not None:
            self._waiting += data
            if len(self._waiting) > WAITING_BYTES_MAX:
                self.flow.pause_reading()
        elif not self._uvicorn_rests() or not self._takes_short_way(data):
            self._give_to_uvicorn(data)

    def _takes_short_way(self, data: bytes) -> bool:
        """Begin to answer the request that begins here, if all of it is here and it is a plain one."""
        end = data.find(END_OF_HEAD, 0, HEAD_BYTES_MAX) + len(END_OF_HEAD)
        if end < len(END_OF_HEAD) or not data.startswith(b"POST "):
            return False
        head = (_remembered if end <= REMEMBERED_HEAD_BYTES_MAX else _parsed)(data[:end])
        if head is None:
            return False
        length = _body_length(head.headers)
        if length < 0 or len(data) < end + length or not self.exchange.takes(head.target, head.headers, self._peer):
            return False
        self._waiting = data[end + length :]
        self.idle_since_s = None
        self._unset_keepalive_if_required()
        self._answering = self.loop.create_task(self._answer(head.headers, data[end : end + length]))
        return True

    async def _answer(self, headers: Mapping[bytes, bytes], body: bytes) -> None:
        try:
            response = await self.exchange.answer(headers, body, self._peer)
        except Exception as error:  # it never raises; a connection that waits for nothing would stay open for ever
            log_failure("a request was not answered", error)
            self.transport.abort()
            return
        if self.flow.write_paused:  # who sends requests and reads no answers gets no further ones
            self._becomes_idle()
            await self.flow.drain()
        self._answering = None
        self.server_state.total_requests += 1
        if self.transport.is_closing():
            return
        self._write(response)
        self._becomes_idle()
        if self._stopping:
            self.transport.close()
            return
        self.flow.resume_reading()
        if self._waiting:
            data, self._waiting = self._waiting, b""
            self.data_received(data)

    def _write(self, response: Response) -> None:
        lines = b"".join([b"%b: %b\r\n" % header for header in self.server_state.default_headers])
        if self._stopping:
            lines += b"connection: close\r\n"
        self.transport.write(
            b"%b%b%bcontent-length: %d\r\n\r\n%b"
            % (STATUS_LINE[response.status], response.head, lines, len(response.body), response.body)
        )

    # The way through uvicorn, with bounds

    def _give_to_uvicorn(self, data: bytes) -> None:
        self._request_bytes += len(data)
        super().data_received(data)
        if self._reading_head and self._request_bytes > HEAD_BYTES_MAX:
            self._refuse(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE)
        elif self._reading_message and self._request_bytes > REQUEST_BYTES_MAX:
            self._refuse(HTTPStatus.REQUEST_ENTITY_TOO_LARGE)

    def on_message_begin(self) -> None:
        self._reading_message = self._reading_head = True
        self._request_bytes = self._head_bytes = 0
        super().on_message_begin()

    def on_url(self, url: bytes) -> None:
        super().on_url(url)
        if len(self.url) > HEAD_BYTES_MAX:
            self._refusal = HTTPStatus.REQUEST_URI_TOO_LONG
            raise ValueError(self._refusal.phrase)

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._reading_head:  # trailers come here, too: they must not pass for headers (RFC 9110 §6.5.1)
            super().on_header(name, value)
        self._head_bytes += len(name) + len(value)
        if self._head_bytes > HEAD_BYTES_MAX or len(self.headers) > HEADERS_MAX:
            self._refusal = HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE
            raise ValueError(self._refusal.phrase)

    def on_headers_complete(self) -> None:
        self._reading_head = False
        former = self.cycle
        super().on_headers_complete()
        if self.cycle is not former:  # there is none for a WebSocket's handshake
            self.idle_since_s = None
            self._cycles.append(self.cycle)
            self.cycle.transport = cast("asyncio.Transport", _LingeringTransport(self.transport, self._close_gently))

    def on_message_complete(self) -> None:
        self._reading_message = False
        super().on_message_complete()

    def on_response_complete(self) -> None:
        if self._cycles:
            self._cycles.popleft()
        super().on_response_complete()
        self._unset_keepalive_if_required()  # the sweep closes it
        if not self._cycles:  # also if a part of a request is here: nobody waits for its rest
            self._becomes_idle()
            if self._refused:
                self._send_refusal()

    def send_400_response(self, msg: str) -> None:
        self._refuse(self._refusal)

    def _refuse(self, status: HTTPStatus, header: bytes = b"") -> None:
        """Say what is wrong below GraphQL, and close."""
        if self.transport.is_closing() or self._lingering or self._refused:
            return
        text = status.phrase.encode()
        self._refused = (
            b"%b%bcontent-type: text/plain; charset=utf-8\r\ncontent-length: %d\r\nconnection: close\r\n\r\n%b"
            % (STATUS_LINE[status], header, len(text), text)
        )
        if self._reading_message and not self._reading_head and self._cycles:
            own = self._cycles.pop()
            _end(own)
            self.pipeline = deque(one for one in self.pipeline if one[0] is not own)
        if not self._cycles:
            self._send_refusal()

    def _send_refusal(self) -> None:
        """Send it, not before earlier requests are answered: it would be taken for the answer to the first of them."""
        if not self.transport.is_closing() and not self._lingering:
            self.transport.write(self._refused)
            self._close_gently()

    def _close_gently(self) -> None:
        """Close; but a connection that is closed while the client sends loses what it was answered."""
        if self.transport.is_closing() or self._lingering:
            return
        self._becomes_idle()  # who does not read the answer is cut off
        if not self._reading_message:
            self.transport.close()
            return
        self._lingering = True
        self.flow.resume_reading()
        self.transport.write_eof()
        self.loop.call_later(LINGER_S, self.transport.close)


def protocol_class(exchange: Exchange, connections: Connections) -> type[asyncio.Protocol]:
    """The class for uvicorn's setting `http`: connections to this application."""
    return type("BoundHttpProtocol", (HttpProtocol,), {"exchange": exchange, "open_connections": connections})
