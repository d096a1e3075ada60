"""The demo city: its people, and how an interrupted one is completed."""

import random
from datetime import date, timedelta

import pytest
from rich.console import Console

from domain.calendar import local_date
from domain.decider import Command
from infra.demo.demo import PEOPLE, SEED_MAX, DemoCity, agendas, bookings, first_day_lacking, load_demo, people
from infra.log.core import Core
from infra.log.submission import Key, Outcome
from tests.city import hospital, key
from tests.conftest import Clock
from tests.towns import Town

pytestmark = pytest.mark.anyio

SEED = 1
QUIET = Console(quiet=True)


async def lacking(core: Core, town: Town, today: date) -> date | None:
    return await first_day_lacking(core, town.application, schema=town.schema, seed=SEED, today=today)


async def begin(core: Core, town: Town, clock: Clock, commands: int, monkeypatch: pytest.MonkeyPatch) -> date:
    """Begin the city and stop after this number of commands; its first day. No idempotency key is kept."""
    first_day, submit, said = local_date(clock.now), core.committer.submit, []

    async def submit_some(command: Command, key: Key) -> Outcome:
        said.append(key)
        if len(said) > commands:
            raise RuntimeError("killed")
        return await submit(command, key)

    with monkeypatch.context() as patch:
        patch.setattr(core.committer, "submit", submit_some)
        with pytest.raises(RuntimeError, match="killed"):
            await load_demo(core, seed=SEED, first_day=first_day, console=QUIET)
    town.execute("UPDATE events SET recorded_at = %s", clock.now)
    town.execute("TRUNCATE commands")
    return first_day


def streams(town: Town, event: str) -> list[object]:
    return [row[0] for row in town.execute("SELECT stream FROM event_log WHERE event = %s ORDER BY 1", event)]


async def test_every_seed_has_different_people(core: Core) -> None:
    invented = [person for seed in (0, 1, SEED_MAX) for person in people(core, random.Random(seed), seed)]
    assert len({person.identity_digest for person in invented}) == len({person.person for person in invented})
    assert len({person.identity_digest for person in invented}) == 3 * PEOPLE
    for seed in (-1, SEED_MAX + 1):
        with pytest.raises(ValueError, match="0 to 9999"):
            next(people(core, random.Random(seed), seed))


@pytest.mark.parametrize("commands", [400, 2_000])  # among the agendas of the first week; among the bookings
async def test_an_interrupted_demo_is_completed_days_later(
    core: Core, town: Town, clock: Clock, commands: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    first_day = await begin(core, town, clock, commands, monkeypatch)
    begun = set(streams(town, "agenda_published.v1"))
    clock.wait(9 * 86_400)
    assert await lacking(core, town, local_date(clock.now)) == first_day
    await load_demo(core, seed=SEED, first_day=first_day, console=QUIET, going_on=True)
    assert await lacking(core, town, local_date(clock.now)) is None

    published = streams(town, "agenda_published.v1")
    assert len(published) == len(set(published))
    to_come = {f"agenda/{agenda.agenda}" for agenda in agendas(first_day) if agenda.date >= local_date(clock.now)}
    assert set(published) == begun | to_come
    assert len(streams(town, "person_registered.v1")) == PEOPLE
    dice = random.Random(SEED)
    patients = [person.person for person in people(core, dice, SEED)]
    wanted = {booking.appointment for booking in bookings(core, dice, SEED, patients, first_day)}
    booked = [row[0] for row in town.execute("SELECT state->>'appointment' FROM event_log WHERE event ~ 'booked'")]
    assert len(booked) == len(set(booked)) > 100
    assert set(booked) < wanted


async def test_a_demo_whose_days_are_over_is_not_changed(
    core: Core, town: Town, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    first_day = await begin(core, town, clock, 100, monkeypatch)
    assert await lacking(core, town, first_day + timedelta(days=29)) == first_day
    assert await lacking(core, town, first_day + timedelta(days=31)) is None


async def test_completing_skips_what_conflicts(
    core: Core, town: Town, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    first_day = await begin(core, town, clock, 100, monkeypatch)
    *_, there, _last = agendas(first_day)
    other = type(there)(**{name: getattr(there, name) for name in there.__struct_fields__} | {"specialty": "surgery"})
    await core.committer.submit(other, key("other"))
    made = await load_demo(core, seed=SEED, first_day=first_day, console=QUIET, going_on=True)
    assert isinstance(made, DemoCity)
    assert made.agendas == len(list(agendas(first_day))) - 1
    assert (await core.log.state(f"agenda/{there.agenda}")).published.specialty == "surgery"
    assert await lacking(core, town, first_day) is None


async def test_only_an_empty_log_gets_a_demo(core: Core, town: Town, clock: Clock) -> None:
    today = local_date(clock.now)
    assert await lacking(core, town, today) == today
    await core.committer.submit(hospital(), key("hospital", actor="demo"))
    assert await lacking(core, town, today) is None
