"""Spans of requests and batches, as an exporter gets them."""

import socket
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Event, Thread

import httpx
import pytest
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind

from api.app import Application
from api.telemetry import Requests
from bench.login import bearer
from infra.log.committer import Committer
from infra.log.core import Core
from infra.log.log import Log
from infra.postgres.views import Views
from infra.running.settings import SettingError, Settings
from infra.running.tracing import ENDPOINT, Spans, open_spans
from tests.api.conftest import services_of
from tests.city import hospital, key
from tests.conftest import Clock
from tests.serving import CHECKOUT, environment
from tests.towns import Town

pytestmark = pytest.mark.anyio

TRACE, PARENT = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
REGISTER = 'mutation m { registerHospital(input: {idempotencyKey: "k", hospital: "h", name: "H"}) { errors { code } } }'

JOIN_TIMEOUT_S = 20


@pytest.fixture
def exporter() -> InMemorySpanExporter:
    return InMemorySpanExporter()


@pytest.fixture
def spans(exporter: InMemorySpanExporter) -> Spans:
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    return Spans(provider)


@pytest.fixture
async def http(spans: Spans, core: Core, views: Views, town: Town, clock: Clock) -> AsyncIterator[httpx.AsyncClient]:
    committer = Committer(core.log, secret=town.secret, queue_max=100, clock=clock, spans=spans)
    committer.start()
    own = Core(log=core.log, committer=committer, secret=core.secret)
    services = services_of(own, views, clock, requests=Requests(committer.metrics, spans))
    transport = httpx.ASGITransport(app=Application(Settings(), services))
    async with httpx.AsyncClient(
        transport=transport, base_url="http://localhost", headers={"authorization": bearer()}
    ) as http:
        yield http
    await committer.stop()


def named(exporter: InMemorySpanExporter, name: str) -> ReadableSpan:
    (found,) = (span for span in exporter.get_finished_spans() if span.name == name)
    return found


async def test_requests_and_batches_are_spans(http: httpx.AsyncClient, exporter: InMemorySpanExporter) -> None:
    headers = {"traceparent": f"00-{TRACE}-{PARENT}-01", "x-correlation-id": "ventanilla-3"}
    answer = await http.post("/graphql", json={"query": REGISTER}, headers=headers)
    assert answer.json()["data"] == {"registerHospital": {"errors": []}}
    request = named(exporter, "mutation registerHospital")
    assert request.context
    assert request.parent
    assert f"{request.context.trace_id:032x}" == TRACE
    assert (f"{request.parent.span_id:016x}", request.parent.is_remote) == (PARENT, True)
    assert request.kind is SpanKind.SERVER
    assert request.attributes == {
        "igob.correlation": "ventanilla-3",
        "igob.outcome": "ok",
        "igob.cost": answer.json()["extensions"]["cost"],
    }
    batch = named(exporter, "append")
    assert batch.parent is None
    assert batch.attributes == {"igob.commands": 1, "igob.outcome": "appended"}
    times = [request.start_time or 0, batch.start_time or 0, batch.end_time or 0, request.end_time or 0]
    assert times == sorted(times)
    assert times[0]


async def test_a_request_without_a_trace_begins_one_and_a_refused_one_says_so(
    http: httpx.AsyncClient, exporter: InMemorySpanExporter
) -> None:
    await http.post("/graphql", json={"query": "{ anaMamani }"}, headers={"traceparent": "00-nonsense"})
    span = named(exporter, "unknown unknown")
    assert span.parent is None
    assert span.attributes
    assert span.attributes["igob.outcome"] == "error"
    assert "Mamani" not in span.to_json()


async def test_unsampled_traces_are_not_exported(http: httpx.AsyncClient, exporter: InMemorySpanExporter) -> None:
    await http.post("/graphql", json={"query": "{ __typename }"}, headers={"traceparent": f"00-{TRACE}-{PARENT}-00"})
    assert exporter.get_finished_spans() == ()


async def test_a_request_is_answered_though_its_span_fails(
    http: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(Spans, "request", None)
    answer = await http.post("/graphql", json={"query": "{ __typename }"})
    assert answer.json()["data"] == {"__typename": "Query"}
    assert "a request can't be recorded" in capsys.readouterr().err


async def test_a_batch_stands_though_its_span_fails(
    http: httpx.AsyncClient, spans: Spans, capsys: pytest.CaptureFixture[str]
) -> None:
    spans._tracer = None  # type: ignore[assignment]
    answer = await http.post("/graphql", json={"query": REGISTER})
    assert answer.json()["data"] == {"registerHospital": {"errors": []}}
    assert "a batch can't be recorded" in capsys.readouterr().err
    page = (await http.get("/metrics")).text
    assert 'igob_commands_total{command="RegisterHospital",outcome="accepted"} 1.0' in page


async def test_a_conflicting_batch_is_a_conflict_span(
    core: Core, town: Town, clock: Clock, spans: Spans, exporter: InMemorySpanExporter
) -> None:
    log = Log(town.application, schema=town.schema, secret=town.secret)
    committer = Committer(log, secret=town.secret, queue_max=10, clock=clock, spans=spans)
    await log.open()
    committer.start()
    await committer.submit(hospital("one"), key("1"))
    await core.committer.submit(hospital("two"), key("2"))
    replayed = await committer.submit(hospital("two"), key("2"))
    await committer.stop()
    await log.close()
    assert replayed.replayed
    told = [span.attributes["igob.outcome"] for span in exporter.get_finished_spans() if span.attributes]
    assert told == ["appended", "conflict"]


def test_telemetry_is_imported_only_if_enabled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(ENDPOINT, raising=False)
    assert open_spans(Settings()) is None
    code = "import sys, api.app; from infra.running.settings import Settings; api.app.Application(Settings());"
    code += "print([name for name in sys.modules if name.startswith(('opentelemetry.sdk', 'opentelemetry.exporter'))])"
    wanted = {name: value for name, value in environment().items() if not name.startswith("OTEL_")}
    said = subprocess.run([sys.executable, "-c", code], cwd=CHECKOUT, env=wanted, capture_output=True, check=True)
    assert said.stdout.strip() == b"[]"


def test_missing_telemetry_packages_are_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "opentelemetry.sdk.trace", None)
    monkeypatch.setenv(ENDPOINT, "http://127.0.0.1:9")
    assert open_spans(Settings()) is None
    with pytest.raises(SettingError, match=r"IGOB_TRACES.*igob\[telemetry\]"):
        open_spans(Settings(traces=True))


class Collector(BaseHTTPRequestHandler):
    """Takes what is exported."""

    came = Event()
    said = b""

    def do_POST(self) -> None:
        type(self).said += self.path.encode() + self.rfile.read(int(self.headers["content-length"]))
        self.send_response(200)
        self.end_headers()
        self.came.set()

    def log_message(self, *_: object) -> None:
        pass


def test_an_unreachable_collector_does_not_block_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    before = set(threading.enumerate())
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "1")
    with socket.create_server(("127.0.0.1", 0)) as silent:
        monkeypatch.setenv(ENDPOINT, f"http://127.0.0.1:{silent.getsockname()[1]}")
        monkeypatch.setattr("infra.running.tracing.CLOSE_TIMEOUT_S", 0.2)
        spans = open_spans(Settings())
        assert spans
        spans.request("query hospitals", "", 0.1, {"outcome": "ok"})
        begun_s = time.monotonic()
        spans.close()
        assert time.monotonic() - begun_s < 8  # the library alone: ten seconds
    for thread in set(threading.enumerate()) - before:
        thread.join(JOIN_TIMEOUT_S)  # it rolls dice while it tries again, and other tests mind that


def test_spans_go_where_the_environment_says(monkeypatch: pytest.MonkeyPatch) -> None:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Collector)
    thread = Thread(target=server.serve_forever)
    thread.start()
    monkeypatch.setenv(ENDPOINT, f"http://127.0.0.1:{server.server_port}")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_COMPRESSION", "none")
    spans = open_spans(Settings())
    assert spans
    spans.request("query hospitals", "", 0.1, {"outcome": "ok"})
    spans.close()
    server.shutdown()
    server.server_close()
    thread.join()
    assert Collector.said.startswith(b"/v1/traces")
    assert b"query hospitals" in Collector.said
    assert b"service.name" in Collector.said
