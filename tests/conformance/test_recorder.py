"""The eventsourcing library's published test cases for recorders, and further ones."""

import itertools
import select
import socket
import tempfile
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

import psycopg
import pytest
from eventsourcing.persistence import IntegrityError, ProgrammingError, StoredEvent
from eventsourcing.tests.persistence import ApplicationRecorderTestCase, NonInterleavingNotificationIDsBaseCase
from psycopg.conninfo import make_conninfo

from infra.log.recorder import LogRecorder, datastore
from infra.postgres.migrate import migrate
from infra.running.secret import Secret
from tests.towns import Town


class TextIds:
    """The library's cases with text ids, each on an empty log."""

    @pytest.fixture(autouse=True)
    def _town(self, town: Town) -> Iterator[None]:
        self.store = datastore(town.application, schema=town.schema)
        yield
        self.store.close()

    def new_originator_id(self) -> str:
        return f"case/{uuid4()}"

    def create_recorder(self) -> LogRecorder:
        return LogRecorder(self.store)


class TestApplicationRecorder(TextIds, ApplicationRecorderTestCase):  # type: ignore[misc]
    def test_insert_subscribe(self) -> None:
        self.optional_test_insert_subscribe()


class TestNonInterleaving(TextIds, NonInterleavingNotificationIDsBaseCase):  # type: ignore[misc]
    insert_num = 1_000


@pytest.fixture
def recorder(town: Town) -> Iterator[LogRecorder]:
    store = datastore(town.application, schema=town.schema)
    yield LogRecorder(store)
    store.close()


def an_event(stream: str = "case/1", version: int = 1) -> StoredEvent:
    return StoredEvent(originator_id=stream, originator_version=version, topic="noted.v1", state=b"{}")


def positions(town: Town) -> list[int]:
    return [row[0] for row in town.execute("SELECT notification_id FROM events ORDER BY 1")]  # type: ignore[misc]


def test_a_held_transaction_delays_later_appends(town: Town, recorder: LogRecorder) -> None:
    holding = psycopg.connect(town.application)
    holding.execute(recorder._append, _parameters("case/held"))
    done = threading.Event()

    def insert_later() -> None:
        recorder.insert_events([an_event("case/later")])
        done.set()

    later = threading.Thread(target=insert_later)
    later.start()
    assert not done.wait(0.5)
    assert recorder.select_notifications(start=None, limit=10) == []
    holding.commit()
    assert done.wait(5)
    later.join()
    found = recorder.select_notifications(start=None, limit=10)
    assert [(n.id, n.originator_id) for n in found] == [(1, "case/held"), (2, "case/later")]
    holding.close()


def test_a_rolled_back_append_leaves_no_gap(town: Town, recorder: LogRecorder) -> None:
    recorder.insert_events([an_event(version=1)])
    with psycopg.connect(town.application) as connection:
        connection.execute(recorder._append, _parameters("case/2"))
        connection.rollback()
    with pytest.raises(IntegrityError):
        recorder.insert_events([an_event("case/3"), an_event(version=1)])
    assert recorder.insert_events([an_event(version=2)]) == [2]
    assert positions(town) == [1, 2]


def test_a_connection_killed_before_commit_writes_nothing(town: Town, recorder: LogRecorder) -> None:
    victim = psycopg.connect(town.application)
    victim.execute(recorder._append, _parameters("case/victim"))
    town.execute("SELECT pg_terminate_backend(%s)", victim.info.backend_pid)
    with pytest.raises(psycopg.OperationalError):
        victim.execute("SELECT 1")
    victim.close()
    assert recorder.insert_events([an_event()]) == [1]
    assert positions(town) == [1]


def test_a_connection_killed_after_commit_loses_nothing(town: Town, recorder: LogRecorder) -> None:
    with psycopg.connect(town.application) as victim:
        victim.execute(recorder._append, _parameters("case/victim"))
        victim.commit()
        town.execute("SELECT pg_terminate_backend(%s)", victim.info.backend_pid)
    assert recorder.insert_events([an_event()]) == [2]
    assert positions(town) == [1, 2]


class Between:
    """A proxy between a client and the database that cuts the connection at the first message with `word` in it.

    At a `request`: before the database gets it; otherwise at a response, before the client gets it. Then it calls
    `meanwhile`.
    """

    def __init__(
        self, town: Town, folder: Path, word: bytes, *, request: bool, meanwhile: Callable[[], object]
    ) -> None:
        self.address = f".s.PGSQL.{town.application_parameters['port']}"
        self.there = Path(str(town.application_parameters["host"]), self.address)
        self.word, self.request, self.meanwhile = word, request, meanwhile
        self.cut = 0
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(str(folder / self.address))
        self.listener.listen()
        self.threads = [threading.Thread(target=self._accept)]
        self.threads[0].start()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self.listener.accept()
            except OSError:
                return
            self.threads.append(threading.Thread(target=self._pass_on, args=(client,)))
            self.threads[-1].start()

    def _pass_on(self, client: socket.socket) -> None:
        with client, socket.socket(socket.AF_UNIX) as server:
            server.connect(str(self.there))
            while True:
                ready, _, _ = select.select([client, server], [], [])
                said = ready[0].recv(65_536)
                if not said:
                    return
                if not self.cut and self.word in said and (ready[0] is client) == self.request:
                    self.cut += 1
                    self.meanwhile()
                    return
                (server if ready[0] is client else client).sendall(said)

    def close(self) -> None:
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        for thread in self.threads:
            thread.join(10)


@contextmanager
def through(between: Between, town: Town, folder: Path) -> Iterator[LogRecorder]:
    store = datastore(make_conninfo(town.application, host=str(folder)), schema=town.schema)
    try:
        yield LogRecorder(store)
    finally:
        store.close()
        between.close()


@pytest.fixture
def short() -> Iterator[Path]:
    """A folder with a path short enough for a socket."""
    with tempfile.TemporaryDirectory(prefix="igob-") as folder:
        yield Path(folder)


def test_a_commit_with_a_lost_answer_is_recognised(town: Town, recorder: LogRecorder, short: Path) -> None:
    recorder.insert_events([an_event("case/0")])
    between = Between(town, short, b"appended", request=False, meanwhile=lambda: None)
    with through(between, town, short) as cut_off:
        events = [an_event(version=1), an_event(version=2), an_event("case/2")]
        assert cut_off.insert_events(events) == [2, 3, 4]
        assert between.cut == 1
        with pytest.raises(IntegrityError):  # said again by the caller: the library has no keys
            cut_off.insert_events(events)
    assert positions(town) == [1, 2, 3, 4]


@pytest.mark.parametrize(
    "theirs", [an_event(version=2), StoredEvent("case/1", 2, "noted.v1", b'{"by":"a rival"}')], ids=["a part", "others"]
)
def test_another_writer_s_events_are_a_conflict(
    town: Town, recorder: LogRecorder, short: Path, theirs: StoredEvent
) -> None:
    recorder.insert_events([an_event(version=1)])
    between = Between(town, short, b"case/1", request=True, meanwhile=lambda: recorder.insert_events([theirs]))
    with through(between, town, short) as cut_off, pytest.raises(IntegrityError):
        cut_off.insert_events([an_event(version=2), an_event(version=3)])
    assert between.cut == 1
    assert positions(town) == [1, 2]


@pytest.mark.parametrize("state", [b"\xff", b"{\n}", b"", b'{"zero":"\0"}'])
def test_a_state_that_is_not_json_on_one_line_is_refused(town: Town, recorder: LogRecorder, state: bytes) -> None:
    event = StoredEvent(originator_id="case/1", originator_version=1, topic="noted.v1", state=state)
    with pytest.raises(ProgrammingError, match=r"'noted\.v1' is .*this log keeps JSON on one line"):
        recorder.insert_events([an_event("case/0"), event])
    assert positions(town) == []


@pytest.mark.parametrize(("stream", "topic"), [("case/\n1", "noted.v1"), ("", "noted.v1"), ("case/1", "")])
def test_an_id_or_topic_that_is_not_one_line_is_refused(
    town: Town, recorder: LogRecorder, stream: str, topic: str
) -> None:
    with pytest.raises(ProgrammingError, match="with ids and topics of one line"):
        recorder.insert_events([StoredEvent(stream, 1, topic, b"{}")])
    assert positions(town) == []


def test_the_recorder_survives_killed_connections(town: Town, recorder: LogRecorder) -> None:
    recorder.insert_events([an_event(version=1)])
    town.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'igob_app'")
    assert recorder.insert_events([an_event(version=2)]) == [2]


def test_two_logs_in_one_database_are_independent(town: Town, recorder: LogRecorder, secret: Secret) -> None:
    migrate(town.owner, schema="other_town", application_role="igob_app", secret=secret)
    other_store = datastore(town.application, schema="other_town")
    holding = psycopg.connect(town.application)
    holding.execute(recorder._append, _parameters("case/held"))
    try:
        assert LogRecorder(other_store).insert_events([an_event()]) == [1]
    finally:
        holding.commit()
        holding.close()
        other_store.close()
        town.execute("DROP SCHEMA other_town CASCADE")
    assert recorder.insert_events([an_event()]) == [2]


def test_a_polling_reader_sees_every_position_once_in_order(town: Town, recorder: LogRecorder) -> None:
    writers, events_each = 8, 40
    total = writers * events_each
    seen: list[int] = []

    def read() -> None:
        with recorder.subscribe(gt=0) as subscription:
            seen.extend(notification.id for notification in itertools.islice(subscription, total))

    def write(writer: int) -> None:
        for version in range(1, events_each + 1):
            recorder.insert_events([an_event(f"case/{writer}", version)])

    reader = threading.Thread(target=read)
    reader.start()
    with ThreadPoolExecutor(writers) as pool:
        list(pool.map(write, range(writers)))
    reader.join(10)
    assert seen == list(range(1, total + 1))


def test_a_waiting_subscription_can_be_stopped(recorder: LogRecorder) -> None:
    subscription = recorder.subscribe()
    waiting = threading.Thread(target=lambda: list(subscription))
    waiting.start()
    subscription.stop()
    waiting.join(5)
    assert not waiting.is_alive()


def _parameters(stream: str) -> tuple[Any, ...]:
    return (*("",) * 7, stream, "1", "noted.v1", "{}", r"\N", *([],) * 3)
