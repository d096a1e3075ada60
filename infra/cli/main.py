"""The command `igob`. Subcommands import what they need when they run, so that `igob --help` is quick."""

import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import date
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Annotated, TypeVar

import msgspec
from cyclopts import App, Parameter
from cyclopts.validators import Number
from rich.console import Console
from rich.table import Table

if TYPE_CHECKING:
    from infra.demo.city import City
    from infra.demo.demo import DemoCity
    from infra.gateways.keys import Login
    from infra.log.log import Log
    from infra.postgres.embedded import EmbeddedPostgres
    from infra.postgres.views import Views
    from infra.reactions.scheduler import Source
    from projections.engine.generations import Places
    from projections.engine.projection import Decode, Projection
from infra.running.settings import SettingError, Settings, from_environment
from infra.running.terminating import TERMINATED

app = App(name="igob", help="iGob Core: the transactional core of a city.", version="0.1.0")
database = App(name="db", help="The embedded database, and migrations.")
views = App(name="projections", help="The read models: how far they are, and making them anew.")
imports = App(name="import", help="Bring data in from files.")
app.command(database)
benches = App(name="bench", help="Benchmarks, each beside its peers; from a checkout with the development packages.")
app.command(views)
app.command(imports)
app.command(benches)

R = TypeVar("R")

INTERRUPTED = 128 + signal.SIGINT  # exit status, as a shell has it


class _Stderr(Console):
    """Whoever reads it may have gone: then nothing more is said, and the work goes on."""

    def on_broken_pipe(self) -> None:
        self.quiet = True


console = _Stderr(stderr=True, highlight=False)

DataDir = Annotated[Path | None, Parameter(help="Folder of the embedded database; IGOB_DATA_DIR, else .igob.")]
Port = Annotated[int, Parameter(validator=Number(gte=0, lte=65_535))]
Workers = Annotated[int, Parameter(validator=Number(gte=1, lte=64))]
Seed = Annotated[int, Parameter(validator=Number(gte=0, lte=9_999))]  # as many as infra/demo/demo.py has numbers for
People = Annotated[
    int, Parameter(validator=Number(gte=1, lte=500_000))
]  # as many as infra/demo/city_plan.py may invent
Rounds = Annotated[int, Parameter(validator=Number(gte=1, lte=100))]
Events = Annotated[int, Parameter(validator=Number(gte=10_000, lte=100_000_000))]
Seconds = Annotated[float, Parameter(validator=Number(gte=0.5, lte=600))]
PerSecond = Annotated[float, Parameter(validator=Number(gte=1, lte=100_000))]
Followers = Annotated[int, Parameter(validator=Number(gte=1, lte=1_900))]  # CONNECTIONS_MAX of a worker is 2,000
Clients = Annotated[int, Parameter(validator=Number(gte=1, lte=1_000))]
Slots = Annotated[int, Parameter(validator=Number(gte=1, lte=1_000))]
Hours = Annotated[float, Parameter(validator=Number(gt=0, lte=24 * 365))]
Json = Annotated[bool, Parameter(help="Answer for programs.", negative="")]


def say(text: str) -> None:
    """Say a line to the person. Never raises: what is done matters more than that it is told."""
    with suppress(OSError, ValueError):  # stderr is full, closed, or can't carry the text
        console.print(text, markup=False, soft_wrap=True)


def _settings(data_dir: Path | None) -> Settings:
    settings = from_environment()
    return msgspec.structs.replace(settings, data_dir=data_dir) if data_dir else settings


@contextmanager
def plain_errors() -> Iterator[None]:
    """What a person can mend is said in a line; exit status 1. Anything else is a bug and keeps its traceback."""
    import psycopg

    from infra.log.log import Unavailable
    from infra.postgres.account import EmbeddedError
    from infra.postgres.embedded import FolderHeld
    from infra.postgres.migrate import MigrationError
    from infra.postgres.scrub import ScrubError

    mendable = (
        SettingError,
        FolderHeld,
        EmbeddedError,
        MigrationError,
        ScrubError,
        psycopg.OperationalError,
        Unavailable,
        OSError,
    )
    try:
        yield
    except mendable as error:
        say(f"igob: {error}")
        sys.exit(1)


@app.command
def serve(
    *, host: str = "127.0.0.1", port: Port = 8000, workers: Workers = 1, data_dir: DataDir = None, demo: bool = False
) -> None:
    """Serve the API; without IGOB_DATABASE_URL on an embedded database that starts and stops with it.

    Parameters
    ----------
    host:
        Address to listen on: 127.0.0.1, ::1 or localhost, unless IGOB_OIDC_ISSUER names an identity provider.
    port:
        Port to listen on; 0 for any free one.
    workers:
        Processes that answer requests, each with a lane of its own on the one log.
    demo:
        Fill an empty log with the demo city first, or go on with one whose making was cut short.
    """
    from infra.running.serve import serve as run

    with plain_errors():
        settings = _settings(data_dir)
        if settings.trusted_documents:
            from api.app import trusted_of

            trusted_of(settings)  # what is wrong with them is said here, in a line, not by each worker
        if settings.traces:
            from infra.running.tracing import open_spans

            spans = open_spans(settings)  # likewise
            if spans:
                spans.close()
        run(
            settings,
            host=host,
            port=port,
            workers=workers,
            say=say,
            prepare=lambda: _complete_demo(settings) if demo else None,
        )


def _complete_demo(settings: Settings) -> None:
    """Make the demo city in an empty log, go on with one that is not complete; leave any other log alone."""
    from datetime import UTC, datetime

    from domain.calendar import local_date
    from infra.demo.demo import first_day_lacking
    from infra.log.core import open_core
    from infra.postgres.database import application_conninfo
    from infra.running.terminating import run_until_terminated

    async def lacking() -> date | None:
        today = local_date(datetime.now(UTC))
        conninfo = application_conninfo(settings)
        async with open_core(settings) as core:
            return await first_day_lacking(core, conninfo, schema=settings.schema, seed=1, today=today)

    first_day = run_until_terminated(lacking())
    if first_day:
        _load_demo(settings, seed=1, first_day=first_day, going_on=True)


def _load_demo(settings: Settings, *, seed: int, first_day: date | None, going_on: bool = False) -> "DemoCity":
    from datetime import UTC, datetime

    from domain.calendar import local_date
    from infra.demo.demo import load_demo
    from infra.log.core import open_core
    from infra.running.terminating import run_until_terminated

    async def load() -> "DemoCity":
        async with open_core(settings) as core:
            return await load_demo(
                core,
                seed=seed,
                first_day=first_day or local_date(datetime.now(UTC)),
                console=console,
                going_on=going_on,
            )

    city = run_until_terminated(load())
    say(
        f"demo city: {city.hospitals} hospitals, {city.agendas} agendas, {city.people} people,"
        f" {city.appointments} appointments, {city.lines} lines"
    )
    return city


def _load_city(settings: Settings, *, seed: int, people: int, first_day: date | None, today: date) -> "City":
    from infra.demo.city import CityClock, first_day_of, load_city
    from infra.demo.city_plan import CityPlan
    from infra.log.core import open_core
    from infra.postgres.database import application_conninfo
    from infra.running.terminating import run_until_terminated

    async def load() -> "City":
        clock = CityClock()
        async with open_core(settings, clock=clock) as core:
            begins = await first_day_of(
                core,
                application_conninfo(settings),
                schema=settings.schema,
                seed=seed,
                people=people,
                first_day=first_day,
                today=today,
            )
            plan = CityPlan(core.secret, seed=seed, people=people, first_day=begins)
            return await load_city(core, clock, plan, console=console)

    try:
        city = run_until_terminated(load())
    except KeyboardInterrupt:
        say("igob: stopped; the city is not complete: the same command goes on with it")
        sys.exit(INTERRUPTED)
    for line in city.lines():
        say(line)
    return city


@app.command
def demo(
    *,
    city: People | None = None,
    seed: Seed = 1,
    first_day: date | None = None,
    data_dir: DataDir = None,
    json: Json = False,
) -> None:
    """Fill the log with a demo city: five hospitals, thirty days of agendas, invented people with appointments.

    Parameters
    ----------
    city:
        How many people a whole city has, 1 to 500000: with hospitals in proportion, thirty days of history and thirty
        days of agendas to come. Without it, the city is small and has no history.
    seed:
        0 to 9999. The same seed, size and first day make the same city; once made, it is not made twice.
    first_day:
        First day of the agendas; today in La Paz unless told otherwise, and thirty days ago with --city.
    """
    from datetime import UTC, datetime

    from domain.calendar import local_date
    from domain.errors import Rejected
    from infra.demo.city import check_city_first_day
    from infra.demo.demo import check_first_day
    from infra.postgres.database import running

    with plain_errors():
        settings, today = _settings(data_dir), local_date(datetime.now(UTC))
        if first_day:
            (check_city_first_day if city else check_first_day)(first_day, today=today)
        made: City | DemoCity
        try:
            with running(settings, "igob demo", say):
                if city:
                    made = _load_city(settings, seed=seed, people=city, first_day=first_day, today=today)
                else:
                    made = _load_demo(settings, seed=seed, first_day=first_day)
        except Rejected as refusal:
            say(f"igob: the demo city collides with what is in the log: {refusal}")
            sys.exit(1)
        if json:
            sys.stdout.write(msgspec.json.encode(made).decode() + "\n")


@database.command
def start(*, data_dir: DataDir = None) -> None:
    """Start the embedded database and leave it running."""
    with plain_errors():
        server = _embedded(_settings(data_dir))
        with server.hold("igob db start"):
            server.start(keep=True)
        say(f"running; connect with: {server.conninfo('igob_app')}")


@database.command
def stop(*, data_dir: DataDir = None) -> None:
    """Stop the embedded database."""
    with plain_errors():
        server = _embedded(_settings(data_dir))
        with server.hold("igob db stop"):
            server.stop()
        say("stopped")


@database.command(name="migrate")
def migrate_(*, data_dir: DataDir = None) -> None:
    """Bring the schema up to date."""
    from infra.postgres.database import bring_up_to_date, owner_conninfo, running

    with plain_errors():
        settings = _settings(data_dir)
        if settings.database_url:
            owner_conninfo(settings)  # said before anything is done
        with running(settings, "igob db migrate", say):
            bring_up_to_date(settings)
        say(f"schema {settings.schema} is up to date")


@database.command
def scrub(*, data_dir: DataDir = None) -> None:
    """Overwrite what is left on disk of erased persons' keys: see docs/operations.md for what it does not reach."""
    from rich.progress import Progress

    from infra.postgres.database import owner_conninfo, running
    from infra.postgres.scrub import scrub as overwrite

    with plain_errors():
        settings = _settings(data_dir)
        if settings.database_url:
            owner_conninfo(settings)  # said before anything is done
        with (
            running(settings, "igob db scrub", say),
            Progress(console=console, transient=True, disable=not console.is_terminal) as progress,
        ):
            task = progress.add_task("overwriting", total=None)
            done = overwrite(
                owner_conninfo(settings),
                schema=settings.schema,
                say_total=lambda total: progress.update(task, total=total),
                advance=lambda: progress.advance(task),
            )
    say("the table of keys was written anew; copies made before (backups, archived WAL, replicas) are not reached")
    if not done.reached_wal:
        say("igob: nor were the WAL and the planner's old statistics: let a superuser do it (docs/operations.md)")
        sys.exit(1)
    say(f"{done.wal_segments} segments of the WAL were overwritten")


@database.command
def status(*, data_dir: DataDir = None, json: Json = False) -> None:
    """Say what state the embedded database is in."""
    with plain_errors():
        found = _embedded(_settings(data_dir)).status()
        if json:
            sys.stdout.write(msgspec.json.encode(found).decode() + "\n")
            return
        sys.stdout.write(
            "".join(f"{name}: {value}\n" for name, value in msgspec.to_builtins(found).items() if value is not None)
        )


def _embedded(settings: Settings) -> "EmbeddedPostgres":
    from infra.postgres.database import embedded

    server = embedded(settings, say)
    if server is None:
        raise SettingError("IGOB_DATABASE_URL names a database of your own: start and stop it yourself")
    return server


@views.command(name="run")
def run_projections(*, data_dir: DataDir = None) -> None:
    """Keep the read models up to date until told to stop. `igob serve` does so by itself."""
    import gc
    import threading
    from contextlib import nullcontext

    from infra.log.core import GARBAGE_THRESHOLDS
    from infra.postgres.database import application_conninfo, running
    from infra.running.serve import PARENT_POLL_S, is_part_of_server, server_is_gone
    from projections.catalogue import PROJECTIONS
    from projections.engine.runner import Runner

    settings = _settings(data_dir)
    told = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: told.set())
    gc.set_threshold(*GARBAGE_THRESHOLDS)
    with (
        plain_errors(),
        nullcontext() if is_part_of_server() else running(settings, "igob projections run", say),
    ):
        runner = Runner(
            application_conninfo(settings),
            schema=settings.schema,
            decode=_decoder(),
            projections=PROJECTIONS.values(),
            say=say,
        )
        working = threading.Thread(target=runner.run)
        working.start()
        while not told.wait(PARENT_POLL_S) and not server_is_gone():
            pass
        runner.stop()
        working.join()


@app.command
def scheduler(*, data_dir: DataDir = None) -> None:
    """Do what falls due by time, and send webhooks, until told to stop. `igob serve` starts it by itself."""
    import asyncio
    from contextlib import nullcontext

    from infra.postgres.database import running
    from infra.reactions.scheduler import schedule
    from infra.reactions.webhooks import Outbox
    from infra.running.serve import is_part_of_server
    from projections.webhooks.deliveries import due_deliveries, stretch

    async def work() -> None:
        told, loop = asyncio.Event(), asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, told.set)
        await schedule(settings, sources=_due_by_time, outbox=Outbox(stretch, due_deliveries), told=told)

    with plain_errors():
        settings = _settings(data_dir)
        with nullcontext() if is_part_of_server() else running(settings, "igob scheduler", say):
            asyncio.run(work())


def _due_by_time(views: "Views", log: "Log") -> list["Source"]:
    """Everything that falls due by time alone: whatever does so from now on is added here."""
    from domain.queues.calling import MarkAbsent
    from domain.queues.opening import CloseLine
    from infra.reactions.scheduler import Job, Wishes, asked
    from projections.queues.due import AbsentTurn, LineToClose, absent_turns, lines_to_close, lines_with_wishes

    def absent(row: AbsentTurn) -> Job:
        # With the time, since who comes back is called anew.
        return Job(MarkAbsent(turn=row.turn), f"absent:{row.turn}:{row.absent_from.isoformat()}")

    def over(row: LineToClose) -> Job:
        return Job(CloseLine(line=row.line), f"close:{row.line}")

    wishes = Wishes(views, log, lines_with_wishes)
    return [asked(views, absent_turns, absent), asked(views, lines_to_close, over), wishes.source]


def _decoder() -> "Decode":
    """For events without personal fields: no read model has any."""
    from infra.log.codec import Codec

    codec = Codec()
    return lambda name, state: codec.decode(name, state, {})


@views.command(name="status")
def projections_status(*, data_dir: DataDir = None, json: Json = False) -> None:
    """Say how far each read model is, and how far behind."""
    from projections.catalogue import PROJECTIONS
    from projections.engine.runner import Status, connect, statuses

    def show(found: list[Status], out: Console) -> None:
        table = Table("projection", "version", "position", "behind", "for", "parked", "made anew", box=None)
        for one in found:
            lag_s = "never built" if one.lag_s is None else f"{one.lag_s:.2f} s"
            anew = "" if one.building is None else f"at {one.building}"
            values = (one.name, one.version, one.position, one.lag_events, lag_s, one.parked, anew)
            table.add_row(*("" if value is None else str(value) for value in values))
        out.print(table)

    with _on_views(data_dir, "igob projections status") as (conninfo, places), connect(conninfo) as connection:
        found = statuses(connection, places, PROJECTIONS.values())
    _report(found, show, json=json)


@views.command(name="parked")
def projections_parked(*, data_dir: DataDir = None, json: Json = False) -> None:
    """Show the streams with an event that a read model could not take. They are missing in it from there on."""
    from projections.catalogue import PROJECTIONS
    from projections.engine.generations import Generations, Parked
    from projections.engine.runner import connect

    def show(found: list[Parked], out: Console) -> None:
        for one in found:
            out.print(f"{one.name}: {one.stream} since position {one.position}: {one.error}", soft_wrap=True)
        if not found:
            out.print("nothing is parked")

    with _on_views(data_dir, "igob projections parked") as (conninfo, places), connect(conninfo) as connection:
        generations = Generations(connection, places)
        lives = [live for name in PROJECTIONS if (live := generations.live(name))]
        found = [one for live in lives for one in generations.parked(live)]
    _report(found, show, json=json)


@views.command(name="rebuild")
def projections_rebuild(name: str, /, *, data_dir: DataDir = None) -> None:
    """Make a read model anew from the first event, beside the one that is read meanwhile; then switch.

    Parameters
    ----------
    name:
            Which one, as `igob projections status` names them.
    """
    from projections.engine.runner import rebuild

    with _on_views(data_dir, "igob projections rebuild") as (conninfo, places):
        projection = _projection(name)
        with _progress("rebuilding", conninfo, places) as advance:
            done = rebuild(conninfo, places, projection, _decoder(), advance=advance)
    assert done is not None  # nobody told it to stop
    say(f"{name} is generation {done.generation} of version {done.version} now, at position {done.position}")


@views.command(name="verify")
def projections_verify(name: str | None = None, /, *, data_dir: DataDir = None) -> None:
    """Compare read models, row for row, with what is made anew from the first event. Exit status 1 if they differ.

    Parameters
    ----------
    name:
        Which one; all of them unless told otherwise.
    """
    from projections.catalogue import PROJECTIONS
    from projections.engine.runner import verify

    equal = True
    with _on_views(data_dir, "igob projections verify") as (conninfo, places):
        for projection in [_projection(name)] if name else list(PROJECTIONS.values()):
            with _progress(f"verifying {projection.name}", conninfo, places) as advance:
                found = verify(conninfo, places, projection, _decoder(), advance=advance)
            say(str(found))
            equal &= not found.different
    if not equal:
        sys.exit(1)


def _projection(name: str) -> "Projection":
    from projections.catalogue import PROJECTIONS

    if name not in PROJECTIONS:
        raise SettingError(f"there is no projection {name}; there are {', '.join(PROJECTIONS)}")
    return PROJECTIONS[name]


@contextmanager
def _on_views(data_dir: Path | None, what: str) -> Iterator[tuple[str, "Places"]]:
    """How to connect to the read models of the settings, and their names, while the database runs."""
    from infra.postgres.database import application_conninfo, running
    from projections.engine.generations import Places
    from projections.engine.runner import Busy

    with plain_errors():
        settings = _settings(data_dir)
        try:
            with running(settings, what, say):
                yield application_conninfo(settings), Places(settings.schema)
        except (Busy, LookupError) as error:
            say(f"igob: {error}")
            sys.exit(1)


@contextmanager
def _progress(what: str, conninfo: str, places: "Places") -> Iterator[Callable[[int], None]]:
    """A bar for work along the log: call it with the position."""
    from rich.progress import Progress

    from projections.engine.runner import connect

    with connect(conninfo) as connection:
        head = places.head(connection)
    with Progress(console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task(what, total=head)
        yield lambda position: progress.update(task, completed=position, total=max(head, position))


@imports.command
def agendas(file: Path, /, *, data_dir: DataDir = None, json: Json = False) -> None:
    """Publish the agendas of a CSV file, one a row: see docs/import-agendas.md.

    All rows are checked before the first is published. Importing the same file again publishes nothing twice.

    Parameters
    ----------
    file:
        The file, UTF-8, with a header.
    """
    from datetime import UTC, datetime

    from infra.imports.agendas_csv import import_file

    with plain_errors():
        report = import_file(file, _settings(data_dir), now=datetime.now(UTC), say=say, console=console)
    for line in report.lines():
        say(line)
    if json:
        sys.stdout.write(msgspec.json.encode(report).decode() + "\n")
    if not report.ok:
        sys.exit(1)


def _report(result: R, show: Callable[[R, Console], None], *, json: bool) -> None:
    if json:
        sys.stdout.write(msgspec.json.encode(result).decode() + "\n")
    else:
        show(result, Console())


@benches.command(name="core")
def bench_core(*, rounds: Rounds = 5, seconds: Seconds = 3, json: Json = False) -> None:
    """Measure our bookings beside a plain table and the stock library, in turn on one server: see docs/benchmarks.md.

    Parameters
    ----------
    rounds:
        How often each contender runs; medians are reported.
    seconds:
        How long each runs in a round.
    """
    from bench.core import keep, run, show

    with plain_errors():
        result = run(rounds=rounds, seconds=seconds, console=console)
    keep(result, "core", result.measured_at)
    _report(result, show, json=json)


@benches.command(name="growth")
def bench_growth(*, events: Events = 5_000_000, rounds: Rounds = 5, seconds: Seconds = 3, json: Json = False) -> None:
    """Measure bookings on a log of many events beside a new one, and the memory of who made it: see docs/benchmarks.md.

    Parameters
    ----------
    events:
        How many events the large log has at least.
    rounds:
        How often each log is measured; medians are reported.
    seconds:
        How long each time.
    """
    from bench.core import keep
    from bench.growth import run, show

    with plain_errors():
        result = run(events=events, rounds=rounds, seconds=seconds, console=console)
    keep(result, "growth", result.measured_at)
    _report(result, show, json=json)


@benches.command(name="lane")
def bench_lane(*, rounds: Rounds = 5, seconds: Seconds = 2, json: Json = False) -> None:
    """Measure what each part of the lane brings, by taking it out: see docs/benchmarks.md.

    Parameters
    ----------
    rounds:
        How often each variant runs; medians are reported.
    seconds:
        How long each runs in a round.
    """
    from bench.core import keep
    from bench.lane import run, show

    with plain_errors():
        result = run(rounds=rounds, seconds=seconds, console=console)
    keep(result, "lane", result.measured_at)
    _report(result, show, json=json)


@benches.command(name="line")
def bench_line(*, rounds: Rounds = 5, seconds: Seconds = 3, json: Json = False) -> None:
    """Measure turns taken in one line by 256 callers, beside a plain table with a counter: see docs/benchmarks.md.

    Parameters
    ----------
    rounds:
        How often each contender runs; medians are reported.
    seconds:
        How long each runs in a round; ours until the line has all of its 50,000 turns, if that comes first.
    """
    from bench.core import keep
    from bench.line import run, show

    with plain_errors():
        result = run(rounds=rounds, seconds=seconds, console=console)
    keep(result, "line", result.measured_at)
    _report(result, show, json=json)


@benches.command(name="views")
def bench_views(
    *,
    events: Events = 1_000_000,
    seconds: Seconds = 10,
    bookings: PerSecond = 5_000,
    queries: PerSecond = 200,
    json: Json = False,
) -> None:
    """Measure read models: catching up, lag and answers while the city books, making one anew: see docs/benchmarks.md.

    Parameters
    ----------
    events:
        How many events the log has at first, about; 30,000 at least, of which 15,000 are agendas.
    seconds:
        How long lag, and then queries, are measured.
    bookings:
        A second, while the lag is measured.
    queries:
        A second.
    """
    from bench.core import keep
    from bench.views import run, show

    with plain_errors():
        result = run(events=events, seconds=seconds, bookings_per_s=bookings, queries_per_s=queries, console=console)
    keep(result, "views", result.measured_at)
    _report(result, show, json=json)


@benches.command(name="projector")
def bench_projector(
    *, rounds: Rounds = 5, seconds: Seconds = 3, bookings: PerSecond = 3_000, json: Json = False
) -> None:
    """Measure the projector's CPU time per booking, with and without ten idle read models: see docs/benchmarks.md.

    Parameters
    ----------
    rounds:
        How often each variant runs; medians are reported.
    seconds:
        How long each variant runs in a round.
    bookings:
        Bookings per second.
    """
    from bench.core import keep
    from bench.projector import run, show

    with plain_errors():
        result = run(rounds=rounds, seconds=seconds, bookings_per_s=bookings, console=console)
    keep(result, "projector", result.measured_at)
    _report(result, show, json=json)


@benches.command(name="graphql")
def bench_graphql(
    *,
    rounds: Rounds = 3,
    seconds: Seconds = 3,
    peer: Annotated[bool, Parameter(negative="")] = False,
    report: Path | None = None,
    json: Json = False,
) -> None:
    """Measure bookings over HTTP, by clients that wait for answers and by some that do not: see docs/benchmarks.md.

    Parameters
    ----------
    rounds:
        How often each number of workers and connections is measured; medians are reported.
    seconds:
        How long each time.
    peer:
        Measure a bare table behind PostGraphile 5 in alternation with ours; npm installs it first.
    report:
        Also write an HTML page with pictures there.
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
    _report(result, show, json=json)


@benches.command(name="live")
def bench_live(
    *, followers: Followers = 1_000, changes: PerSecond = 100, seconds: Seconds = 10, json: Json = False
) -> None:
    """Measure the CPU time of live followers and the delay of their messages: see docs/benchmarks.md.

    Parameters
    ----------
    followers:
        Number of followers, each with its own WebSocket.
    changes:
        Changes per second, in all followed agendas together.
    seconds:
        How long is measured without changes, and then with them.
    """
    from bench.core import keep
    from bench.live import run, show

    with plain_errors():
        result = run(followers=followers, per_s=changes, seconds=seconds, console=console)
    keep(result, "live", result.measured_at)
    _report(result, show, json=json)


@benches.command(name="eta")
def bench_eta(
    *,
    seed: Seed = 1,
    seeds: Rounds = 3,
    days: Annotated[int, Parameter(validator=Number(gte=2, lte=1_000))] = 30,
    replay: Path | None = None,
    write: Path | None = None,
    json: Json = False,
) -> None:
    """Hold expected waits against what happened, on synthetic days or a history of yours: see docs/benchmarks.md.

    Parameters
    ----------
    seed:
        0 to 9999. The same seed makes the same synthetic days.
    seeds:
        How many seeds, from that one on.
    days:
        How many synthetic days are learned, and as many held out, for each service and seed.
    replay:
        Replay this CSV file instead.
    write:
        Write synthetic days there as such a file, and measure nothing.
    """
    from bench.core import keep
    from bench.day import histories
    from bench.eta import replay_file, run, show
    from bench.queue_csv import HistoryRefused, write_history

    with plain_errors():
        if write:
            write_history(write, histories(seed=seed, count=days))
            return
        try:
            result = replay_file(replay) if replay else run(seed=seed, seeds=seeds, count=days, console=console)
        except HistoryRefused as refusal:
            say(f"igob: {refusal}")
            sys.exit(1)
    if not replay:
        keep(result, "eta", result.measured_at)
    _report(result, show, json=json)


@benches.command(name="race")
def bench_race(
    *, clients: Clients = 200, slots: Slots = 30, workers: Workers = 3, rounds: Rounds = 10, json: Json = False
) -> None:
    """Let many clients want few slots at once and check every answer: see docs/benchmarks.md.

    Exit status 1 if some order of single bookings does not explain what the clients were told, or the log contradicts.

    Parameters
    ----------
    clients:
        How many ask at once, each over a connection of its own.
    slots:
        How many there are of what they want, on a new agenda in each round.
    workers:
        Server processes, each with a lane of its own on the one log.
    rounds:
        How often.
    """
    from bench.race import Unanswered, run, show

    with plain_errors():
        try:
            result = run(clients=clients, slots=slots, workers=workers, rounds=rounds, console=console)
        except Unanswered as error:
            say(f"igob: {error}")
            sys.exit(1)
    _report(result, show, json=json)
    if not result.accepted:
        sys.exit(1)


@app.command
def token(
    *,
    role: Annotated[list[str] | None, Parameter(negative="")] = None,
    identity: str = "",
    hospital: Annotated[list[str] | None, Parameter(negative="")] = None,
    service_point: Annotated[list[str] | None, Parameter(negative="")] = None,
    subject: str = "developer",
    client: str = "igob-token",
    hours: Hours = 12,
    data_dir: DataDir = None,
) -> None:
    """Print a token signed with this installation's development key. It is good on this machine alone.

    Parameters
    ----------
    role:
        What it may do, several times if you like, see docs/access.md; `developer`, who may everything, unless told
        otherwise or an identity is given.
    identity:
        A citizen's identity number.
    hospital:
        Where a hospital clerk works, several times if you like.
    service_point:
        Where a counter clerk works, likewise.
    subject:
        The login.
    client:
        The program it is for.
    hours:
        How long it is good.
    """
    from datetime import UTC, datetime, timedelta

    from api.access.identity import GIVEN
    from infra.gateways.keys import Login, development_token
    from infra.log.secret import load_secret

    roles = role if role is not None else ([] if identity else ["developer"])
    login = Login(
        subject=subject,
        roles=roles,
        identity=identity,
        hospitals=hospital or (),
        service_points=service_point or (),
        client=client,
    )
    with plain_errors():
        if unknown := set(roles) - GIVEN - {"developer"}:
            raise SettingError(f"there is no role {', '.join(sorted(unknown))} to give; see docs/access.md")
        _check_login(login)
        settings = _settings(data_dir)
        if not settings.secret and not (settings.data_dir / "secret").exists():
            raise SettingError(f"{settings.data_dir} has no secret: it is no server's; see --data-dir and IGOB_SECRET")
        secret, lasts = load_secret(settings), timedelta(hours=hours)
        sys.stdout.write(development_token(secret, settings, login, begin=datetime.now(UTC), lasts=lasts) + "\n")


def _check_login(login: "Login") -> None:
    """Raise SettingError for what no token could mean: a server would take its bearer for nobody, and not say why."""
    from domain.errors import Rejected
    from domain.identifiers import SLUG, fits, parse_ci

    try:
        if login.identity:
            parse_ci(login.identity)
    except Rejected:
        raise SettingError(f"{login.identity} is no identity number: 4820193, 4820193-1A, 4820193-1A LP") from None
    for codes, what in (
        (login.hospitals, "hospital's code: la-merced"),
        (login.service_points, "service point's code: sopocachi"),
    ):
        if wrong := [code for code in codes if not fits(SLUG, code)]:
            raise SettingError(f"{wrong[0]} is no {what}")


@app.command
def schema() -> None:
    """Print the GraphQL schema."""
    from api.graphql.schema import schema as api_schema

    sys.stdout.write(api_schema.as_str() + "\n")


def _end(_number: int, _frame: FrameType | None) -> None:
    """End as after an error, so that what was started is stopped. Told again, go on with that."""
    signal.signal(signal.SIGTERM, lambda *_: None)  # not SIG_IGN, which programs that we start would inherit
    raise SystemExit(TERMINATED)


def main() -> None:
    """Entry point of the command."""
    signal.signal(signal.SIGTERM, _end)
    app()
