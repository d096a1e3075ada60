"""The endpoint itself: health, limits, and faults that clients must not see."""

import asyncio
from pathlib import Path

import psycopg
import pytest

from api.app import _within
from api.contexts import read_models
from api.graphql.schema import schema
from api.messages import language_of
from domain.errors import HINTS, LANGUAGES, REFUSALS
from infra.log.core import Core
from infra.postgres.connections import READ_TIMEOUT_S, Unavailable
from tests.api.conftest import Client
from tests.city import hospital, key
from tests.towns import Town

SNAPSHOT = Path(__file__).parents[3] / "docs" / "schema.graphql"


@pytest.mark.anyio
async def test_health_and_readiness(client: Client) -> None:
    assert (await client.http.get("/healthz")).json() == {"status": "ok"}
    fresh = {"position": "0", "lagEvents": 0, "lagSeconds": 0.0}
    views = dict.fromkeys(read_models(), fresh)
    assert (await client.http.get("/readyz")).json() == {"status": "ready", "position": "0", "views": views}


@pytest.mark.anyio
async def test_a_fault_of_ours_is_masked(client: Client, town: Town, capsys: pytest.CaptureFixture[str]) -> None:
    client.projector = None  # it has no log to read now
    town.execute("DROP TABLE events CASCADE")
    answer = await client.ask('{ agendaOfAna: agenda(id: "the-agenda-of-ana/2027-01-15/p") { id } }')
    (error,) = answer["errors"]
    number = error["message"].removeprefix("Ocurrió un error en el sistema. Si se repite, indíquenos este número: ")[
        :-1
    ]
    assert answer["data"] == {"agendaOfAna": None}
    assert error["extensions"] == {"code": "internal_error"}
    said = capsys.readouterr()
    assert "UndefinedTable" in said.err
    assert number in said.err  # by which we find it
    assert said.out == ""
    for private in ("SELECT", "relation", "the-agenda-of-ana", "agendaOfAna"):
        assert private not in said.err


@pytest.mark.anyio
async def test_without_the_database_only_readiness_fails(client: Client, core: Core) -> None:
    await core.log.close()
    ready = await client.http.get("/readyz")
    assert (ready.status_code, ready.json()) == (503, {"status": "the database does not answer"})
    for query in ('{ agenda(id: "x/2027-01-15/y") { id } }', '{ hospital(code: "x") { id } }'):
        answer = await client.ask(query, language="en")
        assert answer["errors"][0]["extensions"] == {"code": "unavailable"}
        assert "repeat the request with the same key" in answer["errors"][0]["message"]


@pytest.mark.anyio
async def test_without_a_committer_a_worker_is_not_ready(client: Client, core: Core) -> None:
    await core.committer.stop()
    ready = await client.http.get("/readyz")
    assert (ready.status_code, ready.json()) == (503, {"status": "the committer stopped"})


@pytest.mark.anyio
async def test_a_worker_with_stuck_commands_is_not_ready(
    client: Client, core: Core, town: Town, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("api.app.STUCK_AFTER_S", 0.2)
    with psycopg.connect(town.application) as holder:
        holder.execute(f"SELECT {town.schema}.lock_log()")
        waiting = asyncio.ensure_future(core.committer.submit(hospital(), key("h")))
        await asyncio.sleep(0.3)
        ready = await client.http.get("/readyz")
        assert (ready.status_code, ready.json()) == (503, {"status": "commands do not get through"})
    await waiting
    assert (await client.http.get("/readyz")).status_code == 200


@pytest.mark.anyio
@pytest.mark.timeout(20)
async def test_a_database_that_hangs_is_not_ready(
    client: Client, core: Core, town: Town, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("api.app.READY_TIMEOUT_S", 0.2)
    with psycopg.connect(town.owner) as holder:
        holder.execute(f"LOCK TABLE {town.schema}.events IN ACCESS EXCLUSIVE MODE")
        # Sooner than the log itself gives up, after infra.postgres.connections.READ_TIMEOUT_S.
        ready = await asyncio.wait_for(client.http.get("/readyz"), timeout=READ_TIMEOUT_S / 2)
        assert (ready.status_code, ready.json()) == (503, {"status": "the database does not answer"})
    assert (await client.http.get("/readyz")).status_code == 200


@pytest.mark.anyio
async def test_a_slow_cancellation_is_not_waited_for() -> None:
    hangs, cancelled = asyncio.Event(), asyncio.Event()

    async def work() -> None:
        try:
            await hangs.wait()
        finally:  # like the database's driver, which asks the server to cancel the query
            await asyncio.sleep(0.05)
            cancelled.set()
            raise Unavailable

    with pytest.raises(TimeoutError):
        await _within(0.01, work())
    assert not cancelled.is_set()
    await asyncio.wait_for(cancelled.wait(), timeout=5)


@pytest.mark.anyio
async def test_an_unknown_host_name_is_refused(client: Client) -> None:
    answer = await client.http.post("/graphql", json={"query": "{ __typename }"}, headers={"host": "evil.example"})
    assert answer.status_code == 400


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("query", "message"),
    [
        ("{ " + " ".join(f"a{n}: __typename" for n in range(50)) + " }", "more than 15 aliases, fragments expanded"),
        ("{ a(x: [" + "1 " * 3000 + "]) }", "more than 2000 tokens"),
        ("{ hospitals(first: 1) { nodes { id } } nope }", "Cannot query field 'nope'"),
        ("{", "Syntax Error"),
    ],
)
async def test_invalid_documents_are_refused_with_a_message(client: Client, query: str, message: str) -> None:
    answer = await client.http.post("/graphql", json={"query": query}, headers={"accept-language": "en"})
    assert message in answer.json()["errors"][0]["message"]


def test_the_schema_snapshot_is_up_to_date() -> None:
    assert SNAPSHOT.read_text(encoding="utf-8") == schema.as_str() + "\n", "run: igob schema > docs/schema.graphql"


def test_every_refusal_has_a_text_in_each_language() -> None:
    assert REFUSALS
    assert HINTS
    for worded in [*REFUSALS.values(), *HINTS.values()]:
        assert set(worded.texts) == set(LANGUAGES)
        assert all(worded.texts.values())


@pytest.mark.parametrize(
    ("header", "language"),
    [
        ("", "es"), ("en", "en"), ("en-US,en;q=0.9,es;q=0.8", "en"), ("es-BO,en;q=0.5", "es"), ("qu,ay", "es"),
        ("fr,en;q=0.1", "en"), ("en;q=0", "es"), ("en;q=x", "es"), ("*", "es"), ("," * 500, "es"),
    ],
)  # fmt: skip
def test_the_best_supported_language_is_chosen(header: str, language: str) -> None:
    assert language_of(header.encode()) == language
