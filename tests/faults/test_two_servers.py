"""Two `igob serve` programs, started each for itself on one database: to clients they are one."""

import time
from collections.abc import Iterator
from datetime import UTC, datetime

import psycopg
import pytest

from bench.decisions import Decisions, judge
from bench.history import Accepted, Answer, Operation, Recorder, Refused
from bench.race import CLOCK_SLACK, BookingRequest, Client, Race, book_all, publish, register
from infra.postgres.embedded import OWNER, EmbeddedPostgres
from tests.faults.test_own_database import settings
from tests.serving import Serving, igob

CLIENTS = 60
SLOTS = 30
PAIRS = 20


@pytest.fixture(scope="module")
def two(own: EmbeddedPostgres) -> Iterator[list[str]]:
    """The addresses of both."""
    migrated = igob("db", "migrate", **settings(own, owner=True))
    assert migrated.returncode == 0, migrated.stderr
    servers = [Serving(settings=settings(own, owner=False)) for _ in range(2)]
    try:
        yield [server.url() for server in servers]
    finally:
        assert [server.stop() for server in servers] == [0, 0]


def at_once(two: list[str], wishes: list[BookingRequest], recorder: Recorder) -> list[Operation]:
    """Ask for all at once, the first of each two at one server, the second at the other. What was told."""
    clients = [Client(two[number % 2]) for number in range(len(wishes))]
    book_all(clients, recorder, wishes)
    for client in clients:
        client.close()
    return sorted(recorder.history()[-len(wishes) :], key=lambda told: told.key)


def pairs(told: list[Operation]) -> list[tuple[Answer | None, Answer | None]]:
    return [(one.answer, other.answer) for one, other in zip(told[::2], told[1::2], strict=True)]


def test_two_servers_are_linearizable(two: list[str], own: EmbeddedPostgres) -> None:
    race = Race(two, clients=CLIENTS, slots=SLOTS, log=own.conninfo(OWNER), schema="la_paz")
    for number in range(3):
        one = race.round(number)
        assert one.faults == []
        assert (one.verdict, one.booked, one.unanswered) == ("accepted", SLOTS, 0)
        assert one.refused == {"slot_taken": CLIENTS - SLOTS}
    race.close()


def test_one_key_at_both_servers_is_one_booking(two: list[str], own: EmbeddedPostgres) -> None:
    recorder, model = Recorder(), now_as_model()
    people = register(two[0], PAIRS)
    agenda = published(two, recorder, 10)
    wishes = [BookingRequest(key=f"k-{n:03d}", agenda=agenda, slot=n + 1, patient=people[n]) for n in range(PAIRS)]
    told = at_once(two, [wish for wish in wishes for _ in range(2)], recorder)
    for one, other in pairs(told):
        assert isinstance(one, Accepted)
        assert one == other
    verdict = judge(recorder.history(), model)
    assert (verdict.kind, verdict.reasons) == ("accepted", [])
    assert booked_in(own, agenda) == list(range(1, PAIRS + 1))


def test_one_key_with_two_contents_is_one_booking_and_one_refusal(two: list[str], own: EmbeddedPostgres) -> None:
    recorder, model = Recorder(), now_as_model()
    people = register(two[0], 2 * PAIRS)
    agenda = published(two, recorder, 11)
    wishes = [
        BookingRequest(key=f"c-{n // 2:03d}", agenda=agenda, slot=n + 1, patient=people[n]) for n in range(2 * PAIRS)
    ]
    for answers in pairs(at_once(two, wishes, recorder)):
        assert {type(answer) for answer in answers} == {Accepted, Refused}
        assert Refused("idempotency_key_reused") in answers
    verdict = judge(recorder.history(), model)
    assert (verdict.kind, verdict.reasons) == ("accepted", [])
    assert len(booked_in(own, agenda)) == PAIRS


def published(two: list[str], recorder: Recorder, number: int) -> str:
    """An agenda that no other test has."""
    client = Client(two[0])
    agenda = publish(client, recorder, number, 2 * PAIRS)
    client.close()
    return agenda


def now_as_model() -> Decisions:
    return Decisions(datetime.now(UTC), time.monotonic_ns(), slack=CLOCK_SLACK)


def booked_in(own: EmbeddedPostgres, agenda: str) -> list[int]:
    """The slots of the agenda that the log gave away, each as often as it did."""
    with psycopg.connect(own.conninfo(OWNER)) as connection:
        rows = connection.execute(
            "SELECT (state->>'slot')::int FROM la_paz.event_log"
            " WHERE event = 'appointment_booked.v1' AND stream = %s ORDER BY 1",
            [f"agenda/{agenda}"],
        ).fetchall()
    return [row[0] for row in rows]
