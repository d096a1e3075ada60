"""Two committers on one log, appends that fail before and after they are on disk, clients who repeat themselves.

Whatever happens in between, the log keeps the office's rules, a key has one outcome, and what a committer remembers is
what the log says. A run is judged from the rows of the log alone, with no help of the decisions that made them.
"""

import asyncio
import random
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterator
from contextlib import AsyncExitStack
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Any, NamedTuple

import pytest

import infra.log.committer
from domain.appointments.cancelling import CancelAppointment
from domain.appointments.holding import HoldSlot
from domain.decider import Command, build, fold
from domain.errors import Rejected
from domain.identifiers import agenda_id
from infra.log.batch import Appended, Batch, Conflict
from infra.log.cache import CACHE_BYTES_MAX, StateCache
from infra.log.codec import Codec
from infra.log.committer import Committer
from infra.log.log import Log
from infra.log.submission import Key, Outcome
from infra.postgres.connections import Unavailable
from tests.city import DAY, agenda, booking, hospital, key, opaque
from tests.conftest import Clock
from tests.towns import Town

pytestmark = pytest.mark.anyio

CALLERS = 24
REQUESTS_EACH = 25
TRIES_MAX = 50
FAILURE_RATE = 0.06  # of each kind, in each append
SLOTS = 5
SPECIALTIES = {"p-01": "pediatrics", "p-02": "cardiology", "p-03": "dentistry", "p-04": "pediatrics"}
AGENDAS = [agenda_id("la-merced", DAY, practitioner) for practitioner in SPECIALTIES]
PATIENTS = [f"patient {n}" for n in range(12)]
UNSETTLED = {"unavailable", "overloaded"}
NOTHING_BYTES, LITTLE_BYTES = 0, 3_000


class Fails(Exception):
    """What nobody foresaw."""


class Row(NamedTuple):
    """An event as it lies in the log."""

    position: int
    stream: str
    version: int
    event: str
    state: dict[str, Any]
    command: str
    stored: bytes


class Office:
    """Two committers, their callers, and all that these were told."""

    def __init__(self, committers: list[Committer], clock: Clock, dice: random.Random) -> None:
        self.committers = committers
        self.clock = clock
        self.dice = dice
        self.said: dict[Key, Command] = {}
        self.outcomes: dict[Key, list[Outcome]] = defaultdict(list)
        self.refused: list[tuple[Key, Rejected]] = []  # though it was accepted before

    async def call(self, caller: int) -> None:
        for number in range(REQUESTS_EACH):
            name = Key(f"caller {caller % 3}", f"{caller}-{number}")
            wish = self.dice.random()
            if wish < 0.2 and self.said:
                name = self.dice.choice(list(self.said))  # again, perhaps while it is under way
                await self.settle(self.dice.choice(self.committers), name)
            elif wish < 0.3:
                self.said[name] = self.wish(name.name)
                await asyncio.gather(
                    *(self.settle(committer, name) for committer in self.committers)
                )  # by both ways at once
            else:
                self.said[name] = self.wish(name.name)
                await self.settle(self.dice.choice(self.committers), name)
            self.clock.wait(self.dice.choice([0, 0, 10, 60]))

    def wish(self, name: str) -> Command:
        where, slot = self.dice.choice(AGENDAS), self.dice.randint(1, SLOTS)
        patient, kind = self.dice.choice(PATIENTS), self.dice.random()
        booked = [command.appointment for command in self.said.values() if hasattr(command, "appointment")]
        if kind < 0.25 and booked:
            return build(CancelAppointment, appointment=self.dice.choice(booked))
        if kind < 0.55:
            opaque_patient, hold_s = opaque(patient), self.dice.choice([60, 300, 900])
            return build(HoldSlot, hold=opaque(name), agenda=where, slot=slot, patient=opaque_patient, hold_s=hold_s)
        return booking(slot, patient, agenda=where, name=name)

    async def settle(self, committer: Committer, name: Key) -> None:
        """Ask until there is an answer, as clients do."""
        accepted_before = bool(self.outcomes[name])
        for _ in range(TRIES_MAX):
            try:
                outcome = await committer.submit(self.said[name], name)
            except Rejected as refusal:
                if refusal.code not in UNSETTLED:
                    self.refused.extend([(name, refusal)] if accepted_before else [])
                    return
            except Fails:
                pass
            else:
                self.outcomes[name].append(outcome)
                return
        raise AssertionError(f"{self.said[name]} has no answer after {TRIES_MAX} tries")


def failing(
    append: Callable[[Batch], Awaitable[Appended | Conflict]], dice: random.Random
) -> Callable[[Batch], Awaitable[Appended | Conflict]]:
    """An append that fails now and then: before anything is sent, or when all is on disk and only the answer lacks."""

    async def append_or_fail(batch: Batch) -> Appended | Conflict:
        fate = dice.random() / FAILURE_RATE
        if fate < 2:
            raise Unavailable("before") if fate < 1 else Fails
        answer = await append(batch)
        if fate < 4:
            raise Unavailable("after") if fate < 3 else Fails
        return answer

    return append_or_fail


@pytest.mark.parametrize("seed", [1, 2, 3])
@pytest.mark.parametrize(
    "caches", [(NOTHING_BYTES, CACHE_BYTES_MAX), (CACHE_BYTES_MAX, CACHE_BYTES_MAX), (LITTLE_BYTES, LITTLE_BYTES)]
)
async def test_two_failing_committers_with_repeating_clients_keep_the_rules(
    town: Town, clock: Clock, caches: tuple[int, int], seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(infra.log.committer, "SETTLE_PAUSE_S", 0.001)
    remembered = [StateCache(bytes_max=size) for size in caches]
    dice = random.Random(seed)
    async with AsyncExitStack() as opened:
        committers = []
        for cache in remembered:
            log = Log(town.application, schema=town.schema, secret=town.secret)
            committers.append(Committer(log, secret=town.secret, queue_max=1_000, clock=clock, cache=cache))
            await log.open()
            opened.push_async_callback(log.close)
            committers[-1].start()
            opened.push_async_callback(committers[-1].stop)
            await publish(committers[-1])
            monkeypatch.setattr(log, "append", failing(log.append, dice))
        office = Office(committers, clock, dice)
        await asyncio.gather(*map(office.call, range(CALLERS)))

    rows = log_of(town)
    judge_positions(rows)
    judge_slots(rows)
    judge_holds(rows)
    judge_patients(rows)
    judge_outcomes(rows, office, town)
    for cache in remembered:
        judge_memory(rows, cache)
    kinds = {row.event for row in rows}
    assert {"slot_held.v1", "appointment_booked.v1", "appointment_cancelled.v2"} <= kinds


async def publish(committer: Committer) -> None:
    await committer.submit(hospital(), key("hospital"))
    for practitioner, specialty in SPECIALTIES.items():
        await committer.submit(agenda(SLOTS, practitioner=practitioner, specialty=specialty), key(practitioner))


def log_of(town: Town) -> list[Row]:
    rows = town.execute(
        "SELECT l.position, l.stream, l.version, l.event, l.state, l.command_id, e.state"
        " FROM event_log AS l JOIN events AS e ON e.notification_id = l.position ORDER BY l.position"
    )
    return [Row(*row) for row in rows]  # type: ignore[arg-type]


def of(rows: list[Row], *events: str) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Event, stream and state of these kinds of events, in order."""
    return ((row.event, row.stream, row.state) for row in rows if row.event in events)


def judge_positions(rows: list[Row]) -> None:
    """No gap in the log, and none in a stream."""
    assert [row.position for row in rows] == list(range(1, len(rows) + 1))
    versions = defaultdict(list)
    for row in rows:
        versions[row.stream].append(row.version)
    assert all(found == list(range(1, len(found) + 1)) for found in versions.values())


def live(rows: list[Row], taken: str, given_up: str) -> Iterator[dict[str, tuple[str, dict[str, Any]]]]:
    """After each event that takes: what is taken and not given up, by appointment, with its stream."""
    there: dict[str, tuple[str, dict[str, Any]]] = {}
    for event, stream, state in of(rows, taken, given_up):
        if event == given_up:
            assert there.pop(state["appointment"], None), f"{state['appointment']} was given up twice, or never taken"
        else:
            assert state["appointment"] not in there
            there[state["appointment"]] = stream, state
            yield dict(there)


def judge_slots(rows: list[Row]) -> None:
    for booked in live(rows, "appointment_booked.v1", "appointment_cancelled.v2"):
        places = [(stream, state["slot"]) for stream, state in booked.values()]
        assert len(places) == len(set(places)), "a slot was given twice"


def judge_holds(rows: list[Row]) -> None:
    """A hold was taken by agenda and patient alike, and never over another's that was live."""
    taken = {state["hold"]: (stream, state) for _, stream, state in of(rows, "hold_taken.v1")}
    held: dict[tuple[str, int], dict[str, Any]] = {}
    count = 0
    for event, stream, state in of(rows, "slot_held.v1", "appointment_booked.v1"):
        before = held.pop((stream, state["slot"]), None)
        if event == "slot_held.v1":
            count += 1
            patient, mine = taken[state["hold"]]
            assert patient == f"patient/{state['patient']}"
            assert (f"agenda/{mine['agenda']}", mine["slot"]) == (stream, state["slot"])
            assert mine["held_until"] == state["held_until"]
            if before and before["patient"] != state["patient"]:
                assert datetime.fromisoformat(before["held_until"]) <= datetime.fromisoformat(mine["held_at"])
            held[stream, state["slot"]] = state
    assert count == len(taken)


def judge_patients(rows: list[Row]) -> None:
    """Nobody is in two places at once, and each has the visits that the agendas have."""
    visits: dict[str, tuple[str, dict[str, Any]]] = {}
    for visits in live(rows, "visit_taken.v1", "visit_given_up.v1"):
        times = defaultdict(list)
        for patient, visit in visits.values():
            start = datetime.fromisoformat(visit["start"])
            times[patient].append((start, start + timedelta(minutes=visit["minutes"])))
        for mine in times.values():
            assert all(one[1] <= other[0] for one, other in pairwise(sorted(mine))), "a patient is in two places"
    booked = {state["appointment"]: state for _, _, state in of(rows, "appointment_booked.v1")}
    theirs = {state["appointment"]: (stream, state) for _, stream, state in of(rows, "visit_taken.v1")}
    assert booked.keys() == theirs.keys()
    for name, (patient, visit) in theirs.items():
        assert (patient, visit["slot"]) == (f"patient/{booked[name]['patient']}", booked[name]["slot"])
    cancelled = {state["appointment"] for _, _, state in of(rows, "appointment_cancelled.v2")}
    assert cancelled == {state["appointment"] for _, _, state in of(rows, "visit_given_up.v1")}
    assert visits


def judge_outcomes(rows: list[Row], office: Office, town: Town) -> None:
    """A key has one outcome, told to all who asked, and what was told is in the log; nothing was written twice."""
    written = defaultdict(list)
    for row in rows:
        written[row.command].append(row)
    assert not office.refused
    names = {town.secret.key_name(name.actor, name.name): name for name in office.said}
    for name, told in office.outcomes.items():
        assert len({outcome.position for outcome in told}) <= 1, f"{name} was told {told}"
        assert sum(not outcome.replayed for outcome in told) <= 1
        events = written.get(town.secret.key_name(name.actor, name.name), [])
        for outcome in told:
            assert not events or outcome.position == events[-1].position
            if not outcome.replayed:
                recorded = [(stream, event.event_name) for stream, event in outcome.recorded]
                assert recorded == [(row.stream, row.event) for row in events]
    for command, events in written.items():
        assert [row.position for row in events] == list(range(events[0].position, events[-1].position + 1))
        if command in names:
            assert len(events) == 2
            assert office.outcomes[names[command]], "it was written, and nobody was told"


def judge_memory(rows: list[Row], cache: StateCache) -> None:
    """What is remembered is what the log said at that version."""
    codec = Codec()
    for stream in {row.stream for row in rows}:
        loaded = cache.get(stream)
        if loaded:
            mine = [row for row in rows if row.stream == stream and row.version <= loaded.version]
            assert len(mine) == loaded.version
            assert loaded.state == fold(stream, (codec.decode(row.event, row.stored, {}) for row in mine))
