"""The benchmark of bookings over HTTP, in a short run."""

import shutil
from pathlib import Path

import msgspec
import psutil
import pytest
from rich.console import Console

from bench import graphql, peer
from bench.graphql import BOOK, City
from bench.report import page
from infra.postgres.embedded import EmbeddedPostgres

QUIET = Console(quiet=True)


@pytest.mark.long
def test_bookings_over_http_are_measured_with_and_without_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(graphql, "START_S", 0.5)
    monkeypatch.setattr(graphql, "OPEN_ROUNDS", 1)
    monkeypatch.setattr(graphql, "WORKERS", (1,))
    monkeypatch.setattr(graphql, "CONNECTIONS", (2, 4))
    result = graphql.run(rounds=1, seconds=0.5, people=400, console=QUIET)
    assert set(result.rounds) == {"1 × 2", "1 × 4"}
    assert result.best_at in result.rounds
    assert result.graphql_bookings_per_s == max(rate.bookings_per_s for (rate,) in result.rounds.values()) > 0
    assert 0 < result.p50_ms <= result.p99_ms
    assert 0 < result.open.bookings_per_s < result.graphql_bookings_per_s
    assert result.errors == {}
    assert 0 < result.quiet.bookings_per_s <= graphql.QUIET_PER_S * 1.1
    assert result.worker_us > 0
    for rate in (result.open, result.quiet, *(rate for (rate,) in result.rounds.values())):
        assert set(rate.cpu_s) == {"generator", "server", "postgresql"}
        assert min(rate.cpu_s.values()) > 0
        assert rate.worker_us
        assert 0 < rate.worker_us * rate.bookings_per_s < 2e6  # two cores
        assert 0 < rate.generator_share() < 1
    response = msgspec.json.decode(msgspec.json.encode(result))
    assert not [name for name in response if "peer" in name]
    graphql.show(result, QUIET)


def test_each_person_books_once_a_day() -> None:
    city = City([f"person-{n}" for n in range(45)])
    texts = []
    for request in city.requests("localhost", 0, 10_000):
        head, _, body = request.partition(b"\r\n\r\n")
        assert f"Content-Length: {len(body)}".encode() in head
        document = msgspec.json.decode(body)
        assert document["query"] == BOOK
        texts.append(document["variables"]["input"])
    assert len(texts) == 45 * graphql.DAYS
    assert len({(one["agenda"], one["slot"]) for one in texts}) == len(texts)
    assert len({(one["agenda"].split("/")[1], one["patient"]) for one in texts}) == len(texts)
    assert len({one["idempotencyKey"] for one in texts}) == len(texts)
    assert city.requests("localhost", 45 * graphql.DAYS, 5) == []


def test_each_request_to_the_peer_has_a_different_slot() -> None:
    bare = peer.Bare()
    response = [
        msgspec.json.decode(request.partition(b"\r\n\r\n")[2])["variables"]["input"]
        for request in bare.requests("localhost", 0, 100) + bare.requests("localhost", 100, 100)
    ]
    assert len({(one["wantedAgenda"], one["wantedSlot"]) for one in response}) == len(response) == 200
    assert bare.refusals({"book": {"result": True}}) == []
    assert bare.refusals({"book": {"result": False}}) == ["slot_taken"]


def test_without_npm_the_error_says_so(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(peer.PeerMissing, match="--peer needs npm, which is not installed"):
        peer.install()


def test_npm_s_failure_is_reported_in_a_line(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    npm = tmp_path / "npm"
    npm.write_text("#!/bin/sh\necho no way >&2\necho out >&2\nexit 3\n")
    npm.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    shutil.copytree(peer.HERE, tmp_path / "peer", ignore=shutil.ignore_patterns("node_modules"))
    monkeypatch.setattr(peer, "HERE", tmp_path / "peer")
    with pytest.raises(peer.PeerMissing, match=r"^--peer: npm ci failed: no way out$"):
        peer.install()


def test_the_lock_file_has_digests_and_no_urls() -> None:
    lock = msgspec.json.decode((peer.HERE / "package-lock.json").read_bytes())
    packages = {name: one for name, one in lock["packages"].items() if name}
    assert [name for name, one in packages.items() if "resolved" in one or "integrity" not in one] == []
    assert "://" not in (peer.HERE / "package-lock.json").read_text()


@pytest.mark.long
def test_the_peer_alternates_and_stops(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(graphql, "START_S", 0.5)
    monkeypatch.setattr(graphql, "OPEN_ROUNDS", 1)
    monkeypatch.setattr(graphql, "CONNECTIONS", (8,))
    monkeypatch.setattr(peer, "CONNECTIONS", (8,))
    result = graphql.run(rounds=1, seconds=1, people=2_000, console=QUIET, with_peer=True)
    assert result.peer.startswith("PostGraphile 5.")
    assert "Node 22." in result.peer
    assert result.peer_rounds
    assert set(result.peer_rounds) == set(result.rounds) == {"1 × 8", "2 × 8"}
    assert result.peer_errors == {}
    assert result.peer_bookings_per_s
    assert result.peer_open
    assert result.peer_open.cpu_s["server"] > 0
    assert result.peer_open.worker_us is None
    assert result.peer_quiet
    wanted = result.graphql_bookings_per_s / result.peer_bookings_per_s
    assert result.ratio_to_peer == pytest.approx(wanted, abs=0.01)
    assert result.peer in page(result)
    assert [child for child in psutil.Process().children(recursive=True) if child.name() == "node"] == []
    graphql.show(result, QUIET)


@pytest.mark.long
def test_a_peer_that_does_not_start_is_reported(tmp_path: Path) -> None:
    """The peer has no database."""
    peer.install()
    with (
        pytest.raises(peer.PeerMissing, match=r"PostGraphile is not ready: .*ENOENT"),
        peer.serving_peer(EmbeddedPostgres(tmp_path / "pg"), 1),
    ):
        pytest.fail("it started")
