"""A city under load whose processes are killed: what its clients were told, beside what its log holds.

A wish is one booking under one key. Its client asks until it is told, however often the answer is lost meanwhile, gives
up some of what it got, and remembers everything it was told and when.
"""

import itertools
import random
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import msgspec
import psutil

from bench.login import DEVELOPER, SECRET, bearer
from infra.gateways.keys import DEVELOPMENT_ISSUER
from infra.postgres.embedded import OWNER, EmbeddedPostgres
from infra.running.secret import Secret
from tests.clusters import prepare
from tests.faults.truth import Row, check_laws, read_log, written_by
from tests.serving import Serving, called, postmaster_of

PEOPLE = 80
AGENDAS_PER_ROUND = 60  # more than can be booked while a fault lasts
SLOTS_PER_AGENDA = 40  # half as many as people: many are refused
CLIENTS = 12
CANCELLED_SHARE = 0.15
REPEATED_MAX = 50  # of those that were accepted, a round
REQUEST_TIMEOUT_S = 5.0
PAUSE_S = 0.05  # between attempts
BACK_TIMEOUT_S = 60
POLL_S = 0.005
ACCOUNT = f"{DEVELOPMENT_ISSUER} {DEVELOPER.subject}"  # whose keys they are, see Actor.account
ASK_AGAIN = ("unavailable", "overloaded")

HOSPITAL = """mutation ($input: RegisterHospitalInput!) { registerHospital(input: $input) {
  position errors { code } } }"""
PUBLISH = (
    """mutation ($input: PublishAgendaInput!) { publishAgenda(input: $input) { agenda { id } errors { code } } }"""
)
REGISTER = """mutation ($input: RegisterPersonInput!) { registerPerson(input: $input) {
  person { id } errors { code } } }"""
BOOK = """mutation ($input: BookAppointmentInput!) { bookAppointment(input: $input) {
  appointment { id state } position errors { code } } }"""
CANCEL = """mutation ($input: CancelAppointmentInput!) { cancelAppointment(input: $input) {
  appointment { id state } position errors { code } } }"""


class Told(msgspec.Struct, frozen=True):
    """An answer: when it was asked for and how long it took, in seconds; None if it was lost."""

    key: str
    asked_s: float
    took_s: float
    answer: dict[str, Any] | None

    @property
    def code(self) -> str:
        """The code of the refusal; "" if it was accepted; "lost" if nothing was heard."""
        if self.answer is None:
            return "lost"
        return str(self.answer["errors"][0]["code"]) if self.answer["errors"] else ""

    @property
    def is_final(self) -> bool:
        return self.answer is not None and self.code not in ASK_AGAIN


class Caller:
    """Sends requests from any thread and writes down what comes back."""

    def __init__(self, *, timeout_s: float = REQUEST_TIMEOUT_S) -> None:
        self.url = ""
        self.told: list[Told] = []
        limits = httpx.Limits(max_connections=None, max_keepalive_connections=CLIENTS)
        headers = {"Authorization": bearer()}
        self._http = httpx.Client(verify=False, timeout=timeout_s, limits=limits, headers=headers)  # noqa: S501 (loopback)

    def close(self) -> None:
        self._http.close()

    def ask(self, query: str, field: str, key: str, wanted: dict[str, Any]) -> Told:
        """One attempt."""
        began_s = time.monotonic()
        answer = None
        try:
            variables = {"input": {"idempotencyKey": key, **wanted}}
            got = self._http.post(f"{self.url}/graphql", json={"query": query, "variables": variables})
            answer = got.json()["data"][field] if got.status_code == 200 else None
        except (httpx.HTTPError, ValueError, TypeError):  # an answer that is cut short, or whose data are null
            pass
        told = Told(key, began_s, time.monotonic() - began_s, answer)
        self.told.append(told)
        return told

    def ask_until_told(
        self, query: str, field: str, key: str, wanted: dict[str, Any], *, stopped: threading.Event | None = None
    ) -> Told:
        """As often as it takes, with the same key each time, until `stopped`, or for BACK_TIMEOUT_S."""
        deadline_s = time.monotonic() + BACK_TIMEOUT_S
        while not (told := self.ask(query, field, key, wanted)).is_final and time.monotonic() < deadline_s:
            if stopped and stopped.is_set():
                break
            time.sleep(PAUSE_S)
        return told


class City:
    """`igob serve` on a folder of its own, and its clients. Use it as a context.

    Started `as_a_shell_does`, its database is synced as in production: elsewhere, tests save the time.
    """

    def __init__(
        self,
        folder: Path,
        *,
        workers: int = 2,
        seed: int = 1,
        timeout_s: float = REQUEST_TIMEOUT_S,
        as_a_shell_does: bool = False,
    ) -> None:
        self.folder = folder
        self._as_a_shell_does = as_a_shell_does
        self.dice = random.Random(seed)
        self.caller = Caller(timeout_s=timeout_s)
        self._workers = workers
        self._rounds = itertools.count()
        self._stopped = threading.Event()
        self._wishes: dict[str, dict[str, Any]] = {}  # of all rounds
        self.server: Serving

    def __enter__(self) -> "City":
        self.server = self._serve()
        try:
            self.caller.url = self.server.url()
            self.people = self._people()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.server.stop()
        self.caller.close()

    def _people(self) -> list[str]:
        """The hospital, and everybody's opaque id."""
        self.caller.ask_until_told(HOSPITAL, "registerHospital", "h", {"hospital": "h", "name": "H"})

        def register(number: int) -> str:
            wanted = {"identity": str(5_000_000 + number), "givenNames": "Ana", "familyNames": "Mamani",
                      "birthDate": "1990-05-17", "sex": "F"}  # fmt: skip
            told = self.caller.ask_until_told(REGISTER, "registerPerson", f"p{number}", wanted)
            assert told.answer
            return str(told.answer["person"]["id"])

        with ThreadPoolExecutor(CLIENTS) as pool:
            return list(pool.map(register, range(PEOPLE)))

    def _serve(self) -> Serving:
        arguments = ("--data-dir", str(prepare(self.folder)), "--workers", str(self._workers))
        return Serving(*arguments, as_a_shell_does=self._as_a_shell_does)

    def start(self) -> None:
        """Serve again, after the server has ended."""
        self.server.stop()
        self.server = self._serve()
        self.caller.url = self.server.url()

    def rows(self) -> list[Row]:
        return read_log(EmbeddedPostgres(self.folder).conninfo(OWNER))

    @contextmanager
    def load(self) -> Iterator[None]:
        """Clients book for as long as the block runs; each has what it asked for last when it ends, or it was lost."""
        self._stopped.clear()
        wishes = self._new_wishes()
        with ThreadPoolExecutor(CLIENTS) as pool:
            asked = [pool.submit(self._fulfil, key, wish) for key, wish in wishes.items()]
            try:
                yield
            finally:
                self._stopped.set()
        for one in asked:
            one.result()

    def _new_wishes(self) -> dict[str, dict[str, Any]]:
        """Everybody wants one slot of each new agenda; there are not enough of them."""
        number = next(self._rounds)
        agendas = [self.publish(number * AGENDAS_PER_ROUND + n) for n in range(AGENDAS_PER_ROUND)]
        wanted = [(agenda, person) for agenda in agendas for person in self.people]
        self.dice.shuffle(wanted)
        wishes = {
            f"r{number}-{n}": {"agenda": agenda, "slot": self.dice.randint(1, SLOTS_PER_AGENDA), "patient": person}
            for n, (agenda, person) in enumerate(wanted)
        }
        self._wishes |= wishes
        return wishes

    def publish(self, number: int) -> str:
        """A new agenda of minutes, at a time that no other has. There are enough of them for 70 rounds."""
        hour, days = divmod(number, 300)
        day = (datetime.now(UTC) + timedelta(days=3 + days)).date()
        start = datetime(day.year, day.month, day.day, 10 + hour, tzinfo=UTC)
        slots = [{"start": (start + timedelta(minutes=n)).isoformat(), "minutes": 1} for n in range(SLOTS_PER_AGENDA)]
        wanted = {"hospital": "h", "specialty": f"s{number}", "practitioner": f"p{number}", "date": day.isoformat(),
                  "slots": slots}  # fmt: skip
        told = self.caller.ask_until_told(PUBLISH, "publishAgenda", f"a{number}", wanted)
        assert told.answer
        assert told.answer["agenda"], told
        return str(told.answer["agenda"]["id"])

    def _fulfil(self, key: str, wish: dict[str, Any]) -> None:
        if self._stopped.is_set():
            return
        told = self.caller.ask_until_told(BOOK, "bookAppointment", key, wish, stopped=self._stopped)
        if told.answer and told.answer["appointment"] and random.Random(key).random() < CANCELLED_SHARE:
            given_up = {"appointment": told.answer["appointment"]["id"]}
            self.caller.ask_until_told(CANCEL, "cancelAppointment", f"{key}-c", given_up, stopped=self._stopped)

    def wait_for_answers(self, number: int) -> None:
        """Until the load has brought so many, of all rounds that are not checked yet."""
        wait_for(lambda: sum(one.key in self._wishes for one in tuple(self.caller.told)) >= number)

    def wait_until_back(self, timeout_s: float = BACK_TIMEOUT_S) -> None:
        """Until a client is told something again; starts the server anew if it has ended.

        It asks for itself: the load may be done by then.
        """
        began_s = time.monotonic()
        while True:
            if self.server.process.poll() is not None:
                self.start()
            if self.caller.ask(HOSPITAL, "registerHospital", "h", {"hospital": "h", "name": "H"}).is_final:
                break
            assert time.monotonic() - began_s < timeout_s, self.server.output
            time.sleep(PAUSE_S)

    def check(self) -> Counter[str]:
        """Compare what clients were told with the log, ask again with the same keys, and compare once more.

        How many answers of each kind there were in the round.
        """
        told, self.caller.told = [one for one in self.caller.told if one.key in self._wishes or "-c" in one.key], []
        last = {one.key: one for one in told}
        self._compare(last)
        again = {one.key: one for one in self._ask_again(last)}
        for key, first in last.items():
            repeated = again.get(key)
            if repeated and first.answer and first.is_final and not first.code:
                assert repeated.answer
                assert not repeated.code
                assert repeated.answer["position"] == first.answer["position"], key
                assert repeated.answer["appointment"]["id"] == first.answer["appointment"]["id"], key
        self._compare(last | again)
        self.caller.told = []
        return Counter(one.code or "accepted" for one in told)

    def _ask_again(self, last: dict[str, Told]) -> list[Told]:
        """Settle what is open, and repeat some of what was accepted; whatever was given up meanwhile stays so."""
        bookings = [one for one in last.values() if one.key in self._wishes]
        open_ones = [one for one in bookings if not one.is_final]
        accepted = [one for one in bookings if one.is_final and not one.code]
        some = open_ones + self.dice.sample(accepted, min(len(accepted), REPEATED_MAX))

        def repeat(one: Told) -> Told:
            return self.caller.ask_until_told(BOOK, "bookAppointment", one.key, self._wishes[one.key])

        with ThreadPoolExecutor(CLIENTS) as pool:
            return list(pool.map(repeat, some))

    def _compare(self, last: dict[str, Told]) -> None:
        """Each acknowledged wish is in the log, once, where the answer says; of a refused one nothing is there."""
        rows = self.rows()
        check_laws(rows)
        written = written_by(rows)
        secret = Secret(bytes.fromhex(SECRET))
        for key, told in last.items():
            found = written.get(secret.key_name(ACCOUNT, key), [])
            positions = [row.position for row in found]
            if told.answer and told.is_final and not told.code:
                assert positions == [int(told.answer["position"]) - 1, int(told.answer["position"])], told
                assert {row.state["appointment"] for row in found} == {told.answer["appointment"]["id"]}, told
            elif told.is_final:
                assert not positions, told
            else:
                assert len(positions) in (0, 2), told


def wait_for(true: Callable[[], object], *, timeout_s: float = BACK_TIMEOUT_S, poll_s: float = POLL_S) -> None:
    """Until it is so."""
    deadline_s = time.monotonic() + timeout_s
    while not true():
        assert time.monotonic() < deadline_s
        time.sleep(poll_s)


def victims(city: City) -> dict[str, Callable[[], None]]:
    """What can be killed, and how."""
    return {
        "a worker": lambda: kill(city.dice.choice(city.server.workers() or [psutil.Process(city.server.process.pid)])),
        "all workers": lambda: kill(*city.server.workers()),
        "the server": lambda: _kill_server(city),
        "the postmaster": lambda: kill(*_postmaster(city)),
        "a backend": lambda: kill(city.dice.choice(backends(city))),
        "the database, fast": lambda: _stop_fast(city),
        "everything": lambda: city.server.kill_everything(city.folder),
    }


def _kill_server(city: City) -> None:
    city.server.process.kill()
    city.server.process.wait()


def busiest(workers: list[psutil.Process]) -> psutil.Process:
    """Who serves most connections: workers accept from one socket, and one of them may have got them all."""
    return max(workers, key=lambda one: len(one.net_connections("tcp")))


def kill(*processes: psutil.Process) -> None:
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            process.kill()


@contextmanager
def frozen(processes: list[psutil.Process]) -> Iterator[None]:
    """They neither run nor end while the block runs; nobody is told."""
    assert processes
    for process in processes:
        process.suspend()
    try:
        yield
    finally:
        for process in processes:
            with suppress(psutil.NoSuchProcess):
                process.resume()


def _postmaster(city: City) -> list[psutil.Process]:
    found = postmaster_of(city.folder)
    return [found] if found else []


def backends(city: City) -> list[psutil.Process]:
    """Processes of PostgreSQL that serve our workers."""
    children = [child for one in _postmaster(city) for child in one.children()]
    return called(children, "igob_app") or children


def _stop_fast(city: City) -> None:
    """As an administrator does who restarts it: connections are ended, then a checkpoint."""
    for postmaster in _postmaster(city):
        with suppress(psutil.NoSuchProcess):
            postmaster.send_signal(signal.SIGINT)
