"""Prepared statements straight through libpq: right answers, and a connection that is good or gone whatever happens."""

import asyncio
import time
from collections.abc import AsyncIterator
from datetime import UTC, date, datetime
from typing import Any

import psycopg
import pytest

import infra.prepared
from infra.log import Unavailable
from infra.prepared import Prepared, Statement
from infra.wire import Wire
from tests.conftest import Town

pytestmark = pytest.mark.anyio

CONNECTIONS = 2
ECHO = Statement("SELECT %(text)s::text")
SLEEP = Statement("SELECT pg_sleep(%(seconds)s)::text")
OURS = "FROM pg_stat_activity WHERE application_name = 'prepared' AND pid <> pg_backend_pid()"


@pytest.fixture(params=[False, True], ids=["asyncio", "uvloop"])
def anyio_backend(request: pytest.FixtureRequest) -> tuple[str, dict[str, Any]]:
    """Workers run on uvloop, the other processes on asyncio's own loop."""
    return "asyncio", {"use_uvloop": request.param}


@pytest.fixture
async def prepared(town: Town) -> AsyncIterator[Prepared]:
    found = Prepared(f"{town.application} application_name=prepared", connections_max=CONNECTIONS)
    await found.open()
    yield found
    await found.close()


async def echo(prepared: Prepared, text: str) -> str:
    value = (await prepared.ask(ECHO, {"text": text, "other": 1})).get_value(0, 0)
    assert value is not None
    return value.decode()


async def tried(prepared: Prepared, text: str) -> str | Unavailable:
    try:
        return await echo(prepared, text)
    except Unavailable as error:
        return error


async def busy(town: Town) -> int:
    """Our backends that run something, once that stays the same."""
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


async def test_values_of_all_kinds_are_sent_as_psycopg_sends_them(prepared: Prepared) -> None:
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
        value = (await prepared.ask(kinds, values | {"n": number})).get_value(0, 0)
        assert value
        assert value.decode() == f'ñ\'\\|2027-01-05|2027-01-05 12:00:00|{number}|{{a,"b,c"}}|t'


async def test_each_of_many_gets_its_own_answer(prepared: Prepared, town: Town) -> None:
    found = await asyncio.gather(*(echo(prepared, f"{n}" * (n + 1)) for n in range(100)))
    assert found == [f"{n}" * (n + 1) for n in range(100)]
    assert int(str(town.execute(f"SELECT count(*) {OURS}")[0][0])) <= CONNECTIONS


async def test_what_does_not_fit_into_a_socket_at_once_arrives(prepared: Prepared) -> None:
    long = "ab" * 5_000_000
    assert await echo(prepared, long) == long


async def test_a_wrong_statement_is_told_and_the_connection_goes_on(prepared: Prepared, town: Town) -> None:
    await echo(prepared, "a")
    before = town.execute(f"SELECT pid {OURS}")
    with pytest.raises(psycopg.errors.UndefinedTable):
        await prepared.ask(Statement("SELECT * FROM nothing_here"), {})
    with pytest.raises(psycopg.errors.DivisionByZero):
        await prepared.ask(Statement("SELECT 1 / %(n)s::int"), {"n": 0})
    assert await echo(prepared, "b") == "b"
    assert town.execute(f"SELECT pid {OURS}") == before


async def test_what_takes_too_long_is_cancelled_and_others_are_asked_on(
    prepared: Prepared, town: Town, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(infra.prepared, "READ_TIMEOUT_S", 0.2)
    begun = time.monotonic()
    found = await asyncio.gather(
        *(prepared.ask(SLEEP, {"seconds": 30}) for _ in range(CONNECTIONS)), return_exceptions=True
    )
    assert [type(one) for one in found] == [Unavailable] * CONNECTIONS
    assert time.monotonic() - begun < 5
    assert await busy(town) == 0
    monkeypatch.undo()
    assert await echo(prepared, "on") == "on"


async def test_who_waits_for_a_connection_waits_no_longer_either(
    prepared: Prepared, monkeypatch: pytest.MonkeyPatch
) -> None:
    sleeping = [asyncio.create_task(prepared.ask(SLEEP, {"seconds": 1.5})) for _ in range(CONNECTIONS)]
    await asyncio.sleep(0.1)
    monkeypatch.setattr(infra.prepared, "READ_TIMEOUT_S", 0.2)
    with pytest.raises(Unavailable):
        await echo(prepared, "late")
    await asyncio.gather(*sleeping)
    assert await echo(prepared, "on") == "on"


async def test_whoever_leaves_takes_no_answer_from_the_next(prepared: Prepared, town: Town) -> None:
    for _ in range(5):
        leaving = [asyncio.create_task(prepared.ask(SLEEP, {"seconds": 20})) for _ in range(CONNECTIONS)]
        await asyncio.sleep(0.1)
        for task in leaving:
            task.cancel()
        found = await asyncio.gather(*leaving, return_exceptions=True)
        assert all(isinstance(one, asyncio.CancelledError) for one in found)
        assert await asyncio.gather(*(echo(prepared, f"{n}") for n in range(4))) == ["0", "1", "2", "3"]
    assert await busy(town) == 0


async def test_a_lost_connection_is_told_once_and_replaced(prepared: Prepared, town: Town) -> None:
    for _ in range(3):
        assert await echo(prepared, "before") == "before"
        held = len(town.execute(f"SELECT pg_terminate_backend(pid, 5000) {OURS}"))
        found = [one for one in [await tried(prepared, "lost") for _ in range(held)] if one != "lost"]
        assert 1 <= len(found) <= held <= CONNECTIONS
        assert all(isinstance(one, Unavailable) for one in found)


async def test_connections_that_are_lost_while_they_are_asked_are_replaced(prepared: Prepared, town: Town) -> None:
    sleeping = [asyncio.create_task(prepared.ask(SLEEP, {"seconds": 20})) for _ in range(CONNECTIONS)]
    await asyncio.sleep(0.2)
    town.execute(f"SELECT pg_terminate_backend(pid, 5000) {OURS}")
    found = await asyncio.gather(*sleeping, return_exceptions=True)
    assert [type(one) for one in found] == [Unavailable] * CONNECTIONS
    assert await asyncio.gather(*(echo(prepared, f"{n}") for n in range(4))) == ["0", "1", "2", "3"]


async def test_so_many_statements_are_prepared_at_most(prepared: Prepared, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(infra.prepared, "STATEMENTS_MAX", 3)
    count = Statement("SELECT count(*)::text FROM pg_prepared_statements")
    for number in range(20):
        value = (await prepared.ask(Statement(f"SELECT {number}::text"), {})).get_value(0, 0)
        assert value == str(number).encode()
        held = (await prepared.ask(count, {})).get_value(0, 0)
        assert held
        assert int(held) <= 3


async def test_an_old_connection_is_replaced(prepared: Prepared, town: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(infra.prepared, "LIFETIME_S", 0)
    pids = set()
    for _ in range(3):
        pid = (await prepared.ask(Statement("SELECT pg_backend_pid()::text"), {})).get_value(0, 0)
        pids.add(pid)
    assert len(pids) == 3


async def test_after_the_end_nothing_is_left(town: Town) -> None:
    found = Prepared(f"{town.application} application_name=prepared", connections_max=CONNECTIONS)
    await found.open()
    await asyncio.gather(*(echo(found, "a") for _ in range(4)))
    asked = asyncio.create_task(found.ask(SLEEP, {"seconds": 0.3}))
    await asyncio.sleep(0.1)
    await found.close()
    await asked
    for _ in range(100):
        if town.execute(f"SELECT count(*) {OURS}") == [(0,)]:
            break
        await asyncio.sleep(0.02)
    assert town.execute(f"SELECT count(*) {OURS}") == [(0,)]


async def test_a_server_that_is_not_there_is_unavailable(town: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(infra.prepared, "CONNECT_TIMEOUT_S", 0.3)
    gone = Prepared("host=127.0.0.1 port=1 user=x dbname=x connect_timeout=1", connections_max=1)
    with pytest.raises(Unavailable):
        await gone.open()
    await gone.close()


async def test_a_statement_whose_caller_goes_just_when_it_is_prepared_can_be_asked_again(
    prepared: Prepared, monkeypatch: pytest.MonkeyPatch
) -> None:
    prepare = Wire.prepare

    def prepare_and_go(self: Wire, *arguments: Any, **options: Any) -> "asyncio.Future[Any]":
        answer = prepare(self, *arguments, **options)
        answer.add_done_callback(lambda _: asking.cancel())
        return answer

    with monkeypatch.context() as patch:
        patch.setattr(Wire, "prepare", prepare_and_go)
        asking = asyncio.create_task(echo(prepared, "a"))
        with pytest.raises(asyncio.CancelledError):
            await asking
    assert await echo(prepared, "b") == "b"
