"""`igob bench`: benchmarks, each compared with its peers."""

import sys
from pathlib import Path
from typing import Annotated

from cyclopts import App, Parameter
from cyclopts.validators import Number

from infra.cli.console import Json, Seconds, Seed, Workers, console, write_result
from infra.cli.messages import plain_errors, say

app = App(
    name="bench", help="Run benchmarks, each compared with its peers. Needs a checkout with the development packages."
)

Rounds = Annotated[int, Parameter(validator=Number(gte=1, lte=100))]
Events = Annotated[int, Parameter(validator=Number(gte=10_000, lte=100_000_000))]
PerSecond = Annotated[float, Parameter(validator=Number(gte=1, lte=100_000))]
Followers = Annotated[int, Parameter(validator=Number(gte=1, lte=1_900))]  # CONNECTIONS_MAX of a worker is 2,000
Clients = Annotated[int, Parameter(validator=Number(gte=1, lte=1_000))]
Days = Annotated[int, Parameter(validator=Number(gte=2, lte=1_000))]
Slots = Annotated[int, Parameter(validator=Number(gte=1, lte=1_000))]


@app.command
def core(*, rounds: Rounds = 5, seconds: Seconds = 3, json: Json = False) -> None:
    """Compare bookings with a plain table and the stock library on one server, see docs/benchmarks.md.

    Parameters
    ----------
    rounds:
        Number of rounds; medians are reported.
    seconds:
        Duration of each contender in a round.
    """
    from bench.core import keep, run, show

    with plain_errors():
        result = run(rounds=rounds, seconds=seconds, console=console)
    keep(result, "core", result.measured_at)
    write_result(result, show, json=json)


@app.command
def growth(*, events: Events = 5_000_000, rounds: Rounds = 5, seconds: Seconds = 3, json: Json = False) -> None:
    """Compare bookings on a large log and a new one, and measure a worker's memory, see docs/benchmarks.md.

    Parameters
    ----------
    events:
        Minimal number of events in the large log.
    rounds:
        Number of rounds; medians are reported.
    seconds:
        Duration of each measurement.
    """
    from bench.core import keep
    from bench.growth import run, show

    with plain_errors():
        result = run(events=events, rounds=rounds, seconds=seconds, console=console)
    keep(result, "growth", result.measured_at)
    write_result(result, show, json=json)


@app.command
def committer(*, rounds: Rounds = 5, seconds: Seconds = 2, json: Json = False) -> None:
    """Measure the effect of each part of the committer by removing it, see docs/benchmarks.md.

    Parameters
    ----------
    rounds:
        Number of rounds; medians are reported.
    seconds:
        Duration of each contender in a round.
    """
    from bench.committer import run, show
    from bench.core import keep

    with plain_errors():
        result = run(rounds=rounds, seconds=seconds, console=console)
    keep(result, "committer", result.measured_at)
    write_result(result, show, json=json)


@app.command
def line(*, rounds: Rounds = 5, seconds: Seconds = 3, json: Json = False) -> None:
    """Compare turns taken in one line by 256 callers with a plain table, see docs/benchmarks.md.

    Parameters
    ----------
    rounds:
        Number of rounds; medians are reported.
    seconds:
        Duration of each contender in a round, or until the line has its 50,000 turns.
    """
    from bench.core import keep
    from bench.line import run, show

    with plain_errors():
        result = run(rounds=rounds, seconds=seconds, console=console)
    keep(result, "line", result.measured_at)
    write_result(result, show, json=json)


@app.command
def views(
    *,
    events: Events = 1_000_000,
    seconds: Seconds = 10,
    bookings: PerSecond = 5_000,
    queries: PerSecond = 200,
    json: Json = False,
) -> None:
    """Measure rebuilds, lag and queries of read models during bookings, see docs/benchmarks.md.

    Parameters
    ----------
    events:
        Approximate number of events in the log at the beginning; at least 30,000, of which 15,000 are agendas.
    seconds:
        Duration of the measurement of lag, and of that of queries.
    bookings:
        Bookings per second while the lag is measured.
    queries:
        Queries per second.
    """
    from bench.core import keep
    from bench.views import run, show

    with plain_errors():
        result = run(events=events, seconds=seconds, bookings_per_s=bookings, queries_per_s=queries, console=console)
    keep(result, "views", result.measured_at)
    write_result(result, show, json=json)


@app.command
def projector(*, rounds: Rounds = 5, seconds: Seconds = 3, bookings: PerSecond = 3_000, json: Json = False) -> None:
    """Measure the projector's CPU time per booking, with and without ten idle read models, see docs/benchmarks.md.

    Parameters
    ----------
    rounds:
        Number of rounds; medians are reported.
    seconds:
        Duration of each variant in a round.
    bookings:
        Bookings per second.
    """
    from bench.core import keep
    from bench.projector import run, show

    with plain_errors():
        result = run(rounds=rounds, seconds=seconds, bookings_per_s=bookings, console=console)
    keep(result, "projector", result.measured_at)
    write_result(result, show, json=json)


@app.command
def graphql(
    *,
    rounds: Rounds = 3,
    seconds: Seconds = 3,
    peer: Annotated[bool, Parameter(negative="")] = False,
    report: Path | None = None,
    json: Json = False,
) -> None:
    """Measure bookings over HTTP in closed and open loops, see docs/benchmarks.md.

    Parameters
    ----------
    rounds:
        Number of rounds for each number of workers and connections; medians are reported.
    seconds:
        Duration of each measurement.
    peer:
        Also measure a plain table behind PostGraphile 5, alternating; npm installs it first.
    report:
        Also write an HTML page with charts to this file.
    """
    from bench.core import keep
    from bench.graphql import run, show
    from bench.peer import PeerMissing
    from bench.report import page

    with plain_errors():
        try:
            result = run(rounds=rounds, seconds=seconds, console=console, with_peer=peer)
        except PeerMissing as missing:
            say(f"igob: {missing}")
            sys.exit(1)
        if report:
            report.write_text(page(result), encoding="utf-8")
    keep(result, "graphql-peer" if peer else "graphql", result.measured_at)
    write_result(result, show, json=json)


@app.command
def live(*, followers: Followers = 1_000, changes: PerSecond = 100, seconds: Seconds = 10, json: Json = False) -> None:
    """Measure the CPU time of live followers and the delay of their messages, see docs/benchmarks.md.

    Parameters
    ----------
    followers:
        Number of followers, each with its own WebSocket.
    changes:
        Changes per second, in all followed agendas together.
    seconds:
        Duration of the measurement without changes, and of that with changes.
    """
    from bench.core import keep
    from bench.live import run, show

    with plain_errors():
        result = run(followers=followers, per_s=changes, seconds=seconds, console=console)
    keep(result, "live", result.measured_at)
    write_result(result, show, json=json)


@app.command
def eta(
    *,
    seed: Seed = 1,
    seeds: Rounds = 3,
    days: Days = 30,
    replay: Path | None = None,
    write: Path | None = None,
    json: Json = False,
) -> None:
    """Compare expected waits with actual ones, on synthetic days or your own history, see docs/benchmarks.md.

    Parameters
    ----------
    seed:
        0 to 9999. The same seed gives the same synthetic days.
    seeds:
        Number of seeds, from that one on.
    days:
        Number of synthetic days to learn, and of days held out, for each service and seed.
    replay:
        Replay this CSV file instead.
    write:
        Write synthetic days to this CSV file, and measure nothing.
    """
    from bench import day, eta, queue_csv
    from bench.core import keep

    with plain_errors():
        if write:
            queue_csv.write_history(write, day.histories(seed=seed, count=days))
            return
        try:
            result = eta.replay_file(replay) if replay else eta.run(seed=seed, seeds=seeds, count=days, console=console)
        except queue_csv.HistoryRefused as refusal:
            say(f"igob: {refusal}")
            sys.exit(1)
    if not replay:
        keep(result, "eta", result.measured_at)
    write_result(result, eta.show, json=json)


@app.command
def race(
    *, clients: Clients = 200, slots: Slots = 30, workers: Workers = 3, rounds: Rounds = 10, json: Json = False
) -> None:
    """Let many clients compete for few slots and verify every response, see docs/benchmarks.md.

    Exit status 1 if no sequential order of bookings explains every response, or the log contradicts one.

    Parameters
    ----------
    clients:
        Number of concurrent clients, each with its own connection.
    slots:
        Number of slots on the new agenda of each round.
    workers:
        Number of server processes, each with its own committer on the same log.
    rounds:
        Number of rounds.
    """
    from bench.race import Unanswered, run, show

    with plain_errors():
        try:
            result = run(clients=clients, slots=slots, workers=workers, rounds=rounds, console=console)
        except Unanswered as error:
            say(f"igob: {error}")
            sys.exit(1)
    write_result(result, show, json=json)
    if not result.accepted:
        sys.exit(1)


@app.command
def debts(
    *,
    taxpayers: Annotated[int, Parameter(validator=Number(gte=1, lte=500_000))] = 20_000,
    years: Annotated[int, Parameter(validator=Number(gte=1, lte=10))] = 5,
    seconds: Seconds = 10,
    queries: PerSecond = 200,
    json: Json = False,
) -> None:
    """Measure the calculation of tax debts and the latency of a taxpayer's debts, see docs/benchmarks.md.

    Parameters
    ----------
    taxpayers:
        The number of taxpayers; each has two objects.
    years:
        The fiscal years with a tax for each object.
    seconds:
        Duration of the queries.
    queries:
        Queries per second.
    """
    from bench.core import keep
    from bench.debts import run, show

    with plain_errors():
        result = run(taxpayers=taxpayers, years=years, seconds=seconds, queries_per_s=queries, console=console)
    keep(result, "debts", result.measured_at)
    write_result(result, show, json=json)
