"""Micro-benchmarks of the parts of a booking, with pytest-benchmark. Run by `make bench`, not by `pytest`.

A round may have several operations, such as an append of 256 bookings; `operations` is their number, by which
bench/micro.py divides. Where a booking would find the previous one, each round has a new setup, which is not measured.
"""

import asyncio
import base64
import itertools
import tempfile
from collections.abc import Awaitable, Callable, Iterator
from contextlib import AsyncExitStack
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path
from typing import Any, TypeVar

import pytest
from prometheus_client import values
from pytest_benchmark.fixture import BenchmarkFixture

from api.access.identity import Actor
from api.contexts import load_domain
from api.graphql.context import Context, Services
from api.graphql.schema import schema
from bench.machine import database_facts
from domain.appointments import agenda as agendas
from domain.appointments import patient as patients
from domain.appointments.agenda import Agenda, AgendaPublished, AppointmentBooked
from domain.appointments.availability import Slot
from domain.appointments.booking import BookAppointment
from domain.appointments.hospital import RegisterHospital
from domain.appointments.patient import Patient, VisitTaken
from domain.appointments.publishing import PublishAgenda
from domain.calendar import TIME_ZONE
from domain.decider import Command, Event, Recorded, StreamName, build, fold, fold_of
from domain.decision import decide
from domain.errors import Rejected
from domain.identifiers import agenda_id, ci_key, parse_ci
from domain.people import PersonRegistered, RegisterPerson
from infra.gateways.keys import DevelopmentKeys
from infra.log.batch import Appended, Batch
from infra.log.codec import Codec
from infra.log.core import Core, open_core
from infra.log.submission import Key, Outcome
from infra.postgres.database import application_conninfo
from infra.postgres.embedded import APPLICATION, OWNER, EmbeddedPostgres
from infra.postgres.migrate import migrate
from infra.postgres.views import Views
from infra.running.metrics import Metrics, share
from infra.running.places import FOLDER
from infra.running.secret import Secret
from infra.running.settings import Settings

T = TypeVar("T")

SECRET = bytes(range(32))
HOSPITAL = "la-merced"
SPECIALTY = "pediatrics"
NOW = datetime.now(UTC)
DAY = (NOW + timedelta(days=7)).astimezone(TIME_ZONE).date()
DIGEST_BYTES = 16
SLOTS = 30
WARMUP_ROUNDS = 5

numbers = itertools.count(1)


def opaque() -> str:
    """A new opaque id, distributed like real ones for the indexes."""
    number = next(numbers) * 0x9E3779B97F4A7C15F39CC0605CEDC835 % 2**128
    return base64.b32encode(number.to_bytes(16, "big")).decode().rstrip("=").lower()


def slot_times(slots: int, day: date = DAY) -> list[tuple[datetime, int]]:
    """Start and minutes of `slots` slots, which may overlap."""
    begin = datetime.combine(day, time(7), TIME_ZONE).astimezone(UTC)
    return [(begin + timedelta(minutes=n % (16 * 60)), 1) for n in range(slots)]


def published(slots: int) -> AgendaPublished:
    practitioner = f"p-{next(numbers)}"
    return AgendaPublished(
        agenda=agenda_id(HOSPITAL, DAY, practitioner),
        hospital=HOSPITAL,
        specialty=SPECIALTY,
        practitioner=practitioner,
        date=DAY,
        slots=[Slot(number=n, start=start, minutes=minutes) for n, (start, minutes) in enumerate(slot_times(slots), 1)],
    )


def booking(agenda: str, slot: int, patient: str) -> BookAppointment:
    return build(
        BookAppointment,
        appointment=f"{agenda}/{opaque()}",
        agenda=agenda,
        slot=slot,
        patient=patient,
        channel="WEB",
    )


def describe(benchmark: BenchmarkFixture, what: str, operations: int = 1) -> None:
    benchmark.extra_info.update(what=what, operations=operations)


def in_rounds(
    benchmark: BenchmarkFixture,
    work: Callable[..., object],
    *,
    rounds: int,
    setup: Callable[[], tuple[Any, ...]] = lambda: (),
) -> None:
    """Measure `work(*setup())` this number of times, without the time for `setup`."""
    benchmark.pedantic(  # type: ignore[no-untyped-call]
        work, setup=lambda: (setup(), {}), rounds=rounds, warmup_rounds=WARMUP_ROUNDS
    )


# Deciding


@pytest.mark.parametrize(("slots", "bookings"), [(30, 30), (5_000, 256)])
def test_decide(benchmark: BenchmarkFixture, slots: int, bookings: int) -> None:
    """Bookings of an agenda in order, each decided on the state after the previous ones, and folded."""
    described = published(slots)
    stream = agendas.stream(described.agenda)
    commands = [booking(described.agenda, n, opaque()) for n in range(1, bookings + 1)]

    def setup() -> tuple[dict[StreamName, Any]]:
        states: dict[StreamName, Any] = {patients.stream(command.patient): Patient() for command in commands}
        return (states | {stream: fold(stream, [described])},)

    def work(states: dict[StreamName, Any]) -> None:
        for command in commands:
            for name, event in decide(command, states, NOW):
                states[name] = fold_of(name).evolve(states[name], event)

    describe(benchmark, f"decide and evolve a booking, agenda of {slots:,} slots", bookings)
    in_rounds(benchmark, work, setup=setup, rounds=200)


@pytest.mark.parametrize("slots", [30, 5_000])
def test_refuse(benchmark: BenchmarkFixture, slots: int) -> None:
    """A booked slot: the refusal looks for the nearest free ones."""
    described = published(slots)
    agenda: Agenda = fold(agendas.stream(described.agenda), [described])
    agenda.booked[slots // 2] = "somebody else's"
    command = booking(described.agenda, slots // 2, opaque())
    states: dict[StreamName, Any] = {
        agendas.stream(described.agenda): agenda,
        patients.stream(command.patient): Patient(),
    }

    def work() -> None:
        try:
            decide(command, states, NOW)
        except Rejected:
            return
        raise AssertionError("the slot was free")

    describe(benchmark, f"refuse a taken slot with alternatives, agenda of {slots:,} slots")
    benchmark(work)


# Codec


def plain_event() -> AppointmentBooked:
    return AppointmentBooked(appointment=f"{published(1).agenda}/{opaque()}", slot=17, patient=opaque(), channel="WEB")


def personal_event() -> PersonRegistered:
    return PersonRegistered(
        person=opaque(),
        identity_digest="0" * 64,
        identity="4820193-1A LP",
        given_names="Wara Nayra",
        family_names="Mamani Quispe",
        birth_date=date(1990, 5, 17),
        sex="F",
        phone="+59171234567",
        email="wara@example.org",
    )


@pytest.mark.parametrize("kind", ["plain", "personal"])
def test_encode(benchmark: BenchmarkFixture, kind: str) -> None:
    event: Event = plain_event() if kind == "plain" else personal_event()
    key = None if kind == "plain" else SECRET
    describe(benchmark, f"encode an event, {kind}")
    benchmark(Codec().encode, event, key)


@pytest.mark.parametrize("kind", ["plain", "personal"])
def test_decode(benchmark: BenchmarkFixture, kind: str) -> None:
    event: PersonRegistered | AppointmentBooked = plain_event() if kind == "plain" else personal_event()
    codec = Codec()
    keys = {event.person: SECRET} if isinstance(event, PersonRegistered) else {}
    stored = codec.encode(event, SECRET)
    describe(benchmark, f"decode an event, {kind}")
    assert benchmark(codec.decode, event.event_name, stored, keys) == event


# A real database


class City:
    """A log on the embedded server, opened in its own event loop."""

    def __init__(self, settings: Settings) -> None:
        self._loop = asyncio.new_event_loop()
        self._open = AsyncExitStack()
        self.settings = settings
        load_domain()
        self.core: Core = self.run(self._open.enter_async_context(open_core(settings)))
        self.submit([build(RegisterHospital, hospital=HOSPITAL, name="Hospital La Merced")])

    def run(self, work: Awaitable[T]) -> T:
        return self._loop.run_until_complete(work)

    def close(self) -> None:
        self.run(self._open.aclose())
        self._loop.close()

    async def submitted(self, commands: list[Command]) -> list[Outcome]:
        keys = [Key("bench", str(next(numbers))) for _ in commands]
        return await asyncio.gather(
            *(self.core.committer.submit(command, key) for command, key in zip(commands, keys, strict=True))
        )

    def submit(self, commands: list[Command]) -> list[Outcome]:
        """Submit all at once; raises Rejected if any was refused."""
        return self.run(self.submitted(commands))

    def free_slots(self, count: int) -> list[tuple[str, int]]:
        """Agenda and slot, of new agendas."""
        names = [f"p-{next(numbers)}" for _ in range(-(-count // SLOTS))]
        slots = [{"start": start, "minutes": minutes} for start, minutes in slot_times(SLOTS)]
        self.submit(
            [
                build(PublishAgenda, hospital=HOSPITAL, specialty=SPECIALTY, practitioner=name, date=DAY, slots=slots)
                for name in names
            ]
        )
        return [(agenda_id(HOSPITAL, DAY, name), slot) for name in names for slot in range(1, SLOTS + 1)][:count]

    def people(self, count: int) -> list[str]:
        """Newly registered persons."""
        commands = []
        for number in itertools.islice(numbers, count):
            identity = parse_ci(f"999{number:07d}")
            commands.append(
                build(
                    RegisterPerson,
                    person=opaque(),
                    identity=identity,
                    identity_digest=self.core.secret.identity_digest(ci_key(identity)),
                    given_names="Wara",
                    family_names="Mamani Quispe",
                    birth_date=date(1990, 5, 17),
                    sex="F",
                )
            )
        self.submit(list(commands))
        return [command.person for command in commands]


@pytest.fixture(scope="module")
def server() -> Iterator[EmbeddedPostgres]:
    with tempfile.TemporaryDirectory(prefix="igob-bench-") as folder:
        postgres = EmbeddedPostgres(Path(folder) / "igob")
        with postgres.hold("benchmarks"):
            postgres.start()
            yield postgres
            postgres.stop()


@pytest.fixture
def city(server: EmbeddedPostgres, benchmark: BenchmarkFixture) -> Iterator[City]:
    name = f"town_{next(numbers)}"
    migrate(server.conninfo(OWNER), schema=name, application_role=APPLICATION, secret=Secret(SECRET))
    benchmark.extra_info["database"] = database_facts(server)
    city = City(Settings(data_dir=server.folder, schema=name, secret=SECRET.hex()))
    yield city
    city.close()


def test_round_trip(benchmark: BenchmarkFixture, city: City) -> None:
    """The minimal cost of a database query, for comparison."""
    describe(benchmark, "ask the database for the head of an almost empty log")
    in_rounds(benchmark, lambda: city.run(city.core.log.head()), rounds=500)


def batch_of(batch: Batch, bookings: int) -> Batch:
    """Add bookings of one agenda as the committer does: two events each, keys, versions of all streams read."""
    described = published(SLOTS)
    versions: dict[StreamName, int] = {}
    for n in range(bookings):
        slot, patient, key = described.slots[n % SLOTS], opaque(), Key("bench", f"{next(numbers):032x}")
        booked = AppointmentBooked(
            appointment=f"{described.agenda}/{opaque()}", slot=slot.number, patient=patient, channel="WEB"
        )
        visit = VisitTaken(
            appointment=booked.appointment,
            hospital=HOSPITAL,
            specialty=SPECIALTY,
            slot=slot.number,
            start=slot.start,
            minutes=slot.minutes,
        )
        recorded: list[Recorded] = [(agendas.stream(described.agenda), booked), (patients.stream(patient), visit)]
        for stream, _ in recorded:
            batch.read.setdefault(stream, 0)
            versions.setdefault(stream, 0)
        for stream, event in recorded:
            versions[stream] += 1
            batch.add(stream, versions[stream], event)
        batch.accept(key, bytes(DIGEST_BYTES), "bench")
    return batch


@pytest.mark.parametrize(("bookings", "rounds"), [(1, 300), (32, 200), (256, 100)])
def test_append(benchmark: BenchmarkFixture, city: City, bookings: int, rounds: int) -> None:
    def work(batch: Batch) -> None:
        assert isinstance(city.run(city.core.log.append(batch)), Appended)

    describe(benchmark, f"append bookings, {bookings} a batch", bookings)
    in_rounds(benchmark, work, setup=lambda: (batch_of(city.core.log.batch(), bookings),), rounds=rounds)


@pytest.mark.parametrize(("callers", "rounds"), [(1, 300), (256, 60)])
def test_committer(benchmark: BenchmarkFixture, city: City, callers: int, rounds: int) -> None:
    """From the submit to the result, each caller with one booking, agendas of 30 slots."""
    slots = iter(city.free_slots(callers * (rounds + WARMUP_ROUNDS)))

    def setup() -> tuple[list[Command]]:
        return ([booking(agenda, slot, opaque()) for agenda, slot in itertools.islice(slots, callers)],)

    describe(
        benchmark,
        f"committer end to end, {callers} callers" if callers > 1 else "committer end to end, 1 caller",
        callers,
    )
    in_rounds(benchmark, city.submit, setup=setup, rounds=rounds)


@pytest.mark.parametrize("commands", [1, 64])
def test_counting(benchmark: BenchmarkFixture, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, commands: int) -> None:
    """The cost of counting bookings that are appended together, with several workers, in files."""
    monkeypatch.setenv(FOLDER, str(tmp_path))
    monkeypatch.setattr(values, "ValueClass", values.ValueClass)  # restored afterwards
    metrics = Metrics(share())
    labels = ("BookAppointment", "accepted")

    def work() -> None:
        for _ in range(commands):
            metrics.requests["mutation", "bookAppointment", "ok"].inc()
            metrics.durations[("mutation",)].observe(0.004)
        metrics.batch.observe(commands)
        metrics.answered({labels: commands})

    describe(
        benchmark, f"counting, {commands} bookings a batch" if commands > 1 else "counting, 1 booking a batch", commands
    )
    benchmark(work)
    assert metrics.commands[labels]._value.get() >= commands


# GraphQL

BOOK = """
mutation Book($input: BookAppointmentInput!) {
  bookAppointment(input: $input) { appointment { id slot start state } position errors { code message path } }
}
"""


def executor(city: City) -> Callable[[str, dict[str, Any] | None], dict[str, Any]]:
    views = Views(application_conninfo(city.settings), schema=city.settings.schema)  # not used here
    keys, actor = DevelopmentKeys(city.core.secret), Actor(roles=("developer",), subject="bench", name="bench")
    services = Services(core=city.core, views=views, settings=city.settings, now=lambda: datetime.now(UTC), keys=keys)

    def execute(query: str, variables: dict[str, Any] | None) -> dict[str, Any]:
        context = Context(services, actor=actor, language="es", correlation="bench")
        result = city.run(schema.execute(query, variable_values=variables, context_value=context))
        assert not result.errors, result.errors
        data: dict[str, Any] = result.data or {}
        return data

    return execute


def test_graphql_trivial(benchmark: BenchmarkFixture, city: City) -> None:
    """The minimal cost of an execution: parse, validate, execute."""
    describe(benchmark, "GraphQL { __typename }")
    assert benchmark(executor(city), "{ __typename }", None) == {"__typename": "Query"}


def test_graphql_booking(benchmark: BenchmarkFixture, city: City) -> None:
    rounds = 300
    execute = executor(city)
    wanted = zip(city.free_slots(rounds + WARMUP_ROUNDS), city.people(rounds + WARMUP_ROUNDS), strict=True)

    def setup() -> tuple[dict[str, Any]]:
        (agenda, slot), person = next(wanted)
        fields = {"agenda": agenda, "slot": slot, "patient": person, "channel": "WEB"}
        return ({"input": {"idempotencyKey": str(next(numbers)), **fields}},)

    def work(variables: dict[str, Any]) -> None:
        assert execute(BOOK, variables)["bookAppointment"]["errors"] == []

    describe(benchmark, "GraphQL bookAppointment, 1 caller, without HTTP")
    in_rounds(benchmark, work, setup=setup, rounds=rounds)
