"""What an estimate of waits learns from; and an event that changes many rows."""

from datetime import timedelta
from typing import Any

import msgspec
import pytest

import projections.turns
from domain.decider import build
from domain.queues.line import LineClosed
from domain.queues.opening import CloseLine
from infra.core import Core
from infra.views import Views
from projections.generations import Places
from projections.projection import Entry
from projections.runner import connect, statuses
from projections.turns import TURNS, called_before, of_line
from tests.city import key
from tests.conftest import Clock, Town
from tests.projecting import projector
from tests.waiting_log import LINE, call, open_line, take, turn_of

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


async def test_a_closing_that_fails_at_one_turn_changes_none(core: Core, town: Town, views: Views) -> None:
    """It is one event: its line is parked from there on, with all rows as they were."""
    other = await open_line(core, service="permits")
    await open_line(core)
    for name in ("Ana", "Luis", "Eva"):
        await take(core, name)
    await take(core, "Juan", other)

    def evolve(row: Any, entry: Entry, name: str) -> Any:
        evolved = TURNS.evolve(row, entry, name)
        if isinstance(entry.event, LineClosed) and name == turn_of("Luis"):
            raise ValueError("no fold for it")
        return evolved

    with projector(town, [msgspec.structs.replace(TURNS, evolve=evolve)]) as projecting:
        projecting.catch_up()
        for line in (LINE, other):
            await core.lane.submit(build(CloseLine, line=line), key(f"close {line}"))
        projecting.catch_up()
        states = [
            [row.state for row in (await views.ask(of_line(line, state=None, after=None, first=9)))[0]]
            for line in (LINE, other)
        ]
    assert states == [["WAITING"] * 3, ["UNSERVED"]]
    with connect(town.application) as connection:
        (status,) = statuses(connection, Places(town.schema), [TURNS])
    assert (status.parked, status.position) == (1, await core.log.head())
