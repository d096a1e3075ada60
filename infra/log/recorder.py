"""A recorder of the eventsourcing library on our log, for the library's applications, projections and tests."""

import time
from collections.abc import Sequence
from threading import Event
from typing import Any

from eventsourcing.persistence import (
    ApplicationRecorder,
    IntegrityError,
    InterfaceError,
    Notification,
    OperationalError,
    ProgrammingError,
    StoredEvent,
    Subscription,
)
from eventsourcing.postgres import PostgresApplicationRecorder, PostgresDatastore
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict
from psycopg.rows import dict_row

from infra.log.batch import NULL, column
from infra.log.statements import append_statement

EVENTS_TABLE = "events"
POLL_S = 0.02
NOTIFICATIONS_PER_PAGE = 500
LOST_CONNECTION_TRIES_MAX = 10
LOST_CONNECTION_WAIT_S = 0.2


def datastore(conninfo: str, *, schema: str, pool_size: int = 2, max_overflow: int = 10) -> PostgresDatastore:
    """The library's connection pool for a libpq conninfo, with all of its parameters."""
    store = PostgresDatastore("", "", "", "", "", schema=schema, originator_id_type="text", pool_size=pool_size,
                              max_overflow=max_overflow)  # fmt: skip
    store.pool.kwargs = {**conninfo_to_dict(conninfo), "row_factory": dict_row}
    return store


class LogRecorder(PostgresApplicationRecorder):
    """Implements the library's contract with our append: notification ids are positions, in order and without gaps.

    Migrations create the table. The library's own code reads it.
    """

    def __init__(self, datastore: PostgresDatastore, *, events_table_name: str = EVENTS_TABLE) -> None:
        """`events_table_name` is the name that the library derives from the application; it is ignored."""
        super().__init__(datastore, events_table_name=EVENTS_TABLE)
        self._append = append_statement(datastore.schema)

    def create_table(self) -> None:
        """Do nothing: migrations create the table, as its owner."""

    def insert_events(self, stored_events: Sequence[StoredEvent], **kwargs: Any) -> Sequence[int] | None:
        """Append these events, all or none. Returns their positions; raises IntegrityError if a version exists.

        After a lost connection it tries again. If identical events exist then, they were committed and only the
        response was lost. Raises InterfaceError or OperationalError if the database stays unreachable. Then it is
        unknown whether the events were written, and a repeated call may raise IntegrityError for them: read their
        streams. Raises ProgrammingError for events that this log does not keep: a state that is not JSON on one line
        (not UTF-8, empty, or with a line break, such as a compressed or encrypted one), or an id or topic that is empty
        or has a line break.
        """
        _refuse_unsupported(stored_events)
        lost = 0
        while True:
            try:
                return self._insert_or_find(stored_events) if lost else self._insert_once(stored_events)
            except (InterfaceError, OperationalError):
                lost += 1
                if lost >= LOST_CONNECTION_TRIES_MAX:
                    raise
                time.sleep(LOST_CONNECTION_WAIT_S)

    def _insert_or_find(self, stored_events: Sequence[StoredEvent]) -> Sequence[int]:
        try:
            return self._insert_once(stored_events)
        except IntegrityError:
            positions = self._positions_of(stored_events)
            if positions is None:
                raise
            return positions

    def _positions_of(self, stored_events: Sequence[StoredEvent]) -> list[int] | None:
        """The positions of these events if they were appended together and have these versions; otherwise None."""
        table = sql.Identifier(self.datastore.schema, EVENTS_TABLE)
        statement = sql.SQL(
            "SELECT notification_id FROM {} WHERE originator_id = %s AND originator_version = %s"
            " AND topic = %s AND state = %s"
        ).format(table)
        found = []
        with self.datastore.get_connection() as connection:
            for event in stored_events:
                place = (str(event.originator_id), event.originator_version, event.topic, event.state)
                row = connection.execute(statement, place, prepare=True).fetchone()
                found.append(row["notification_id"] if row else 0)
        return found if found == list(range(found[0], found[0] + len(found))) and found[0] else None

    def _insert_once(self, stored_events: Sequence[StoredEvent]) -> Sequence[int]:
        if not stored_events:
            return []
        unknown = [NULL] * len(stored_events)
        parameters: tuple[Any, ...] = (
            *("",) * 7,
            column([str(event.originator_id) for event in stored_events]),
            column([str(event.originator_version) for event in stored_events]),
            column([event.topic for event in stored_events]),
            column([event.state.decode() for event in stored_events]),
            column(unknown),
            *([],) * 3,
        )
        with self.datastore.get_connection() as connection:
            row = connection.execute(self._append, parameters, prepare=True).fetchone()
        assert row is not None
        if row["answer"] != "appended":
            raise IntegrityError(f"version {row['version']} of {row['name']} exists already")
        return list(range(row["position"] + 1, row["position"] + 1 + len(stored_events)))

    def subscribe(self, gt: int | None = None, topics: Sequence[str] = ()) -> Subscription[ApplicationRecorder]:
        """Follow the log from after position `gt`."""
        return PollingSubscription(self, gt=gt, topics=topics)


def _refuse_unsupported(stored_events: Sequence[StoredEvent]) -> None:
    for event in stored_events:
        try:
            texts = {"state": event.state.decode(), "id": str(event.originator_id), "topic": event.topic}
        except UnicodeDecodeError:
            raise ProgrammingError(
                f"a state of {event.topic!r} is not UTF-8: this log keeps JSON on one line"
            ) from None
        for what, text in texts.items():
            if not text or "\n" in text or "\0" in text:
                raise ProgrammingError(
                    f"the {what} of an event {event.topic!r} is empty, or has a line break or a zero byte: this log"
                    " keeps JSON on one line, with ids and topics of one line"
                )


class PollingSubscription(Subscription[ApplicationRecorder]):
    """Polls the head of the log every 20 ms while its iterator waits. It does not depend on notifications."""

    def __init__(self, recorder: LogRecorder, gt: int | None = None, topics: Sequence[str] = ()) -> None:
        super().__init__(recorder=recorder, gt=gt, topics=topics)
        self._stopped = Event()
        self._page: list[Notification] = []

    def stop(self) -> None:
        """End the iteration, also one that waits in another thread."""
        super().stop()
        self._stopped.set()

    def __next__(self) -> Notification:
        while not self._page and not self._stopped.is_set():
            self._page = list(
                self._recorder.select_notifications(
                    start=self._last_notification_id or 0,
                    limit=NOTIFICATIONS_PER_PAGE,
                    topics=self._topics,
                    inclusive_of_start=False,
                )
            )
            self._page.reverse()
            if not self._page:
                self._stopped.wait(POLL_S)
        if self._stopped.is_set():
            raise StopIteration
        notification = self._page.pop()
        self._last_notification_id = notification.id
        return notification
