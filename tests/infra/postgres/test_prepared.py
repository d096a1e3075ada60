"""A pool of prepared statements: right results, and every connection is either usable or replaced."""

import asyncio
import time
from collections.abc import AsyncIterator
from datetime import UTC, date, datetime
from typing import Any

import psycopg
import pytest

import infra.postgres.connections
import infra.postgres.prepared
from infra.postgres.connections import Unavailable
from infra.postgres.libpq import LibpqConnection
from infra.postgres.prepared import PreparedPool, Statement
from tests.towns import Town

pytestmark = pytest.mark.anyio

CONNECTIONS = 2
ECHO = Statement("SELECT %(text)s::text")
SLEEP = Statement("SELECT pg_sleep(%(seconds)s)::text")
OURS = "FROM pg_stat_activity WHERE application_name = 'prepared' AND pid <> pg_backend_pid()"


@pytest.fixture(params=[False, True], ids=["asyncio", "uvloop"])
def anyio_backend(request: pytest.FixtureRequest) -> tuple[str, dict[str, Any]]:
    """Workers run on uvloop, other processes on asyncio's loop."""
    return "asyncio", {"use_uvloop": request.param}


@pytest.fixture
async def pool(town: Town) -> AsyncIterator[PreparedPool]:
    found = PreparedPool(f"{town.application} application_name=prepared", connections_max=CONNECTIONS)
    await found.open()
    yield found
    await found.close()


async def echo(pool: PreparedPool, text: str) -> str:
    value = (await pool.execute(ECHO, {"text": text, "other": 1})).get_value(0, 0)
    assert value is not None
    return value.decode()


async def busy(town: Town) -> int:
    """How many of the pool's backends run a statement, once that number is stable."""
    seen: Any = None
    for _ in range(100):
        last, seen = seen, town.execute(f"SELECT count(*) {OURS} AND state = 'active'")[0][0]
        if seen == last:
            break
        await asyncio.sleep(0.02)
    return int(seen)


def test_parameters_are_numbered_by_name() -> None:
    statement = Statement("SELECT %(b)s, %(a)s, %(b)s, 10 %% 3, '%%(a)s'")
    assert statement.text == b"SELECT $1, $2, $1, 10 % 3, '%(a)s'"
    assert statement.names == ("b", "a")


async def test_parameters_are_encoded_as_psycopg_encodes_them(pool: PreparedPool) -> None:
    kinds = Statement(
        "SELECT concat_ws('|', %(text)s::text, %(day)s::date, %(at)s::timestamptz AT TIME ZONE 'UTC', %(n)s::bigint,"
        " %(list)s::text[], %(nothing)s::text IS NULL)"
    )
    values: dict[str, Any] = {
        "text": "ñ'\\",
        "day": date(2027, 1, 5),
        "at": datetime(2027, 1, 5, 12, tzinfo=UTC),
        "list": ["a", "b,c"],
        "nothing": None,
    }
    for number in (1, 2**15, 2**31, 2**62):  # each of another type
        value = (await pool.execute(kinds, values | {"n": number})).get_value(0, 0)
        assert value
        assert value.decode() == f'ñ\'\\|2027-01-05|2027-01-05 12:00:00|{number}|{{a,"b,c"}}|t'


async def test_concurrent_queries_get_their_own_results(pool: PreparedPool, town: Town) -> None:
    found = await asyncio.gather(*(echo(pool, f"{n}" * (n + 1)) for n in range(100)))
    assert found == [f"{n}" * (n + 1) for n in range(100)]
    assert int(str(town.execute(f"SELECT count(*) {OURS}")[0][0])) <= CONNECTIONS


async def test_a_parameter_larger_than_the_socket_buffer_arrives(pool: PreparedPool) -> None:
    long = "ab" * 5_000_000
    assert await echo(pool, long) == long


async def test_a_failed_statement_keeps_its_connection(pool: PreparedPool, town: Town) -> None:
    await echo(pool, "a")
    before = town.execute(f"SELECT pid {OURS}")
    with pytest.raises(psycopg.errors.UndefinedTable):
        await pool.execute(Statement("SELECT * FROM nothing_here"), {})
    with pytest.raises(psycopg.errors.DivisionByZero):
        await pool.execute(Statement("SELECT 1 / %(n)s::int"), {"n": 0})
    assert await echo(pool, "b") == "b"
    assert town.execute(f"SELECT pid {OURS}") == before


async def test_a_query_that_times_out_is_cancelled(
    pool: PreparedPool, town: Town, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(infra.postgres.prepared, "READ_TIMEOUT_S", 0.2)
    begun = time.monotonic()
    found = await asyncio.gather(
        *(pool.execute(SLEEP, {"seconds": 30}) for _ in range(CONNECTIONS)), return_exceptions=True
    )
    assert [type(one) for one in found] == [Unavailable] * CONNECTIONS
    assert time.monotonic() - begun < 5
    assert await busy(town) == 0
    monkeypatch.undo()
    assert await echo(pool, "on") == "on"


async def test_waiting_for_a_connection_times_out(pool: PreparedPool, monkeypatch: pytest.MonkeyPatch) -> None:
    sleeping = [asyncio.create_task(pool.execute(SLEEP, {"seconds": 0.6})) for _ in range(CONNECTIONS)]
    await asyncio.sleep(0.1)
    monkeypatch.setattr(infra.postgres.prepared, "READ_TIMEOUT_S", 0.2)
    with pytest.raises(Unavailable):
        await echo(pool, "late")
    await asyncio.gather(*sleeping)
    assert await echo(pool, "on") == "on"


async def test_a_cancelled_caller_does_not_affect_the_next_query(pool: PreparedPool, town: Town) -> None:
    for _ in range(5):
        leaving = [asyncio.create_task(pool.execute(SLEEP, {"seconds": 20})) for _ in range(CONNECTIONS)]
        await asyncio.sleep(0.1)
        for task in leaving:
            task.cancel()
        found = await asyncio.gather(*leaving, return_exceptions=True)
        assert all(isinstance(one, asyncio.CancelledError) for one in found)
        assert await asyncio.gather(*(echo(pool, f"{n}") for n in range(4))) == ["0", "1", "2", "3"]
    assert await busy(town) == 0


async def test_a_lost_idle_connection_is_replaced_before_the_next_query(pool: PreparedPool, town: Town) -> None:
    for _ in range(3):
        assert await asyncio.gather(*(echo(pool, "before") for _ in range(4))) == ["before"] * 4
        assert len(town.execute(f"SELECT pg_terminate_backend(pid, 5000) {OURS}")) == CONNECTIONS
        await asyncio.sleep(0.05)  # the event loop looks at the sockets
        assert await asyncio.gather(*(echo(pool, "after") for _ in range(4))) == ["after"] * 4


async def test_connections_lost_during_a_query_are_replaced(pool: PreparedPool, town: Town) -> None:
    sleeping = [asyncio.create_task(pool.execute(SLEEP, {"seconds": 20})) for _ in range(CONNECTIONS)]
    await asyncio.sleep(0.2)
    town.execute(f"SELECT pg_terminate_backend(pid, 5000) {OURS}")
    found = await asyncio.gather(*sleeping, return_exceptions=True)
    assert [type(one) for one in found] == [Unavailable] * CONNECTIONS
    assert await asyncio.gather(*(echo(pool, f"{n}") for n in range(4))) == ["0", "1", "2", "3"]


async def test_prepared_statements_are_bounded(pool: PreparedPool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(infra.postgres.prepared, "STATEMENTS_MAX", 3)
    count = Statement("SELECT count(*)::text FROM pg_prepared_statements")
    for number in range(20):
        value = (await pool.execute(Statement(f"SELECT {number}::text"), {})).get_value(0, 0)
        assert value == str(number).encode()
        held = (await pool.execute(count, {})).get_value(0, 0)
        assert held
        assert int(held) <= 3


async def test_an_old_connection_is_replaced(pool: PreparedPool, town: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(infra.postgres.prepared, "LIFETIME_S", 0)
    pids = set()
    for _ in range(3):
        pid = (await pool.execute(Statement("SELECT pg_backend_pid()::text"), {})).get_value(0, 0)
        pids.add(pid)
    assert len(pids) == 3


async def test_close_ends_all_connections(town: Town) -> None:
    found = PreparedPool(f"{town.application} application_name=prepared", connections_max=CONNECTIONS)
    await found.open()
    await asyncio.gather(*(echo(found, "a") for _ in range(4)))
    asked = asyncio.create_task(found.execute(SLEEP, {"seconds": 0.3}))
    await asyncio.sleep(0.1)
    await found.close()
    await asked
    for _ in range(100):
        if town.execute(f"SELECT count(*) {OURS}") == [(0,)]:
            break
        await asyncio.sleep(0.02)
    assert town.execute(f"SELECT count(*) {OURS}") == [(0,)]


async def test_an_unreachable_server_is_unavailable(town: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(infra.postgres.connections, "CONNECT_TIMEOUT_S", 0.3)
    gone = PreparedPool("host=127.0.0.1 port=1 user=x dbname=x connect_timeout=1", connections_max=1)
    with pytest.raises(Unavailable):
        await gone.open()
    await gone.close()


async def test_a_statement_can_be_repeated_after_its_caller_was_cancelled(
    pool: PreparedPool, monkeypatch: pytest.MonkeyPatch
) -> None:
    prepare = LibpqConnection.prepare

    def prepare_and_go(self: LibpqConnection, *arguments: Any, **options: Any) -> "asyncio.Future[Any]":
        answer = prepare(self, *arguments, **options)
        answer.add_done_callback(lambda _: asking.cancel())
        return answer

    with monkeypatch.context() as patch:
        patch.setattr(LibpqConnection, "prepare", prepare_and_go)
        asking = asyncio.create_task(echo(pool, "a"))
        with pytest.raises(asyncio.CancelledError):
            await asking
    assert await echo(pool, "b") == "b"
