"""Spans for OpenTelemetry, if the extra `telemetry` is installed and spans are enabled; else nothing is imported.

They have the same facts about a request as the program's log, and no content. A span is made at the end of the work,
with its begin and end times, so nothing is carried along meanwhile.
"""

import os
import re
import threading
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING

from infra.running.logging import log_failure
from infra.running.settings import PREFIX, SettingError, Settings

if TYPE_CHECKING:
    from opentelemetry.context import Context
    from opentelemetry.sdk.trace import TracerProvider

ENDPOINT = "OTEL_EXPORTER_OTLP_ENDPOINT"  # the standard variable, like all others about the export
SERVICE_NAME = "OTEL_SERVICE_NAME"
CLOSE_TIMEOUT_S = 3.0  # to export the rest

# https://www.w3.org/TR/trace-context/ §3.2: version, trace, parent, flags. Later versions may have more behind it.
_TRACEPARENT = re.compile("(?!ff)([0-9a-f]{2})-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-([0-9a-f]{2})(-.*)?")


def trace_of(traceparent: str) -> str:
    """The trace id in a header `traceparent`, 32 hexadecimal digits; "" if the header is invalid."""
    found = _TRACEPARENT.fullmatch(traceparent)
    return found[2] if found and (found[1] != "00" or not found[5]) else ""


class Spans:
    """Makes and exports spans."""

    def __init__(self, provider: "TracerProvider") -> None:
        self._provider = provider
        self._tracer = provider.get_tracer("igob")

    def request(self, name: str, traceparent: str, duration_s: float, facts: Mapping[str, str | int]) -> None:
        """Make the span of a request that ends now, in its client's trace if it named one."""
        from opentelemetry.trace import SpanKind  # noqa: PLC0415 (optional)

        end_ns = time.time_ns()
        begun_ns = end_ns - int(duration_s * 1e9)
        parent = _remote(traceparent) if trace_of(traceparent) else None
        span = self._tracer.start_span(
            name, parent, SpanKind.SERVER, {f"igob.{fact}": value for fact, value in facts.items()}, start_time=begun_ns
        )
        span.end(end_ns)

    def batch(self, commands: int, outcome: str, begun_ns: int) -> None:
        """Make the span of an append that ends now. It has no parent, because its commands are from many requests.

        Never raises: a batch that is on disk must not look as if it had failed.
        """
        facts: dict[str, str | int] = {"igob.commands": commands, "igob.outcome": outcome}
        try:
            self._tracer.start_span("append", attributes=facts, start_time=begun_ns).end()
        except Exception as error:
            log_failure("a batch can't be recorded", error)

    def close(self) -> None:
        """Export the rest within CLOSE_TIMEOUT_S: the library might take longer than a worker has to stop."""
        closing = threading.Thread(target=self._provider.shutdown, daemon=True)
        closing.start()
        closing.join(CLOSE_TIMEOUT_S)


def _remote(traceparent: str) -> "Context":
    """The client's span, as a parent."""
    from opentelemetry.trace import (  # noqa: PLC0415 (optional)
        NonRecordingSpan,
        SpanContext,
        TraceFlags,
        set_span_in_context,
    )

    _, trace, span, flags = traceparent.split("-")[:4]
    flagged = TraceFlags(int(flags, 16))
    return set_span_in_context(NonRecordingSpan(SpanContext(int(trace, 16), int(span, 16), True, flagged)))


def open_spans(settings: Settings) -> Spans | None:
    """Spans that are exported by OTLP to the endpoint from the environment; None if disabled.

    IGOB_TRACES or an endpoint enables them. Raises SettingError if IGOB_TRACES is set and the packages are not
    installed.
    """
    if not settings.traces and not os.environ.get(ENDPOINT):
        return None
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter  # noqa: PLC0415 (optional)
        from opentelemetry.sdk.resources import Resource  # noqa: PLC0415
        from opentelemetry.sdk.trace import TracerProvider  # noqa: PLC0415
        from opentelemetry.sdk.trace.export import BatchSpanProcessor  # noqa: PLC0415
    except ImportError:
        if settings.traces:
            raise SettingError(f"{PREFIX}TRACES: OpenTelemetry is not installed: pip install igob[telemetry]") from None
        return None
    named = {} if os.environ.get(SERVICE_NAME) else {"service.name": "igob"}
    provider = TracerProvider(resource=Resource.create(named), shutdown_on_exit=False)
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    return Spans(provider)
