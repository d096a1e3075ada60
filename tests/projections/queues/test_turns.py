"""What an estimate of waits learns from; and an event that changes many rows."""

from typing import Any

import msgspec
import pytest

from domain.decider import build
from domain.queues.line import LineClosed
from domain.queues.opening import CloseLine
from infra.log.core import Core
from infra.postgres.views import Views
from projections.engine.generations import Places
from projections.engine.keyset import Range
from projections.engine.projection import Entry
from projections.engine.runner import connect, statuses
from projections.queues.turns import TURNS, of_line
from tests.city import key
from tests.projecting import projector
from tests.towns import Town
from tests.waiting_log import LINE, open_line, take, turn_of

pytestmark = pytest.mark.anyio


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
            await core.committer.submit(build(CloseLine, line=line), key(f"close {line}"))
        projecting.catch_up()
        states = [
            [row.state for row in (await views.ask(of_line(line, state=None, part=Range(9))))[0]]
            for line in (LINE, other)
        ]
    assert states == [["WAITING"] * 3, ["UNSERVED"]]
    with connect(town.application) as connection:
        (status,) = statuses(connection, Places(town.schema), [TURNS])
    assert (status.parked, status.position) == (1, await core.log.head())
