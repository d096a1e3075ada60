"""Timers that run together: each as often as it wants, none early, none after it was stopped."""

import asyncio
from itertools import pairwise

import pytest

from api.rounds import Rounds

pytestmark = pytest.mark.anyio


async def test_a_timer_runs_until_it_says_that_it_is_done() -> None:
    rounds, ran, loop = Rounds(), [], asyncio.get_running_loop()
    begun = loop.time()

    def act() -> float | None:
        ran.append(loop.time() - begun)
        return 0.02 if len(ran) < 3 else None

    rounds.start(act, after_s=0.05)
    await asyncio.sleep(0.3)
    assert len(ran) == 3
    assert ran[0] >= 0.05
    assert all(after - before >= 0.02 for before, after in pairwise(ran))


async def test_a_timer_that_is_stopped_runs_no_more_and_holds_nothing() -> None:
    rounds, ran = Rounds(), []
    stopped, goes_on = (rounds.start(lambda n=n: ran.append(n), after_s=0.02) for n in (1, 2))  # type: ignore[misc]
    stopped.stop()
    assert stopped.act is None
    await asyncio.sleep(0.1)
    assert ran == [2]
    assert goes_on.act is not None


async def test_an_earlier_timer_does_not_wait_for_a_later_one() -> None:
    rounds, ran = Rounds(), []
    rounds.start(lambda: ran.append("late"), after_s=30)
    rounds.start(lambda: ran.append("early"), after_s=0.01)
    await asyncio.sleep(0.1)
    assert ran == ["early"]


async def test_one_that_fails_stops_alone(capsys: pytest.CaptureFixture[str]) -> None:
    rounds, ran = Rounds(), []

    def fail() -> None:
        ran.append("failed")
        raise RuntimeError("out of order")

    rounds.start(fail, after_s=0.01)
    rounds.start(lambda: ran.append("well"), after_s=0.01)
    await asyncio.sleep(0.1)
    assert sorted(ran) == ["failed", "well"]
    assert "a timer failed" in capsys.readouterr().err


async def test_those_of_one_second_run_in_one_wake_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("api.rounds.TICK_S", 0.1)
    rounds, ran, loop = Rounds(), [], asyncio.get_running_loop()
    for number in range(50):
        rounds.start(lambda: ran.append(loop.time()), after_s=0.1 + number / 10_000)
    await asyncio.sleep(0.5)
    assert len(ran) == 50
    gaps = [after - before for before, after in pairwise(ran)]
    assert sum(gap > 0.05 for gap in gaps) <= 1
