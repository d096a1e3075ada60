"""Metrics for Prometheus. docs/operations.md lists them for people.

The workers of one `igob serve` count in shared files, so that any of them can report the sums. Each has a place among
these files. A worker's replacement takes over its place and counts on from there, so sums never decrease; gauges of a
dead worker are removed. Labels are our own words and the schema's, never text from clients.
"""

import os
from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Generic, Literal, Protocol, TypeVar

import msgspec
from prometheus_client import (
    CONTENT_TYPE_LATEST,
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    disable_created_metrics,
    generate_latest,
    values,
)
from prometheus_client.metrics_core import GaugeMetricFamily, Metric
from prometheus_client.multiprocess import MultiProcessCollector, mark_process_dead
from prometheus_client.registry import Collector

from domain.decision import DECISIONS
from infra.running.logging import log_failure
from infra.running.places import FOLDER, dead, locked

CONTENT_TYPE = CONTENT_TYPE_LATEST
WORKERS_MAX = 1_024  # that count in one folder
# Written before it is mapped: if the disk is full, touching a page of a sparse mapped file kills the process.
RESERVED_BYTES = 256 * 1024
FILES = ("counter", "histogram", "gauge_livesum", "gauge_livemax")

OUTCOMES = ("ok", "refused", "error", "unavailable", "failed")  # of requests; of those not looked at, "limited", too
COMMAND_OUTCOMES = ("accepted", "replayed", "refused", "unavailable", "overloaded", "failed")
DURATION_BUCKETS_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
BATCH_BUCKETS = (1, 2, 4, 8, 16, 32, 64, 128, 256)

# Until a worker has its place: the library would name files by process ids, and nobody could take them over.
values.ValueClass = values.MutexValue
disable_created_metrics()  # type: ignore[no-untyped-call]  # when counting began, for each series: nobody asks

M = TypeVar("M", Counter, Histogram)


class _Durations:
    """Buffered observations of a histogram. Counting here takes a tenth of the library's time."""

    def __init__(self) -> None:
        self._counts = [0] * (len(DURATION_BUCKETS_S) + 1)
        self._sum_s = 0.0

    def observe(self, duration_s: float) -> None:
        self._counts[bisect_left(DURATION_BUCKETS_S, duration_s)] += 1
        self._sum_s += duration_s

    def move_to(self, histogram: Histogram) -> None:
        """Add the observations to the histogram. The library has no method for that."""
        for bucket, count in zip(histogram._buckets, self._counts, strict=True):
            if count:
                bucket.inc(count)
        histogram._sum.inc(self._sum_s)


class _Children(dict[tuple[str, ...], M], Generic[M]):
    """The children of a metric by label values: a look-up in the library takes longer than counting."""

    def __init__(self, metric: M) -> None:
        super().__init__()
        self._metric: M = metric

    def __missing__(self, labels: tuple[str, ...]) -> M:
        child: M = self._metric.labels(*labels)
        self[labels] = child
        return child

    def prepare(self, all_labels: Iterable[tuple[str, ...]]) -> None:
        """Create these at 0, or Prometheus could not see the increase to the first count."""
        for labels in all_labels:
            self[labels]


class Shared(msgspec.Struct, frozen=True):
    """A worker's place in the shared folder. It holds the place while the file is open."""

    folder: Path
    place: int
    lock_fd: int


class Sample(msgspec.Struct, frozen=True, kw_only=True):
    """The gauges of a process at one moment. `oldest_wait_s` is the wait of the oldest command."""

    waiting_commands: int
    oldest_wait_s: float
    connections: int
    subscriptions: int
    followed_streams: int
    documents: int


class Lag(Protocol):
    """The lag of a read model, from infra/postgres/views.py."""

    @property
    def lag_events(self) -> int: ...
    @property
    def lag_s(self) -> float: ...


class Figure(Protocol):
    """A gauge that a context adds, from projections/engine/figures.py."""

    @property
    def name(self) -> str: ...
    @property
    def help(self) -> str: ...
    @property
    def value(self) -> float: ...


class Metrics:
    """One per process; with `shared`, in a place of its own, so that workers do not overwrite each other's numbers."""

    def __init__(self, shared: Shared | None = None) -> None:
        self._shared = shared
        self._registry = registry = CollectorRegistry()
        self._unprepared: list[Callable[[], None]] = []  # left for the first sample
        requests, by = "GraphQL requests, by their one root field.", ("kind", "field", "outcome")
        self.requests = _Children(Counter("igob_requests", requests, by, registry=registry))
        self._requests_counted: dict[tuple[str, str, str], int] = {}  # since the last sample
        self._durations_counted: dict[str, _Durations] = {}
        self.durations = _Children(
            Histogram(
                "igob_request_duration_seconds",
                "From the request read to its answer made.",
                ("kind",),
                buckets=DURATION_BUCKETS_S,
                registry=registry,
            )
        )
        self.commands = _Children(Counter("igob_commands", "Commands.", ("command", "outcome"), registry=registry))
        self.prepare_later(self._prepare_commands)
        self.batch = Histogram(
            "igob_batch_commands", "Commands that are appended together.", buckets=BATCH_BUCKETS, registry=registry
        )
        self.conflicts = Counter(
            "igob_append_conflicts", "Batches on streams that another process wrote to.", registry=registry
        )
        self.retries = Counter("igob_append_retries", "Batches that the database did not answer.", registry=registry)
        self._gauges = {
            "waiting_commands": self._gauge("igob_waiting_commands", "Commands without an answer yet."),
            "oldest_wait_s": self._gauge("igob_oldest_wait_seconds", "How long the first of them waits.", "livemax"),
            "connections": self._gauge("igob_connections", "WebSockets that are open."),
            "subscriptions": self._gauge("igob_subscriptions", "Subscriptions that are followed."),
            "followed_streams": self._gauge("igob_followed_streams", "Streams that somebody follows."),
            "documents": self._gauge(
                "igob_documents", "Documents that a worker remembers, the most of any.", "livemax"
            ),
        }
        self._gauge("igob_workers", "Processes that answer requests.").set(1)

    def _gauge(self, name: str, what: str, mode: Literal["livesum", "livemax"] = "livesum") -> Gauge:
        return Gauge(name, what, multiprocess_mode=mode, registry=self._registry)

    def _prepare_commands(self) -> None:
        self.commands.prepare((kind.__name__, outcome) for kind in DECISIONS for outcome in COMMAND_OUTCOMES)

    def prepare_later(self, prepare: Callable[[], None]) -> None:
        """Have something prepared before anybody sees the metrics: at the first sample or page."""
        self._unprepared.append(prepare)

    def count_request(self, kind: str, field: str, outcome: str, duration_s: float | None = None) -> None:
        """Count a request in this process; `flush` adds it to the shared metrics, which take microseconds per count."""
        labels = kind, field, outcome
        self._requests_counted[labels] = self._requests_counted.get(labels, 0) + 1
        if duration_s is not None:
            durations = self._durations_counted.get(kind)
            if durations is None:
                durations = self._durations_counted[kind] = _Durations()
            durations.observe(duration_s)

    def flush(self) -> None:
        """Add the counts since the last flush to the shared metrics."""
        while self._unprepared:
            self._unprepared.pop()()
        for labels, number in self._requests_counted.items():
            self.requests[labels].inc(number)
        self._requests_counted.clear()
        for kind, durations in self._durations_counted.items():
            durations.move_to(self.durations[(kind,)])
        self._durations_counted.clear()

    def answered(self, tally: dict[tuple[str, str], int]) -> None:
        """Count commands by kind and outcome, and empty the tally."""
        for labels, number in tally.items():
            self.commands[labels].inc(number)
        tally.clear()

    def sample(self, found: Sample) -> None:
        self.flush()
        for name, gauge in self._gauges.items():
            gauge.set(getattr(found, name))

    def page(self, lags: Mapping[str, Lag | None] | None = None, figures: Iterable[Figure] = ()) -> bytes:
        """The metrics of all workers that share them, in Prometheus' text format, with read models' lag and figures."""
        self.flush()
        registry = self._registry
        if self._shared:
            for place in dead(self._shared.folder):
                mark_process_dead(place, str(self._shared.folder))  # type: ignore[no-untyped-call]
            registry = CollectorRegistry()
            MultiProcessCollector(registry, str(self._shared.folder))  # type: ignore[no-untyped-call]
        return generate_latest(registry) + generate_latest(_OfCity(lags or {}, figures))


class _OfCity(Collector):
    """Metrics of the city, not of a process: the read models' lag, and figures of contexts."""

    def __init__(self, lags: Mapping[str, Lag | None], figures: Iterable[Figure]) -> None:
        self._lags = {name: lag for name, lag in lags.items() if lag}
        self._figures = figures

    def collect(self) -> Iterator[Metric]:
        events = GaugeMetricFamily(
            "igob_read_model_lag_events", "Events of the log that a read model lacks.", labels=["read_model"]
        )
        seconds = GaugeMetricFamily(
            "igob_read_model_lag_seconds",
            "For how long the first missing event has been in the log.",
            labels=["read_model"],
        )
        for name, lag in self._lags.items():
            events.add_metric([name], lag.lag_events)
            seconds.add_metric([name], lag.lag_s)
        yield events
        yield seconds
        for figure in self._figures:
            yield GaugeMetricFamily(figure.name, figure.help, value=figure.value)


def share() -> Shared | None:
    """In a worker, before it counts anything: take a place in the folder from the environment; None without one.

    A worker that finds no place counts for itself alone and logs it, because serving matters more.
    """
    folder = os.environ.get(FOLDER)
    if not folder:
        return None
    try:
        shared = _take_place(Path(folder))
    except OSError as error:
        log_failure("a worker counts for itself alone", error)
        return None
    values.ValueClass = values.MultiProcessValue(lambda: shared.place)  # type: ignore[no-untyped-call]
    return shared


def _take_place(folder: Path) -> Shared:
    """Take the first free place, with its files. Raises OSError."""
    for place in range(WORKERS_MAX):
        lock_fd = locked(folder / f"{place}.lock")
        if lock_fd is None:
            continue
        mark_process_dead(place, str(folder))  # type: ignore[no-untyped-call]
        for name in FILES:
            path = folder / f"{name}_{place}.db"
            if not path.exists():
                path.write_bytes(bytes(RESERVED_BYTES))
        return Shared(folder=folder, place=place, lock_fd=lock_fd)
    raise OSError(f"{WORKERS_MAX} workers count already")
