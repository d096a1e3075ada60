"""Clients that book over HTTP from their own process, and count the responses: the same for each contender.

Closed loop: each connection sends the next request after a response. Open loop: requests are due at a fixed rate, and
latency counts from when a request was due, not from when a connection was free to send it. So if a server stops for a
while, all requests that were due meanwhile show it (no coordinated omission).
"""

import asyncio
import math
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from typing import Any, NamedTuple, Protocol
from urllib.parse import urlsplit

import msgspec
import psutil

RATE_MAX_PER_S = 8_000  # of the closed loop: requests are prepared for this rate
WARMUP_S = 1.0
DRAIN_TIMEOUT_S = 10.0  # how long after the end responses are waited for
WORKER = "igob-worker"  # the name of a process that answers requests
CONNECTION_LOST = "connection_lost"
NO_ANSWER = "no_answer"
NOT_SENT = "not_sent"  # all connections were waiting, or lost
OUT_OF_REQUESTS = "out_of_requests"  # the prepared requests were used up


class Rate(msgspec.Struct):
    """Bookings per second, and the latency of responses of any kind, in milliseconds.

    `errors`: responses that are no booking, by code, including the warm-up. `cpu_s`: CPU seconds from the first request
    to the last of `generator` (the clients), `server` (all of its processes) and `postgresql`, where measured.
    `worker_us`: CPU time of the server's API workers per request, in microseconds.
    """

    bookings_per_s: float
    p50_ms: float
    p90_ms: float
    p99_ms: float
    p99_9_ms: float
    worst_ms: float
    errors: dict[str, int]
    cpu_s: dict[str, float]
    worker_us: float | None = None

    def generator_share(self) -> float:
        """The clients' share of all CPU time, 0 to 1."""
        return self.cpu_s["generator"] / (sum(self.cpu_s.values()) or 1.0)


class Answer(NamedTuple):
    """A response. Times are seconds of one clock.

    Without a response, `body` is empty, `lost` the reason, and `at` the end of the wait.
    """

    due: float
    at: float
    status: int = 0
    body: bytes = b""
    lost: str = ""


class Window(NamedTuple):
    """The counted period: from after the warm-up until the end."""

    begins: float
    ends: float


class Work(Protocol):
    """The requests for a server, encoded for the wire, from any number on, and how to read its responses."""

    def requests(self, host: str, first: int, count: int) -> list[bytes]: ...

    def refusals(self, data: Any) -> list[str]:
        """The codes of the refusals in `data` of a response without errors; empty for a booking."""


class Plan(msgspec.Struct, frozen=True):
    """Book from number `first` on, over this number of connections.

    `per_s`: an open loop at this rate; None: each connection sends the next request after a response.
    """

    url: str
    work: Any  # a Work; it is pickled for another process
    first: int
    connections: int
    seconds: float
    per_s: float | None


def percentile(ordered: list[float], share: float) -> float:
    """The smallest of these ascending values that at least this share (0 to 1) of them does not exceed."""
    return ordered[max(math.ceil(share * len(ordered)) - 1, 0)]


def codes(answer: Answer, refusals: Callable[[Any], list[str]]) -> list[str]:
    """The codes of the errors, or the HTTP status; empty for a booking."""
    if answer.lost:
        return [answer.lost]
    plain = "graphql_error" if answer.status == 200 else f"http_{answer.status}"
    try:
        response = msgspec.json.decode(answer.body)
        if response.get("errors"):
            return [str((error.get("extensions") or {}).get("code") or plain) for error in response["errors"]]
        return refusals(response["data"]) if answer.status == 200 else [plain]
    except (msgspec.DecodeError, AttributeError, KeyError, TypeError):  # not a GraphQL response
        return [plain]


def rate_of(answers: Iterable[Answer], window: Window, refusals: Callable[[Any], list[str]], cpu_s: float) -> Rate:
    """The rate of these answers. Raises ConnectionError if nothing was due within the window.

    The rate counts bookings answered within the window. Latencies are those of requests due within it, however late the
    responses.
    """
    found: Counter[str] = Counter()
    waits: list[float] = []
    booked = 0
    for answer in answers:
        wrong = codes(answer, refusals)
        found.update(wrong)
        booked += not wrong and window.begins <= answer.at <= window.ends
        if window.begins <= answer.due <= window.ends:
            waits.append((answer.at - answer.due) * 1_000)
    if not waits:
        raise ConnectionError(f"the server did not answer while it was measured: {dict(found)}")
    waits.sort()
    p50, p90, p99, p99_9, worst = (round(percentile(waits, share), 2) for share in (0.5, 0.9, 0.99, 0.999, 1))
    return Rate(
        bookings_per_s=round(booked / (window.ends - window.begins), 1),
        p50_ms=p50,
        p90_ms=p90,
        p99_ms=p99,
        p99_9_ms=p99_9,
        worst_ms=worst,
        errors=dict(found),
        cpu_s={"generator": round(cpu_s, 2)},
    )


def cpu_of(pid: int) -> float:
    """CPU seconds of a process and its descendants, including those that have ended."""
    root, taken = psutil.Process(pid), 0.0
    for process in [root, *root.children(recursive=True)]:
        with suppress(psutil.NoSuchProcess):
            taken += sum(process.cpu_times()[:4])  # its own, and of children that it has waited for
    return taken


def workers_of(pid: int) -> list[int]:
    """The API workers among a process's descendants; none for a peer."""
    children = psutil.Process(pid).children(recursive=True)
    return [child.pid for child in children if child.name() == WORKER]


class Connection(asyncio.Protocol):
    """A persistent connection for one request at a time, with minimal overhead."""

    def __init__(self) -> None:
        self._transport: asyncio.Transport
        self._received = bytearray()
        self._answer: asyncio.Future[tuple[int, bytes]] | None = None
        self._lost = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    async def ask(self, request: bytes) -> tuple[int, bytes]:
        """Status and body of the response. Raises OSError if the connection is lost."""
        if self._lost:
            raise ConnectionError("the server closed the connection")
        self._answer = asyncio.get_running_loop().create_future()
        self._transport.write(request)
        return await self._answer

    def data_received(self, data: bytes) -> None:
        self._received += data
        head, found, body = self._received.partition(b"\r\n\r\n")
        if not found:
            return
        length = int(head.lower().partition(b"content-length:")[2].partition(b"\r\n")[0])
        if len(body) >= length and self._answer and not self._answer.done():
            self._received.clear()
            self._answer.set_result((int(head[9:12]), bytes(body)))

    def connection_lost(self, exc: Exception | None) -> None:
        self._lost = True
        if self._answer and not self._answer.done():
            self._answer.set_exception(exc or ConnectionError("the server closed the connection"))

    def close(self) -> None:
        self._transport.close()


class Load:
    """Clients that execute a plan. A lost connection is not reopened; the others continue."""

    def __init__(self, plan: Plan) -> None:
        address = urlsplit(plan.url)
        self._host, self._port = address.hostname or "", address.port or 80
        self._plan = plan
        count = int((plan.per_s or RATE_MAX_PER_S) * (plan.seconds + WARMUP_S))
        made = plan.work.requests(address.netloc, plan.first, count)
        self._numbered: Iterator[tuple[int, bytes]] = enumerate(made)
        self._lacking = count - len(made) if plan.per_s else 0
        self.asked = 0
        self.answers: list[Answer] = []

    async def run(self) -> Rate:
        """Raises ConnectionError if the server can't be reached, or does not respond at all."""
        loop = asyncio.get_running_loop()
        opened = [
            (await loop.create_connection(Connection, self._host, self._port))[1] for _ in range(self._plan.connections)
        ]
        cpu_s, self._begun = time.process_time(), time.perf_counter()
        window = Window(self._begun + WARMUP_S, self._begun + WARMUP_S + self._plan.seconds)
        tasks = [asyncio.create_task(self._ask_on(connection, window.ends)) for connection in opened]
        _, late = await asyncio.wait(tasks, timeout=window.ends + DRAIN_TIMEOUT_S - time.perf_counter())
        for task in late:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        cpu_s = time.process_time() - cpu_s
        for connection in opened:
            connection.close()
        self._count_what_was_left()
        rate = rate_of(self.answers, window, self._plan.work.refusals, cpu_s)
        if self._lacking:
            rate.errors[OUT_OF_REQUESTS] = self._lacking
        return rate

    async def _ask_on(self, connection: Connection, ends: float) -> None:
        for number, request in self._numbered:
            self.asked = number + 1
            due = self._due(number)
            if due > ends:
                return
            if due > time.perf_counter():
                await asyncio.sleep(due - time.perf_counter())
            try:
                status, body = await connection.ask(request)
            except (OSError, asyncio.CancelledError) as lost:
                code = CONNECTION_LOST if isinstance(lost, OSError) else NO_ANSWER
                self.answers.append(Answer(due, time.perf_counter(), lost=code))
                return
            self.answers.append(Answer(due, time.perf_counter(), status, body))
        if not self._plan.per_s and time.perf_counter() < ends:
            self._lacking += 1

    def _due(self, number: int) -> float:
        return self._begun + number / self._plan.per_s if self._plan.per_s else time.perf_counter()

    def _count_what_was_left(self) -> None:
        """Count requests of the open loop that were due and not sent as waiting until the end."""
        if self._plan.per_s:
            now = time.perf_counter()
            self.answers += [Answer(self._due(number), now, lost=NOT_SENT) for number, _ in self._numbered]


def load(plan: Plan) -> tuple[int, Rate]:
    """Execute the plan in this process: the number of requests, and the rate."""
    clients = Load(plan)
    rate = asyncio.run(clients.run())
    return clients.asked, rate
