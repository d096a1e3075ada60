"""The benchmark of the projector's cost, in a short run."""

import msgspec
import pytest
from rich.console import Console

from api.contexts import read_models
from bench import projector
from bench.projector import City
from domain.appointments.agenda import AgendaPublished, AppointmentBooked
from domain.appointments.patient import VisitTaken
from domain.decider import fold

QUIET = Console(quiet=True)


@pytest.mark.timeout(180)
@pytest.mark.long
def test_both_variants_are_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(projector, "BATCH_BOOKINGS", (20,))
    monkeypatch.setattr(projector, "WARMUP_S", 0.2)
    result = projector.run(rounds=1, seconds=0.5, bookings_per_s=400, console=QUIET)
    assert set(result.rounds) == {"20", "20 + idle"}
    for (cost,) in result.rounds.values():
        assert cost.bookings == 200
        assert 0 < cost.bookings_per_s < 450
        assert 0 < cost.bookings_per_page <= 200
        assert cost.process_us > 0
        assert cost.backends_us > 0
        assert 0 <= cost.lag_p50_ms <= cost.lag_p99_ms
    (alone,), (with_idle,) = result.rounds["20"], result.rounds["20 + idle"]
    assert result.projector_us == {"20": pytest.approx(alone.total_us)}
    assert result.projector_with_idle_us == {"20": pytest.approx(with_idle.total_us)}
    assert result.idle_views_us == {"20": pytest.approx(with_idle.total_us - alone.total_us)}
    assert msgspec.json.decode(msgspec.json.encode(result))["idle_views"] == 10
    projector.show(result, QUIET)


def test_idle_read_models_ignore_bookings() -> None:
    booked = {AppointmentBooked.event_name, VisitTaken.event_name}
    idle = projector.idle_projections()
    assert len({one.name for one in idle} - set(read_models())) == projector.IDLE_VIEWS
    assert not any(booked.intersection(one.topics()) for one in idle)


def test_generated_bookings_are_valid() -> None:
    city = City()
    published = city.publish(1_000)
    booked = city.book(1_000)
    streams: dict[str, list[int]] = {}
    for stream, version, _ in published + booked:
        streams.setdefault(stream, []).append(version)
    assert all(versions == list(range(1, len(versions) + 1)) for versions in streams.values())
    for stream, _, agenda in published:
        assert isinstance(agenda, AgendaPublished)
        events = [event for name, _, event in published + booked if name == stream]
        assert len(fold(stream, events).booked) == len(events) - 1
