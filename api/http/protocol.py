"""The HTTP side of a worker: uvicorn's protocol with limits on what clients send, and a fast path for most requests.

Most requests are a POST to /graphql with a short body that arrives in one piece. The fast path answers these without
ASGI: the protocol parses the head, calls the application and writes the response. All other requests (other methods,
long or chunked bodies, WebSockets, event streams, other origins) take the ASGI path through uvicorn.
"""

import asyncio
import time
from collections import deque
from collections.abc import Callable, Mapping
from http import HTTPStatus
from typing import Any, NamedTuple, Protocol, cast

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle

from api.http.heads import CACHED_HEAD_BYTES_MAX, HEADERS_MAX, body_length, parse_head, parse_head_cached
from api.http.limits import BODY_BYTES_MAX
from infra.running.logging import log_failure

HEAD_BYTES_MAX = 64 * 1024  # request line and headers
# A body in chunks of one byte takes six times its size. No legitimate request is longer than this.
REQUEST_BYTES_MAX = HEAD_BYTES_MAX + 8 * BODY_BYTES_MAX
WAITING_BYTES_MAX = 256 * 1024  # received during a request; above that, reading pauses
IDLE_TIMEOUT_S = 30  # to send a whole request head, and to read the last response
SWEEP_EVERY_S = 1.0
LINGER_S = 2.0  # a refused client that still sends is read this long; without that it would lose the response
DRAIN_S = 0.05  # at shutdown, to read requests that are in the socket already

END_OF_HEAD = b"\r\n\r\n"


class Response(NamedTuple):
    """A complete response. `head`: header lines except Content-Length, Date and Connection."""

    status: int
    head: bytes
    body: bytes


class FastHandler(Protocol):
    """The application's part of the fast path."""

    def can_answer(self, path: bytes, headers: Mapping[bytes, bytes], peer: str) -> bool:
        """Whether `answer` can answer a POST with this target and these headers."""

    async def answer(self, headers: Mapping[bytes, bytes], body: bytes, peer: str) -> Response:
        """The response to a request for which `can_answer` is true. Never raises. `peer`: the client's address."""


class Connections:
    """All HTTP connections of a worker. One timer closes those that are idle too long."""

    def __init__(self, connections_max: int) -> None:
        self._connections_max = connections_max
        self._open: set[HttpProtocol] = set()
        self._sweeping: asyncio.TimerHandle | None = None
        self.now_s = time.monotonic()

    def add(self, connection: "HttpProtocol") -> bool:
        """Add a connection; False if `connections_max` are open."""
        if len(self._open) >= self._connections_max:
            return False
        self._open.add(connection)
        if self._sweeping is None:
            self._sweep()
        return True

    def remove(self, connection: "HttpProtocol") -> None:
        self._open.discard(connection)

    def _sweep(self) -> None:
        self.now_s = time.monotonic()
        for connection in [one for one in self._open if one.idle_since_s is not None]:
            connection.close_if_idle(self.now_s - IDLE_TIMEOUT_S)
        loop = asyncio.get_running_loop()
        self._sweeping = loop.call_later(SWEEP_EVERY_S, self._sweep) if self._open else None


class _LingeringTransport:
    """The transport that uvicorn writes to. `close` leaves the client time to read the response."""

    __slots__ = ("_close", "is_closing", "write")

    def __init__(self, transport: asyncio.Transport, close: Callable[[], None]) -> None:
        self.write = transport.write
        self.is_closing = transport.is_closing
        self._close = close

    def close(self) -> None:
        self._close()


def _end(cycle: RequestResponseCycle) -> None:
    """Mark a request as disconnected. uvicorn marks only the last one, so an event stream would go on for ever."""
    cycle.disconnected = True
    cycle.message_event.set()


class HttpProtocol(HttpToolsProtocol):
    """A connection. `handler` and `open_connections` are set in a subclass, see `protocol_class`."""

    handler: FastHandler
    open_connections: Connections

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self.idle_since_s: float | None = None  # None while a request is read or answered
        self._answering: asyncio.Task[None] | None = None
        self._waiting = b""  # received while a request is answered
        self._stopping = False
        self._lingering = False
        self._unsent_bytes = 0  # in the write buffer at the last sweep
        self._peer = ""
        self._cycles: deque[RequestResponseCycle] = deque()  # unanswered requests of uvicorn, in order
        # The request that uvicorn reads:
        self._reading_message = False
        self._reading_head = False
        self._request_bytes = 0
        self._head_bytes = 0
        self._refusal = HTTPStatus.BAD_REQUEST
        self._refused = b""  # the error response, sent after all earlier responses; nothing is read from then on

    # Connection lifecycle

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._peer = self.client[0] if self.client else ""
        if self.open_connections.add(self):
            self._mark_idle()
        else:
            self._refuse(HTTPStatus.SERVICE_UNAVAILABLE, b"retry-after: 5\r\n")

    def connection_lost(self, exc: Exception | None) -> None:
        self.open_connections.remove(self)
        self.idle_since_s = None
        self._waiting = b""
        super().connection_lost(exc)
        for cycle in self._cycles:
            _end(cycle)
        self._cycles.clear()
        self.pipeline.clear()

    def handle_websocket_upgrade(self) -> None:
        if self._cycles:  # uvicorn would write their responses into the WebSocket
            self.transport.close()
            return
        self.open_connections.remove(self)
        self.idle_since_s = None
        super().handle_websocket_upgrade()

    def close_if_idle(self, before_s: float) -> None:
        """Close the connection if it is idle since before then, and the client has read nothing of a response."""
        if self.idle_since_s is None or self.idle_since_s >= before_s:
            return
        unsent_bytes = self.transport.get_write_buffer_size()
        if unsent_bytes and unsent_bytes != self._unsent_bytes:
            self._unsent_bytes = unsent_bytes
            self._mark_idle()
        else:
            self.transport.abort()

    def shutdown(self) -> None:
        """Answer the requests in hand, then close."""
        self._stopping = True
        if self._answering is not None:
            return  # `_answer` closes it
        if self._uvicorn_is_idle():
            self.loop.call_later(DRAIN_S, self._close_unless_answering)
        else:
            super().shutdown()

    def _close_unless_answering(self) -> None:
        if self._answering is None:
            super().shutdown()

    def _uvicorn_is_idle(self) -> bool:
        """Whether uvicorn neither reads a request nor answers one."""
        return not self._reading_message and (self.cycle is None or self.cycle.response_complete)

    def _mark_idle(self) -> None:
        self.idle_since_s = self.open_connections.now_s

    # The fast path

    def data_received(self, data: bytes) -> None:
        if self._lingering or self._refused:
            return
        if self._answering is not None:
            self._waiting += data
            if len(self._waiting) > WAITING_BYTES_MAX:
                self.flow.pause_reading()
        elif not self._uvicorn_is_idle() or not self._start_fast_path(data):
            self._pass_to_uvicorn(data)

    def _start_fast_path(self, data: bytes) -> bool:
        """Start to answer a request that is complete in `data` and can take the fast path; else return False."""
        end = data.find(END_OF_HEAD, 0, HEAD_BYTES_MAX) + len(END_OF_HEAD)
        if end < len(END_OF_HEAD) or not data.startswith(b"POST "):
            return False
        head = (parse_head_cached if end <= CACHED_HEAD_BYTES_MAX else parse_head)(data[:end])
        if head is None:
            return False
        length = body_length(head.headers)
        if length < 0 or len(data) < end + length or not self.handler.can_answer(head.target, head.headers, self._peer):
            return False
        self._waiting = data[end + length :]
        self.idle_since_s = None
        self._unset_keepalive_if_required()
        self._answering = self.loop.create_task(self._answer(head.headers, data[end : end + length]))
        return True

    async def _answer(self, headers: Mapping[bytes, bytes], body: bytes) -> None:
        try:
            response = await self.handler.answer(headers, body, self._peer)
        except Exception as error:  # it should never raise; without this the connection would stay open for ever
            log_failure("a request was not answered", error)
            self.transport.abort()
            return
        if self.flow.write_paused:  # the client sends requests without reading responses
            self._mark_idle()
            await self.flow.drain()
        self._answering = None
        self.server_state.total_requests += 1
        if self.transport.is_closing():
            return
        self._write(response)
        self._mark_idle()
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

    # The ASGI path through uvicorn, with limits

    def _pass_to_uvicorn(self, data: bytes) -> None:
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
        if self._reading_head:  # trailers come here too, and are not headers (RFC 9110 §6.5.1)
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
            self.cycle.transport = cast(
                "asyncio.Transport", _LingeringTransport(self.transport, self._close_gracefully)
            )

    def on_message_complete(self) -> None:
        self._reading_message = False
        super().on_message_complete()

    def on_response_complete(self) -> None:
        if self._cycles:
            self._cycles.popleft()
        super().on_response_complete()
        self._unset_keepalive_if_required()  # the sweep closes it
        if not self._cycles:  # also when a part of the next request has arrived
            self._mark_idle()
            if self._refused:
                self._send_refusal()

    def send_400_response(self, msg: str) -> None:
        self._refuse(self._refusal)

    def _refuse(self, status: HTTPStatus, header: bytes = b"") -> None:
        """Answer with an HTTP error as plain text, and close."""
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
        """Send the refusal after the responses to earlier requests, or a client would match it to the wrong one."""
        if not self.transport.is_closing() and not self._lingering:
            self.transport.write(self._refused)
            self._close_gracefully()

    def _close_gracefully(self) -> None:
        """Close. If the client still sends, read for LINGER_S first: else the kernel drops the response."""
        if self.transport.is_closing() or self._lingering:
            return
        self._mark_idle()  # a client that does not read the response is cut off
        if not self._reading_message:
            self.transport.close()
            return
        self._lingering = True
        self.flow.resume_reading()
        self.transport.write_eof()
        self.loop.call_later(LINGER_S, self.transport.close)


def protocol_class(handler: FastHandler, connections: Connections) -> type[asyncio.Protocol]:
    """The protocol class for uvicorn's setting `http`, bound to this application."""
    return type("BoundHttpProtocol", (HttpProtocol,), {"handler": handler, "open_connections": connections})
