"""Shared timers: none runs early or after it was stopped, and timers of one tick run together."""

import asyncio
from itertools import pairwise

import pytest

from api.http.timers import SharedTimers

pytestmark = pytest.mark.anyio


async def test_a_timer_runs_until_its_callback_returns_none() -> None:
    timers, ran, loop = SharedTimers(), [], asyncio.get_running_loop()
    begun = loop.time()

    def act() -> float | None:
        ran.append(loop.time() - begun)
        return 0.02 if len(ran) < 3 else None

    timers.start(act, after_s=0.05)
    await asyncio.sleep(0.3)
    assert len(ran) == 3
    assert ran[0] >= 0.05
    assert all(after - before >= 0.02 for before, after in pairwise(ran))


async def test_a_stopped_timer_does_not_run_and_releases_its_callback() -> None:
    timers, ran = SharedTimers(), []
    stopped, goes_on = (timers.start(lambda n=n: ran.append(n), after_s=0.02) for n in (1, 2))  # type: ignore[misc]
    stopped.stop()
    assert stopped.act is None
    await asyncio.sleep(0.1)
    assert ran == [2]
    assert goes_on.act is not None


async def test_an_earlier_timer_runs_before_a_later_one() -> None:
    timers, ran = SharedTimers(), []
    timers.start(lambda: ran.append("late"), after_s=30)
    timers.start(lambda: ran.append("early"), after_s=0.01)
    await asyncio.sleep(0.1)
    assert ran == ["early"]


async def test_a_failing_timer_does_not_stop_the_others(capsys: pytest.CaptureFixture[str]) -> None:
    timers, ran = SharedTimers(), []

    def fail() -> None:
        ran.append("failed")
        raise RuntimeError("out of order")

    timers.start(fail, after_s=0.01)
    timers.start(lambda: ran.append("well"), after_s=0.01)
    await asyncio.sleep(0.1)
    assert sorted(ran) == ["failed", "well"]
    assert "a timer failed" in capsys.readouterr().err


async def test_timers_of_one_tick_run_in_one_wake_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("api.http.timers.TICK_S", 0.1)
    timers, ran, loop = SharedTimers(), [], asyncio.get_running_loop()
    for number in range(50):
        timers.start(lambda: ran.append(loop.time()), after_s=0.1 + number / 10_000)
    await asyncio.sleep(0.5)
    assert len(ran) == 50
    gaps = [after - before for before, after in pairwise(ran)]
    assert sum(gap > 0.05 for gap in gaps) <= 1
