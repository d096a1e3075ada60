"""A wire: each statement gets its own answer or a typed error, on asyncio's loop and on uvloop's."""

import asyncio
import hashlib
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any

import psycopg
import pytest
import uvloop

from infra.log import CONNECTION
from infra.wire import Wire
from tests.conftest import Town

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
async def wire(town: Town) -> AsyncIterator[Wire]:
    wire = await connected(town)
    yield wire
    await wire.close()


async def connected(town: Town) -> Wire:
    wire = Wire(await psycopg.AsyncConnection.connect(town.application, **CONNECTION))
    for name, statement in ((b"echo", ECHO), (b"divide", DIVIDE), (b"sleep", SLEEP)):
        await wire.prepare(name, statement, timeout_s=TIMEOUT_S)
    return wire


def pid_of(wire: Wire) -> int:
    return wire._connection.info.backend_pid


async def test_statements_one_after_another_get_each_its_own_rows(wire: Wire) -> None:
    for n in range(100):
        found = await wire.ask(b"echo", [f"ñ{n}".encode()], timeout_s=TIMEOUT_S)
        assert found.get_value(0, 0) == f"ñ{n}".encode()
        assert found.get_value(0, 2) == (7).to_bytes(8, "big")
        assert wire.idle


async def test_one_statement_is_in_flight_at_a_time(wire: Wire) -> None:
    first = wire.ask(b"echo", [b"first"], timeout_s=TIMEOUT_S)
    with pytest.raises(psycopg.InterfaceError):
        wire.ask(b"echo", [b"second"], timeout_s=TIMEOUT_S)
    assert (await first).get_value(0, 0) == b"first"


async def test_an_error_of_the_statement_has_its_class_and_leaves_the_wire_usable(wire: Wire) -> None:
    with pytest.raises(psycopg.errors.DivisionByZero):
        await wire.ask(b"divide", [b""], timeout_s=TIMEOUT_S)
    with pytest.raises(psycopg.errors.InvalidSqlStatementName):
        await wire.ask(b"unknown", [], timeout_s=TIMEOUT_S)
    with pytest.raises(psycopg.errors.SyntaxError):
        await wire.prepare(b"wrong", b"SELEC", timeout_s=TIMEOUT_S)
    assert (await wire.ask(b"echo", [b"on"], timeout_s=TIMEOUT_S)).get_value(0, 0) == b"on"


async def test_a_zero_byte_is_refused_and_never_cuts_a_parameter_short(wire: Wire) -> None:
    with pytest.raises(psycopg.errors.CharacterNotInRepertoire):
        await wire.ask(b"echo", [b"before\0after"], timeout_s=TIMEOUT_S)
    assert wire.idle


async def test_what_does_not_fit_into_the_socket_s_buffer_passes_in_both_directions(wire: Wire) -> None:
    large = b"0123456789abcdef" * (LARGE_BYTES // 16)
    found = await wire.ask(b"echo", [large], timeout_s=TIMEOUT_S)
    assert found.get_value(0, 0) == large
    assert found.get_value(0, 1) == hashlib.md5(large, usedforsecurity=False).hexdigest().encode()
    assert (await wire.ask(b"echo", [b"small"], timeout_s=TIMEOUT_S)).get_value(0, 0) == b"small"


async def test_notices_of_the_server_do_not_disturb_the_answer(wire: Wire, town: Town) -> None:
    heard: list[str | None] = []
    wire.release().add_notice_handler(lambda notice: heard.append(notice.message_primary))
    town.execute(
        "CREATE FUNCTION noisy(said text) RETURNS text LANGUAGE plpgsql AS"
        " $$ BEGIN FOR n IN 1..1000 LOOP RAISE NOTICE '%', repeat('x', 1000); END LOOP; RETURN said; END $$"
    )
    town.execute("GRANT EXECUTE ON FUNCTION noisy TO igob_app")
    await wire.prepare(b"noisy", f"SELECT {town.schema}.noisy($1::text)".encode(), timeout_s=TIMEOUT_S)
    assert (await wire.ask(b"noisy", [b"still"], timeout_s=TIMEOUT_S)).get_value(0, 0) == b"still"
    assert heard == ["x" * 1000] * 1000


async def test_what_takes_too_long_times_out_and_the_wire_is_broken(wire: Wire) -> None:
    await wire.ask(b"echo", [b"with a long limit"], timeout_s=TIMEOUT_S)  # its timer is set still
    begun = time.monotonic()
    with pytest.raises(TimeoutError):
        await wire.ask(b"sleep", [b"5"], timeout_s=0.2)
    assert 0.1 < time.monotonic() - begun < 2
    assert wire.broken
    with pytest.raises(psycopg.InterfaceError):
        wire.ask(b"echo", [b"more"], timeout_s=TIMEOUT_S)


async def test_the_limit_of_one_statement_is_not_that_of_the_next(wire: Wire) -> None:
    await wire.ask(b"echo", [b"with a short limit"], timeout_s=0.2)
    await wire.ask(b"sleep", [b"0.5"], timeout_s=TIMEOUT_S)
    assert wire.idle


async def test_a_caller_who_goes_leaves_the_wire_usable_when_the_statement_has_ended(wire: Wire) -> None:
    gone = wire.ask(b"sleep", [b"0.2"], timeout_s=TIMEOUT_S)
    await asyncio.sleep(0.01)
    gone.cancel()
    assert not wire.idle
    with pytest.raises(psycopg.InterfaceError):
        wire.ask(b"echo", [b"too early"], timeout_s=TIMEOUT_S)
    await asyncio.sleep(0.5)
    assert (await wire.ask(b"echo", [b"next"], timeout_s=TIMEOUT_S)).get_value(0, 0) == b"next"


async def test_a_backend_that_ends_is_an_operational_error(wire: Wire, town: Town) -> None:
    asked = wire.ask(b"sleep", [b"5"], timeout_s=TIMEOUT_S)
    await asyncio.to_thread(town.execute, "SELECT pg_terminate_backend(%s)", pid_of(wire))
    with pytest.raises(psycopg.OperationalError):
        await asked
    assert not wire.idle


async def test_that_a_backend_ended_while_nothing_was_asked_is_known_before_the_next_statement(
    wire: Wire, town: Town
) -> None:
    await asyncio.to_thread(town.execute, "SELECT pg_terminate_backend(%s, 5000)", pid_of(wire))
    await asyncio.sleep(0.1)
    assert wire.broken
    with pytest.raises(psycopg.InterfaceError):
        wire.ask(b"echo", [b"x"], timeout_s=TIMEOUT_S)


async def test_that_a_backend_ended_in_psycopg_s_own_way_is_an_operational_error(wire: Wire, town: Town) -> None:
    wire.release()  # nobody watches the socket
    await asyncio.to_thread(town.execute, "SELECT pg_terminate_backend(%s, 5000)", pid_of(wire))
    with pytest.raises(psycopg.OperationalError):
        await wire.ask(b"echo", [b"x"], timeout_s=TIMEOUT_S)
    assert wire.broken


async def test_what_is_in_flight_when_the_wire_is_closed_fails(wire: Wire) -> None:
    asked = wire.ask(b"sleep", [b"5"], timeout_s=TIMEOUT_S)
    await wire.close()
    with pytest.raises(psycopg.OperationalError):
        await asked


async def test_psycopg_s_own_way_works_between_statements(wire: Wire) -> None:
    for n in range(3):
        await wire.ask(b"echo", [b"one"], timeout_s=TIMEOUT_S)
        cursor = await wire.release().execute("SELECT %s::int", (n,), prepare=True)
        assert await cursor.fetchone() == (n,)


@pytest.mark.parametrize("run", [asyncio.run, uvloop.run])
def test_a_loop_that_ends_with_a_statement_in_flight_ends(
    town: Town, run: Callable[[Coroutine[Any, Any, None]], None]
) -> None:
    async def leave() -> None:
        wire = await connected(town)
        wire.ask(b"sleep", [b"1"], timeout_s=TIMEOUT_S)
        left.append(wire)

    left: list[Wire] = []
    run(leave())
    left[0]._connection.pgconn.finish()
