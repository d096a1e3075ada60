"""The benchmark of bookings over HTTP: that it measures what it says, however briefly."""

import msgspec
import pytest
from rich.console import Console

from bench import graphql
from bench.graphql import BOOK, requests

QUIET = Console(quiet=True)


def test_bookings_over_http_are_measured_with_and_without_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(graphql, "WORKERS", (1,))
    monkeypatch.setattr(graphql, "CONNECTIONS", (2, 4))
    result = graphql.run(rounds=1, seconds=0.5, people=400, console=QUIET)
    assert set(result.rounds) == {"1 × 2", "1 × 4"}
    assert result.best_at in result.rounds
    assert result.graphql_bookings_per_s == max(rate.bookings_per_s for (rate,) in result.rounds.values()) > 0
    assert 0 < result.p50_ms <= result.p99_ms
    assert 0 < result.open.bookings_per_s < result.graphql_bookings_per_s
    assert result.errors == {}
    graphql.show(result, QUIET)


def test_everybody_books_every_day_once() -> None:
    people = [f"person-{n}" for n in range(45)]
    said = []
    for request in requests("localhost", people, 0, 10_000):
        head, _, body = request.partition(b"\r\n\r\n")
        assert f"Content-Length: {len(body)}".encode() in head
        document = msgspec.json.decode(body)
        assert document["query"] == BOOK
        said.append(document["variables"]["input"])
    assert len(said) == 45 * graphql.DAYS
    assert len({(one["agenda"], one["slot"]) for one in said}) == len(said)
    assert len({(one["agenda"].split("/")[1], one["patient"]) for one in said}) == len(said)
    assert len({one["idempotencyKey"] for one in said}) == len(said)
    assert requests("localhost", people, 45 * graphql.DAYS, 5) == []
