"""The process that keeps the read models is killed again and again, while the city books."""

import asyncio
import random
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import pytest

from api.contexts import read_models
from infra.log.core import Core
from infra.postgres.embedded import APPLICATION, EmbeddedPostgres
from infra.postgres.views import Views
from projections.appointments.availability import free_by_day
from projections.engine.generations import Places
from projections.engine.runner import verify
from tests.city import AGENDA, DAY, agenda, booking, hospital, key
from tests.clusters import prepare
from tests.conftest import SECRET
from tests.faults.test_own_database import url
from tests.programs import Program
from tests.projecting import Projector, decode, projector
from tests.serving import environment, igob, igob_here
from tests.towns import Town

PRACTITIONERS = [f"p-{n:02d}" for n in range(1, 9)]
SLOTS = 36
START_S = 20
CLIENTS = 32
BEFORE = datetime(2027, 1, 4, tzinfo=UTC)


@contextmanager
def projecting(town: Town, server: EmbeddedPostgres) -> Iterator[Program]:
    settings = {"IGOB_DATABASE_URL": url(server, APPLICATION), "IGOB_SECRET": SECRET.hex(), "IGOB_SCHEMA": town.schema}
    process = Program(["projections", "run"], environment(**settings), outputs=(1, 2))
    try:
        yield process
    finally:
        process.kill()
        process.wait()


async def open_agendas(core: Core) -> None:
    await core.committer.submit(hospital(), key("hospital"))
    for practitioner in PRACTITIONERS:
        await core.committer.submit(agenda(SLOTS, practitioner=practitioner), key(practitioner))


async def book_on(core: Core, done: asyncio.Event, pause_s: float) -> int:
    """Book what there is until told to stop, again and again cancelled agendas' worth of it; how many."""
    count = 0
    while not done.is_set():
        day = count // (SLOTS * len(PRACTITIONERS))
        place = count % (SLOTS * len(PRACTITIONERS))
        if place == 0 and day:
            for practitioner in PRACTITIONERS:
                later = agenda(SLOTS, practitioner=practitioner, day=DAY.replace(day=5 + day))
                await core.committer.submit(later, key(f"{practitioner} {day}"))
        name = AGENDA.replace("p-01", PRACTITIONERS[place % len(PRACTITIONERS)])
        name = name.replace(DAY.isoformat(), DAY.replace(day=5 + day).isoformat())
        slot = 1 + place // len(PRACTITIONERS)
        await core.committer.submit(booking(slot, f"patient {count}", agenda=name), key(f"booking {count}"))
        count += 1
        await asyncio.sleep(pause_s)
    return count


@pytest.mark.anyio
@pytest.mark.parametrize("kills", [6, pytest.param(100, marks=[pytest.mark.long, pytest.mark.timeout(900)])])
async def test_a_killed_projector_continues_at_its_position(
    core: Core, town: Town, server: EmbeddedPostgres, views: Views, kills: int
) -> None:
    dice = random.Random(kills)
    await open_agendas(core)
    done = asyncio.Event()
    working = asyncio.create_task(book_on(core, done, pause_s=0.05 if kills > 10 else 0.01))
    reached = 0
    for _ in range(kills):
        with projecting(town, server) as process:
            # Somewhere between before its first page and well into its work.
            before = reached
            ends = time.monotonic() + START_S
            while reached == before and process.poll() is None and time.monotonic() < ends:
                found = (await views.freshness(["availability"]))["availability"]
                reached = found.position if found else 0
                await asyncio.sleep(0.005)
            assert reached > before
            await asyncio.sleep(dice.random() * 0.3)
    done.set()
    booked = await working
    with projector(town) as last:
        last.catch_up()
    await equal_to_anew(town, booked)


async def equal_to_anew(town: Town, booked: int) -> None:
    for projection in read_models().values():
        found = await asyncio.to_thread(verify, town.application, Places(town.schema), projection, decode)
        assert found.different == 0, str(found)
        if projection.name == "appointments":
            assert found.rows == booked


async def keep_up(last: Projector, done: asyncio.Event) -> None:
    while not done.is_set():
        await asyncio.to_thread(last.catch_up)
        await asyncio.sleep(0.005)


@pytest.mark.anyio
@pytest.mark.parametrize("pairs", [1_500, pytest.param(100_000, marks=[pytest.mark.long, pytest.mark.timeout(1_200)])])
async def test_atleast_returns_what_was_written(core: Core, town: Town, views: Views, pairs: int) -> None:
    """Many clients write and read what they wrote: no answer is older than what they know."""
    count = iter(range(pairs))
    stale: list[str] = []
    lags: list[tuple[int, int]] = []

    async def client(name: int) -> None:
        """An agenda of its own: after n bookings, n slots fewer are free."""
        practitioner, day = f"c-{name:02d}", 0
        for booked, _ in enumerate(count):
            if booked == day * SLOTS:  # the agenda is full, or there is none yet
                day += 1
                one = agenda(SLOTS, practitioner=practitioner, specialty=f"s-{name}", day=DAY.replace(day=day_of(day)))
                one = msgspec.structs.replace(one, practitioner=f"{practitioner}-{day}")
                await core.committer.submit(one, key(f"{practitioner} {day}"))
            date = DAY.replace(day=day_of(day))
            place = f"la-merced/{date}/{practitioner}-{day}"
            wanted = booking(1 + booked % SLOTS, f"patient {name} {booked}", agenda=place)
            outcome = await core.committer.submit(wanted, key(f"{place} {booked}"))
            question = free_by_day(
                specialty=f"s-{name}",
                hospital=None,
                practitioner=f"{practitioner}-{day}",
                first=date,
                last=date,
                now=BEFORE,
            )
            (found,), fresh = await views.ask(question, at_least=outcome.position)
            if found.free != day * SLOTS - booked - 1 or fresh.position < outcome.position:
                stale.append(
                    f"{place}: {found.free} free after {booked + 1}, at {fresh.position} of {outcome.position}"
                )
            lags.append((fresh.position, fresh.lag_events))

    done = asyncio.Event()
    with projector(town) as last:
        await core.committer.submit(hospital(), key("hospital"))
        keeping = asyncio.create_task(keep_up(last, done))
        await asyncio.gather(*(client(name) for name in range(CLIENTS)))
        done.set()
        await keeping
    assert stale == []
    assert len(lags) == pairs
    head = await core.log.head()
    assert all(position + lag <= head for position, lag in lags)


def day_of(number: int) -> int:
    return 5 + number % 20


def test_unknown_read_models_are_reported(tmp_path: Path) -> None:
    prepare(tmp_path / "city")
    told = igob_here("projections", "rebuild", "nothing", "--data-dir", str(tmp_path / "city"))
    assert told.returncode == 1
    assert f"there is no projection nothing; there are {', '.join(read_models())}" in told.stderr
    told = igob("projections", "verify", "--data-dir", str(tmp_path / "city"))
    assert told.returncode == 1
    assert "projection availability was never built: run igob projections run" in told.stderr
