"""Connections taken from a pool."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from psycopg_pool import AsyncConnectionPool

from infra.postgres.connections import Readers, new_pool, open_pool, take
from tests.towns import Town

pytestmark = pytest.mark.anyio

STEPS = 12  # of the event loop, from the return of a connection until the task that waits for it goes on, and more


@pytest.fixture
async def pool(town: Town) -> AsyncIterator[AsyncConnectionPool]:
    found = new_pool(town.application, connections_max=1)
    await open_pool(found)
    yield found
    await found.close()


@pytest.fixture
async def readers(town: Town) -> AsyncIterator[Readers]:
    found = Readers(f"{town.application} application_name=readers", connections_max=2)
    await found.open()
    yield found
    await found.close()


async def test_a_task_that_is_cancelled_while_it_gets_a_connection_is_cancelled(pool: AsyncConnectionPool) -> None:
    cancelled = []
    for steps in range(STEPS):
        connection = await asyncio.wait_for(take(pool), 5)  # it was not lost either
        waiting = asyncio.create_task(take(pool))
        while not pool.get_stats().get("requests_waiting"):  # noqa: ASYNC110
            await asyncio.sleep(0)
        await pool.putconn(connection)
        for _ in range(steps):
            await asyncio.sleep(0)
        if waiting.cancel():
            with pytest.raises(asyncio.CancelledError):
                await waiting
        else:
            await pool.putconn(waiting.result())
        cancelled.append(waiting.cancelled())
    assert set(cancelled) == {True, False}  # the steps cover the moment


async def test_a_connection_that_the_server_ended_is_replaced_before_the_next_query(
    readers: Readers, town: Town
) -> None:
    for _ in range(3):
        assert await asyncio.gather(*(readers.rows(b"SELECT 1 FROM pg_sleep(0.1)") for _ in range(2))) == [[(1,)]] * 2
        ended = town.execute(
            "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE application_name = 'readers'"
        )
        assert ended == [(True,)] * 2
        assert await asyncio.gather(*(readers.rows(b"SELECT 1") for _ in range(2))) == [[(1,)]] * 2
