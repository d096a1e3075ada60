"""Runs the micro-benchmarks, prints them, and writes a dated result to bench/results/.

The result describes the machine without its name or paths. A second run on the same day replaces the first.
"""

import subprocess
import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import psutil
from rich.console import Console
from rich.table import Table

from bench.machine import Machine, commit, machine

HERE = Path(__file__).parent
RESULTS = HERE / "results"
RUN_LIMIT_S = 300
MICROSECONDS_PER_SECOND = 1_000_000


class Measured(msgspec.Struct):
    """One benchmark. Times are per operation, in microseconds; a round has `operations_per_round` of them."""

    name: str
    median_us: float
    iqr_us: float
    ops_per_s: float
    rounds: int
    operations_per_round: int


class Result(msgspec.Struct):
    """The stored result of a run; `commit` is that of git, with "-dirty" after changes, "" if unknown."""

    measured_at: str
    commit: str
    machine: Machine
    benchmarks: list[Measured]


def main() -> int:
    """The exit status is that of pytest; a result is written only if all benchmarks ran."""
    load = round(psutil.getloadavg()[0], 1)
    with tempfile.TemporaryDirectory(prefix="igob-bench-") as folder:
        output = Path(folder) / "benchmark.json"
        status = _run(output)
        if status:
            return status
        report: dict[str, Any] = msgspec.json.decode(output.read_bytes())
    result = summary(report, datetime.now(UTC), load=load)
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{result.measured_at[:10]}-micro.json"
    path.write_bytes(msgspec.json.format(msgspec.json.encode(result), indent=2) + b"\n")
    show(result)
    print(f"kept in {path.relative_to(HERE.parent)}")
    return 0


def _run(output: Path) -> int:
    """Measure in a separate process, because pytest does not clean up after itself."""
    words = ["-q", "--benchmark-only", f"--benchmark-json={output}", "--benchmark-quiet", "--benchmark-columns=median"]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", str(HERE / "test_micro.py"), *words],
        cwd=HERE.parent,
        check=False,
        timeout=RUN_LIMIT_S,
        stdout=subprocess.PIPE,
        text=True,
    )
    if done.returncode:
        print(done.stdout)
    return done.returncode


def summary(report: dict[str, Any], measured_at: datetime, *, load: float) -> Result:
    """The parts of pytest-benchmark's report to keep."""
    benchmarks = report["benchmarks"]
    facts: dict[str, str] = next(
        (found["extra_info"]["database"] for found in benchmarks if "database" in found["extra_info"]), {}
    )
    return Result(
        measured_at=measured_at.isoformat(timespec="seconds").replace("+00:00", "Z"),
        commit=commit(),
        machine=machine(facts, load=load),
        benchmarks=[_measured(found) for found in benchmarks],
    )


def _measured(found: dict[str, Any]) -> Measured:
    operations = found["extra_info"]["operations"]
    median_us = found["stats"]["median"] / operations * MICROSECONDS_PER_SECOND
    return Measured(
        name=found["extra_info"]["what"],
        median_us=_rounded(median_us),
        iqr_us=_rounded(found["stats"]["iqr"] / operations * MICROSECONDS_PER_SECOND),
        ops_per_s=_rounded(MICROSECONDS_PER_SECOND / median_us),
        rounds=found["stats"]["rounds"],
        operations_per_round=operations,
    )


def _rounded(value: float) -> float:
    """Three significant digits; more would be noise."""
    return float(f"{value:.3g}")


def show(result: Result) -> None:
    """Print the result as a table."""
    table = Table(title=f"Micro-benchmarks, {result.measured_at} {result.commit}", title_justify="left")
    table.add_column("what")
    for column in ("median µs", "IQR µs", "per second", "rounds"):
        table.add_column(column, justify="right")
    for found in result.benchmarks:
        rounds = f"{found.rounds}" + (f" × {found.operations_per_round}" if found.operations_per_round > 1 else "")
        table.add_row(found.name, f"{found.median_us:,g}", f"{found.iqr_us:,g}", f"{found.ops_per_s:,.0f}", rounds)
    console = Console(width=None if sys.stdout.isatty() else 120)
    console.print(table)
    console.print(result.machine.described())


if __name__ == "__main__":
    sys.exit(main())
