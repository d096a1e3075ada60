"""The runner on a real log: pages, checkpoints, parked streams, generations."""

import asyncio
import threading
import time
from datetime import UTC, datetime
from typing import Any

import msgspec
import psycopg
import pytest

import projections.engine.pages
import projections.engine.runner
from api.contexts import read_models
from domain.appointments.agenda import AgendaPublished, AppointmentBooked
from domain.appointments.cancelling import CancelAppointment
from domain.decider import build
from infra.log.core import Core
from infra.postgres.views import Views
from projections.appointments.availability import AVAILABILITY, AgendaRow, agendas_from, free_by_day
from projections.engine.building import Building, Overtaken
from projections.engine.columns import BigInt
from projections.engine.generations import Generation, Generations, Places
from projections.engine.keyset import Range
from projections.engine.pages import LogHasGap
from projections.engine.projection import Entry, Projection, Row
from projections.engine.runner import Busy, Runner, connect, rebuild, statuses, verify
from tests.city import AGENDA, DAY, agenda, booking, hospital, key, opaque, open_agenda
from tests.projecting import decode, projector
from tests.towns import Town

pytestmark = pytest.mark.anyio

SOON_S = 20


class Tally(Row):
    """Bookings of an agenda."""

    agenda: str
    booked: int


def tally(version: int = 1, *, fails_for: str = "") -> Projection:
    """A small projection; its fold fails at the booking of one patient, after it has changed the row."""

    def evolve(row: Tally | None, entry: Entry, name: str) -> Tally | None:
        row = row or Tally(agenda=name, booked=0)
        row.booked += 1
        assert isinstance(entry.event, AppointmentBooked)
        if fails_for and entry.event.patient == opaque(fails_for):
            raise ValueError(f"no fold for {entry.event.slot}\0")
        return row

    return Projection(
        name="tally",
        version=version,
        row=Tally,
        indexes=(),
        events=(AppointmentBooked,),
        keys=lambda entry: (entry.stream,),
        evolve=evolve,
    )


async def book(core: Core, slot: int, patient: str, practitioner: str = "p-01") -> int:
    name = AGENDA.replace("p-01", practitioner)
    outcome = await core.committer.submit(booking(slot, patient, agenda=name), key(f"{practitioner} {slot} {patient}"))
    return outcome.position


async def open_two_agendas(core: Core) -> None:
    await open_agenda(core)
    await core.committer.submit(agenda(practitioner="p-02"), key("agenda 2"))


def rows(town: Town, name: str) -> list[Any]:
    with connect(town.application) as connection:
        return connection.execute(f"SELECT * FROM {town.schema}_views.{name} ORDER BY 1").fetchall()


async def until(condition: Any) -> None:
    ends = time.monotonic() + SOON_S
    while not condition():
        assert time.monotonic() < ends, "that takes too long"
        await asyncio.sleep(0.02)


async def test_rows_and_checkpoint_are_one_transaction(core: Core, town: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(projections.engine.pages, "PAGE_EVENTS_MAX", 3)
    await open_two_agendas(core)
    for slot in range(1, 5):
        await book(core, slot, f"patient {slot}")
    head = await core.log.head()
    with projector(town, [tally()]) as projecting:
        projecting.catch_up()
    with connect(town.application) as connection:
        (status,) = statuses(connection, Places(town.schema), [tally()])
    assert (status.position, status.lag_events, status.lag_s, status.parked) == (head, 0, 0, 0)
    assert rows(town, "tally") == [(f"agenda/{AGENDA}", 4)]


async def test_rows_are_looked_up_by_key_even_in_a_small_table(core: Core, town: Town) -> None:
    """A plan of a table that nobody has analyzed is kept until somebody does: it must not read all of it each time."""
    await open_two_agendas(core)
    followed = [tally(), AVAILABILITY, msgspec.structs.replace(read_models()["appointments"], created_by=())]
    with projector(town, followed) as projecting:
        projecting.catch_up()
    await until(lambda: all(whole for whole, _ in scans(town).values()))  # to make an index takes some
    before = scans(town)
    with projector(town, followed) as projecting:
        for slot in range(1, 13):  # more often than the driver, and then the server, make a new plan
            await book(core, slot % 6 + 1, f"patient {slot}", "p-01" if slot <= 6 else "p-02")
            projecting.catch_up()
    await until(lambda: all(by_key >= before[name][1] + 12 for name, (_, by_key) in scans(town).items()))
    assert {name: whole for name, (whole, _) in scans(town).items()} == {name: one[0] for name, one in before.items()}


def scans(town: Town) -> dict[str, tuple[int, int]]:
    """By table, how often all of it was read, and how often it was looked into by an index."""
    with connect(town.application) as connection:
        connection.execute("SELECT pg_stat_force_next_flush()")
        found = connection.execute(
            "SELECT relname, seq_scan, idx_scan FROM pg_stat_user_tables WHERE schemaname = %s AND relname LIKE %s",
            (f"{town.schema}_views", "%_1"),
        ).fetchall()
    return {name: (whole, by_key) for name, whole, by_key in found}


async def test_a_large_event_is_a_page_of_its_own(core: Core, town: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(projections.engine.pages, "PAGE_BYTES_MAX", 100)
    await open_two_agendas(core)
    with connect(town.application) as connection:
        generations = Generations(connection, Places(town.schema))
        live = generations.begin(AVAILABILITY, live=True)
        building = Building(connection, Places(town.schema), AVAILABILITY, live, decode)
        steps = []
        while step := building.step():
            steps.append(step)
    assert sum(steps) == await core.log.head()
    assert steps[0] == 2  # the hospital, and the first agenda although it is larger
    assert [row[0] for row in rows(town, "availability")] == [AGENDA, AGENDA.replace("p-01", "p-02")]


async def test_a_poison_event_parks_only_its_stream(core: Core, town: Town) -> None:
    await open_two_agendas(core)
    await book(core, 1, "ana")
    poison = await book(core, 2, "luis")
    await book(core, 3, "eva", "p-02")
    with projector(town, [tally(fails_for="luis")]) as projecting:
        projecting.catch_up()
        await book(core, 3, "rosa")
        await book(core, 4, "juan", "p-02")
        projecting.catch_up()
    # Ana's booking came before the poison and stands; Rosa's came after it. The fold had counted Luis already.
    assert rows(town, "tally") == [(f"agenda/{AGENDA}", 1), (f"agenda/{AGENDA.replace('p-01', 'p-02')}", 2)]
    with connect(town.application) as connection:
        generations = Generations(connection, Places(town.schema))
        live = generations.live("tally")
        assert live is not None
        (parked,) = generations.parked(live)
        (status,) = statuses(connection, Places(town.schema), [tally()])
    assert (parked.stream, parked.position) == (f"agenda/{AGENDA}", poison - 1)
    assert parked.error == "ValueError: no fold for 2\\0"
    assert (status.parked, status.lag_events) == (1, 0)
    # The mended version is built anew, and nothing was lost.
    mended = rebuild(town.application, Places(town.schema), tally(version=2), decode)
    assert mended is not None
    assert (mended.version, mended.live) == (2, True)
    assert rows(town, "tally") == [(f"agenda/{AGENDA}", 3), (f"agenda/{AGENDA.replace('p-01', 'p-02')}", 2)]
    with connect(town.application) as connection:
        assert Generations(connection, Places(town.schema)).parked(mended) == []


@pytest.mark.parametrize("page_events", [1, 5_000])
@pytest.mark.parametrize("fails_first", [True, False])
async def test_a_stream_with_two_bad_events_is_parked_at_the_first(
    core: Core, town: Town, monkeypatch: pytest.MonkeyPatch, page_events: int, fails_first: bool
) -> None:
    """One that the fold can't take, and one that can't be read, in either order, in one page or each in its own."""
    monkeypatch.setattr(projections.engine.pages, "PAGE_EVENTS_MAX", page_events)
    await open_agenda(core)
    await book(core, 1, "ana")
    first = await book(core, 2, "luis" if fails_first else "eva") - 1
    second = await book(core, 3, "rosa" if fails_first else "luis") - 1
    town.execute("UPDATE events SET state = '{}' WHERE notification_id = %s", second if fails_first else first)
    with projector(town, [tally(fails_for="luis")]) as projecting:
        projecting.catch_up()
    with connect(town.application) as connection:
        (status,) = statuses(connection, Places(town.schema), [tally()])
        found = connection.execute(f'SELECT stream, "position" FROM {town.schema}_views.parked').fetchall()
    assert found == [(f"agenda/{AGENDA}", first)]
    assert (status.position, rows(town, "tally")) == (await core.log.head(), [(f"agenda/{AGENDA}", 1)])


async def test_a_page_is_folded_at_most_twice(core: Core, town: Town) -> None:
    await core.committer.submit(hospital(), key("hospital"))
    practitioners = [f"p-{n:02d}" for n in range(1, 31)]
    for practitioner in practitioners:
        await core.committer.submit(agenda(practitioner=practitioner), key(practitioner))
        await book(core, 1, f"well {practitioner}", practitioner)
        await book(core, 2, f"bad {practitioner}", practitioner)
        await book(core, 3, f"late {practitioner}", practitioner)
    folded: list[int] = []

    def evolve(row: Tally | None, entry: Entry, name: str) -> Tally | None:
        folded.append(entry.position)
        row = row or Tally(agenda=name, booked=0)
        row.booked += 1
        assert isinstance(entry.event, AppointmentBooked)
        if entry.event.slot == 2:
            raise ValueError("no fold")
        return row

    with projector(town, [msgspec.structs.replace(tally(), evolve=evolve)]) as projecting:
        projecting.catch_up()
    assert [booked for _, booked in rows(town, "tally")] == [1] * len(practitioners)
    assert len(parked(town)) == len(practitioners)
    # Until the first failure once; then each booking but those after a failure.
    assert len(folded) == 2 + 2 * len(practitioners)


async def test_a_rebuild_killed_after_its_switch_stays(core: Core, town: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    await open_agenda(core)
    places = Places(town.schema)
    with projector(town) as projecting:
        projecting.catch_up()

    def killed(self: Generations, generation: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Generations, "drop", killed)
        with pytest.raises(KeyboardInterrupt):
            rebuild(town.application, places, AVAILABILITY, decode)
    with connect(town.application) as connection:
        known = [(one.generation, one.live) for one in Generations(connection, places).all("availability")]
    assert known == [(1, False), (2, True)]
    made = rebuild(town.application, places, AVAILABILITY, decode)
    assert made is not None
    assert (made.generation, made.live) == (3, True)


@pytest.mark.parametrize("dropped", ["TABLE {}.tally_1 CASCADE", "VIEW {}.tally"])
async def test_a_dropped_table_is_rebuilt(core: Core, town: Town, dropped: str) -> None:
    await open_agenda(core)
    await book(core, 1, "ana")
    with projector(town, [tally()]) as projecting:
        projecting.catch_up()
    with connect(town.application) as connection:
        connection.execute("DROP " + dropped.format(f"{town.schema}_views"))
    with Running(town, tally()):
        await book(core, 2, "luis")
        await until(lambda: position(town, "tally") == 6)
    assert rows(town, "tally") == [(f"agenda/{AGENDA}", 2)]


async def test_readers_of_an_old_table_do_not_block_a_rebuild(
    core: Core, town: Town, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(projections.engine.generations, "DROP_LOCK_WAIT_MS", 50)
    await open_agenda(core)
    with projector(town, [tally()]) as projecting:
        projecting.catch_up()
    places = Places(town.schema)
    with connect(town.application) as reader:
        reader.execute("BEGIN")
        reader.execute(f"SELECT count(*) FROM {places.views}.tally_1")
        assert rebuild(town.application, places, tally(), decode)
        reader.execute("COMMIT")
    assert rebuild(town.application, places, tally(), decode)
    with connect(town.application) as connection:
        assert [one.generation for one in Generations(connection, places).all("tally")] == [3]


async def test_an_old_program_leaves_a_newer_version_alone(core: Core, town: Town) -> None:
    await open_agenda(core)
    with projector(town, [tally(version=2)]) as projecting:
        projecting.catch_up()
    with Running(town, tally(version=1)) as running:
        await until(lambda: running.said)
    assert running.said == ["projection tally: TooOld: version 2 is live already: this program has 1"]
    with connect(town.application) as connection:
        assert [one.version for one in Generations(connection, Places(town.schema)).all("tally")] == [2]


async def test_a_parked_stream_stays_parked_after_a_restart(core: Core, town: Town) -> None:
    await open_agenda(core)
    await book(core, 1, "luis")
    with projector(town, [tally(fails_for="luis")]) as projecting:
        projecting.catch_up()
    await book(core, 2, "ana")
    with projector(town, [tally(fails_for="luis")]) as projecting:
        projecting.catch_up()
    assert rows(town, "tally") == []


async def test_an_unreadable_event_is_parked(core: Core, town: Town) -> None:
    await open_agenda(core)
    await book(core, 1, "ana")
    town.execute("UPDATE events SET state = '{}' WHERE topic = 'appointment_booked.v1'")
    with projector(town) as projecting:
        projecting.catch_up()
    assert {(name, stream) for name, stream in parked(town)} == {("availability", f"agenda/{AGENDA}")}


def parked(town: Town) -> list[Any]:
    with connect(town.application) as connection:
        return connection.execute(f"SELECT name, stream FROM {town.schema}_views.parked").fetchall()


@pytest.mark.parametrize(("bookings", "gap"), [(3, 4), (3, 2), (0, 1)])  # in a page of which nothing counts, too
async def test_a_gap_in_the_log_stops_a_runner(core: Core, town: Town, bookings: int, gap: int) -> None:
    await open_agenda(core)
    for slot in range(1, bookings + 1):
        await book(core, slot, f"patient {slot}")
    town.execute("DELETE FROM events WHERE notification_id = %s", gap)
    with projector(town, [tally()]) as projecting, pytest.raises(LogHasGap):
        projecting.catch_up()
    with connect(town.application) as connection:
        (status,) = statuses(connection, Places(town.schema), [tally()])
    assert status.position == 0
    assert rows(town, "tally") == []


@pytest.mark.parametrize("bookings", [0, 1])  # where nothing counted, too, and there is no more to do than to move on
async def test_an_overtaken_runner_writes_nothing(core: Core, town: Town, bookings: int) -> None:
    await open_agenda(core)
    for slot in range(1, bookings + 1):
        await book(core, slot, "ana")
    with projector(town, [tally()]) as one, projector(town, [tally()]) as other:
        one.catch_up()
        with pytest.raises(Overtaken):
            other.catch_up()
    assert rows(town, "tally") == [(f"agenda/{AGENDA}", 1)] * bookings


class Running:
    """A runner in a thread."""

    def __init__(self, town: Town, *wanted: Projection) -> None:
        self.said: list[str] = []
        self.runner = Runner(
            town.application, schema=town.schema, decode=decode, projections=wanted, say=self.said.append
        )
        self._thread = threading.Thread(target=self.runner.run)

    def __enter__(self) -> "Running":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.runner.stop()
        self._thread.join()


def position(town: Town, name: str) -> int:
    with connect(town.application) as connection:
        live = Generations(connection, Places(town.schema)).live(name)
        return live.position if live else -1


async def test_a_second_runner_waits_and_takes_over(core: Core, town: Town) -> None:
    await open_agenda(core)
    with Running(town, tally()) as first:
        await until(lambda: position(town, "tally") == 2)
        with Running(town, tally()) as second:
            for slot in (1, 2, 3):
                await book(core, slot, f"patient {slot}")
            head = await core.log.head()
            await until(lambda: position(town, "tally") == head)
            first.runner.stop()
            await book(core, 4, "late")
            await until(lambda: position(town, "tally") == head + 2)
            assert second.said == []
        assert first.said == []
    assert rows(town, "tally") == [(f"agenda/{AGENDA}", 4)]


async def test_a_failing_projection_is_logged_once_and_others_continue(core: Core, town: Town) -> None:
    await open_agenda(core)
    projections_retry_s, projections.engine.runner.RETRY_S = projections.engine.runner.RETRY_S, 0.05
    broken = msgspec.structs.replace(tally(), name="broken", indexes=("nothing",))
    try:
        with Running(town, broken, tally()) as running:
            await until(lambda: position(town, "tally") == 2)
            await book(core, 1, "ana")
            await until(lambda: position(town, "tally") == 4)
            await asyncio.sleep(0.3)
    finally:
        projections.engine.runner.RETRY_S = projections_retry_s
    assert len(running.said) == 1
    assert "projection broken: UndefinedColumn" in running.said[0]


async def test_a_raised_version_is_built_beside_the_old_one(core: Core, town: Town) -> None:
    await open_agenda(core)
    await book(core, 1, "ana")
    with projector(town, [tally()]) as projecting:
        projecting.catch_up()

    class Wider(Row):
        agenda: str
        booked: int
        last: BigInt

    def evolve(row: Wider | None, entry: Entry, name: str) -> Wider | None:
        return Wider(agenda=name, booked=row.booked + 1 if row else 1, last=entry.position)

    wider = msgspec.structs.replace(tally(version=2), row=Wider, evolve=evolve)
    with Running(town, wider) as running:
        await book(core, 2, "luis")
        await until(lambda: rows(town, "tally") == [(f"agenda/{AGENDA}", 2, 5)])
    assert running.said == ["projection tally: version 2 is being built"]
    tables = town.execute(
        "SELECT count(*) FROM pg_tables WHERE schemaname = %s AND tablename LIKE 'tally%%'", f"{town.schema}_views"
    )
    assert tables == [(1,)]


async def test_a_rebuild_under_load_misses_nothing(core: Core, town: Town, views: Views) -> None:
    """No answer is missing or wrong before, at and after the switch."""
    practitioners = [f"p-{n:02d}" for n in range(1, 3)]
    await core.committer.submit(hospital(), key("hospital"))
    for practitioner in practitioners:
        await core.committer.submit(agenda(36, practitioner=practitioner), key(practitioner))
    wanted = [(slot, practitioner) for slot in range(1, 37) for practitioner in practitioners]
    published = 1 + len(practitioners)
    done = asyncio.Event()
    now = datetime(2027, 1, 4, tzinfo=UTC)
    question = free_by_day(specialty="pediatrics", hospital=None, practitioner=None, first=DAY, last=DAY, now=now)

    async def book_all() -> None:
        for number, (slot, practitioner) in enumerate(wanted):
            at = await book(core, slot, f"patient {number}", practitioner)
            ((day,), fresh) = await views.ask(question, at_least=at)
            # Each booking writes two events; the first half of one is never seen without the other.
            assert day.free == len(wanted) - number - 1
            assert (fresh.lag_events, fresh.lag_s) == (0, 0.0)
        done.set()

    async def ask_on() -> list[int]:
        seen = []
        while not done.is_set():
            ((day,), fresh) = await views.ask(question)
            booked = len(wanted) - day.free
            assert fresh.position >= published + 2 * booked - 1
            seen.append(fresh.position)
        return seen

    async def rebuild_on() -> int:
        switched = 0
        while not done.is_set():
            made = await asyncio.to_thread(rebuild, town.application, Places(town.schema), AVAILABILITY, decode)
            assert made is not None
            switched += 1
        return switched

    with Running(town, AVAILABILITY) as running:
        await until(lambda: position(town, "availability") == published)
        _, seen, switched = await asyncio.gather(book_all(), ask_on(), rebuild_on())
    assert running.said == []
    assert seen == sorted(seen)
    assert switched >= 2
    assert verify(town.application, Places(town.schema), AVAILABILITY, decode).different == 0


async def test_a_runner_started_during_a_switch_uses_the_new_table(
    core: Core, town: Town, monkeypatch: pytest.MonkeyPatch
) -> None:
    await open_agenda(core)
    with projector(town) as projecting:
        projecting.catch_up()
    has_table = Generations.has_table
    replaced: list[int] = []

    def too_late(self: Generations, generation: Generation) -> bool:
        if not replaced:  # between looking which one is live and looking for its table
            replaced.append(generation.generation)
            assert rebuild(town.application, Places(town.schema), AVAILABILITY, decode)
        return has_table(self, generation)

    monkeypatch.setattr(Generations, "has_table", too_late)
    with Running(town, AVAILABILITY) as running:
        await book(core, 1, "ana")
        await until(lambda: position(town, "availability") == 4)
    assert (replaced, running.said) == ([1], [])


async def test_an_interrupted_rebuild_is_resumed(core: Core, town: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(projections.engine.pages, "PAGE_EVENTS_MAX", 2)
    await open_agenda(core)
    for slot in range(1, 7):
        await book(core, slot, f"patient {slot}")
    places = Places(town.schema)
    with projector(town) as projecting:
        projecting.catch_up()
    told = threading.Event()

    def stop_at_6(at: int) -> None:
        if at >= 6:
            told.set()

    assert rebuild(town.application, places, AVAILABILITY, decode, advance=stop_at_6, stop=told) is None
    with connect(town.application) as connection:
        status = statuses(connection, places, read_models().values())[0]
    assert (status.building, status.position) == (6, 14)
    went: list[int] = []
    made = rebuild(town.application, places, AVAILABILITY, decode, advance=went.append)
    assert went == [8, 10, 12, 14]
    assert made is not None
    assert made.generation == 2
    assert verify(town.application, places, AVAILABILITY, decode).different == 0


async def test_one_rebuild_at_a_time(core: Core, town: Town) -> None:
    await open_agenda(core)
    busy: list[str] = []

    def meanwhile(_at: int) -> None:
        with pytest.raises(Busy):
            verify(town.application, Places(town.schema), AVAILABILITY, decode)
        busy.append("seen")

    assert rebuild(town.application, Places(town.schema), AVAILABILITY, decode, advance=meanwhile)
    assert busy == ["seen"]


async def test_verify_finds_wrong_rows(core: Core, town: Town) -> None:
    await open_two_agendas(core)
    await book(core, 1, "ana")
    with projector(town) as projecting:
        projecting.catch_up()
    places = Places(town.schema)
    found = verify(town.application, places, AVAILABILITY, decode)
    assert (found.rows, found.different) == (2, 0)
    with connect(town.application) as connection:
        connection.execute(f"UPDATE {places.views}.availability_1 SET unbooked = B'1' WHERE agenda = %s", (AGENDA,))
        assert verify(town.application, places, AVAILABILITY, decode).examples == [AGENDA]
        connection.execute(f"DELETE FROM {places.views}.availability_1 WHERE agenda = %s", (AGENDA,))
        found = verify(town.application, places, AVAILABILITY, decode)
    assert (found.rows, found.different, found.examples) == (2, 1, [AGENDA])
    assert AGENDA in str(found)


async def test_queries_on_the_old_table_only_delay_the_switch(
    core: Core, town: Town, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(projections.engine.generations, "SWITCH_LOCK_WAIT_MS", 50)
    monkeypatch.setattr(projections.engine.runner, "SWITCH_TRIES_MAX", 2)
    await open_agenda(core)
    with projector(town) as projecting:
        projecting.catch_up()
    places = Places(town.schema)
    with connect(town.application) as reader:
        reader.execute("BEGIN")
        reader.execute(f"SELECT count(*) FROM {places.views}.availability")
        with pytest.raises(psycopg.errors.LockNotAvailable):
            rebuild(town.application, places, AVAILABILITY, decode)
        assert [row[0] for row in rows(town, "availability")] == [AGENDA]
        reader.execute("COMMIT")
    made = rebuild(town.application, places, AVAILABILITY, decode)
    assert made is not None
    assert made.live


async def test_rows_agree_with_the_domain(core: Core, town: Town, views: Views) -> None:
    await open_agenda(core)
    await book(core, 2, "ana")
    await book(core, 4, "luis")
    ana = booking(2, "ana")
    await core.committer.submit(build(CancelAppointment, appointment=ana.appointment), key("cancel"))
    with projector(town) as projecting:
        projecting.catch_up()
    question = agendas_from(
        hospital="la-merced", specialty="pediatrics", practitioner=None, on_or_after=DAY, part=Range(5)
    )
    ((row,), _) = await views.ask(question)
    assert isinstance(row, AgendaRow)
    assert (row.unbooked, row.unbooked_count, row.first_unbooked) == ("111011", 5, 1)
    assert (row.taken, len(row.starts)) == ({"WEB": 1}, 6)
    assert {event.event_name for event in AVAILABILITY.events} >= {AgendaPublished.event_name}


class Latest(Row):
    """The slot of an agenda that was booked last."""

    agenda: str
    slot: int


def latest() -> Projection:
    """A booking sets the row, whatever was there before; a booking of slot 3 deletes it."""

    def evolve(_row: Latest | None, entry: Entry, name: str) -> Latest | None:
        assert isinstance(entry.event, AppointmentBooked)
        return None if entry.event.slot == 3 else Latest(agenda=name, slot=entry.event.slot)

    return Projection(
        name="latest",
        version=1,
        row=Latest,
        indexes=(),
        events=(AppointmentBooked,),
        keys=lambda entry: (entry.stream,),
        evolve=evolve,
        created_by=(AppointmentBooked,),
    )


@pytest.mark.parametrize("remembered", [True, False])
@pytest.mark.parametrize(("slots", "left"), [([1, 2], [2]), ([1, 3], []), ([3, 1], [1]), ([2, 3, 1], [1])])
async def test_a_creating_event_may_find_an_existing_row(
    core: Core, town: Town, remembered: bool, slots: list[int], left: list[int]
) -> None:
    """The row is not looked up first. The primary key refuses a second one, and the page is folded again."""
    await open_agenda(core)
    with projector(town, [latest()]) as projecting:
        for slot in slots:
            await book(core, slot, f"patient {slot}")
            if remembered:
                projecting.catch_up()
            else:
                with projector(town, [latest()]) as another:
                    another.catch_up()
    assert rows(town, "latest") == [(f"agenda/{AGENDA}", slot) for slot in left]
    assert verify(town.application, Places(town.schema), latest(), decode).different == 0


async def test_a_page_that_changes_deleted_rows_is_not_written(core: Core, town: Town) -> None:
    await open_agenda(core)
    with projector(town, [tally()]) as projecting, connect(town.application) as connection:
        await book(core, 1, "ana")
        projecting.catch_up()
        connection.execute(f"DELETE FROM {town.schema}_views.tally")
        await book(core, 2, "luis")
        with pytest.raises(Overtaken):
            projecting.catch_up()
    assert (position(town, "tally"), rows(town, "tally")) == (4, [])


@pytest.mark.parametrize("fails", [True, False])
async def test_one_page_inserts_changes_and_deletes_rows(core: Core, town: Town, fails: bool) -> None:
    """Also when a stream is parked in it."""
    await open_two_agendas(core)
    await core.committer.submit(agenda(practitioner="p-03"), key("agenda 3"))
    await core.committer.submit(agenda(practitioner="p-04"), key("agenda 4"))

    def evolve(row: Tally | None, entry: Entry, name: str) -> Tally | None:
        assert isinstance(entry.event, AppointmentBooked)
        if fails and name.endswith("p-04"):
            raise ValueError("no fold")
        booked = row.booked + 1 if row else 1
        return None if entry.event.slot == 6 else Tally(agenda=name, booked=booked)

    with projector(town, [msgspec.structs.replace(tally(), evolve=evolve)]) as projecting:
        await book(core, 1, "stays")
        await book(core, 1, "goes", "p-02")
        projecting.catch_up()
        await book(core, 2, "changes")
        await book(core, 6, "takes away", "p-02")
        await book(core, 1, "new", "p-03")
        await book(core, 1, "parked", "p-04")
        projecting.catch_up()
    assert [(name[-4:], booked) for name, booked in rows(town, "tally")] == [
        ("p-01", 2),
        ("p-03", 1),
        *([] if fails else [("p-04", 1)]),
    ]
    assert len(parked(town)) == fails
    assert position(town, "tally") == await core.log.head()
