"""A city whose making is cut short: `igob serve --demo`, `igob demo --city`; and a log that somebody else began."""

import asyncio
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
import psycopg
import pytest

from infra.log.core import open_core
from infra.postgres.embedded import APPLICATION, OWNER, EmbeddedPostgres
from infra.running.settings import Settings
from tests.city import hospital, key
from tests.clusters import prepare
from tests.serving import CHECKOUT, IGOB, Serving, environment, igob, igob_here

SECRET = {"IGOB_SECRET": "5e" * 32}
WAIT_S = 60
# A sealed event reads differently each time it is made: of those the stream is enough.
CITY = """SELECT stream, version, event, CASE WHEN event <> 'person_registered.v1' THEN state END
          FROM la_paz.event_log ORDER BY stream, version"""

PEOPLE = 1_000  # of a city with a history


def city(folder: Path) -> list[tuple[Any, ...]]:
    with psycopg.connect(EmbeddedPostgres(folder).conninfo(OWNER)) as connection:
        return connection.execute(CITY).fetchall()


def wait_for_events(folder: Path, events: int) -> None:
    """Return as soon as the log of the folder has so many events."""
    deadline_s = time.monotonic() + WAIT_S
    while time.monotonic() < deadline_s:
        try:
            with psycopg.connect(EmbeddedPostgres(folder).conninfo(OWNER), autocommit=True) as connection:
                while time.monotonic() < deadline_s:
                    (head,) = connection.execute("SELECT max(notification_id) FROM la_paz.events").fetchone() or (0,)
                    if (head or 0) >= events:
                        return
        except psycopg.Error:
            time.sleep(0.01)  # not there yet
    raise AssertionError(f"no {events} events in {WAIT_S} s")


@pytest.mark.long
def test_a_killed_demo_is_completed_at_the_next_start(tmp_path: Path) -> None:
    folder = tmp_path / "city"
    for events in (400, 1_700):  # among the agendas; among the people, having gone on with what was there
        first = Serving("--data-dir", str(folder), "--demo", settings=SECRET)
        wait_for_events(folder, events)
        first.process.send_signal(signal.SIGSTOP)  # or it might be complete before all of it is found and killed
        first.kill_everything(folder)
        assert "demo city:" not in first.output

    again = Serving("--data-dir", str(folder), "--demo", settings=SECRET)
    try:
        again.url()
        assert "demo city: 5 hospitals" in again.output
        completed = city(folder)
    finally:
        again.stop()
    whole = prepare(tmp_path / "whole")
    first_day = min(row[3]["date"] for row in completed if row[2] == "agenda_published.v1")
    with database(whole):
        made = igob("demo", "--data-dir", str(whole), "--first-day", first_day, **SECRET)
        assert made.returncode == 0, made.stderr
        assert completed == city(whole)

    third = Serving("--data-dir", str(folder), "--demo", settings=SECRET)
    try:
        third.url()
        assert "demo city:" not in third.output
    finally:
        third.stop()


@contextmanager
def database(folder: Path) -> Iterator[EmbeddedPostgres]:
    """That of a folder which nobody serves, running."""
    server = EmbeddedPostgres(folder)
    with server.hold("a test"):
        server.start()
        yield server
        server.stop()


async def write_something(conninfo: str) -> None:
    async with open_core(Settings(database_url=conninfo, secret=SECRET["IGOB_SECRET"])) as core:
        await core.committer.submit(hospital("somebody-s"), key("hospital"))


def test_a_log_without_a_demo_is_not_changed(tmp_path: Path) -> None:
    folder = prepare(tmp_path / "city")
    assert igob("db", "migrate", "--data-dir", str(folder), **SECRET).returncode == 0
    with database(folder) as own:
        asyncio.run(write_something(own.conninfo(APPLICATION)))
    server = Serving("--data-dir", str(folder), "--demo", settings=SECRET)
    try:
        server.url()
        assert "demo city" not in server.output
        assert len(city(folder)) == 1
    finally:
        server.stop()


@pytest.mark.long
def test_an_interrupted_city_is_completed_by_the_same_command(tmp_path: Path) -> None:
    folder = prepare(tmp_path / "city")
    wanted = ("demo", "--city", str(PEOPLE), "--data-dir", str(folder))
    for way, events in ((signal.SIGINT, 1_500), (signal.SIGTERM, 2_000), (signal.SIGKILL, 2_500)):
        stop_while_it_makes(folder, wanted, way, events)

    again = igob(*wanted, "--json", **SECRET)
    assert again.returncode == 0, again.stderr
    made = msgspec.json.decode(again.stdout)
    assert (made["people"], made["refused"], made["there_already"]) == (PEOPLE, {}, False)
    accepted = ("hospitals", "names", "people", "agendas", "appointments", "cancellations", "check_ins", "no_shows")
    assert 0 < made["made"] < sum(made[kind] for kind in accepted)
    third = igob(*wanted, **SECRET)
    assert third.returncode == 0
    assert "complete: nothing was made" in third.stderr


def stop_while_it_makes(folder: Path, wanted: tuple[str, ...], way: signal.Signals, events: int) -> None:
    """The command, stopped as soon as the log has so many events; what was there before it goes on with."""
    process = subprocess.Popen(
        [*IGOB, *wanted], cwd=CHECKOUT, env=environment(**SECRET), text=True, stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )  # fmt: skip
    wait_for_events(folder, events)
    process.send_signal(way)
    _, said = process.communicate(timeout=WAIT_S)
    assert "Traceback" not in said
    assert process.returncode == {signal.SIGINT: 130, signal.SIGTERM: 143}.get(way, -way)
    assert ("run the same command to complete it" in said) == (way == signal.SIGINT)
    if way != signal.SIGKILL:  # the database is stopped as well
        assert EmbeddedPostgres(folder).status().state == "stopped"


@pytest.mark.parametrize(
    ("arguments", "status", "said"),
    [
        (("--city", "0"), 2, "Must be >= 1"),
        (("--city", "500001"), 2, "Must be <= 500000"),
        (("--city", "many"), 2, "many"),
        (("--city", "10", "--seed", "10000"), 2, "Must be <= 9999"),
        (("--city", "10", "--first-day", "1999-12-31"), 1, "2000-01-01 at the earliest"),
        (("--city", "10", "--first-day", "9999-12-31"), 1, "at the latest today"),
    ],
)
def test_an_impossible_city_is_reported_in_a_line(
    tmp_path: Path, arguments: tuple[str, ...], status: int, said: str
) -> None:
    answer = igob_here("demo", *arguments, "--data-dir", str(tmp_path / "city"))
    assert (answer.returncode, "Traceback" in answer.stderr + answer.stdout) == (status, False)
    assert said in answer.stderr + answer.stdout
    assert not (tmp_path / "city").exists()
