"""Clients that book over HTTP, in a process of their own, and what they were told: the same for whoever is measured.

Closed loop: each connection asks as soon as it has its answer. Open loop: requests are due at a fixed rate, whether
answers come or not, and a wait counts from when its request was due, not from when a connection was free to send it: so
a server that stands still is seen by all who would have asked meanwhile (no coordinated omission).
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

RATE_MAX_PER_S = 8_000  # of the closed loop: requests are made for this rate beforehand
WARMUP_S = 1.0
DRAIN_TIMEOUT_S = 10.0  # what has no answer so long after the end gets none
WORKER_MODULE = "api.http.worker"  # in the command line of a process that answers requests
CONNECTION_LOST = "connection_lost"
NO_ANSWER = "no_answer"
NOT_SENT = "not_sent"  # all connections were still waiting, or lost
OUT_OF_REQUESTS = "out_of_requests"  # it would have been more, had there been more to ask


class Rate(msgspec.Struct):
    """Bookings answered a second, and how long clients waited for answers of any kind, in milliseconds.

    `errors`: what was no booking, by code, also during the warm-up. `cpu_s`: CPU seconds by who took them, from
    the first request to the last: `generator` (the clients), `server` (all of its processes) and `postgresql`, if they
    were looked at. `worker_us`: of the server's, what the processes that answer took a request, in microseconds.
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
        """How much of all the CPU time the clients took themselves, 0 to 1."""
        return self.cpu_s["generator"] / (sum(self.cpu_s.values()) or 1.0)


class Answer(NamedTuple):
    """Times are seconds of one clock. Without an answer, `body` is empty and `lost` says why, `at` until when."""

    due: float
    at: float
    status: int = 0
    body: bytes = b""
    lost: str = ""


class Window(NamedTuple):
    """What is counted: after the warm-up, and until the end."""

    begins: float
    ends: float


class Work(Protocol):
    """What is asked of a server: bookings from a number on as they go over the wire, and how one is told."""

    def requests(self, host: str, first: int, count: int) -> list[bytes]: ...

    def refusals(self, data: Any) -> list[str]:
        """The codes of why `data` of an answer without errors is no booking."""


class Plan(msgspec.Struct, frozen=True):
    """Book from number `first` on over so many connections.

    `per_s`: so many a second, whether answers come or not; None: each connection asks as soon as it has its answer.
    """

    url: str
    work: Any  # a Work: it goes to another process as it is
    first: int
    connections: int
    seconds: float
    per_s: float | None


def percentile(ordered: list[float], share: float) -> float:
    """Of values in ascending order, the least that at least such a share (0 to 1) of them does not exceed."""
    return ordered[max(math.ceil(share * len(ordered)) - 1, 0)]


def codes(answer: Answer, refusals: Callable[[Any], list[str]]) -> list[str]:
    """Why it is no booking; empty if it is one. A code of the server, else the HTTP status."""
    if answer.lost:
        return [answer.lost]
    plain = "graphql_error" if answer.status == 200 else f"http_{answer.status}"
    try:
        said = msgspec.json.decode(answer.body)
        if said.get("errors"):
            return [str((error.get("extensions") or {}).get("code") or plain) for error in said["errors"]]
        return refusals(said["data"]) if answer.status == 200 else [plain]
    except (msgspec.DecodeError, AttributeError, KeyError, TypeError):  # not GraphQL's
        return [plain]


def rate_of(answers: Iterable[Answer], window: Window, refusals: Callable[[Any], list[str]], cpu_s: float) -> Rate:
    """What the answers come to. Raises ConnectionError if nothing was due within the window.

    The rate counts bookings answered within the window; waits are those of requests due within it, however late
    their answers came.
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
    """CPU seconds that a process and all below it have taken, also those that have ended."""
    root, taken = psutil.Process(pid), 0.0
    for process in [root, *root.children(recursive=True)]:
        with suppress(psutil.NoSuchProcess):
            taken += sum(process.cpu_times()[:4])  # its own, and of children that it has waited for
    return taken


def workers_of(pid: int) -> list[int]:
    """The processes that answer requests, of those below a process; none of a peer."""
    children = psutil.Process(pid).children(recursive=True)
    return [child.pid for child in children if WORKER_MODULE in " ".join(child.cmdline())]


class Connection(asyncio.Protocol):
    """A connection that stays open, for one request at a time: as little as it takes, for the server is measured."""

    def __init__(self) -> None:
        self._transport: asyncio.Transport
        self._received = bytearray()
        self._answer: asyncio.Future[tuple[int, bytes]] | None = None
        self._lost = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    async def ask(self, request: bytes) -> tuple[int, bytes]:
        """Status and body of the answer. Raises OSError if the connection is lost."""
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
    """Clients that work off a plan. A connection that is lost is not made again; the others go on."""

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
        """Raises ConnectionError if the server can't be reached, or does not answer at all."""
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
        """In the open loop, what was due and not even sent waited, too."""
        if self._plan.per_s:
            now = time.perf_counter()
            self.answers += [Answer(self._due(number), now, lost=NOT_SENT) for number, _ in self._numbered]


def load(plan: Plan) -> tuple[int, Rate]:
    """Work it off in this process: how many were asked for, and the rate."""
    clients = Load(plan)
    rate = asyncio.run(clients.run())
    return clients.asked, rate
