"""What is told of requests: counts, correlations, lines in the program's log. Never what was said."""

import json
import re
import sys
from pathlib import Path
from typing import Any

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from api.graphql.engine.execution import Engine
from api.telemetry import CORRELATION_LENGTH_MAX
from infra.log.core import Core
from infra.postgres.connections import Unavailable
from infra.postgres.views import Views
from infra.running.settings import Settings
from tests.api.conftest import Client, services_of, serving
from tests.api.test_appointments import BOOK, registered, wish
from tests.city import AGENDA, open_agenda
from tests.conftest import Clock
from tests.following import AGENDA as FOLLOW
from tests.following import follower
from tests.infra.log.test_log import PERSONAL
from tests.towns import Town

pytestmark = pytest.mark.anyio

GRAPHQL = "application/graphql-response+json"
HOSPITALS = "{ hospitals(first: 1) { nodes { id } } }"
TRACE = "0af7651916cd43dd8448eb211c80319c"
LABELS = ("kind", "field", "command", "outcome", "read_model", "le")
UUID = "[0-9a-f]{32}"


async def told(client: Client) -> dict[str, float]:
    """Every sample of the page that is not 0, by its name with its labels, as "name value value"."""
    answer = await client.http.get("/metrics")
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"].startswith("text/plain; version=")
    families = text_string_to_metric_families(answer.text)
    samples = {
        " ".join((one.name, *(one.labels[label] for label in LABELS if label in one.labels))): one.value
        for family in families
        for one in family.samples
    }
    return {name: value for name, value in samples.items() if value}


async def requests(client: Client) -> dict[str, float]:
    counted = await told(client)
    return {name.partition(" ")[2]: n for name, n in counted.items() if name.startswith("igob_requests_total ")}


async def post(client: Client, query: str, **headers: str) -> httpx.Response:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return await client.http.post("/graphql", json={"query": query}, headers=named)


# Counting


async def test_requests_are_counted_by_kind_field_and_outcome(client: Client, core: Core) -> None:
    await open_agenda(core)
    ana, luis = await registered(client, "1000001"), await registered(client, "1000002", "Luis")
    await client.ask(BOOK, input=wish(1, ana, "a"))
    await client.ask(BOOK, input=wish(1, luis, "b"))
    for query in (
        HOSPITALS,
        "{ what: hospitals(first: 1) { nodes { id } } ever: hospitals(first: 2) { nodes { id } } }",
        "{ __typename hospitals(first: 1) { nodes { id } } }",
        "{ ...f } fragment f on Query { __typename }",
        "{ hospitals(first: 0) { nodes { id } } }",
        "{ ana_mamani }",
        "{",
    ):
        await post(client, query)
    await client.http.post("/graphql", json={"query": "query a { __typename }", "operationName": "b"})
    await client.http.post("/graphql", content="4820193")
    await client.http.get("/graphql", params={"query": BOOK})
    assert await requests(client) == {
        "mutation registerPerson ok": 2,
        "mutation bookAppointment ok": 1,
        "mutation bookAppointment refused": 1,
        "query hospitals ok": 2,
        "query several ok": 2,
        "query hospitals error": 1,
        "unknown unknown error": 5,
    }
    counted = await told(client)
    assert counted["igob_request_duration_seconds_count mutation"] == 4
    assert counted["igob_request_duration_seconds_count query"] == 5
    assert counted["igob_commands_total BookAppointment accepted"] == 1
    assert counted["igob_documents"] >= 3


async def test_failed_and_unavailable_are_separate_outcomes(
    client: Client, core: Core, town: Town, monkeypatch: pytest.MonkeyPatch
) -> None:
    client.projector = None
    town.execute("ALTER TABLE events RENAME TO gone")
    await post(client, '{ agenda(id: "x/2027-01-15/y") { id } }')
    town.execute("ALTER TABLE gone RENAME TO events")

    async def stumble(*_: Any) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(Engine, "answer", stumble)
    await post(client, HOSPITALS)
    monkeypatch.undo()
    await core.log.close()
    await post(client, '{ agenda(id: "x/2027-01-15/y") { id } }')
    assert await requests(client) == {
        "query agenda failed": 1,
        "unknown unknown failed": 1,
        "query agenda unavailable": 1,
    }


async def test_client_text_never_becomes_a_label(client: Client, core: Core) -> None:
    await open_agenda(core)
    before = (await client.http.get("/metrics")).text
    await post(
        client, "query MamaniQuispe { anaMamani: hospitals(first: 1) { nodes { id } } }", x_correlation_id="mamani"
    )
    await registered(client, "4820193")
    page = (await client.http.get("/metrics")).text
    assert [word for word in (*PERSONAL, "mamani") if word in page] == []
    # The series that there can be are there from the beginning.
    named = [{line.rpartition(" ")[0] for line in one.splitlines()} for one in (before, page)]
    assert named[1] - named[0] == set()


async def test_connections_and_subscriptions_are_measured(core: Core, views: Views, clock: Clock) -> None:
    services = services_of(core, views, clock)
    await open_agenda(core)
    async with serving(services) as url, httpx.AsyncClient(base_url=url) as http:
        client = Client(http, services, None)
        async with follower(url) as one, follower(url) as other:
            for name in ("1", "2"):
                await one.follow(FOLLOW, name=name, id=AGENDA)
                await one.told()
            await one.follow("{ __typename }", name="3")
            await one.refused()
            await one.follow("subscription { nobody }", name="4")
            await one.refused()
            counted = await told(client)
            assert (counted["igob_connections"], counted["igob_subscriptions"], counted["igob_followed_streams"]) == (
                2,
                2,
                1,
            )
            await other.socket.close()
        assert "igob_request_duration_seconds_count subscription" not in counted
        assert await requests(client) == {
            "subscription agenda ok": 2,
            "query __typename error": 1,
            "unknown unknown error": 1,
        }


# The page


@pytest.mark.parametrize("error", [Unavailable("no"), ZeroDivisionError()])
async def test_the_lag_is_absent_if_unknown(
    client: Client, core: Core, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    await open_agenda(core)
    counted = await told(client)
    assert counted["igob_read_model_lag_events availability"] == 2
    assert counted["igob_read_model_lag_seconds availability"] > 0

    async def silent(self: Views, names: Any) -> None:
        raise error

    monkeypatch.setattr(Views, "freshness", silent)
    counted = await told(client)
    assert not [name for name in counted if "lag" in name]
    assert counted["igob_commands_total PublishAgenda accepted"] == 1


async def test_metrics_are_local_by_default(client: Client) -> None:
    """Whatever guards the rest: here nothing does."""
    app = client.http._transport.app  # type: ignore[attr-defined]
    for settings, status in ((Settings(), 403), (Settings(metrics_local=False), 200)):
        app.services.settings = settings
        transport = httpx.ASGITransport(app=app._rest, client=("192.0.2.7", 4711))
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as stranger:
            answer = await stranger.get("/metrics")
        assert (answer.status_code, "igob_" in answer.text) == (status, status == 200)


async def test_remote_clients_without_a_provider_get_no_metrics(client: Client) -> None:
    client.settings(metrics_local=False)
    app = client.http._transport.app  # type: ignore[attr-defined]
    transport = httpx.ASGITransport(app=app, client=("192.0.2.7", 4711))
    async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as stranger:
        assert (await stranger.get("/metrics")).status_code == 403


async def test_the_metrics_are_documented(client: Client) -> None:
    page = (await client.http.get("/metrics")).text
    offered = {(name, kind) for name, kind in re.findall("^# TYPE (\\w+) (\\w+)$", page, re.MULTILINE)}
    docs = (Path(__file__).parents[2] / "docs" / "operations.md").read_text(encoding="utf-8")
    documented = set(re.findall("^\\| `(igob_\\w+)` \\| (\\w+) \\|", docs, re.MULTILINE))
    assert offered == documented
    counted = {name.partition(" ")[0] for name in await told(client)}
    assert counted <= {name + end for name, _ in offered for end in ("", "_count", "_sum", "_bucket")}


# Correlation


@pytest.mark.parametrize(
    ("headers", "known_as"),
    [
        ({}, UUID),
        ({"x-correlation-id": "Order-7.a_b"}, "Order-7.a_b"),
        ({"x-correlation-id": "x" * CORRELATION_LENGTH_MAX}, "x" * CORRELATION_LENGTH_MAX),
        ({"x-correlation-id": "x" * (CORRELATION_LENGTH_MAX + 1)}, UUID),
        ({"x-correlation-id": ""}, UUID),
        ({"x-correlation-id": "two words"}, UUID),
        ({"x-correlation-id": "a\\N"}, UUID),
        ({"x-correlation-id": "á"}, UUID),
        ({"traceparent": f"00-{TRACE}-b7ad6b7169203331-01"}, TRACE),
        ({"traceparent": f"01-{TRACE}-b7ad6b7169203331-01-more"}, TRACE),
        ({"traceparent": f"00-{TRACE}-b7ad6b7169203331-01-more"}, UUID),
        ({"traceparent": f"ff-{TRACE}-b7ad6b7169203331-01"}, UUID),
        ({"traceparent": f"00-{TRACE.upper()}-b7ad6b7169203331-01"}, UUID),
        ({"traceparent": f"00-{'0' * 32}-b7ad6b7169203331-01"}, UUID),
        ({"traceparent": f"00-{TRACE}-{'0' * 16}-01"}, UUID),
        ({"traceparent": f"00-{TRACE}-b7ad6b7169203331-01", "x-correlation-id": "mine"}, "mine"),
        ({"traceparent": f"00-{TRACE}-b7ad6b7169203331-01", "x-correlation-id": "not mine"}, TRACE),
    ],
)
async def test_a_request_s_correlation_is_in_its_response(
    client: Client, headers: dict[str, str], known_as: str
) -> None:
    encoded = [(name.encode(), value.encode()) for name, value in headers.items()]
    answer = await client.http.post("/graphql", json={"query": HOSPITALS}, headers=encoded)
    assert re.fullmatch(known_as, answer.headers["x-correlation-id"])


async def test_two_requests_without_one_have_different_correlations(client: Client) -> None:
    answers = [await post(client, HOSPITALS) for _ in range(2)]
    assert len({answer.headers["x-correlation-id"] for answer in answers}) == 2


async def test_a_request_s_correlation_is_in_its_events(client: Client, core: Core, town: Town) -> None:
    await open_agenda(core)
    ana = await registered(client, "1000001")
    asked = {"query": BOOK, "variables": {"input": wish(1, ana, "b")}}
    await client.http.post("/graphql", json=asked, headers={"x-correlation-id": "ventanilla-3"})
    rows = town.execute("SELECT event FROM event_log WHERE correlation_id = 'ventanilla-3' ORDER BY position")
    assert rows == [("appointment_booked.v1",), ("visit_taken.v1",)]


async def test_a_server_error_is_logged_with_its_correlation(
    client: Client, town: Town, capsys: pytest.CaptureFixture[str]
) -> None:
    client.projector = None
    town.execute("DROP TABLE events CASCADE")
    answer = await post(client, '{ agenda(id: "x/2027-01-15/y") { id } }', x_correlation_id="ventanilla-3")
    assert "ventanilla-3" in answer.json()["errors"][0]["message"]
    assert json.loads(capsys.readouterr().err)["id"] == "ventanilla-3"


# The log


async def test_successful_requests_are_not_logged_by_default(
    client: Client, capsys: pytest.CaptureFixture[str]
) -> None:
    await post(client, HOSPITALS)
    assert capsys.readouterr().err == ""


async def test_request_logs_contain_no_client_data(
    client: Client, core: Core, capsys: pytest.CaptureFixture[str]
) -> None:
    client.settings(log_requests=True)
    await open_agenda(core)
    ana = await registered(client, "4820193")
    booked = {"query": BOOK, "variables": {"input": wish(1, ana, "secret-key")}}
    for name in ("first", "again"):
        await client.http.post("/graphql", json=booked, headers={"x-correlation-id": name})
    await client.ask(BOOK, input=wish(1, ana, "another"))
    await post(client, '{ mamani: availability(specialty: "4820193 Ana") { freeSlots } }')
    await post(client, "{ anaMamani }")
    err, token = capsys.readouterr().err, client.http.headers["authorization"].partition(" ")[2]
    assert [word for word in (*PERSONAL, "mamani", ana, "secret-key", token, AGENDA) if word in err] == []
    lines = [json.loads(line) for line in err.splitlines()]
    assert {frozenset(line) for line in lines} == {
        frozenset(("event", "level", "timestamp", "correlation", "kind", "field", "outcome", "codes", "cost",
                   "duration_ms", "position"))
    }  # fmt: skip
    assert {(line["event"], line["level"]) for line in lines} == {("request", "info")}
    assert [(line["kind"], line["field"], line["outcome"], line["codes"]) for line in lines] == [
        ("mutation", "registerPerson", "ok", []),
        ("mutation", "bookAppointment", "ok", []),
        ("mutation", "bookAppointment", "ok", []),
        ("mutation", "bookAppointment", "refused", ["slot_taken"]),
        ("query", "availability", "error", ["invalid_input"]),
        ("unknown", "unknown", "error", []),
    ]
    assert [line["correlation"] for line in lines[1:3]] == ["first", "again"]
    assert lines[1]["position"] == lines[2]["position"] == lines[0]["position"] + 2
    assert lines[3]["position"] is None
    assert lines[1]["cost"] > 0
    assert 0 < lines[1]["duration_ms"] < 60_000


async def test_a_closed_log_does_not_block_requests(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    client.settings(log_requests=True)

    class Broken:
        def write(self, text: str) -> None:
            raise BrokenPipeError

    monkeypatch.setattr(sys, "stderr", Broken())
    answer = await post(client, HOSPITALS)
    assert answer.json()["data"] == {"hospitals": {"nodes": []}}
