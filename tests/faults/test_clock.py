"""Clocks that stop, step back, or differ between processes: no slot twice, and every fold as if it were told anew."""

import asyncio
import random
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import pytest

from domain.appointments.cancelling import CancelAppointment
from domain.appointments.holding import HoldSlot
from domain.appointments.patient import LIVE_HOLDS_PER_PATIENT_MAX
from domain.decider import Command, build
from domain.errors import Rejected
from infra.log.cache import StateCache
from infra.log.committer import Committer
from infra.log.core import Core
from infra.log.log import Log
from infra.log.submission import Outcome
from tests.city import AGENDA, FIRST_SLOT, booking, key, opaque, open_agenda
from tests.conftest import Clock
from tests.faults.promises import ask, check_promises, codes
from tests.faults.truth import Row, check_laws, read_log
from tests.towns import Town

pytestmark = pytest.mark.anyio

HOLD_S = 300
HOUR_S = 3_600
MIDNIGHT = datetime(2027, 1, 5, 4, tzinfo=UTC)  # in La Paz


class Office:
    """A process with a committer and a clock of its own."""

    def __init__(self, town: Town) -> None:
        self.clock = Clock()
        self.cache = StateCache()
        self.log = Log(town.application, schema=town.schema, secret=town.secret)
        self.committer = Committer(self.log, secret=town.secret, queue_max=1_000, clock=self.clock, cache=self.cache)

    async def check_memory(self) -> int:
        """What it remembers is what the log says, or older. How many streams it remembers as they are."""
        up_to_date = 0
        for stream, cached in [*self.cache._once.streams.items(), *self.cache._again.streams.items()]:
            loaded = (await self.log.load([stream]))[stream]
            assert cached.version <= loaded.version
            if cached.version == loaded.version:
                assert cached.state == loaded.state, stream
                up_to_date += 1
        return up_to_date


@pytest.fixture
async def offices(town: Town) -> AsyncIterator[list[Office]]:
    """Three, on one town."""
    offices = [Office(town) for _ in range(3)]
    for office in offices:
        await office.log.open()
        office.committer.start()
    yield offices
    for office in offices:
        await office.committer.stop()
        await office.log.close()


def hold(slot: int, patient: str, name: str = "") -> HoldSlot:
    return build(
        HoldSlot, hold=opaque(f"{slot} {patient} {name}"), agenda=AGENDA, slot=slot, patient=opaque(patient),
        hold_s=HOLD_S,
    )  # fmt: skip


async def told(committer: Committer, command: Command, name: str) -> str:
    """ "yes", or the code of the refusal."""
    try:
        await committer.submit(command, key(name))
    except Rejected as refusal:
        return refusal.code
    return "yes"


async def test_a_stopped_clock_books_no_slot_twice(core: Core, town: Town) -> None:
    await open_agenda(core, slots=20)
    answers = await ask(core, {f"{name} {n}": booking(n, f"{name} {n}") for n in range(1, 21) for name in ("a", "b")})
    assert codes(answers) == {"Outcome": 20, "slot_taken": 20}
    check_promises(town, answers)


@pytest.mark.parametrize("back_s", [60, HOUR_S, 24 * HOUR_S])
async def test_a_hold_ends_by_the_deciding_process_s_clock(core: Core, town: Town, clock: Clock, back_s: float) -> None:
    await open_agenda(core)
    assert await told(core.committer, hold(1, "ana"), "hold") == "yes"
    clock.wait(-back_s)
    assert await told(core.committer, booking(1, "luis"), "early") == "slot_taken"
    assert await told(core.committer, hold(1, "ana", "again"), "renewal") == "yes"  # which never shortens it
    clock.wait(back_s + HOLD_S - 1)
    assert await told(core.committer, booking(1, "luis", name="2"), "in time") == "slot_taken"
    clock.wait(1)
    assert await told(core.committer, booking(1, "luis", name="3"), "late") == "yes"
    assert await told(core.committer, booking(1, "ana"), "too late") == "slot_taken"
    check_laws(read_log(town.owner, schema=town.schema))


async def test_a_clock_set_back_over_midnight_frees_nothing(core: Core, town: Town, clock: Clock) -> None:
    await open_agenda(core, slots=6)
    clock.now = MIDNIGHT + timedelta(seconds=30)
    assert await told(core.committer, hold(1, "ana"), "1") == "yes"
    clock.wait(-60)  # the day before
    assert await told(core.committer, hold(2, "ana"), "2") == "yes"
    assert await told(core.committer, hold(3, "ana"), "3") == "hold_limit_reached"
    assert await told(core.committer, booking(1, "luis"), "4") == "slot_taken"
    clock.wait(60)  # the day itself again
    assert await told(core.committer, hold(3, "ana"), "3") == "hold_limit_reached"
    assert await told(core.committer, booking(1, "ana"), "5") == "yes"
    assert await told(core.committer, booking(2, "luis"), "6") == "slot_taken"
    check_laws(read_log(town.owner, schema=town.schema))


async def test_a_clock_set_back_repeats_no_booking(core: Core, town: Town, clock: Clock) -> None:
    await open_agenda(core, slots=60)
    wishes = {f"w{n}": booking(n, f"patient {n}") for n in range(1, 61)}

    async def step_back() -> None:
        for _ in range(10):
            await asyncio.sleep(0.01)
            clock.wait(-HOUR_S)

    answers, _ = await asyncio.gather(ask(core, wishes), step_back())
    assert codes(answers) == {"Outcome": 60}
    again = await ask(core, wishes)
    assert [outcome.position for outcome in again.values() if isinstance(outcome, Outcome) and outcome.replayed] == [
        outcome.position for outcome in answers.values() if isinstance(outcome, Outcome)
    ]
    check_promises(town, answers)


async def test_processes_judge_holds_by_their_own_clocks(offices: list[Office], town: Town) -> None:
    slow, fast, _ = offices
    fast.clock.wait(600)
    await open_agenda(Core(log=slow.log, committer=slow.committer, secret=town.secret))
    assert await told(slow.committer, hold(1, "ana"), "1") == "yes"
    # Five minutes have passed where the clock is ahead: the hold is over there, and whoever books there has the slot.
    assert await told(slow.committer, booking(1, "luis"), "2") == "slot_taken"
    assert await told(fast.committer, booking(1, "luis"), "2") == "yes"
    assert await told(slow.committer, booking(1, "ana"), "3") == "slot_taken"
    # A hold made where the clock is ahead lasts longer for the others, and the slot is nobody else's meanwhile.
    assert await told(fast.committer, hold(2, "mario"), "4") == "yes"
    slow.clock.wait(HOLD_S)
    assert await told(slow.committer, booking(2, "ana"), "5") == "slot_taken"
    slow.clock.wait(600)
    assert await told(slow.committer, booking(2, "ana"), "5") == "yes"
    check_laws(read_log(town.owner, schema=town.schema))


@pytest.mark.parametrize("seed", range(5))
async def test_jumping_clocks_book_no_slot_twice_and_fold_alike(offices: list[Office], town: Town, seed: int) -> None:
    dice = random.Random(seed)
    patients = [f"patient {n}" for n in range(6)]
    await open_agenda(Core(log=offices[0].log, committer=offices[0].committer, secret=town.secret), slots=5)
    wishes: list[Command] = []

    async def go(office: Office, number: int) -> str:
        if dice.random() < 0.3:
            office.clock.wait(dice.choice([-26 * HOUR_S, -HOUR_S, -90, 90, HOLD_S, HOUR_S, 20 * HOUR_S]))
            office.clock.now = min(office.clock.now, FIRST_SLOT - timedelta(minutes=1))
        slot, patient, kind = dice.randint(1, 5), dice.choice(patients), dice.random()
        booked = [wish for wish in wishes if hasattr(wish, "appointment")]
        wish: Command = booking(slot, patient, name=str(number)) if kind < 0.4 else hold(slot, patient, str(number))
        if kind > 0.8 and booked:
            wish = build(CancelAppointment, appointment=dice.choice(booked).appointment)
        wishes.append(wish)
        return await told(office.committer, wish, f"w{number}")

    answers: list[str] = []
    for number in range(0, 180, 6):
        answers += await asyncio.gather(*(go(offices[n % 3], number + n) for n in range(6)))
    assert {"yes", "slot_taken"} <= set(answers)
    assert not {"unavailable", "overloaded"} & set(answers)
    rows = read_log(town.owner, schema=town.schema)
    check_laws(rows)
    _check_holds(rows)
    assert sum([await office.check_memory() for office in offices]) >= len(patients)


def _check_holds(rows: list[Row]) -> None:
    """Nobody holds a slot that somebody else holds by the clock of whoever gave it out; none without end."""
    last: dict[tuple[str, int], dict[str, str]] = {}
    held = [(row, rows[row.position].state) for row in rows if row.event == "slot_held.v1"]
    assert held
    for row, taken in held:
        slot = row.stream, row.state["slot"]
        before = last.get(slot)
        if before and before["patient"] != row.state["patient"]:
            cancelled_or_over = datetime.fromisoformat(before["held_until"]) <= datetime.fromisoformat(taken["held_at"])
            booked_since = any(
                other.stream == row.stream and other.state.get("slot") == row.state["slot"]
                for other in rows[int(before["position"]) : row.position - 1]
                if other.event == "appointment_booked.v1"
            )
            assert cancelled_or_over or booked_since, row
        last[slot] = {
            "patient": row.state["patient"], "held_until": row.state["held_until"], "position": str(row.position),
        }  # fmt: skip


@pytest.mark.parametrize("seed", range(3))
async def test_hold_limits_apply_by_the_deciding_clock(core: Core, town: Town, clock: Clock, seed: int) -> None:
    """Holds that were over when the clock was ahead are live again when it has stepped back, and they count."""
    await open_agenda(core, slots=6)
    dice = random.Random(seed)
    given = 0
    for n in range(60):
        clock.now = FIRST_SLOT - timedelta(seconds=dice.randint(60, 3_000))
        if await told(core.committer, hold(dice.randint(1, 6), "ana", str(n)), f"h{n}") == "yes":
            given += 1
            agenda = await core.log.state(f"agenda/{AGENDA}")
            assert sum(held.held_until > clock.now for held in agenda.holds.values()) <= LIVE_HOLDS_PER_PATIENT_MAX
    assert given >= 5
    check_laws(read_log(town.owner, schema=town.schema))


@pytest.mark.parametrize("ahead", ["1 hour", "3 days"])
async def test_recording_times_may_run_backwards(core: Core, town: Town, ahead: str) -> None:
    """PostgreSQL's clock was ahead when the first half was written, and is right for the second."""
    await open_agenda(core, slots=40)
    first = {f"w{n}": booking(n, f"patient {n}") for n in range(1, 21)}
    answers = await ask(core, first)
    town.execute("UPDATE events SET recorded_at = recorded_at + %s::interval", ahead)
    town.execute("UPDATE commands SET recorded_at = recorded_at + %s::interval", ahead)
    second = {f"w{n}": booking(n, f"patient {n}") for n in range(21, 41)}
    answers |= await ask(core, second)
    ((falls,),) = town.execute(
        "SELECT count(*) FROM (SELECT recorded_at < lag(recorded_at) OVER (ORDER BY position) AS falls FROM event_log)"
        " AS times WHERE falls"
    )
    assert falls == 1
    assert codes(answers) == {"Outcome": 40}
    check_promises(town, answers)
    again = await ask(core, first | second)
    assert all(isinstance(answer, Outcome) and answer.replayed for answer in again.values())
    assert town.execute("SELECT max(position), count(*) FROM event_log") == [(82, 82)]
