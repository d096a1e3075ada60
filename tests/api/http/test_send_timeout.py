"""The timeout of a send behaves as asyncio's, but sets no timer for a send that completes at once."""

import asyncio

import pytest

from api.http.connections import with_timeout

pytestmark = pytest.mark.anyio


async def at_once(heard: list[str]) -> None:
    heard.append("sent")


async def after(pauses: int, heard: list[str]) -> None:
    try:
        for _ in range(pauses):
            await asyncio.sleep(0.01)
    except asyncio.CancelledError:
        heard.append("cancelled")
        raise
    heard.append("sent")


async def test_an_immediate_send_sets_no_timer(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_timer(*_: object) -> None:
        raise AssertionError("a timer was set")

    monkeypatch.setattr("api.http.connections.asyncio.timeout", no_timer)
    heard: list[str] = []
    await with_timeout(1, at_once(heard))
    assert heard == ["sent"]


async def test_a_slow_send_completes() -> None:
    heard: list[str] = []
    await with_timeout(5, after(5, heard))
    assert heard == ["sent"]


async def test_a_send_that_takes_too_long_is_cancelled() -> None:
    heard: list[str] = []
    with pytest.raises(TimeoutError):
        await with_timeout(0.05, after(1_000, heard))
    assert heard == ["cancelled"]


async def test_a_waiting_sender_can_be_cancelled() -> None:
    heard: list[str] = []
    task = asyncio.create_task(with_timeout(5, after(1_000, heard)))
    await asyncio.sleep(0.05)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert heard == ["cancelled"]


@pytest.mark.parametrize("pauses", [0, 2])
async def test_an_error_of_the_send_is_raised(pauses: int) -> None:
    async def broken() -> None:
        await after(pauses, [])
        raise OSError("gone")

    with pytest.raises(OSError, match="gone"):
        await with_timeout(5, broken())


async def test_the_timeout_applies_to_other_awaitables() -> None:
    done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    done.set_result(None)
    await with_timeout(1, done)
    with pytest.raises(TimeoutError):
        await with_timeout(0.05, asyncio.get_running_loop().create_future())
