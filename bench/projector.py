"""`igob bench projector`: CPU time of the projector per booking, with and without ten idle read models.

The log gets bookings at a fixed rate, in batches of a fixed size, straight into its table: no committer, no HTTP.
Beside it runs one projector process with all read models, or with ten more that want no event of a booking. Both
variants and both batch sizes alternate within each round. CPU time is that of the projector process and of its
PostgreSQL backends, as the operating system counts it.
"""

import contextlib
import multiprocessing
import platform
import random
import statistics
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta
from multiprocessing.synchronize import Event as StopEvent

import msgspec
import psutil
import psycopg
from psycopg.conninfo import make_conninfo
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from api.contexts import read_models
from bench.core import opaque
from bench.machine import Machine, commit, database_facts, machine, own_server
from domain.appointments.agenda import AgendaPublished, AppointmentBooked
from domain.appointments.availability import Slot
from domain.appointments.patient import VisitTaken
from domain.decider import Event, StreamName
from domain.identifiers import agenda_id
from infra.log.codec import Codec
from infra.postgres.embedded import APPLICATION, OWNER, EmbeddedPostgres
from infra.postgres.migrate import migrate
from infra.running.garbage import collect_seldom
from infra.running.secret import load_secret
from infra.running.settings import Settings
from projections.appointments.availability import AVAILABILITY
from projections.engine.projection import Projection
from projections.engine.runner import Runner
from projections.queues.service_points import SERVICE_POINTS

SCHEMAS = {False: "real", True: "real_and_idle"}  # each variant has its own log
APPLICATION_NAME = "bench_projector"  # identifies the projector's backends
IDLE_VIEWS = 10
BATCH_BOOKINGS = (60, 300)
AGENDAS_A_DAY = 500
SLOTS = 40
SLOT_MINUTES = 10
WARMUP_S = 1.0
CAUGHT_UP_LIMIT_S = 60.0
CAUGHT_UP_POLL_S = 0.05
LAG_POLL_S = 0.01
LINUX_CPU_CLOCK = 2  # low bits of a process's CPU-time clock id, see clock_getcpuclockid(3)

Recorded = tuple[StreamName, int, Event]  # with its version in the stream


class Cost(msgspec.Struct):
    """One measurement: CPU time per booking in microseconds, and the lag of the read models.

    `bookings_per_page` is the mean size of the availability view's pages. `lag_*_ms` is the age of the oldest event
    that some read model lacks, sampled every 10 ms.
    """

    bookings: int
    bookings_per_s: float
    bookings_per_page: float
    process_us: float
    backends_us: float
    lag_p50_ms: float
    lag_p99_ms: float

    @property
    def total_us(self) -> float:
        """CPU time of the process and of its backends."""
        return self.process_us + self.backends_us


class Result(msgspec.Struct):
    """By batch size ("60", "300"): medians of all rounds, CPU time per booking in microseconds.

    `idle_views_us` is what ten idle views add: the median of each round's difference.
    """

    measured_at: str
    commit: str
    machine: Machine
    idle_views: int
    projector_us: dict[str, float]
    projector_process_us: dict[str, float]
    projector_backends_us: dict[str, float]
    projector_with_idle_us: dict[str, float]
    idle_views_us: dict[str, float]
    lag_p50_ms: dict[str, float]
    lag_p99_ms: dict[str, float]
    rounds: dict[str, list[Cost]]  # "60", "60 + idle", …


def idle_projections() -> list[Projection]:
    """Read models that want no event of a booking."""
    return [msgspec.structs.replace(SERVICE_POINTS, name=f"idle_{number}") for number in range(IDLE_VIEWS)]


class City:
    """Generates the events of agendas and bookings, as the committer does. Each slot is booked by a new patient."""

    def __init__(self) -> None:
        self._day = datetime.now(UTC).date() + timedelta(days=2)
        self._dice = random.Random(1)
        self._free: list[tuple[AgendaPublished, Slot]] = []
        self._versions: dict[StreamName, int] = {}

    def publish(self, bookings: int) -> list[Recorded]:
        """Agendas of further days, with enough slots for `bookings`. Slots are booked in random order."""
        published: list[Recorded] = []
        while len(self._free) < bookings:
            for number in range(AGENDAS_A_DAY):
                agenda = _agenda(self._day, number)
                stream = f"agenda/{agenda.agenda}"
                self._versions[stream] = 1
                self._free += [(agenda, slot) for slot in agenda.slots]
                published.append((stream, 1, agenda))
            self._day += timedelta(days=1)
        self._dice.shuffle(self._free)
        return published

    def book(self, bookings: int) -> list[Recorded]:
        """The events of this number of bookings, in order."""
        recorded: list[Recorded] = []
        for _ in range(bookings):
            agenda, slot = self._free.pop()
            stream, patient = f"agenda/{agenda.agenda}", opaque()
            appointment = f"{agenda.agenda}/{opaque()}"
            self._versions[stream] += 1
            booked = AppointmentBooked(appointment=appointment, slot=slot.number, patient=patient, channel="WEB")
            taken = VisitTaken(
                appointment=appointment,
                hospital=agenda.hospital,
                specialty=agenda.specialty,
                slot=slot.number,
                start=slot.start,
                minutes=slot.minutes,
            )
            recorded += [(stream, self._versions[stream], booked), (f"patient/{patient}", 1, taken)]
        return recorded


def _agenda(day: date, number: int) -> AgendaPublished:
    begin = datetime(day.year, day.month, day.day, 12, tzinfo=UTC)
    hospital, practitioner = f"h-{number % 5}", f"p-{number:03d}"
    return AgendaPublished(
        agenda=agenda_id(hospital, day, practitioner),
        hospital=hospital,
        specialty=f"s-{number % 20}",
        practitioner=practitioner,
        date=day,
        slots=[
            Slot(number=n + 1, start=begin + timedelta(minutes=SLOT_MINUTES * n), minutes=SLOT_MINUTES)
            for n in range(SLOTS)
        ],
    )


class Log:
    """The log and the city of one variant. Appends events over its own connection."""

    def __init__(self, server: EmbeddedPostgres, schema: str) -> None:
        settings = Settings(data_dir=server.folder, schema=schema)
        migrate(server.conninfo(OWNER), schema=schema, application_role=APPLICATION, secret=load_secret(settings))
        self.schema = schema
        self.conninfo = server.conninfo(APPLICATION)
        self.city = City()
        self.head = 0
        self._connection = psycopg.connect(self.conninfo, autocommit=True)
        self._codec = Codec()

    def append(self, recorded: list[Recorded]) -> None:
        """Append these events in one transaction."""
        self._connection.execute(
            f"INSERT INTO {self.schema}.events (originator_id, originator_version, topic, state, notification_id)"  # noqa: S608
            " SELECT e.stream, e.version, e.topic, e.state, %s + e.ordinality FROM unnest(%s::text[], %s::bigint[],"
            " %s::text[], %s::bytea[]) WITH ORDINALITY AS e (stream, version, topic, state, ordinality)",
            (
                self.head,
                [stream for stream, _, _ in recorded],
                [version for _, version, _ in recorded],
                [event.event_name for _, _, event in recorded],
                [self._codec.encode(event) for _, _, event in recorded],
            ),
        )
        self.head += len(recorded)

    def book(self, batch: int, per_s: float, seconds: float) -> int:
        """Append batches at a fixed rate for `seconds`; return the number of bookings."""
        begun = time.perf_counter()
        batches = int(per_s * seconds / batch)
        for number in range(batches):
            recorded = self.city.book(batch)
            time.sleep(max(begun + number * batch / per_s - time.perf_counter(), 0))
            self.append(recorded)
        return batches * batch

    def await_views(self, count: int) -> None:
        """Wait until `count` read models are at the end of the log. Raises TimeoutError after CAUGHT_UP_LIMIT_S."""
        ends = time.monotonic() + CAUGHT_UP_LIMIT_S
        done = f"SELECT count(*) FROM {self.schema}_views.generations WHERE live AND position = %s"  # noqa: S608
        while self._connection.execute(done, (self.head,)).fetchall() != [(count,)]:
            if time.monotonic() > ends:
                raise TimeoutError(f"the read models are still behind after {CAUGHT_UP_LIMIT_S} s")
            time.sleep(CAUGHT_UP_POLL_S)

    def backends(self) -> list[psutil.Process]:
        """The projector's PostgreSQL backends."""
        found = self._connection.execute(
            "SELECT pid FROM pg_stat_activity WHERE application_name = %s", (APPLICATION_NAME,)
        ).fetchall()
        return [psutil.Process(pid) for (pid,) in found]

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()


class Watcher(threading.Thread):
    """A thread that samples the lag of the read models."""

    def __init__(self, log: Log) -> None:
        super().__init__(daemon=True)
        self.lags_s: list[float] = []
        self.positions: set[int] = set()  # of the availability view
        self._log = log
        self._stop_event = threading.Event()

    def run(self) -> None:
        """Sample until `stop`."""
        schema = self._log.schema
        question = (
            f"SELECT g.first, g.availability, coalesce((SELECT extract(epoch FROM clock_timestamp() - e.recorded_at)"  # noqa: S608
            f" FROM {schema}.events AS e WHERE e.notification_id = g.first + 1), 0)::float8 FROM (SELECT"
            " min(position) AS first, max(position) FILTER (WHERE name = %s) AS availability"
            f" FROM {schema}_views.generations WHERE live) AS g"
        )
        with psycopg.connect(self._log.conninfo, autocommit=True) as connection:
            while not self._stop_event.wait(LAG_POLL_S):
                ((_, position, lag_s),) = connection.execute(question, (AVAILABILITY.name,)).fetchall()
                self.positions.add(position)
                self.lags_s.append(lag_s)

    def stop(self) -> None:
        """Stop the thread and wait for its end."""
        self._stop_event.set()
        self.join()

    def lag_ms(self, share: float) -> float:
        """This percentile of all samples, in milliseconds."""
        ordered = sorted(self.lags_s)
        return round(ordered[int((len(ordered) - 1) * share)] * 1_000, 1)


def follow(conninfo: str, schema: str, idle: bool, stop: StopEvent) -> None:
    """Run a projector with the real read models, and the idle ones if `idle`, until `stop` is set."""
    codec = Codec()
    collect_seldom()  # as `igob projections run` does
    runner = Runner(
        conninfo,
        schema=schema,
        decode=lambda name, state: codec.decode(name, state, {}),
        projections=[*read_models().values(), *(idle_projections() if idle else ())],
        say=lambda line: print(line, file=sys.stderr),
    )
    working = threading.Thread(target=runner.run)
    working.start()
    stop.wait()
    runner.stop()
    working.join()


@contextmanager
def projector(log: Log, *, idle: bool) -> Iterator[psutil.Process]:
    """A projector process that follows a log while the block runs."""
    context = multiprocessing.get_context("spawn")
    stop = context.Event()
    conninfo = make_conninfo(log.conninfo, application_name=APPLICATION_NAME)
    process = context.Process(target=follow, args=(conninfo, log.schema, idle, stop), daemon=True)
    process.start()
    try:
        yield psutil.Process(process.pid)
    finally:
        stop.set()
        process.join()


def cpu_s(processes: list[psutil.Process]) -> float:
    """CPU seconds used by these processes; in nanoseconds on Linux, in steps of 10 ms elsewhere."""
    if platform.system() == "Linux":
        return sum(time.clock_gettime(~process.pid << 3 | LINUX_CPU_CLOCK) for process in processes)
    return float(sum(sum(process.cpu_times()[:2]) for process in processes))


def measure(log: Log, batch: int, *, idle: bool, per_s: float, seconds: float) -> Cost:
    """The cost of a projector at this rate of bookings and this batch size."""
    log.append(log.city.publish(int(per_s * (WARMUP_S + seconds))))
    views = len(read_models()) + (IDLE_VIEWS if idle else 0)
    with projector(log, idle=idle) as process:
        log.await_views(views)
        log.book(batch, per_s, WARMUP_S)
        log.await_views(views)
        watcher, backends = Watcher(log), log.backends()
        process_s, backends_s = cpu_s([process]), cpu_s(backends)
        watcher.start()
        begun = time.perf_counter()
        bookings = log.book(batch, per_s, seconds)
        took_s = time.perf_counter() - begun
        watcher.stop()
        log.await_views(views)
        process_s, backends_s = cpu_s([process]) - process_s, cpu_s(backends) - backends_s
    return Cost(
        bookings=bookings,
        bookings_per_s=round(bookings / took_s),
        bookings_per_page=round(bookings / max(len(watcher.positions) - 1, 1)),
        process_us=round(process_s / bookings * 1e6, 2),
        backends_us=round(backends_s / bookings * 1e6, 2),
        lag_p50_ms=watcher.lag_ms(0.5),
        lag_p99_ms=watcher.lag_ms(0.99),
    )


def run(*, rounds: int, seconds: float, bookings_per_s: float, console: Console) -> Result:
    """Measure both variants with both batch sizes, alternating, for `rounds` rounds of `seconds` each."""
    load = round(psutil.getloadavg()[0], 1)
    with own_server("igob bench projector") as server:
        found = _rounds(server, rounds, seconds, bookings_per_s, console)
        where = machine(database_facts(server), load=load)
    return _result(found, where)


def _rounds(
    server: EmbeddedPostgres, rounds: int, seconds: float, bookings_per_s: float, console: Console
) -> dict[int, dict[bool, list[Cost]]]:
    """The costs of each round, by batch size and whether there were idle views."""
    found: dict[int, dict[bool, list[Cost]]] = {batch: {False: [], True: []} for batch in BATCH_BOOKINGS}
    with (
        contextlib.ExitStack() as stack,
        Progress(console=console, transient=True, disable=not console.is_terminal) as progress,
    ):
        logs = {idle: stack.enter_context(contextlib.closing(Log(server, name))) for idle, name in SCHEMAS.items()}
        task = progress.add_task("bench projector", total=rounds * len(BATCH_BOOKINGS) * len(logs))
        for _ in range(rounds):
            for batch in BATCH_BOOKINGS:
                for idle, log in logs.items():
                    cost = measure(log, batch, idle=idle, per_s=bookings_per_s, seconds=seconds)
                    found[batch][idle].append(cost)
                    progress.advance(task)
    return found


def _result(found: dict[int, dict[bool, list[Cost]]], where: Machine) -> Result:
    def medians(value: Callable[[Cost], float], *, idle: bool = False) -> dict[str, float]:
        return {
            str(batch): round(statistics.median(value(cost) for cost in costs[idle]), 2)
            for batch, costs in found.items()
        }

    return Result(
        measured_at=datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z"),
        commit=commit(),
        machine=where,
        idle_views=IDLE_VIEWS,
        projector_us=medians(lambda cost: cost.total_us),
        projector_process_us=medians(lambda cost: cost.process_us),
        projector_backends_us=medians(lambda cost: cost.backends_us),
        projector_with_idle_us=medians(lambda cost: cost.total_us, idle=True),
        idle_views_us={
            str(batch): round(
                statistics.median(
                    with_idle.total_us - without.total_us
                    for without, with_idle in zip(costs[False], costs[True], strict=True)
                ),
                2,
            )
            for batch, costs in found.items()
        },
        lag_p50_ms=medians(lambda cost: cost.lag_p50_ms, idle=True),
        lag_p99_ms=medians(lambda cost: cost.lag_p99_ms, idle=True),
        rounds={
            f"{batch}{' + idle' if idle else ''}": costs[idle]
            for batch, costs in found.items()
            for idle in (False, True)
        },
    )


def show(result: Result, console: Console) -> None:
    """Print the result as a table."""
    table = Table(title=f"CPU µs a booking, {result.measured_at} {result.commit}", title_justify="left")
    for column in ("bookings a batch", "process", "backends", "both", f"{result.idle_views} idle views", "p99 behind"):
        table.add_column(column, justify="right")
    for batch, total_us in result.projector_us.items():
        table.add_row(
            batch,
            f"{result.projector_process_us[batch]:.1f}",
            f"{result.projector_backends_us[batch]:.1f}",
            f"{total_us:.1f}",
            f"{result.idle_views_us[batch]:+.1f}",
            f"{result.lag_p99_ms[batch]:.0f} ms",
        )
    console.print(table)
    console.print(result.machine.described())
