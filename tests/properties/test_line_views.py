"""What the read models know of lines is what their streams say, whatever happens and however the log is cut."""

import asyncio
import random
from collections import Counter as Tally
from collections.abc import Iterable
from contextlib import suppress
from datetime import datetime, timedelta
from itertools import chain
from typing import Any, get_args

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import projections.engine.building
import projections.engine.pages
from api.contexts import read_models
from domain.decider import Command, build, fold, fold_of
from domain.decision import DECISIONS, decide
from domain.errors import Rejected
from domain.identifiers import line_of
from domain.queues.calling import CallNext, CallTurn, FinishService, MarkAbsent, Recall, StartService, absent_at
from domain.queues.line import Line, Turn, TurnState, stream
from domain.queues.opening import CloseLine, PauseCounter, ResumeCounter
from domain.queues.turns import AskNotice, LeaveLine, RequeueAbsent, TakeTurn, TransferTurn
from infra.log.core import Core
from infra.postgres.views import Views
from projections.engine.generations import Places
from projections.engine.keyset import Range
from projections.engine.projection import Entry, Projection, Row
from projections.engine.runner import verify
from projections.queues.due import absent_turns, lines_to_close
from projections.queues.line_figures import at_moment, by_hour
from projections.queues.lines import LINES, LineRow, of_service_point
from projections.queues.turns import TURNS, TurnRow, of_line
from tests.city import TODAY, key, opaque, open_line, service_point
from tests.conftest import Clock
from tests.projecting import decode, projector
from tests.towns import Town
from tests.waiting_log import LINE, turn_of

OTHER = LINE.replace("cadastre", "permits")
LINES_THERE = (LINE, OTHER)
NAMES = [f"person {n}" for n in range(12)]


# How often each comes to mind.
WISHES: dict[type[Command], float] = {
    TakeTurn: 8,
    CallNext: 8,
    StartService: 6,
    FinishService: 5,
    MarkAbsent: 5,
    RequeueAbsent: 3,
    CallTurn: 2,
    LeaveLine: 2,
    TransferTurn: 2,
    Recall: 2,
    ResumeCounter: 2,
    AskNotice: 2,
    PauseCounter: 1,
    CloseLine: 0.1,
}
# Of turns in which state; of any, if there is none in it, or nothing is said here.
LIKELY: dict[type[Command], set[TurnState]] = {
    StartService: {"CALLED"},
    FinishService: {"SERVING"},
    MarkAbsent: {"CALLED"},
    RequeueAbsent: {"ABSENT"},
    LeaveLine: {"WAITING", "CALLED", "ABSENT"},
    TransferTurn: {"WAITING", "CALLED", "SERVING"},
    Recall: {"CALLED"},
    AskNotice: {"WAITING"},
}


class Hall:
    """Wants what comes to mind: mostly things that may be."""

    def __init__(self, dice: random.Random) -> None:
        self.dice = dice
        self.count = 0

    def wish(self, lines: Iterable[Line]) -> Command:
        self.count += 1
        dice = self.dice
        kind = dice.choices(list(WISHES), list(WISHES.values()))[0]
        turns = [turn for line in lines for turn in line.turns.values()]
        likely = [turn for turn in turns if turn.state in LIKELY.get(kind, ())] or turns
        line = dice.choice(LINES_THERE)
        turn = dice.choice([turn.turn for turn in likely or turns] or [turn_of("nobody")])
        said: dict[str, Any] = {"line": line} if "line" in kind.__struct_fields__ else {"turn": turn}
        if "counter" in kind.__struct_fields__:
            said["counter"] = dice.randint(1, 2)
        if kind is TakeTurn:
            return self._taking(line)
        if kind is AskNotice:
            said["ahead"] = dice.randint(0, 3)
        if kind is TransferTurn:
            said["to"] = OTHER if line_of(turn) == LINE else LINE
            said["moved_to"] = turn_of(f"moved {self.count}", said["to"])
        return build(kind, **said)

    def _taking(self, line: str) -> TakeTurn:
        return build(
            TakeTurn,
            line=line,
            turn=turn_of(f"turn {self.count}", line),
            channel="KIOSK",
            person=opaque(self.dice.choice(NAMES)),
            reason=self.dice.choice([None, None, "PREGNANT"]),
        )


def openings() -> list[Command]:
    return [service_point(), open_line(direct_calls=True), open_line(service="permits", requeues_max=10)]


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 2**32), st.integers(0, 200))
def test_rows_agree_with_their_stream(seed: int, wishes: int) -> None:
    dice = random.Random(seed)  # of Hypothesis's own, most are too dull for anybody to come back
    states: dict[str, Any] = {stream(name): Line() for name in LINES_THERE}
    rows: dict[str, dict[str, Any]] = {TURNS.name: {}, LINES.name: {}}
    hall, now, position = Hall(dice), Clock().now, 0
    lines = [states[stream(name)] for name in LINES_THERE]
    for command in chain(openings(), (hall.wish(lines) for _ in range(wishes))):
        now += timedelta(seconds=dice.choice([0, 5, 95]))
        for name in DECISIONS[type(command)].streams(command, states):
            states.setdefault(name, fold(name, ()))
        with suppress(Rejected):
            for on, event in decide(command, states, now):
                position += 1
                states[on] = fold_of(on).evolve(states[on], event)
                for projection in (TURNS, LINES):
                    if type(event) in projection.events:
                        project(projection, rows[projection.name], Entry(position, on, event))
    for name in LINES_THERE:
        agree(
            states[stream(name)], rows[LINES.name][name], [row for row in rows[TURNS.name].values() if row.line == name]
        )


def project(projection: Projection, rows: dict[str, Row | None], entry: Entry) -> None:
    for name in projection.keys(entry):
        rows[name] = projection.evolve(rows.get(name), entry, name)


ALIKE = [name for name in Turn.__struct_fields__ if name not in {"call", "wishes"}]


def agree(line: Line, row: LineRow, turns: Iterable[TurnRow]) -> None:
    """A line's row and those of its turns are as its stream says."""
    turns = list(turns)
    for one in turns:
        assert {name: getattr(one, name) for name in ALIKE} == {
            name: getattr(line.turns[one.turn], name) for name in ALIKE
        }
    assert [one.turn for one in sorted(turns, key=lambda one: one.position)] == list(line.turns)
    states = Tally(turn.state for turn in line.turns.values())
    counted = {state: getattr(row, state.lower()) for state in get_args(TurnState) if state != "ABSENT"}
    assert counted | {"ABSENT": len(row.absent_turns)} == {state: states[state] for state in get_args(TurnState)}
    assert row.taken == len(line.turns)
    assert row.closed_at == (line.closed.closed_at if line.closed else None)
    for number, counter in line.counters.items():
        found = row.counters[number]
        assert (found.open, found.turn) == (counter.open, counter.turn)
        called = counter.turn and line.turns[counter.turn].state == "CALLED"
        assert (found.called_at is not None) == bool(called)
    due = [absent_at(line, turn) for turn in line.turns.values() if turn.state == "CALLED"]
    assert row.absent_from == min(due, default=None)


@pytest.mark.anyio
@pytest.mark.parametrize("seed", range(4))
async def test_any_pages_give_the_same_rows_as_a_rebuild(
    core: Core, town: Town, views: Views, clock: Clock, seed: int
) -> None:
    dice = random.Random(seed)
    hall = Hall(dice)
    for number, command in enumerate(openings()):
        await core.committer.submit(command, key(f"opening {number}"))

    async def act() -> None:
        clock.wait(dice.choice([0, 1, 30, 95]))
        with suppress(Rejected):
            lines = [await core.log.state(stream(name)) for name in LINES_THERE]
            await core.committer.submit(hall.wish(lines), key(f"wish {hall.count}"))

    with projector(town) as projecting:
        for _ in range(30):
            await asyncio.gather(*(act() for _ in range(dice.randint(1, 8))))
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(projections.engine.pages, "PAGE_EVENTS_MAX", dice.choice([1, 2, 3, 7, 5_000]))
                patch.setattr(projections.engine.building, "KEPT_BYTES_MAX", dice.choice([0, 500, 2**26]))
                projecting.catch_up(look=dice.random() < 0.5)
            await answers_agree(core, views, clock.now)
    for name in ("service_points", "lines", "turns"):
        found = verify(town.application, Places(town.schema), read_models()[name], decode)
        assert found.different == 0, str(found)
        assert found.rows > 0


async def answers_agree(core: Core, views: Views, now: datetime) -> None:
    """What is answered is what the streams say."""
    lines: dict[str, Line] = {name: await core.log.state(stream(name)) for name in LINES_THERE}
    question = of_service_point("sopocachi", on_or_after=TODAY, to=None, service=None, part=Range(9))
    seen, _ = await views.ask(question)
    assert [one.line for one in seen] == list(lines)
    for one in seen:
        line = lines[one.line]
        waits = [turn for turn in line.turns.values() if turn.state == "WAITING"]
        assert (one.waiting_preferential, one.waiting_normal) == (len(line.preferential), len(line.normal))
        assert (one.waiting, one.waiting_since) == (len(waits), min((turn.since for turn in waits), default=None))
        assert one.counters_open == line.counters_open
        turns, _ = await views.ask(of_line(one.line, state=None, part=Range(1_000)))
        assert [turn.turn for turn in turns] == list(line.turns)
        (at,), _ = await views.ask(at_moment(one.line, now))
        assert (at.waiting, at.counters_open) == (len(waits), line.counters_open)
        (*_, total), _ = await views.ask(by_hour(one.line))
        ended = Tally(turn.state for turn in line.turns.values())
        assert (total.taken, total.served, total.left) == (len(line.turns), ended["SERVED"], ended["LEFT"])
    due = {
        turn.turn
        for line in lines.values()
        for turn in line.turns.values()
        if turn.state == "CALLED" and absent_at(line, turn) <= now
    }
    found, _ = await views.ask(absent_turns(now, 1_000))
    assert {one.turn for one in found} == due
    open_still = {name for name, line in lines.items() if not line.closed}
    to_close, _ = await views.ask(lines_to_close(now + timedelta(1), 1_000))
    assert {one.line for one in to_close} == open_still
