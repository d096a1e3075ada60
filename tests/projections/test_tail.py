"""The log's end, looked at once for all read models: what it gives, what it keeps, and what happens without it."""

import asyncio
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
import pytest

import projections.runner
import projections.tail
from infra.core import Core
from projections.building import Building
from projections.generations import Places
from projections.pages import NO_END, LogHasGap, Page, Pages
from projections.runner import connect
from projections.tail import Ended, Tail
from tests.city import AGENDA, open_agenda
from tests.conftest import Town
from tests.projections.test_runner import Running, book, position, rows, tally, until

pytestmark = pytest.mark.anyio

LONG_S = 60.0


@contextmanager
def reading(town: Town) -> Iterator[tuple[Tail, psycopg.Connection]]:
    """A tail that is read from where the log ends now."""
    tail = Tail(Places(town.schema))
    with connect(town.application) as connection:
        tail.begin(connection)
        yield tail, connection


def everything(town: Town, connection: psycopg.Connection, after: int) -> Page | None:
    return Pages(Places(town.schema)).read(connection, None, after=after)


async def test_it_gives_each_what_follows_its_own_position(core: Core, town: Town) -> None:
    await open_agenda(core)
    with reading(town) as (tail, connection):
        assert tail.after(2) is None  # nothing is new
        for slot in (1, 2):
            await book(core, slot, f"patient {slot}")
            tail.look(connection)
        for after in (2, 3, 4, 5):
            assert tail.after(after) == everything(town, connection, after)
        assert tail.after(6) is None
        assert tail.after(1) is None  # the agenda was there before: not all that follows is kept
        assert tail.after(9) is None  # somebody looked for himself meanwhile


@pytest.mark.parametrize("bound", ["KEPT_PAGES_MAX", "KEPT_EVENTS_MAX", "KEPT_BYTES_MAX"])
async def test_it_keeps_the_last_page_and_no_more_than_its_bound(
    core: Core, town: Town, monkeypatch: pytest.MonkeyPatch, bound: str
) -> None:
    await open_agenda(core)
    with reading(town) as (tail, connection):
        for slot in (1, 2, 3):
            await book(core, slot, f"patient {slot}")
            tail.look(connection)
        assert tail.after(2) == everything(town, connection, 2)
        monkeypatch.setattr(projections.tail, bound, 0)
        await book(core, 4, "patient 4")
        tail.look(connection)
        assert tail.after(6) is None
        assert tail.after(8) == everything(town, connection, 8)


async def test_a_gap_is_no_page(core: Core, town: Town) -> None:
    await open_agenda(core)
    with reading(town) as (tail, connection):
        await book(core, 1, "ana")
        town.execute("DELETE FROM events WHERE notification_id = 3")
        with pytest.raises(LogHasGap):
            tail.look(connection)
        assert tail.after(2) is None


async def test_whoever_waits_is_told(core: Core, town: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(projections.tail, "LOOK_ANYWAY_S", LONG_S)
    await open_agenda(core)
    with reading(town) as (tail, connection):
        waiting = threading.Thread(target=tail.wait, args=(2, threading.Event()))
        waiting.start()
        tail.look(connection)
        waiting.join(0.1)
        assert waiting.is_alive()  # there was nothing
        await book(core, 1, "ana")
        tail.look(connection)
        waiting.join(LONG_S / 2)
        assert not waiting.is_alive()
        begun_s = time.monotonic()
        tail.wait(3, threading.Event())  # something follows already
        assert time.monotonic() - begun_s < LONG_S / 2


async def test_whoever_waits_is_told_that_nobody_reads_any_more(
    core: Core, town: Town, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(projections.tail, "LOOK_ANYWAY_S", LONG_S)
    await open_agenda(core)
    with reading(town) as (tail, _):
        waiting = threading.Thread(target=tail.wait, args=(2, threading.Event()))
        waiting.start()
        tail.end()
        waiting.join(LONG_S / 2)
        assert not waiting.is_alive()
        begun_s = time.monotonic()
        tail.wait(2, threading.Event())  # a moment, and he looks for himself
        assert time.monotonic() - begun_s < LONG_S / 2


async def test_a_read_model_that_is_there_asks_the_log_for_nothing(
    core: Core, town: Town, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("LOOK_ANYWAY_S", "LATE_S"):
        monkeypatch.setattr(projections.tail, name, LONG_S)
    begun = threading.Event()
    begin, read = Tail.begin, Pages.read
    asked: list[int] = []

    def noted(
        self: Pages, connection: psycopg.Connection, topics: list[str] | None, *, after: int, until: int = NO_END
    ) -> Page | None:
        if topics is not None:  # a read model for itself
            asked.append(after)
        return read(self, connection, topics, after=after, until=until)

    def noting(self: Tail, connection: psycopg.Connection) -> None:
        begin(self, connection)
        begun.set()

    monkeypatch.setattr(Pages, "read", noted)
    monkeypatch.setattr(Tail, "begin", noting)
    await open_agenda(core)
    with Running(town, tally()):
        await until(lambda: position(town, "tally") == 2)
        await until(begun.is_set)
        while asked:  # each on its own would never stop
            asked.clear()
            await asyncio.sleep(0.2)
        for slot in range(1, 6):
            at = await book(core, slot, f"patient {slot}")
            await until(lambda at=at: position(town, "tally") == at)
    assert asked == []
    assert rows(town, "tally") == [(f"agenda/{AGENDA}", 5)]


async def test_without_it_read_models_look_for_themselves(
    core: Core, town: Town, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(self: Tail, connection: psycopg.Connection) -> None:
        raise RuntimeError("no end in sight")

    await open_agenda(core)
    monkeypatch.setattr(projections.runner, "RETRY_S", 0.05)
    with monkeypatch.context() as patch:
        patch.setattr(Tail, "look", broken)
        with Running(town, tally()) as running:
            await book(core, 1, "ana")
            await until(lambda: position(town, "tally") == 4 and running.said)
            patch.undo()
            await book(core, 2, "luis")
            await until(lambda: position(town, "tally") == 6)
    assert running.said == ["the end of the log: RuntimeError: no end in sight"]


async def test_one_that_hangs_holds_up_nobody(core: Core, town: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither those who wait for it, nor the end."""
    monkeypatch.setattr(projections.tail, "LOOK_ANYWAY_S", 0.2)
    monkeypatch.setattr(projections.tail, "LATE_S", 0.1)
    hangs, goes_on = threading.Event(), threading.Event()

    def hanging(self: Tail, connection: psycopg.Connection) -> int:
        hangs.set()
        goes_on.wait(LONG_S)
        return 0

    monkeypatch.setattr(Tail, "look", hanging)
    await open_agenda(core)
    try:
        with Running(town, tally()) as running:
            await until(hangs.is_set)
            for slot in (1, 2, 3):
                at = await book(core, slot, f"patient {slot}")
                await until(lambda at=at: position(town, "tally") == at)
            begun_s = time.monotonic()
        assert time.monotonic() - begun_s < LONG_S / 2
        assert running.said == []
    finally:
        goes_on.set()


async def test_who_lost_his_connection_takes_nothing_that_was_read_before(core: Core, town: Town) -> None:
    """He may be with another server then, which has other events at these positions."""
    await open_agenda(core)
    with reading(town) as (tail, connection):
        await book(core, 1, "ana")
        tail.look(connection)
        assert tail.after(2)
        tail.end()
        assert tail.after(2) is None
        await book(core, 2, "luis")
        with pytest.raises(Ended):
            tail.look(connection)
        assert tail.after(2) is None
        tail.begin(connection)
        await book(core, 3, "eva")
        tail.look(connection)
        assert tail.after(4) is None
        assert tail.after(6) == everything(town, connection, 6)


async def test_who_is_told_of_what_he_does_not_find_does_not_hurry(
    core: Core, town: Town, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Tail, "wait", lambda *_: None)  # as if there were always more
    asked: list[int] = []
    step = Building.step

    def noted(self: Building) -> int:
        asked.append(self.position)
        return step(self)

    monkeypatch.setattr(Building, "step", noted)
    await open_agenda(core)
    with Running(town, tally()):
        await until(lambda: position(town, "tally") == 2)
        asked.clear()
        begun_s = time.monotonic()
        await asyncio.sleep(0.5)
        seen, took_s = len(asked), time.monotonic() - begun_s
    assert 0 < seen <= took_s / projections.tail.POLL_S + 2


async def test_a_standby_reads_nothing(core: Core, town: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(projections.runner, "STANDBY_POLL_S", 0.05)
    began: list[Tail] = []
    begin = Tail.begin

    def noting(self: Tail, connection: psycopg.Connection) -> None:
        began.append(self)
        begin(self, connection)

    monkeypatch.setattr(Tail, "begin", noting)
    await open_agenda(core)
    with Running(town, tally()) as first:
        await until(lambda: began)
        with Running(town, tally()) as second:
            await asyncio.sleep(0.5)
            assert len(began) == 1
            first.runner.stop()
            await until(lambda: len(began) == 2)
            await book(core, 1, "ana")
            await until(lambda: position(town, "tally") == 4)
        assert second.said == []


async def test_connections_that_break_are_made_again(core: Core, town: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(projections.runner, "RETRY_S", 0.05)
    await open_agenda(core)
    with Running(town, tally()) as running:
        await book(core, 1, "ana")
        await until(lambda: position(town, "tally") == 4)
        with connect(town.application) as connection:
            await until(
                lambda: connection.execute(
                    "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE pid <> pg_backend_pid()"
                    " AND query LIKE %s",
                    (f"%page AS%{town.schema}%",),
                ).fetchall()
            )
        await book(core, 2, "luis")
        await until(lambda: position(town, "tally") == 6)
    assert rows(town, "tally") == [(f"agenda/{AGENDA}", 2)]
    assert all("AdminShutdown" in said or "OperationalError" in said for said in running.said)
