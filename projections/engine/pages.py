"""Reads the log in pages for read models: the events after a position, without gaps."""

from collections.abc import Collection
from typing import NamedTuple

import msgspec
import psycopg
from psycopg import sql

from domain.decider import StreamName
from projections.engine.generations import Places
from projections.engine.projection import Entry

PAGE_EVENTS_MAX = 5_000
PAGE_BYTES_MAX = 8 * 2**20  # of events; a page has at least one, however large
NO_END = 2**62


class LogHasGap(Exception):
    """The log's positions are not 1, 2, 3 …: read models must not use it until the cause is found."""


class Logged(msgspec.Struct, gc=False):
    """An event as stored in the log: its stable name and its JSON.

    `entry` is the decoded event. The first read model that decodes it keeps it here for the others.
    """

    position: int
    stream: StreamName
    topic: str
    state: bytes
    entry: Entry | None = None


class Page(NamedTuple):
    """The log from position `first` to `last`; `entries` are its requested events, in order.

    `topics` are the stable names of `entries`. `written` is the time at which the event at `last` was recorded, in
    PostgreSQL's binary format, or None if it was not read. It tells this log from another server's log.
    """

    first: int
    last: int
    entries: list[Logged]
    topics: frozenset[str]
    written: bytes | None = None

    @property
    def events(self) -> int:
        """The number of events in the log between the two positions."""
        return self.last - self.first + 1

    def wanted(self, topics: Collection[str]) -> "Page":
        """The same page with only the entries that have one of these names."""
        if self.topics.isdisjoint(topics):
            return self._replace(entries=[], topics=frozenset())
        return self._replace(
            entries=[entry for entry in self.entries if entry.topic in topics], topics=self.topics.intersection(topics)
        )


class Pages:
    """Reads the log of one municipality."""

    def __init__(self, places: Places) -> None:
        # As bytes: psycopg would compose the SQL again for each execution.
        self._select_wanted = (
            sql.SQL(
                "WITH page AS (SELECT * FROM ("
                " SELECT notification_id, originator_id, topic, state, topic = ANY(%s) AS wanted,"
                " sum(octet_length(state)) OVER (ORDER BY notification_id) - octet_length(state) AS bytes_before"
                " FROM (SELECT * FROM {} WHERE notification_id > %s AND notification_id <= %s"
                " ORDER BY notification_id LIMIT %s) AS next) AS measured WHERE bytes_before < %s)"
                " SELECT first, last, events, notification_id, originator_id, topic, state"
                " FROM (SELECT min(notification_id) AS first, max(notification_id) AS last, count(*) AS events"
                " FROM page) AS whole"
                " LEFT JOIN page ON wanted ORDER BY notification_id"
            )
            .format(places.events)
            .as_bytes()
        )
        self._select_all = (
            sql.SQL(
                "SELECT notification_id, originator_id, topic, state, timestamptz_send(recorded_at) FROM ("
                " SELECT *, sum(octet_length(state)) OVER (ORDER BY notification_id ROWS UNBOUNDED PRECEDING)"
                " - octet_length(state) AS bytes_before"
                " FROM (SELECT notification_id, originator_id, topic, state, recorded_at FROM {}"
                " WHERE notification_id > %s AND notification_id <= %s"
                " ORDER BY notification_id LIMIT %s) AS next) AS measured"
                " WHERE bytes_before < %s ORDER BY notification_id"
            )
            .format(places.events)
            .as_bytes()
        )

    def read(
        self, connection: psycopg.Connection, topics: list[str] | None, *, after: int, until: int = NO_END
    ) -> Page | None:
        """The page after a position, at most up to another; with the events that have these topics, or with all.

        None if nothing follows yet. Raises LogHasGap, psycopg.OperationalError.
        """
        if topics is None:
            return self._read_all(connection, after, until)
        # Most read models want few events. Of the others, only the number is read.
        rows = connection.execute(
            self._select_wanted, (topics, after, until, PAGE_EVENTS_MAX, PAGE_BYTES_MAX), binary=True
        ).fetchall()
        first, last, events = rows[0][:3]
        if not events:
            return None
        _refuse_gap(after, first, last, events)
        entries = [Logged(*row[3:]) for row in rows if row[3] is not None]
        return Page(first, last, entries, frozenset([entry.topic for entry in entries]))

    def _read_all(self, connection: psycopg.Connection, after: int, until: int) -> Page | None:
        rows = connection.execute(
            self._select_all, (after, until, PAGE_EVENTS_MAX, PAGE_BYTES_MAX), binary=True, prepare=True
        ).fetchall()
        if not rows:
            return None
        first, last = rows[0][0], rows[-1][0]
        _refuse_gap(after, first, last, len(rows))
        entries = [Logged(position, stream, topic, state) for position, stream, topic, state, _ in rows]
        return Page(first, last, entries, frozenset([entry.topic for entry in entries]), rows[-1][4])


def _refuse_gap(after: int, first: int, last: int, events: int) -> None:
    if first != after + 1 or last != after + events:
        raise LogHasGap(f"after position {after} come {first} to {last} in {events} events")
