"""A libpq connection: each statement gets its own result or a typed error, on asyncio and on uvloop."""

import asyncio
import hashlib
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any

import psycopg
import pytest
import uvloop

from infra.postgres.connections import CONNECTION
from infra.postgres.libpq import LibpqConnection
from tests.towns import Town

pytestmark = pytest.mark.anyio

TIMEOUT_S = 10.0
LARGE_BYTES = 32 * 2**20  # many times what a socket's buffer holds
ECHO = b"SELECT $1::text, md5($1::text), 7::bigint"
DIVIDE = b"SELECT 1 / length($1::text)"
SLEEP = b"SELECT pg_sleep($1::text::float8)"


@pytest.fixture(params=[False, True], ids=["asyncio", "uvloop"])
def anyio_backend(request: pytest.FixtureRequest) -> tuple[str, dict[str, bool]]:
    return "asyncio", {"use_uvloop": request.param}


@pytest.fixture
async def connection(town: Town) -> AsyncIterator[LibpqConnection]:
    connection = await connected(town)
    yield connection
    await connection.close()


async def connected(town: Town) -> LibpqConnection:
    connection = LibpqConnection(await psycopg.AsyncConnection.connect(town.application, **CONNECTION))
    for name, statement in ((b"echo", ECHO), (b"divide", DIVIDE), (b"sleep", SLEEP)):
        await connection.prepare(name, statement, timeout_s=TIMEOUT_S)
    return connection


def pid_of(connection: LibpqConnection) -> int:
    return connection._connection.info.backend_pid


async def test_successive_statements_get_their_own_results(connection: LibpqConnection) -> None:
    for n in range(100):
        found = await connection.execute(b"echo", [f"ñ{n}".encode()], timeout_s=TIMEOUT_S)
        assert found.get_value(0, 0) == f"ñ{n}".encode()
        assert found.get_value(0, 2) == (7).to_bytes(8, "big")
        assert connection.idle


async def test_one_statement_is_in_flight_at_a_time(connection: LibpqConnection) -> None:
    first = connection.execute(b"echo", [b"first"], timeout_s=TIMEOUT_S)
    with pytest.raises(psycopg.InterfaceError):
        connection.execute(b"echo", [b"second"], timeout_s=TIMEOUT_S)
    assert (await first).get_value(0, 0) == b"first"


async def test_a_failed_statement_raises_its_error_and_keeps_the_connection(connection: LibpqConnection) -> None:
    with pytest.raises(psycopg.errors.DivisionByZero):
        await connection.execute(b"divide", [b""], timeout_s=TIMEOUT_S)
    with pytest.raises(psycopg.errors.InvalidSqlStatementName):
        await connection.execute(b"unknown", [], timeout_s=TIMEOUT_S)
    with pytest.raises(psycopg.errors.SyntaxError):
        await connection.prepare(b"wrong", b"SELEC", timeout_s=TIMEOUT_S)
    assert (await connection.execute(b"echo", [b"on"], timeout_s=TIMEOUT_S)).get_value(0, 0) == b"on"


async def test_a_zero_byte_is_refused(connection: LibpqConnection) -> None:
    with pytest.raises(psycopg.errors.CharacterNotInRepertoire):
        await connection.execute(b"echo", [b"before\0after"], timeout_s=TIMEOUT_S)
    assert connection.idle


async def test_values_larger_than_the_socket_buffer_pass_both_ways(
    connection: LibpqConnection,
) -> None:
    large = b"0123456789abcdef" * (LARGE_BYTES // 16)
    found = await connection.execute(b"echo", [large], timeout_s=TIMEOUT_S)
    assert found.get_value(0, 0) == large
    assert found.get_value(0, 1) == hashlib.md5(large, usedforsecurity=False).hexdigest().encode()
    assert (await connection.execute(b"echo", [b"small"], timeout_s=TIMEOUT_S)).get_value(0, 0) == b"small"


async def test_notices_do_not_disturb_the_result(connection: LibpqConnection, town: Town) -> None:
    heard: list[str | None] = []
    connection.release().add_notice_handler(lambda notice: heard.append(notice.message_primary))
    town.execute(
        "CREATE FUNCTION noisy(said text) RETURNS text LANGUAGE plpgsql AS"
        " $$ BEGIN FOR n IN 1..1000 LOOP RAISE NOTICE '%', repeat('x', 1000); END LOOP; RETURN said; END $$"
    )
    town.execute("GRANT EXECUTE ON FUNCTION noisy TO igob_app")
    await connection.prepare(b"noisy", f"SELECT {town.schema}.noisy($1::text)".encode(), timeout_s=TIMEOUT_S)
    assert (await connection.execute(b"noisy", [b"still"], timeout_s=TIMEOUT_S)).get_value(0, 0) == b"still"
    assert heard == ["x" * 1000] * 1000


async def test_a_timeout_breaks_the_connection(connection: LibpqConnection) -> None:
    await connection.execute(b"echo", [b"with a long limit"], timeout_s=TIMEOUT_S)  # its timer is still set
    begun = time.monotonic()
    with pytest.raises(TimeoutError):
        await connection.execute(b"sleep", [b"5"], timeout_s=0.2)
    assert 0.1 < time.monotonic() - begun < 2
    assert connection.broken
    with pytest.raises(psycopg.InterfaceError):
        connection.execute(b"echo", [b"more"], timeout_s=TIMEOUT_S)


async def test_each_statement_has_its_own_timeout(connection: LibpqConnection) -> None:
    await connection.execute(b"echo", [b"with a short limit"], timeout_s=0.2)
    await connection.execute(b"sleep", [b"0.5"], timeout_s=TIMEOUT_S)
    assert connection.idle


async def test_a_cancelled_statement_runs_to_its_end_and_keeps_the_connection(
    connection: LibpqConnection,
) -> None:
    gone = connection.execute(b"sleep", [b"0.2"], timeout_s=TIMEOUT_S)
    await asyncio.sleep(0.01)
    gone.cancel()
    assert not connection.idle
    with pytest.raises(psycopg.InterfaceError):
        connection.execute(b"echo", [b"too early"], timeout_s=TIMEOUT_S)
    await asyncio.sleep(0.5)
    assert (await connection.execute(b"echo", [b"next"], timeout_s=TIMEOUT_S)).get_value(0, 0) == b"next"


async def test_a_lost_backend_fails_the_statement_in_flight(connection: LibpqConnection, town: Town) -> None:
    asked = connection.execute(b"sleep", [b"5"], timeout_s=TIMEOUT_S)
    await asyncio.to_thread(town.execute, "SELECT pg_terminate_backend(%s)", pid_of(connection))
    with pytest.raises(psycopg.OperationalError):
        await asked
    assert not connection.idle


async def test_a_backend_lost_between_statements_is_noticed(connection: LibpqConnection, town: Town) -> None:
    await asyncio.to_thread(town.execute, "SELECT pg_terminate_backend(%s, 5000)", pid_of(connection))
    await asyncio.sleep(0.1)
    assert connection.broken
    with pytest.raises(psycopg.InterfaceError):
        connection.execute(b"echo", [b"x"], timeout_s=TIMEOUT_S)


async def test_a_backend_lost_after_release_fails_the_next_statement(connection: LibpqConnection, town: Town) -> None:
    connection.release()  # the socket is not watched
    await asyncio.to_thread(town.execute, "SELECT pg_terminate_backend(%s, 5000)", pid_of(connection))
    with pytest.raises(psycopg.OperationalError):
        await connection.execute(b"echo", [b"x"], timeout_s=TIMEOUT_S)
    assert connection.broken


async def test_closing_fails_the_statement_in_flight(connection: LibpqConnection) -> None:
    asked = connection.execute(b"sleep", [b"5"], timeout_s=TIMEOUT_S)
    await connection.close()
    with pytest.raises(psycopg.OperationalError):
        await asked


async def test_psycopg_can_use_a_released_connection(connection: LibpqConnection) -> None:
    for n in range(3):
        await connection.execute(b"echo", [b"one"], timeout_s=TIMEOUT_S)
        cursor = await connection.release().execute("SELECT %s::int", (n,), prepare=True)
        assert await cursor.fetchone() == (n,)


@pytest.mark.parametrize("run", [asyncio.run, uvloop.run])
def test_a_statement_in_flight_does_not_keep_the_loop_running(
    town: Town, run: Callable[[Coroutine[Any, Any, None]], None]
) -> None:
    async def leave() -> None:
        connection = await connected(town)
        connection.execute(b"sleep", [b"1"], timeout_s=TIMEOUT_S)
        left.append(connection)

    left: list[LibpqConnection] = []
    run(leave())
    left[0]._connection.pgconn.finish()
