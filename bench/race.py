"""`igob bench race`: many clients compete for few slots through several server processes; every answer is verified.

Each round has its own agenda. Requests and answers, with their times, are checked against the domain executed by a
single client (`bench.history`), and against the log: positions without gaps, each slot booked once.
"""

import base64
import hashlib
import http.client
import os
import re
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import MappingProxyType
from typing import Any
from urllib.parse import urlsplit

import msgspec
import psutil
import psycopg
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from bench.decisions import Decisions, judge
from bench.history import Accepted, Answer, Operation, Recorder, Refused
from bench.login import SECRET, bearer
from bench.machine import Machine, commit, database_facts, machine
from domain.appointments.booking import BookAppointment
from domain.appointments.hospital import RegisterHospital
from domain.appointments.publishing import PublishAgenda
from domain.decider import build
from domain.identifiers import AgendaId, AppointmentId, SubjectId, agenda_of
from infra.postgres.embedded import APPLICATION, OWNER, EmbeddedPostgres
from infra.running.settings import PREFIX, Settings

READY_TIMEOUT_S = 60
READY_POLL_S = 0.05
STOP_TIMEOUT_S = 60
ANSWER_TIMEOUT_S = 60
TOGETHER_TIMEOUT_S = 60
REGISTER_AT_ONCE = 16
CLOCK_SLACK = timedelta(
    milliseconds=100
)  # a server's clock may be set during the run; the clock for stamps is monotonic
DAYS_AHEAD = 3
MINUTES_A_DAY = 24 * 60 - 1
UNLIMITED = MappingProxyType({f"{PREFIX}REQUESTS_PER_S": "0"})  # all clients have one token
UNSETTLED = frozenset({"unavailable"})  # codes with an unknown outcome

CHECKOUT = Path(__file__).parents[1]
SERVE = [sys.executable, "-c", "from infra.cli.main import main; main()", "serve"]

REGISTER_HOSPITAL = """mutation ($input: RegisterHospitalInput!) { answer: registerHospital(input: $input) {
  position errors { code } } }"""
REGISTER_PERSON = """mutation ($input: RegisterPersonInput!) { answer: registerPerson(input: $input) {
  person { id } errors { code } } }"""
PUBLISH = """mutation ($input: PublishAgendaInput!) { answer: publishAgenda(input: $input) {
  position errors { code } } }"""
BOOK = """mutation ($input: BookAppointmentInput!) { answer: bookAppointment(input: $input) {
  appointment { id slot } position errors { code } } }"""
EVENTS = """SELECT position, event, state FROM {}.event_log WHERE position > %s ORDER BY position"""


class Unanswered(Exception):
    """The outcome of a request is unknown."""


class Client:
    """A persistent connection with a developer's token. For one thread at a time."""

    def __init__(self, url: str) -> None:
        address = urlsplit(url)
        self._headers = {"Content-Type": "application/json", "Authorization": bearer()}
        self._http = http.client.HTTPConnection(address.hostname or "", address.port, timeout=ANSWER_TIMEOUT_S)

    def connect(self) -> None:
        """Connect in advance; if that fails, the next request raises the error."""
        if self._http.sock is None:
            with suppress(OSError):
                self._http.connect()

    def close(self) -> None:
        self._http.close()

    def ask(self, mutation: str, wanted: dict[str, Any]) -> dict[str, Any]:
        """The payload. Raises Unanswered."""
        payload: dict[str, Any] = self.query(mutation, input=wanted)["answer"]
        if any(error["code"] in UNSETTLED for error in payload["errors"]):
            raise Unanswered(str(payload["errors"]))
        return payload

    def query(self, document: str, **variables: Any) -> dict[str, Any]:
        """The data of a query. Raises Unanswered."""
        body = msgspec.json.encode({"query": document, "variables": variables})
        try:
            self._http.request("POST", "/graphql", body, self._headers)
            answer = self._http.getresponse()
            text = answer.read()
        except (OSError, http.client.HTTPException) as error:
            self._http.close()
            raise Unanswered(repr(error)) from error
        if answer.status != http.HTTPStatus.OK:
            raise Unanswered(f"status {answer.status}: {text[:200]!r}")
        response = msgspec.json.decode(text)
        if response.get("errors"):
            raise Unanswered(str(response["errors"]))
        data: dict[str, Any] = response["data"]
        return data


class BookingRequest(msgspec.Struct, frozen=True):
    """A booking to be requested."""

    key: str
    agenda: AgendaId
    slot: int
    patient: SubjectId


def book(client: Client, recorder: Recorder, request: BookingRequest) -> None:
    """Send the request, and record the answer, if there is one."""
    command = BookAppointment(
        agenda=request.agenda,
        slot=request.slot,
        patient=request.patient,
        channel="WEB",
        appointment=placeholder_id(request),
    )
    wanted = {"idempotencyKey": request.key, "agenda": request.agenda, "slot": request.slot, "patient": request.patient}
    number = recorder.called(command, key=request.key, content=(request.agenda, request.slot, request.patient))
    with suppress(Unanswered):
        payload = client.ask(BOOK, wanted)
        booked = payload["appointment"]
        details = {"appointment": booked["id"], "slot": booked["slot"]} if booked else {}
        named = msgspec.structs.replace(command, appointment=booked["id"]) if booked else command
        recorder.answered(number, _answer(payload, details), command=named)


def placeholder_id(request: BookingRequest) -> AppointmentId:
    """An id for the appointment of an unanswered request, different for each, so that two are never taken for one."""
    digest = hashlib.sha256(request.key.encode()).digest()[:16]
    return AppointmentId(f"{request.agenda}/{base64.b32encode(digest).decode().rstrip('=').lower()}")


def _answer(payload: dict[str, Any], details: dict[str, Any]) -> Answer:
    if payload["errors"]:
        return Refused(payload["errors"][0]["code"])
    return Accepted(int(payload["position"]), details)


def publish(client: Client, recorder: Recorder, number: int, slots: int) -> AgendaId:
    """Publish a round's agenda, of its own day and specialty, in the log and in the history. Raises Unanswered.

    Its hospital is registered again, which changes nothing but belongs to the round's history.
    """
    day = (datetime.now(UTC) + timedelta(days=DAYS_AHEAD + number)).date()
    begin = datetime(day.year, day.month, day.day, 4, tzinfo=UTC)  # midnight in La Paz
    times = [{"start": begin + timedelta(minutes=n % MINUTES_A_DAY), "minutes": 1} for n in range(slots)]
    hospital = {"hospital": "race", "name": "Race"}
    agenda = {
        "hospital": "race",
        "specialty": f"s-{number}",
        "practitioner": f"p-{number}",
        "date": day,
        "slots": times,
    }
    published = build(PublishAgenda, **agenda)
    for command, mutation, key, wanted in (
        (build(RegisterHospital, **hospital), REGISTER_HOSPITAL, "race-hospital", hospital),
        (published, PUBLISH, f"race-agenda-{number}", agenda),
    ):
        asked = recorder.called(command, key=key)
        recorder.answered(asked, _answer(client.ask(mutation, {"idempotencyKey": key, **wanted}), {}))
    return published.agenda


def register(url: str, people: int) -> list[SubjectId]:
    """The ids of this number of people, the same in each run. Raises Unanswered."""

    def some(first: int) -> list[SubjectId]:
        client = Client(url)
        found = [_person(client, number) for number in range(first, people, REGISTER_AT_ONCE)]
        client.close()
        return found

    with ThreadPoolExecutor(REGISTER_AT_ONCE) as pool:
        return [person for found in pool.map(some, range(REGISTER_AT_ONCE)) for person in found]


def _person(client: Client, number: int) -> SubjectId:
    wanted = {"idempotencyKey": f"race-person-{number}", "identity": str(7_000_000 + number), "givenNames": "Ana",
              "familyNames": "Mamani", "birthDate": "1990-05-17", "sex": "F"}  # fmt: skip
    payload = client.ask(REGISTER_PERSON, wanted)
    if payload["errors"]:
        raise Unanswered(f"a person was refused: {payload['errors']}")
    return SubjectId(payload["person"]["id"])


def book_all(clients: Sequence[Client], recorder: Recorder, requests: Sequence[BookingRequest]) -> None:
    """Send all requests at once, one per client, on connections that are open."""
    together = threading.Barrier(len(requests))

    def one(client: Client, request: BookingRequest) -> None:
        client.connect()
        together.wait(TOGETHER_TIMEOUT_S)
        book(client, recorder, request)

    with ThreadPoolExecutor(len(requests)) as pool:
        list(pool.map(one, clients, requests))


class Round(msgspec.Struct, frozen=True):
    """The outcome of one agenda. `faults`: contradictions found by the log or the checker, in words; normally none.

    `verdict` is the checker's: "accepted", "rejected" or "undecided". `seconds` is the duration of the requests.
    """

    booked: int
    refused: dict[str, int]
    unanswered: int
    seconds: float
    verdict: str
    faults: list[str]

    @property
    def accepted(self) -> bool:
        return self.verdict == "accepted" and not self.faults


class Race:
    """Clients on one or more addresses of one log, and the log itself."""

    def __init__(self, urls: Sequence[str], *, clients: int, slots: int, log: str, schema: str) -> None:
        """`log` is a libpq address at which the view `event_log` of `schema` can be read. Raises Unanswered."""
        self.slots = slots
        self.waits_s: list[float] = []
        self.people = register(urls[0], clients)
        self._clients = [Client(urls[number % len(urls)]) for number in range(clients)]
        self._log = log
        self._events = psycopg.sql.SQL(EVENTS).format(psycopg.sql.Identifier(schema))
        self._seen = 0  # number of positions checked

    def close(self) -> None:
        for client in self._clients:
            client.close()

    def round(self, number: int) -> Round:
        """All clients request a slot of a new agenda at once, several the same one. Raises Unanswered before that."""
        recorder, model = Recorder(), Decisions(datetime.now(UTC), time.monotonic_ns(), slack=CLOCK_SLACK)
        agenda = publish(self._clients[0], recorder, number, self.slots)
        requests = [
            BookingRequest(key=f"race-{number}-{n}", agenda=agenda, slot=1 + n % self.slots, patient=patient)
            for n, patient in enumerate(self.people)
        ]
        book_all(self._clients, recorder, requests)
        history = recorder.history()
        bookings = history[-len(requests) :]
        self.waits_s += [(one.returned - one.called) / 1e9 for one in bookings if one.returned is not None]
        verdict = judge(history, model)
        return Round(
            booked=sum(isinstance(one.answer, Accepted) for one in bookings),
            refused=dict(Counter(one.answer.code for one in bookings if isinstance(one.answer, Refused))),
            unanswered=sum(one.answer is None for one in bookings),
            seconds=round((max(one.returned or 0 for one in bookings) - bookings[0].called) / 1e9, 3),
            verdict=verdict.kind,
            faults=verdict.reasons + self._faults_of_log(bookings),
        )

    def _faults_of_log(self, bookings: Sequence[Operation]) -> list[str]:
        """The faults of the log since the last round."""
        with psycopg.connect(self._log) as connection:
            rows = connection.execute(self._events, (self._seen,)).fetchall()
        faults = log_faults(rows, bookings, before=self._seen)
        self._seen += len(rows)
        return faults


def log_faults(rows: Sequence[tuple[Any, ...]], bookings: Sequence[Operation], *, before: int) -> list[str]:
    """The faults of the log after position `before`: rows of position, event, state, without cancellations."""
    faults = []
    positions = [row[0] for row in rows]
    if positions != list(range(before + 1, before + 1 + len(rows))):
        faults.append(f"the positions after {before} have gaps: {positions}")
    booked = [state for _, event, state in rows if event == "appointment_booked.v1"]
    slots = Counter((agenda_of(state["appointment"]), state["slot"]) for state in booked)
    faults += [
        f"slot {slot} of {agenda} was given {times} times" for (agenda, slot), times in slots.items() if times > 1
    ]
    agendas = {one.command.agenda for one in bookings}
    visits = {state["appointment"]: position for position, event, state in rows if event == "visit_taken.v1"}
    answers = [one.answer for one in bookings if isinstance(one.answer, Accepted)]
    answered = {answer.details["appointment"]: answer.position for answer in answers}
    for name, position in answered.items():
        if visits.get(name) != position:
            faults.append(f"{name} was answered at position {position}, the log has it at {visits.get(name)}")
    unexplained = [name for name in visits if agenda_of(name) in agendas and name not in answered]
    if len(unexplained) > sum(one.answer is None for one in bookings):
        faults.append(f"the log has appointments that no request explains: {unexplained}")
    return faults


class Result(msgspec.Struct):
    """All rounds; latencies of answered bookings in milliseconds. `accepted`: every round could be explained."""

    measured_at: str
    commit: str
    machine: Machine
    clients: int
    slots: int
    workers: int
    accepted: bool
    booked: int
    refused: dict[str, int]
    unanswered: int
    p50_ms: float
    p99_ms: float
    worst_ms: float
    rounds: list[Round]


def run(*, clients: int, slots: int, workers: int, rounds: int, console: Console) -> Result:
    """Run this number of rounds in a temporary city. Raises Unanswered if it does not start."""
    load = round(psutil.getloadavg()[0], 1)
    with tempfile.TemporaryDirectory(prefix="igob-race-") as root, served(Path(root), workers, UNLIMITED) as url:
        server = EmbeddedPostgres(Path(root) / "city")
        race = Race([url], clients=clients, slots=slots, log=server.conninfo(OWNER), schema="la_paz")
        played = []
        with Progress(console=console, transient=True, disable=not console.is_terminal) as progress:
            for number in progress.track(range(rounds), description="bench race"):
                played.append(race.round(number))  # noqa: PERF401 (one line of progress each)
        race.close()
        return _result(race, played, machine(database_facts(server), load=load), clients=clients, workers=workers)


def _result(race: Race, played: list[Round], where: Machine, *, clients: int, workers: int) -> Result:
    waits_ms = sorted(wait * 1_000 for wait in race.waits_s) or [0.0]
    refused: Counter[str] = Counter()
    for one in played:
        refused.update(one.refused)
    return Result(
        measured_at=datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z"),
        commit=commit(),
        machine=where,
        clients=clients,
        slots=race.slots,
        workers=workers,
        accepted=all(one.accepted for one in played),
        booked=sum(one.booked for one in played),
        refused=dict(refused),
        unanswered=sum(one.unanswered for one in played),
        p50_ms=round(waits_ms[len(waits_ms) // 2], 1),
        p99_ms=round(waits_ms[int(len(waits_ms) * 0.99)], 1),
        worst_ms=round(waits_ms[-1], 1),
        rounds=played,
    )


@contextmanager
def served(root: Path, workers: int, settings: Mapping[str, str] = MappingProxyType({})) -> Iterator[str]:
    """The address of `igob serve` on an empty city in `root`, or on that of the settings. Raises Unanswered.

    The server stops at the end of the block.
    """
    log = root / "log"
    # Without the settings of the user's environment.
    environment = {name: value for name, value in os.environ.items() if not name.startswith(PREFIX)}
    environment |= {f"{PREFIX}SECRET": SECRET} | dict(settings)
    with log.open("wb") as output:
        process = subprocess.Popen(
            [*SERVE, "--port", "0", "--workers", str(workers), "--data-dir", str(root / "city")],
            cwd=CHECKOUT, env=environment, stdout=subprocess.DEVNULL, stderr=output, start_new_session=True,
        )  # fmt: skip
    try:
        yield _address(process, log)
    finally:
        process.terminate()
        try:
            process.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


@contextmanager
def serving(server: EmbeddedPostgres, settings: Settings, workers: int) -> Iterator[str]:
    """The address of `igob serve` on the log of a benchmark, with secret, schema and rate limits of its settings."""
    given = {
        "DATABASE_URL": f"postgresql://{APPLICATION}@/igob?host={server.socket}",
        "SECRET": settings.secret,
        "SCHEMA": settings.schema,
        "REQUESTS_PER_S": str(settings.requests_per_s),
        "ANONYMOUS_PER_S": str(settings.anonymous_per_s),
    }
    with (
        tempfile.TemporaryDirectory(prefix="igob-bench-") as folder,
        served(Path(folder), workers, {PREFIX + name: value for name, value in given.items()}) as address,
    ):
        yield address


def _address(process: "subprocess.Popen[bytes]", log: Path) -> str:
    deadline = time.monotonic() + READY_TIMEOUT_S
    while time.monotonic() < deadline and process.poll() is None:
        ready = re.search(r"is ready: (http\S+)/graphql", log.read_text())
        if ready:
            return ready[1]
        time.sleep(READY_POLL_S)
    raise Unanswered(f"igob serve is not ready: {log.read_text()}")


def show(result: Result, console: Console) -> None:
    """Print the result as a table."""
    title = f"{result.clients} clients, {result.slots} slots, {result.workers} server processes, {result.measured_at}"
    table = Table(title=f"{title} {result.commit}", title_justify="left")
    for column in ("round", "booked", "refused", "no answer", "seconds", "verdict"):
        table.add_column(column, justify="left" if column == "verdict" else "right")
    for number, one in enumerate(result.rounds, start=1):
        counts = (number, one.booked, sum(one.refused.values()), one.unanswered, f"{one.seconds:.3f}")
        table.add_row(*map(str, counts), one.verdict if one.accepted else f"{one.verdict}, faults")
    console.print(table)
    for number, one in enumerate(result.rounds, start=1):
        for fault in one.faults:
            console.print(f"round {number}: {fault}", markup=False)
    refused = ", ".join(f"{count} {code}" for code, count in result.refused.items())
    console.print(f"booked {result.booked}; refused {refused or 0}; without an answer {result.unanswered}")
    console.print(f"wait: p50 {result.p50_ms} ms, p99 {result.p99_ms} ms, worst {result.worst_ms} ms")
    console.print("every answer is explained" if result.accepted else "NOT every answer is explained")
    console.print(result.machine.described())
