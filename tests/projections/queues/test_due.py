"""What falls due in lines as time passes."""

from datetime import timedelta

import msgspec
import pytest

from domain.decider import build
from domain.queues.calling import MarkAbsent, Recall
from domain.queues.opening import CloseLine
from infra.log.core import Core
from infra.postgres.views import Views
from projections.queues.due import absent_turns, lines_to_close
from tests import city
from tests.city import key
from tests.conftest import Clock
from tests.projecting import projector
from tests.towns import Town
from tests.waiting_log import LINE, OPENS_AT, call, open_line, start, take, turn_of

pytestmark = pytest.mark.anyio


async def absent(town: Town, views: Views, clock: Clock, first: int = 10) -> list[str]:
    with projector(town) as projecting:
        projecting.catch_up()
    found, _ = await views.ask(absent_turns(clock.now, first))
    assert all(one.turn.startswith(f"{one.line}/") and one.absent_from <= clock.now for one in found)
    return [one.turn for one in found]


async def to_close(town: Town, views: Views, clock: Clock, first: int = 10) -> list[str]:
    with projector(town) as projecting:
        projecting.catch_up()
    found, _ = await views.ask(lines_to_close(clock.now, first))
    return [one.line for one in found]


async def test_a_call_is_due_exactly_after_its_timeout(core: Core, town: Town, views: Views, clock: Clock) -> None:
    await open_line(core, call_timeout_s=90)
    for name in ("Ana", "Luis", "Eva"):
        await take(core, name)
    await call(core, "first", 1)
    clock.wait(30)
    await call(core, "second", 2)
    clock.wait(59)
    assert await absent(town, views, clock) == []
    clock.wait(1)
    assert await absent(town, views, clock) == [turn_of("Ana")]
    clock.wait(30)
    assert await absent(town, views, clock) == [turn_of("Ana"), turn_of("Luis")]
    assert await absent(town, views, clock, first=1) == [turn_of("Ana")]


async def test_a_recall_extends_the_timeout_and_a_served_turn_is_not_due(
    core: Core, town: Town, views: Views, clock: Clock
) -> None:
    await open_line(core, call_timeout_s=90)
    await take(core, "Ana")
    await take(core, "Luis")
    await call(core, "first", 1)
    await call(core, "second", 2)
    clock.wait(60)
    await core.committer.submit(build(Recall, turn=turn_of("Ana")), key("recall"))
    await start(core, turn_of("Luis"))
    clock.wait(60)
    assert await absent(town, views, clock) == []
    clock.wait(30)
    assert await absent(town, views, clock) == [turn_of("Ana")]
    await core.committer.submit(build(MarkAbsent, turn=turn_of("Ana")), key("absent"))
    assert await absent(town, views, clock) == []


async def test_the_timeout_is_the_line_s(core: Core, town: Town, views: Views, clock: Clock) -> None:
    slow = await open_line(core, service="permits", call_timeout_s=600)
    await open_line(core, call_timeout_s=10)
    for line in (slow, LINE):
        await take(core, "Ana", line)
        await call(core, "first", line=line)
    clock.wait(599)
    assert await absent(town, views, clock) == [turn_of("Ana")]
    clock.wait(1)
    assert await absent(town, views, clock) == [turn_of("Ana"), turn_of("Ana", slow)]


async def test_a_called_turn_of_a_closed_line_is_due(core: Core, town: Town, views: Views, clock: Clock) -> None:
    await open_line(core)
    await take(core, "Ana")
    await call(core, "first")
    await core.committer.submit(build(CloseLine, line=LINE), key("close"))
    clock.wait(90)
    assert await absent(town, views, clock) == [turn_of("Ana")]


async def test_lines_are_due_from_closing_time_until_closed(core: Core, town: Town, views: Views, clock: Clock) -> None:
    await open_line(core)
    command = city.open_line(service="permits")
    later = msgspec.structs.replace(command, closes_at=command.closes_at + timedelta(hours=1))
    await core.committer.submit(later, key("later"))
    clock.now = OPENS_AT + timedelta(hours=9, seconds=-1)
    assert await to_close(town, views, clock) == []
    clock.wait(1)
    assert await to_close(town, views, clock) == [LINE]
    clock.wait(3_600)
    assert await to_close(town, views, clock) == [LINE, later.line]
    assert await to_close(town, views, clock, first=1) == [LINE]
    await core.committer.submit(build(CloseLine, line=LINE), key("close"))
    assert await to_close(town, views, clock) == [later.line]
