"""The cases that the eventsourcing library publishes for recorders, and those that they miss."""

import itertools
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from uuid import uuid4

import psycopg
import pytest
from eventsourcing.persistence import IntegrityError, StoredEvent
from eventsourcing.tests.persistence import ApplicationRecorderTestCase, NonInterleavingNotificationIDsBaseCase

from infra.migrate import migrate
from infra.recorder import LogRecorder, datastore
from infra.secret import Secret
from tests.conftest import Town


class TextIds:
    """The library's cases with text ids, each on an empty log of its own."""

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


def test_a_transaction_that_is_held_keeps_later_ones_back_so_that_no_reader_skips_it(
    town: Town, recorder: LogRecorder
) -> None:
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


def test_a_connection_killed_before_commit_leaves_nothing_and_the_log_free(town: Town, recorder: LogRecorder) -> None:
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


def test_the_recorder_goes_on_when_its_own_connections_are_killed(town: Town, recorder: LogRecorder) -> None:
    recorder.insert_events([an_event(version=1)])
    town.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'igob_app'")
    assert recorder.insert_events([an_event(version=2)]) == [2]


def test_two_logs_in_one_database_count_each_for_itself_and_do_not_wait_for_each_other(
    town: Town, recorder: LogRecorder, secret: Secret
) -> None:
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


def test_a_reader_that_polls_while_many_write_sees_every_position_once_and_in_order(
    town: Town, recorder: LogRecorder
) -> None:
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


def test_a_subscription_that_waits_can_be_stopped_from_elsewhere(recorder: LogRecorder) -> None:
    subscription = recorder.subscribe()
    waiting = threading.Thread(target=lambda: list(subscription))
    waiting.start()
    subscription.stop()
    waiting.join(5)
    assert not waiting.is_alive()


def _parameters(stream: str) -> tuple[Any, ...]:
    return (*("",) * 7, stream, "1", "noted.v1", "{}", r"\N", *([],) * 3)
