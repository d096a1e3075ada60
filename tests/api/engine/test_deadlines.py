"""Deadlines: each block is cancelled at its own deadline, by one shared timer."""

import asyncio
import time

import pytest

from api.graphql.engine.deadlines import Deadlines

pytestmark = pytest.mark.anyio

TIMEOUT_S = 0.1


async def sleep_limited(deadlines: Deadlines, seconds: float) -> float:
    """Seconds until the end of the sleep."""
    begun_s = time.monotonic()
    try:
        with deadlines.limit(TIMEOUT_S):
            await asyncio.sleep(seconds)
    except TimeoutError:
        assert asyncio.current_task().cancelling() == 0  # type: ignore[union-attr]
    return time.monotonic() - begun_s


async def test_each_block_is_cancelled_at_its_own_deadline() -> None:
    deadlines = Deadlines()

    async def later(pause_s: float, seconds: float) -> float:
        await asyncio.sleep(pause_s)
        return await sleep_limited(deadlines, seconds)

    slept_s = await asyncio.gather(later(0, 60), later(0.03, 0.01), later(0.06, 60), later(0.3, 60))
    assert slept_s[1] < TIMEOUT_S
    for one in (slept_s[0], *slept_s[2:]):
        assert TIMEOUT_S <= one < 10 * TIMEOUT_S


async def test_an_external_cancellation_is_kept() -> None:
    deadlines = Deadlines()
    task = asyncio.create_task(sleep_limited(deadlines, 60))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_an_external_cancellation_at_the_deadline_is_kept() -> None:
    deadlines = Deadlines()
    task = asyncio.create_task(sleep_limited(deadlines, 60))
    await asyncio.sleep(0)
    (limit,) = deadlines._limits
    limit.expire()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_a_block_that_ends_in_time_is_not_cancelled() -> None:
    deadlines = Deadlines()
    with deadlines.limit(TIMEOUT_S):
        await asyncio.sleep(0)
    await asyncio.sleep(2 * TIMEOUT_S)
    assert await sleep_limited(deadlines, 0) < TIMEOUT_S


async def test_another_exception_at_the_deadline_is_raised() -> None:
    deadlines = Deadlines()

    async def fail() -> None:
        with deadlines.limit(TIMEOUT_S):
            try:
                await asyncio.sleep(60)
            except asyncio.CancelledError:
                raise LookupError("another") from None

    with pytest.raises(LookupError, match="another"):
        await fail()
