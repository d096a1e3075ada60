"""`igob serve --demo` that is killed while it makes the city, and on a log that somebody else began."""

import time
from pathlib import Path
from typing import Any

import psycopg
import pytest

from infra.embedded import OWNER, EmbeddedPostgres
from tests.faults.test_serve import register
from tests.serving import Serving, igob, serving

SECRET = {"IGOB_SECRET": "5e" * 32}
WAIT_S = 60
# A sealed event reads differently each time it is made: of those the stream is enough.
CITY = """SELECT stream, version, event, CASE WHEN event <> 'person_registered.v1' THEN state END
          FROM la_paz.event_log ORDER BY stream, version"""


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


@pytest.mark.parametrize("events", [300, 1_700])  # among the agendas; among the people
def test_killed_while_it_makes_the_city_it_completes_the_same_one_at_the_next_start(
    tmp_path: Path, events: int
) -> None:
    folder = tmp_path / "city"
    first = Serving("--data-dir", str(folder), "--demo", settings=SECRET)
    wait_for_events(folder, events)
    first.kill_everything(folder)
    assert "demo city:" not in first.output

    again = Serving("--data-dir", str(folder), "--demo", settings=SECRET)
    try:
        again.url()
        assert "demo city: 5 hospitals" in again.output
        completed = city(folder)
    finally:
        again.stop()
    whole = tmp_path / "whole"
    first_day = min(row[3]["date"] for row in completed if row[2] == "agenda_published.v1")
    server = EmbeddedPostgres(whole)
    with server.hold("a test"):
        server.start()
        made = igob("demo", "--data-dir", str(whole), "--first-day", first_day, **SECRET)
        assert made.returncode == 0, made.stderr
        assert completed == city(whole)
        server.stop()

    third = Serving("--data-dir", str(folder), "--demo", settings=SECRET)
    try:
        third.url()
        assert "demo city:" not in third.output
    finally:
        third.stop()


def test_a_log_that_somebody_else_began_is_left_alone(tmp_path: Path) -> None:
    folder = tmp_path / "city"
    with serving(folder) as server:
        register(server.url(), 1)
    with serving(folder, "--demo") as server:
        server.url()
        assert "demo city" not in server.output
        assert len(city(folder)) == 2
