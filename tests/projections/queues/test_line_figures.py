"""Figures of lines, on a morning whose numbers are known."""

from datetime import timedelta
from typing import Any

import pytest

from domain.decider import build
from domain.queues.calling import MarkAbsent
from domain.queues.opening import CloseLine, PauseCounter
from domain.queues.turns import LeaveLine, RequeueAbsent, TransferTurn
from infra.log.core import Core
from infra.postgres.views import Views
from projections.engine.query import Query
from projections.queues.line_figures import Spread, at_moment, by_day, by_hour
from tests.city import TODAY, key
from tests.conftest import Clock
from tests.projecting import projector
from tests.towns import Town
from tests.waiting_log import LINE, call, finish, open_line, start, take, turn_of

pytestmark = pytest.mark.anyio


async def ask(town: Town, views: Views, question: Query[Any]) -> list[Any]:
    with projector(town) as projecting:
        projecting.catch_up()
    found, _ = await views.ask(question)
    return found


async def do(core: Core, command: Any, name: str = "") -> None:
    await core.committer.submit(command, key(f"{type(command).__name__} {name}"))


async def serve(core: Core, clock: Clock, name: str, *, waits_s: int, lasts_s: int) -> None:
    """Somebody takes a turn, is called after a while, comes at once, and is served for so long."""
    turn = await take(core, name)
    clock.wait(waits_s)
    await call(core, name)
    await start(core, turn)
    clock.wait(lasts_s)
    await finish(core, turn)


async def test_figures_of_a_morning_by_hour_and_in_total(core: Core, town: Town, views: Views, clock: Clock) -> None:
    other = await open_line(core, service="permits")
    await open_line(core)
    for number, (waits_s, lasts_s) in enumerate([(60, 100), (120, 200), (180, 600)]):
        await serve(core, clock, f"served {number}", waits_s=waits_s, lasts_s=lasts_s)
    clock.now = clock.now.replace(hour=13, minute=0)  # 9 in La Paz
    for name in ("comes back", "stays away", "leaves", "moves", "waits"):
        await take(core, name)
    await do(core, build(LeaveLine, turn=turn_of("leaves")))
    moved_to = turn_of("moved", other)
    await do(core, build(TransferTurn, turn=turn_of("moves"), to=other, moved_to=moved_to))
    for counter, name in ((1, "comes back"), (2, "stays away")):
        await call(core, name, counter)
    clock.wait(90)
    for name in ("comes back", "stays away"):
        await do(core, build(MarkAbsent, turn=turn_of(name)), name)
    await do(core, build(RequeueAbsent, turn=turn_of("comes back")))
    at_8, at_9, total = await ask(town, views, by_hour(LINE))
    assert (at_8.hour, at_8.taken, at_8.called, at_8.served, at_8.abandoned) == (8, 3, 3, 3, 0)
    assert at_8.wait == Spread(p50_s=120, p90_s=168, mean_s=120)
    assert at_8.service == Spread(p50_s=200, p90_s=520, mean_s=300)
    assert (at_9.hour, at_9.taken, at_9.called, at_9.absent, at_9.left, at_9.transferred) == (9, 5, 2, 1, 1, 1)
    assert (at_9.abandoned, at_9.wait, at_9.service) == (0.4, Spread(p50_s=0, p90_s=0, mean_s=0), None)
    assert (total.hour, total.taken, total.called, total.served, total.abandoned) == (None, 8, 5, 3, 0.25)
    assert total.wait == Spread(p50_s=60, p90_s=156, mean_s=72)
    clock.wait(30)
    await do(core, build(PauseCounter, line=LINE, counter=2))
    (now,) = await ask(town, views, at_moment(LINE, clock.now))
    assert (now.waiting, now.longest_wait_s, now.counters_open) == (2, 120, 1)
    await do(core, build(CloseLine, line=LINE))
    *_, total = await ask(town, views, by_hour(LINE))
    assert total.unserved == 2
    (now,) = await ask(town, views, at_moment(LINE, clock.now))
    assert (now.waiting, now.longest_wait_s) == (0, None)


async def test_a_wait_in_another_line_counts_for_the_longest_wait(
    core: Core, town: Town, views: Views, clock: Clock
) -> None:
    other = await open_line(core, service="permits")
    await open_line(core)
    await take(core, "moves")
    clock.wait(500)
    moved_to = turn_of("moved", other)
    await do(core, build(TransferTurn, turn=turn_of("moves"), to=other, moved_to=moved_to))
    (now,) = await ask(town, views, at_moment(other, clock.now))
    assert now.longest_wait_s == 500


async def test_a_line_without_turns_has_figures_an_unknown_line_has_none(
    core: Core, town: Town, views: Views, clock: Clock
) -> None:
    await open_line(core)
    (total,) = await ask(town, views, by_hour(LINE))
    assert (total.hour, total.taken, total.abandoned, total.wait, total.service) == (None, 0, 0, None, None)
    (now,) = await ask(town, views, at_moment(LINE, clock.now))
    assert (now.waiting, now.longest_wait_s, now.counters_open) == (0, None, 2)
    assert await ask(town, views, at_moment(LINE.replace("cadastre", "permits"), clock.now)) == []


async def test_history_by_day_and_service(core: Core, town: Town, views: Views, clock: Clock) -> None:
    await open_line(core)
    await open_line(core, service="permits")
    await open_line(core, point="calacoto")
    tomorrow = await open_line(core, day=TODAY + timedelta(days=1))
    await serve(core, clock, "Ana", waits_s=60, lasts_s=100)
    clock.now += timedelta(days=1)
    for name in ("Ana", "Luis"):
        await take(core, name, tomorrow)

    async def history(days: int, service: str | None = None) -> list[tuple[int, str, int, int]]:
        last = TODAY + timedelta(days=days)
        found = await ask(town, views, by_day("sopocachi", service=service, first=TODAY, last=last))
        return [(one.date.day, one.service_code, one.taken, one.served) for one in found]

    assert await history(1) == [(4, "cadastre", 1, 1), (4, "permits", 0, 0), (5, "cadastre", 2, 0)]
    assert await history(0) == [(4, "cadastre", 1, 1), (4, "permits", 0, 0)]
    assert await history(1, "cadastre") == [(4, "cadastre", 1, 1), (5, "cadastre", 2, 0)]
