"""`igob bench debts` on a small city: each figure is there, and the queries find what was recorded."""

import msgspec
import pytest
from rich.console import Console

from bench.debts import codes, explained, run, show
from domain.identifiers import TAXABLE_OBJECT_CODE, fits


def test_each_taxpayer_has_objects_of_their_own() -> None:
    found = codes(12_345)
    assert len(set(found)) == len(found) == 2 * 12_345
    assert all(fits(TAXABLE_OBJECT_CODE, code) for code in found)


@pytest.mark.long
def test_a_small_city_is_measured(capsys: pytest.CaptureFixture[str]) -> None:
    result = run(taxpayers=20, years=2, seconds=1, queries_per_s=20, console=Console(quiet=True))
    assert (result.objects, result.years) == (40, 2)
    assert result.debts_p99_ms >= result.debts_p50_ms > 0
    assert set(msgspec.to_builtins(result)) >= {"explained_per_s", "debts_p99_ms", "fill_commands_per_s"}
    show(result, Console())
    assert "debts calculated" in capsys.readouterr().out


def test_debts_are_calculated_without_a_database(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bench.debts.CALCULATED", 200)
    assert explained() > 0
