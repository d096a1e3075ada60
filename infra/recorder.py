"""The log as a recorder of the eventsourcing library: its applications, projections and tests work on our table."""

from collections.abc import Sequence
from threading import Event
from typing import Any

from eventsourcing.persistence import (
    ApplicationRecorder,
    IntegrityError,
    InterfaceError,
    Notification,
    OperationalError,
    StoredEvent,
    Subscription,
)
from eventsourcing.postgres import PostgresApplicationRecorder, PostgresDatastore
from eventsourcing.utils import retry
from psycopg.conninfo import conninfo_to_dict
from psycopg.rows import dict_row

from infra.log import NULL, append_statement, column

EVENTS_TABLE = "events"
POLL_S = 0.02
NOTIFICATIONS_PER_PAGE = 500


def datastore(conninfo: str, *, schema: str, pool_size: int = 2, max_overflow: int = 10) -> PostgresDatastore:
    """The library's pool on a libpq conninfo, whatever parameters that has."""
    store = PostgresDatastore("", "", "", "", "", schema=schema, originator_id_type="text", pool_size=pool_size,
                              max_overflow=max_overflow)  # fmt: skip
    store.pool.kwargs = {**conninfo_to_dict(conninfo), "row_factory": dict_row}
    return store


class LogRecorder(PostgresApplicationRecorder):
    """Keeps the library's contract with our append: notification ids are positions, in order and without gaps.

    The table is made by migrations, not here. Reading is the library's own.
    """

    def __init__(self, datastore: PostgresDatastore, *, events_table_name: str = EVENTS_TABLE) -> None:
        """`events_table_name` is what the library's factory makes of an application's name; there is one table here."""
        super().__init__(datastore, events_table_name=EVENTS_TABLE)
        self._append = append_statement(datastore.schema)

    def create_table(self) -> None:
        """Nothing: migrations make the table, as its owner."""

    @retry((InterfaceError, OperationalError), max_attempts=10, wait=0.2)
    def insert_events(self, stored_events: Sequence[StoredEvent], **kwargs: Any) -> Sequence[int] | None:
        """Append these events, all or none. Returns their positions; raises IntegrityError if a version is there."""
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
            raise IntegrityError(f"version {row['version']} of {row['name']} is there already")
        return list(range(row["position"] + 1, row["position"] + 1 + len(stored_events)))

    def subscribe(self, gt: int | None = None, topics: Sequence[str] = ()) -> Subscription[ApplicationRecorder]:
        """Follow the log from after position `gt`."""
        return PollingSubscription(self, gt=gt, topics=topics)


class PollingSubscription(Subscription[ApplicationRecorder]):
    """Looks at the head of the log every 20 ms while somebody waits. Nobody is notified, so no notice can be lost."""

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
