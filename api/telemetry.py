"""Telemetry of requests: counters always, a log line and a span if enabled; never any content.

A request's correlation id comes from the client's header, and is in the log line, the span and every event written.
"""

import re
import time
from collections.abc import Iterator, Mapping
from functools import partial
from itertools import product
from os import urandom
from typing import Protocol

from graphql import GraphQLError, GraphQLSchema

from infra.running.logging import log_failure, log_request
from infra.running.metrics import OUTCOMES, Metrics
from infra.running.settings import Settings
from infra.running.tracing import Spans, trace_of

CORRELATION = b"x-correlation-id"
CORRELATION_LENGTH_MAX = 64
_SOUND = re.compile(rb"[A-Za-z0-9._-]{1,%d}" % CORRELATION_LENGTH_MAX)
RANDOM_IDS_AT_ONCE = 256
UNKNOWN = "unknown"  # kind and field of an unknown operation
SEVERAL = "several"
META_FIELDS = ("__typename", "__schema", "__type")
REPEAT_IT = {"unavailable", "overloaded", "not_reached_yet", "took_too_long"}  # the codes of such errors

Headers = Mapping[bytes, bytes]  # by lower-case name


class _Services(Protocol):
    @property
    def settings(self) -> Settings: ...


class Answered(Protocol):
    """What telemetry needs of a request.

    Attributes:
        operation: its kind and root field.
        refusals: codes in its payload.
        written: the position of what it wrote.
    """

    correlation: str
    traceparent: str
    operation: tuple[str, str]
    refusals: list[str]
    written: int | None
    cost: int

    @property
    def services(self) -> _Services: ...


def correlation_of(headers: Headers) -> str:
    """The correlation id of a request: the client's if it is valid, else the trace's id, else a new one."""
    name = headers.get(CORRELATION)
    if name is not None and _SOUND.fullmatch(name):
        return name.decode()
    traceparent = traceparent_of(headers)
    return (traceparent and trace_of(traceparent)) or new_correlation()


def _random_ids() -> Iterator[str]:
    """Ids of 128 random bits in hexadecimal. One system call makes many, in the time of one."""
    while True:
        block = urandom(16 * RANDOM_IDS_AT_ONCE).hex()
        for begin in range(0, len(block), 32):
            yield block[begin : begin + 32]


_new_ids = _random_ids()


def new_correlation() -> str:
    return next(_new_ids)


def traceparent_of(headers: Headers) -> str:
    value = headers.get(b"traceparent")
    return "" if value is None else value.decode("latin-1").strip()


class Requests:
    """Counts requests, logs them and traces them."""

    def __init__(self, metrics: Metrics, spans: Spans | None = None) -> None:
        self.metrics = metrics
        self._spans = spans

    def prepare(self, schema: GraphQLSchema) -> None:
        """Have all counters created at 0."""
        self.metrics.prepare_later(partial(self._prepare, schema))

    def _prepare(self, schema: GraphQLSchema) -> None:
        roots = {"query": schema.query_type, "mutation": schema.mutation_type, "subscription": schema.subscription_type}
        for kind, root in roots.items():
            fields = [*(root.fields if root else ()), *META_FIELDS, SEVERAL]
            self.metrics.requests.prepare(product([kind], fields, OUTCOMES))
        self.metrics.requests.prepare(product([UNKNOWN], [UNKNOWN], ("error", "failed", "limited")))
        self.metrics.durations.prepare([("query",), ("mutation",), (UNKNOWN,)])

    def answered(self, context: Answered, errors: list[GraphQLError], begun_s: float) -> None:
        """Record a request that began at this time of perf_counter; a subscription when it starts or is refused.

        Never raises: a failure to record must not affect a request that was executed.
        """
        try:
            self._record(context, errors, begun_s)
        except Exception as error:
            log_failure("a request can't be recorded", error)

    def _record(self, context: Answered, errors: list[GraphQLError], begun_s: float) -> None:
        duration_s = time.perf_counter() - begun_s
        kind, field = context.operation
        codes = _codes(context, errors) if errors or context.refusals else set()
        outcome = _outcome(codes, errors) if codes or errors else "ok"
        # The first change of a subscription may come tomorrow, so its duration is not counted.
        self.metrics.count_request(kind, field, outcome, None if kind == "subscription" else duration_s)
        if self._spans:
            facts: dict[str, str | int] = {"correlation": context.correlation, "outcome": outcome, "cost": context.cost}
            self._spans.request(f"{kind} {field}", context.traceparent, duration_s, facts)
        if context.services.settings.log_requests:
            log_request(
                correlation=context.correlation,
                kind=kind,
                field=field,
                outcome=outcome,
                codes=sorted(codes),
                cost=context.cost,
                duration_ms=round(duration_s * 1_000, 3),
                position=context.written,
            )

    def turned_away(self, outcome: str) -> None:
        """Record a request that was refused before it was read as GraphQL."""
        self.metrics.count_request(UNKNOWN, UNKNOWN, outcome)


def _codes(context: Answered, errors: list[GraphQLError]) -> set[str]:
    """The codes of refusals in its payloads and in its errors."""
    codes = {str(error.extensions["code"]) for error in errors if error.extensions and "code" in error.extensions}
    return codes | set(context.refusals)


def _outcome(codes: set[str], errors: list[GraphQLError]) -> str:
    if "internal_error" in codes:
        return "failed"
    if codes & REPEAT_IT:
        return "unavailable"
    return "error" if errors else "refused"
