"""What an estimate of waits learns from."""

from datetime import timedelta
from typing import Any

import pytest

import projections.turns
from infra.core import Core
from infra.views import Views
from projections.turns import called_before
from tests.conftest import Clock, Town
from tests.projecting import projector
from tests.waiting import call, open_line, take, turn_of

pytestmark = pytest.mark.anyio


async def test_what_is_learned_from_is_what_was_called_before_a_moment_the_last_first(
    core: Core, town: Town, views: Views, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = await open_line(core, service="permits")
    await open_line(core)
    for name in ("Ana", "Luis", "Eva"):
        await take(core, name)
    await take(core, "Juan", other)
    await call(core, "Juan", line=other)
    for counter, name in enumerate(("Ana", "Luis"), start=1):
        clock.wait(60)
        await call(core, name, counter)
    with projector(town) as projecting:
        projecting.catch_up()

    async def learned(**changed: Any) -> list[str]:
        asked: dict[str, Any] = {"service_point": "sopocachi", "service": "cadastre", "moment": clock.now, "first": 9}
        rows, _ = await views.ask(called_before(**asked | changed))
        return [row.turn for row in rows]

    assert await learned() == [turn_of("Ana")]
    clock.wait(1)
    assert await learned() == [turn_of("Luis"), turn_of("Ana")]
    assert await learned(first=1) == [turn_of("Luis")]
    assert await learned(service="permits") == [turn_of("Juan", other)]
    assert await learned(service_point="calacoto") == []
    (row, *_), _ = await views.ask(called_before("sopocachi", "cadastre", clock.now, first=9))
    assert (row.ahead, row.counters, row.priority, row.counter, row.state) == (1, 2, "NORMAL", 2, "CALLED")
    assert (row.first_called_at - row.taken_at, row.started_at, row.ended_at) == (timedelta(seconds=120), None, None)
    monkeypatch.setattr(projections.turns, "CALLED_TURNS_MAX", 1)
    assert await learned() == [turn_of("Luis")]
