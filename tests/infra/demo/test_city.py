"""The city with a history: deterministic, plausible, created once, completed after an interruption."""

import asyncio
import tracemalloc
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import date, datetime, timedelta
from itertools import islice
from statistics import mean
from typing import Any

import msgspec
import pytest
from rich.console import Console

from domain.appointments.attendance import CheckIn, MarkNoShow
from domain.appointments.booking import BookAppointment
from domain.appointments.cancelling import CancelAppointment
from domain.appointments.publishing import PublishAgenda
from domain.calendar import local_date
from domain.decider import Command
from domain.identifiers import agenda_of
from domain.people import RegisterPerson
from infra.demo.city import (
    DONE_BEFORE,
    City,
    CityClock,
    check_city_first_day,
    decided_together,
    first_day_of,
    load_city,
)
from infra.demo.city_plan import PAST_DAYS, PEOPLE_MAX, CityPlan, Planned, midnight
from infra.log.committer import Committer
from infra.log.core import Core
from infra.log.log import Log
from infra.log.submission import Key, Outcome
from infra.running.secret import Secret
from infra.running.settings import SettingError
from tests.city import agenda, hospital, key, person
from tests.towns import Town, Towns

pytestmark = pytest.mark.anyio

FIRST_DAY = date(2026, 10, 25)
TODAY = FIRST_DAY + timedelta(days=PAST_DAYS)
SEED, PEOPLE = 7, 600
QUIET = Console(quiet=True)
MIB = 2**20


def plan_of(secret: Secret, *, people: int = PEOPLE, seed: int = SEED) -> CityPlan:
    return CityPlan(secret, seed=seed, people=people, first_day=FIRST_DAY)


@asynccontextmanager
async def opened(town: Town, *, queue_max: int = 10_000) -> AsyncIterator[tuple[Core, CityClock]]:
    """The town's log and committer, on a city's clock."""
    clock = CityClock()
    log = Log(town.application, schema=town.schema, secret=town.secret)
    committer = Committer(log, secret=town.secret, queue_max=queue_max, clock=clock)
    await log.open()
    committer.start()
    try:
        yield Core(log=log, committer=committer, secret=town.secret), clock
    finally:
        await committer.stop()
        await log.close()


async def made(town: Town, *, queue_max: int = 10_000) -> City:
    async with opened(town, queue_max=queue_max) as (core, clock):
        return await load_city(core, clock, plan_of(town.secret), console=QUIET)


async def make_some(town: Town, commands: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Begin the city, and stop after this number of commands."""
    async with opened(town) as (core, clock):
        submit, said = core.committer.submit, []

        async def submit_some(command: Command, key: Key) -> Outcome:
            said.append(key)
            if len(said) > commands:
                raise RuntimeError("killed")
            return await submit(command, key)

        with monkeypatch.context() as patch:
            patch.setattr(core.committer, "submit", submit_some)
            with pytest.raises(RuntimeError, match="killed"):
                await load_city(core, clock, plan_of(town.secret), console=QUIET)


def events(town: Town) -> list[tuple[object, ...]]:
    """The log in order, byte by byte; sealed data only by presence."""
    return town.execute(
        "SELECT notification_id, originator_id, originator_version, topic,"
        " CASE WHEN topic <> 'person_registered.v1' THEN state END FROM events ORDER BY 1"
    )


@pytest.fixture(scope="module")
def whole(towns: Towns) -> tuple[City, list[tuple[object, ...]]]:
    """A city created without interruption, and its log, for comparison."""
    with towns.town(read_models=False) as town:
        return asyncio.run(made(town)), events(town)


# What is planned


def plain(planned: Planned) -> Any:
    """A planned command without what depends on the secret."""
    said = msgspec.to_builtins(planned.command)
    hidden = {"person": "", "patient": "", "identity_digest": ""}
    if "appointment" in said:
        hidden["appointment"] = agenda_of(said["appointment"])
    return planned.at, type(planned.command), said | {name: hidden[name] for name in hidden.keys() & said.keys()}


def test_a_city_depends_on_its_seed_and_not_on_the_secret(secret: Secret) -> None:
    one = [plain(planned) for planned in plan_of(secret).commands()]
    assert one == [plain(planned) for planned in plan_of(Secret(bytes(32))).commands()]
    assert one != [plain(planned) for planned in plan_of(secret, seed=SEED + 1).commands()]


@pytest.mark.parametrize("seed", [0, 1, 9_999])
def test_people_of_different_seeds_are_different(secret: Secret, seed: int) -> None:
    plans = [plan_of(secret, people=300, seed=other) for other in {seed, SEED}]
    invented = [
        planned.command for plan in plans for planned in plan.commands() if isinstance(planned.command, RegisterPerson)
    ]
    assert len({one.identity_digest for one in invented}) == len({one.person for one in invented}) == 600


@pytest.mark.parametrize("people", [1, 2, 30, PEOPLE])
def test_commands_are_in_order_and_in_the_city_s_past(secret: Secret, people: int) -> None:
    plan = plan_of(secret, people=people)
    planned = list(plan.commands())
    assert [one.at for one in planned] == sorted(one.at for one in planned)
    assert all(one.at < one.before for one in planned)
    assert {type(one.command) for one in planned} >= {PublishAgenda, RegisterPerson, BookAppointment}
    present = midnight(TODAY)
    assert planned[0].at == present - timedelta(days=2 * PAST_DAYS)
    assert planned[-1].at == present
    last = planned[-1].command
    assert isinstance(last, PublishAgenda)
    assert last.agenda == plan.last_agenda
    assert sum(isinstance(one.command, RegisterPerson) for one in planned) == people
    days = {one.command.date for one in planned if isinstance(one.command, PublishAgenda)}
    assert days == {
        day for day in (FIRST_DAY + timedelta(days=n) for n in range(2 * PAST_DAYS)) if day.isoweekday() <= 5
    }


def test_patients_come_again(secret: Secret) -> None:
    """With few people and many slots, the rule of one appointment per specialty and hospital applies often."""
    live: dict[tuple[str, str], BookAppointment] = {}
    after_cancelling, after_a_visit = 0, 0
    cancelled: set[str] = set()
    for planned in plan_of(secret, people=30).commands():
        command = planned.command
        if isinstance(command, CancelAppointment):
            cancelled.add(command.appointment)
        if isinstance(command, BookAppointment):
            before = live.get((command.patient, command.agenda.split("/")[0]))
            if before and before.appointment in cancelled:
                after_cancelling += planned.at < midnight(date.fromisoformat(before.agenda.split("/")[1]))
            elif before:
                after_a_visit += 1
            live[command.patient, command.agenda.split("/")[0]] = command
    assert after_cancelling > 0
    assert after_a_visit > 20


@pytest.mark.parametrize("people", [0, PEOPLE_MAX + 1])
def test_a_city_has_limits(secret: Secret, people: int) -> None:
    with pytest.raises(ValueError, match="1 to 500000 people"):
        plan_of(secret, people=people)


def test_commands_are_batched_only_if_the_time_does_not_matter(secret: Secret) -> None:
    planned = list(plan_of(secret).commands())
    batches = list(decided_together(planned, 100))
    assert [one for batch in batches for one in batch] == planned
    assert all(batch[-1].at < min(one.before for one in batch) for batch in batches)
    assert max(map(len, batches)) == 100
    assert len(batches) < len(planned) / 10


class Figures:
    """An office's statistics."""

    def __init__(self, plan: CityPlan) -> None:
        self.kinds: Counter[type[Command]] = Counter()
        self.channels: Counter[str] = Counter()
        self.rushed = 0
        self.waits: dict[str, timedelta] = {}  # of appointments of the past
        self.missed: set[str] = set()
        self.starts: dict[str, list[datetime]] = {}
        self.releases: dict[str, datetime] = {}
        said_at = midnight(date(2026, 1, 1))
        for planned in plan.commands():
            assert said_at <= planned.at, "order of time"
            said_at = planned.at
            self.kinds[type(planned.command)] += 1
            self.count(planned)

    def count(self, planned: Planned) -> None:
        match planned.command:
            case PublishAgenda(agenda=name, slots=slots, release_at=release_at):
                assert release_at is not None
                self.starts[name], self.releases[name] = [slot.start for slot in slots], release_at
            case BookAppointment(agenda=name, slot=slot, appointment=appointment, channel=channel):
                self.channels[channel] += 1
                since_release = planned.at - self.releases[name]
                assert since_release >= timedelta(0)
                self.rushed += since_release < timedelta(minutes=10)
                start = self.starts[name][slot - 1]
                if start < midnight(TODAY):
                    self.waits[appointment] = start - planned.at
            case MarkNoShow(appointment=appointment):
                self.missed.add(appointment)
            case CancelAppointment(appointment=appointment):
                self.waits.pop(appointment, None)
            case CheckIn(appointment=appointment):
                self.missed.discard(appointment)


def test_a_plan_keeps_only_future_commands(secret: Secret) -> None:
    """All counted commands together would take about 3 MiB."""
    tracemalloc.start()
    try:
        most = islice(plan_of(secret, people=5_000).commands(), 5_000)
        assert sum(1 for _ in most) == 5_000
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < MIB, f"{peak / MIB:.1f} MiB"


def test_a_city_is_plausible(secret: Secret) -> None:
    plan = plan_of(secret, people=5_000)
    figures = Figures(plan)
    commands, booked = sum(figures.kinds.values()), figures.kinds[BookAppointment]
    assert abs(plan.about() - commands) < commands / 5
    assert 0.5 < booked / 5_000 < 4  # visits a person, in two months
    assert 0.06 < figures.kinds[CancelAppointment] / booked < 0.15
    assert 0.10 < len(figures.missed) / len(figures.waits) < 0.20
    assert 0.4 < figures.rushed / booked < 0.8
    waits_days = [wait / timedelta(days=1) for wait in figures.waits.values()]
    assert 0.75 < mean(days < 7 for days in waits_days) < 0.97
    assert max(waits_days) > 14
    long_waits = {name for name, wait in figures.waits.items() if wait > timedelta(days=10)}
    short_waits = {name for name, wait in figures.waits.items() if wait < timedelta(days=3)}
    assert len(figures.missed & long_waits) / len(long_waits) > 1.2 * len(figures.missed & short_waits) / len(
        short_waits
    )
    assert [channel for channel, _ in figures.channels.most_common(2)] == ["WEB", "PHONE"]
    assert len(figures.channels) == 4


# What is made


async def test_a_city_is_created_once_without_refusals(town: Town) -> None:
    city = await made(town)
    planned = Counter(type(one.command) for one in plan_of(town.secret).commands())
    assert city.refused == {}
    assert city.made == sum(planned.values())
    assert (city.people, city.agendas) == (PEOPLE, planned[PublishAgenda])
    assert (city.appointments, city.cancellations) == (planned[BookAppointment], planned[CancelAppointment])
    assert (city.check_ins, city.no_shows) == (planned[CheckIn], planned[MarkNoShow])
    head = len(events(town))
    again = await made(town)
    assert (again.there_already, again.made) == (True, 0)
    assert len(events(town)) == head


async def test_batch_size_does_not_change_the_events(town: Town, whole: tuple[City, list[tuple[object, ...]]]) -> None:
    await made(town, queue_max=90)
    assert events(town) == whole[1]


@pytest.mark.parametrize(("commands", "forgotten"), [(2, False), (1_000, False), (2_200, True)])
async def test_an_interrupted_city_is_completed_to_the_same_one(
    town: Town,
    whole: tuple[City, list[tuple[object, ...]]],
    commands: int,
    forgotten: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    at_one_go, whole_log = whole
    await make_some(town, commands, monkeypatch)
    begun = events(town)
    assert len(begun) > 0
    if forgotten:  # its keys, after a week
        town.execute("TRUNCATE commands")
    city = await made(town)
    assert (city.made, city.refused) == (at_one_go.made - commands, {})
    assert events(town)[: len(begun)] == begun
    assert events(town) == whole_log


async def test_a_complete_city_is_not_created_again(town: Town) -> None:
    await made(town)
    head = len(events(town))
    town.execute("TRUNCATE commands")
    async with opened(town) as (core, clock):
        plan = plan_of(town.secret)
        some = [one for one in plan.commands() if isinstance(one.command, MarkNoShow)]
        clock.now = midnight(TODAY)
        codes = set()
        for number, one in enumerate(some):
            try:
                await core.committer.submit(one.command, key(f"again {number}"))
            except Exception as refusal:
                codes.add(("MarkNoShow", getattr(refusal, "code", refusal)))
    assert codes == DONE_BEFORE  # some came late, and were checked in after all
    assert len(events(town)) == head


# Beside something else


async def test_a_city_is_created_beside_other_events(town: Town) -> None:
    async with opened(town) as (core, clock):
        clock.now = midnight(FIRST_DAY)
        await core.committer.submit(hospital(), key("h"))
        await core.committer.submit(agenda(3, day=TODAY), key("a"))
        await core.committer.submit(person("Ana", core), key("p"))
    city = await made(town)
    assert city.refused == {}
    async with opened(town) as (core, clock):
        beside = await load_city(core, clock, plan_of(town.secret, seed=SEED + 1), console=QUIET)
    assert (beside.refused, beside.people) == ({}, PEOPLE)


async def test_conflicting_commands_are_skipped_and_counted(town: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    planned = list(plan_of(town.secret).commands())
    first = next(n for n, one in enumerate(planned) if isinstance(one.command, BookAppointment))
    await make_some(town, first, monkeypatch)
    wanted = planned[first].command
    assert isinstance(wanted, BookAppointment)
    others = msgspec.structs.replace(wanted, patient="a" * 26, appointment=f"{wanted.agenda}/{'a' * 26}")
    async with opened(town) as (core, clock):
        clock.now = planned[first].at
        await core.committer.submit(others, key("taken"))
    city = await made(town)
    assert city.refused["slot_taken"] >= 1
    assert set(city.refused) <= {"slot_taken", "appointment_unknown"}
    taken = town.execute(
        "SELECT count(*) FROM event_log WHERE event = 'appointment_booked.v1' AND stream = %s"
        " AND state->>'slot' = %s AND state->>'patient' = %s",
        f"agenda/{wanted.agenda}", str(wanted.slot), "a" * 26,
    )  # fmt: skip
    assert taken == [(1,)]


async def test_the_log_identifies_its_city(town: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    async def begins(core: Core, *, people: int = PEOPLE, seed: int = SEED, first_day: date | None = None) -> date:
        return await first_day_of(
            core, town.application, schema=town.schema, seed=seed, people=people, first_day=first_day,
            today=local_date(datetime.now().astimezone()) + timedelta(days=9),
        )  # fmt: skip

    default = local_date(datetime.now().astimezone()) + timedelta(days=9 - PAST_DAYS)
    async with opened(town) as (core, _):
        assert await begins(core) == default
        assert await begins(core, first_day=FIRST_DAY) == FIRST_DAY
    await make_some(town, 10, monkeypatch)
    async with opened(town) as (core, _):
        assert await begins(core) == FIRST_DAY  # days later too
        assert await begins(core, first_day=FIRST_DAY) == FIRST_DAY
        assert await begins(core, seed=SEED + 1) == default
        with pytest.raises(SettingError, match=f"whose first day is {FIRST_DAY}"):
            await begins(core, first_day=FIRST_DAY - timedelta(days=1))
        with pytest.raises(SettingError, match="has not 601 people"):
            await begins(core, people=PEOPLE + 1)


def test_a_city_s_history_is_in_the_past() -> None:
    check_city_first_day(FIRST_DAY, today=TODAY)
    for wrong in (FIRST_DAY + timedelta(days=1), date(1999, 12, 31), date.min, date.max):
        with pytest.raises(SettingError, match="2026-10-25 at the latest today"):
            check_city_first_day(wrong, today=TODAY)
