"""A bounded wait for what is sent: the same as asyncio's, but for what needs none."""

import asyncio

import pytest

from api.connections import within

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


async def test_what_is_sent_at_once_needs_no_timer(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_timer(*_: object) -> None:
        raise AssertionError("a timer was set")

    monkeypatch.setattr("api.connections.asyncio.timeout", no_timer)
    heard: list[str] = []
    await within(1, at_once(heard))
    assert heard == ["sent"]


async def test_what_takes_a_while_is_waited_for() -> None:
    heard: list[str] = []
    await within(5, after(5, heard))
    assert heard == ["sent"]


async def test_what_takes_too_long_is_cancelled() -> None:
    heard: list[str] = []
    with pytest.raises(TimeoutError):
        await within(0.05, after(1_000, heard))
    assert heard == ["cancelled"]


async def test_who_waits_can_be_cancelled() -> None:
    heard: list[str] = []
    task = asyncio.create_task(within(5, after(1_000, heard)))
    await asyncio.sleep(0.05)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert heard == ["cancelled"]


@pytest.mark.parametrize("pauses", [0, 2])
async def test_what_goes_wrong_is_raised(pauses: int) -> None:
    async def broken() -> None:
        await after(pauses, [])
        raise OSError("gone")

    with pytest.raises(OSError, match="gone"):
        await within(5, broken())


async def test_what_is_no_coroutine_is_bounded_too() -> None:
    done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    done.set_result(None)
    await within(1, done)
    with pytest.raises(TimeoutError):
        await within(0.05, asyncio.get_running_loop().create_future())
