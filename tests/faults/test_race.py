"""No slot twice: many clients on one agenda, over HTTP, through several server processes on one log."""

from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.faults.test_serve import log_of, register
from tests.serving import Serving, gql, serving

PROCESSES = 3
SLOTS = 30

HOSPITAL = """mutation { registerHospital(input: {idempotencyKey: "h", hospital: "h", name: "H"}) { position } }"""
PUBLISH = (
    """mutation ($input: PublishAgendaInput!) { publishAgenda(input: $input) { agenda { id } errors { code } } }"""
)
BOOK = """mutation ($input: BookAppointmentInput!) { bookAppointment(input: $input) {
  appointment { id slot } errors { __typename code } } }"""


@pytest.fixture(scope="module")
def city(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, Serving]]:
    folder = tmp_path_factory.mktemp("race") / "city"
    with serving(folder, "--workers", str(PROCESSES)) as server:
        server.url()
        yield folder, server


def publish(url: str, number: int) -> str:
    day = (datetime.now(UTC) + timedelta(days=3 + number)).date()
    start = datetime(day.year, day.month, day.day, 12, tzinfo=UTC)
    slots = [{"start": (start + timedelta(minutes=10 * n)).isoformat(), "minutes": 10} for n in range(SLOTS)]
    wanted = {"idempotencyKey": f"a{number}", "hospital": "h", "specialty": f"s{number}", "practitioner": f"p{number}",
              "date": day.isoformat(), "slots": slots}  # fmt: skip
    return str(gql(url, PUBLISH, input=wanted)["data"]["publishAgenda"]["agenda"]["id"])


def rush(url: str, agenda: str, people: list[str], round_number: int) -> list[dict[str, Any]]:
    """Everybody wants a slot of the agenda at once, many the same; the answers."""

    def book(number: int) -> dict[str, Any]:
        wish = {"idempotencyKey": f"r{round_number}-{number}", "agenda": agenda, "slot": 1 + number % SLOTS,
                "patient": people[number]}  # fmt: skip
        answer: dict[str, Any] = gql(url, BOOK, input=wish)["data"]["bookAppointment"]
        return answer

    with ThreadPoolExecutor(len(people)) as pool:
        return list(pool.map(book, range(len(people))))


def play(city: tuple[Path, Serving], *, clients: int, rounds: int, first_round: int) -> None:
    folder, server = city
    url = server.url()
    gql(url, HOSPITAL)
    people = register(url, clients)
    for number in range(first_round, first_round + rounds):  # each on a day of its own, so that all are free again
        agenda = publish(url, number)
        answers = rush(url, agenda, people, number)
        booked = [answer["appointment"]["slot"] for answer in answers if answer["appointment"]]
        assert sorted(booked) == list(range(1, SLOTS + 1))
        refused = Counter(answer["errors"][0]["__typename"] for answer in answers if not answer["appointment"])
        assert refused == {"SlotTaken": clients - SLOTS}
    rows = log_of(folder)
    assert [row[0] for row in rows] == list(range(1, len(rows) + 1))


def test_three_processes_give_thirty_slots_to_thirty_of_sixty(city: tuple[Path, Serving]) -> None:
    assert len(city[1].workers()) == PROCESSES
    play(city, clients=60, rounds=3, first_round=0)


@pytest.mark.long
@pytest.mark.timeout(1_200)
def test_a_hundred_rounds_of_two_hundred_clients(city: tuple[Path, Serving]) -> None:
    play(city, clients=200, rounds=100, first_round=100)
