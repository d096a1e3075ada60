"""The benchmarks of the core, in a short run."""

import pytest
from rich.console import Console

from bench import core, growth

QUIET = Console(quiet=True)


@pytest.mark.long
def test_growth_measures_both_logs_and_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(growth, "SMALL_EVENTS", 1_000)
    result = growth.run(events=4_000, rounds=1, seconds=0.3, console=QUIET)
    assert result.small_events <= 4_000 <= result.large_events
    assert result.memory[-1].bookings >= 2_000
    assert result.resident_mib_max >= result.memory[0].resident_mib > 20
    rates = [rate.bookings_per_s for of_log in result.rounds.values() for rate in of_log]
    assert len(rates) == 2
    assert all(rate > 0 for rate in rates)
    assert result.ratio == round(result.large_bookings_per_s / result.small_bookings_per_s, 2)
    growth.show(result, QUIET)


@pytest.mark.long
def test_the_core_is_measured_beside_its_peers() -> None:
    result = core.run(rounds=1, seconds=0.5, console=QUIET)
    assert {name.split()[0] for name in result.rounds} == {"table", "core", "core,", "stock"}
    assert all(rate.bookings_per_s > 0 for rates in result.rounds.values() for rate in rates)
    assert result.ratio_to_table == round(result.core_bookings_per_s / result.table_bookings_per_s, 2)
    assert 0 < result.p50_ms <= result.p99_ms
    core.show(result, QUIET)
