"""An operation that takes too long is cancelled. A command that the committer has of a mutation is still finished."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
import pytest

from infra.log.core import Core
from tests.api.conftest import Client
from tests.towns import Town

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(60)]

TIMEOUT_S = 0.3
CUT_OFF_MAX_S = 5.0  # less than READ_TIMEOUT_S of the database
REGISTER = """mutation { a: registerHospital(input: {idempotencyKey: "a", hospital: "a", name: "A"}) { position }
  b: registerHospital(input: {idempotencyKey: "b", hospital: "b", name: "B"}) { position } }"""


@pytest.fixture(autouse=True)
def hurry(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    client.projector = None  # it would wait for the locks that these tests hold
    monkeypatch.setattr("api.graphql.engine.execution.OPERATION_TIMEOUT_S", TIMEOUT_S)


@contextmanager
def locked(town: Town, statement: str) -> Iterator[None]:
    with psycopg.connect(town.owner) as holder:
        holder.execute(statement.replace("SCHEMA", town.schema).encode())
        yield


@pytest.mark.parametrize(("language", "words"), [("es", "tardó más de 0.3 s"), ("en", "took longer than 0.3 s")])
async def test_a_slow_query_is_cancelled(client: Client, town: Town, language: str, words: str) -> None:
    query = '{ agenda(id: "la-merced/2027-01-15/p-01") { id } }'
    with locked(town, "LOCK TABLE SCHEMA.events IN ACCESS EXCLUSIVE MODE"):
        answer = await asyncio.wait_for(client.ask(query, language=language), CUT_OFF_MAX_S)
        assert answer["data"] is None
        (error,) = answer["errors"]
        assert error["extensions"] == {"code": "took_too_long"}
        assert words in error["message"]
        metrics = client.services.requests.metrics.page().decode()
        assert 'igob_requests_total{field="agenda",kind="query",outcome="unavailable"} 1.0' in metrics
    assert await client.ask(query) == {"data": {"agenda": None}, "extensions": {"cost": 2}}


async def test_a_cancelled_query_s_connection_is_usable_again(
    client: Client, town: Town, monkeypatch: pytest.MonkeyPatch
) -> None:
    query = '{ agenda(id: "la-merced/2027-01-15/p-01") { id } }'
    with locked(town, "LOCK TABLE SCHEMA.events IN ACCESS EXCLUSIVE MODE"):
        # More queries than connections: some wait for one, and get it when they are cut off themselves.
        answers = await asyncio.wait_for(asyncio.gather(*(client.ask(query) for _ in range(20))), CUT_OFF_MAX_S)
        assert {answer["errors"][0]["extensions"]["code"] for answer in answers} == {"took_too_long"}
    monkeypatch.undo()  # a busy machine may be slow
    answers = await asyncio.gather(*(client.ask(query) for _ in range(20)))
    assert all("errors" not in answer for answer in answers)


async def test_a_slow_mutation_is_unavailable_and_settled_by_its_key(client: Client, core: Core, town: Town) -> None:
    with locked(town, "SELECT SCHEMA.lock_log()"):
        answer = await asyncio.wait_for(client.ask(REGISTER), CUT_OFF_MAX_S)
        assert answer["data"] is None
        assert answer["errors"][0]["extensions"] == {"code": "unavailable"}
        assert await core.log.head() == 0
    async with asyncio.timeout(20):
        while await core.log.head() == 0:  # noqa: ASYNC110 (the first was with the committer)
            await asyncio.sleep(0.01)
    assert await core.log.head() == 1  # the second was never begun
    again = await client.ask(REGISTER)
    assert again["data"] == {"a": {"position": "1"}, "b": {"position": "2"}}
