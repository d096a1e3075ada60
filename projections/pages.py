"""Pages of the log, as read models take them: what follows a position, without a gap."""

from typing import NamedTuple

import psycopg
from psycopg import sql

from domain.decider import StreamName
from projections.generations import Places

PAGE_EVENTS_MAX = 5_000
PAGE_BYTES_MAX = 8 * 2**20  # of events; one is always taken, however large
NO_END = 2**62


class LogHasGap(Exception):
    """The log's positions are not 1, 2, 3 …: nothing may be built on it until somebody knows why."""


class Logged(NamedTuple):
    """An event as it stands in the log: its stable name, and its stored JSON."""

    position: int
    stream: StreamName
    topic: str
    state: bytes


class Page(NamedTuple):
    """The log from position `first` to `last`; `entries` are those of its events that were asked for, in order."""

    first: int
    last: int
    entries: list[Logged]

    @property
    def events(self) -> int:
        """How many the log has from the one position to the other."""
        return self.last - self.first + 1


class Pages:
    """Reads the log of one municipality."""

    def __init__(self, places: Places) -> None:
        self._select = (
            sql.SQL(
                "WITH page AS (SELECT * FROM ("
                " SELECT notification_id, originator_id, topic, state,"
                " %s::text[] IS NULL OR topic = ANY(%s) AS wanted,"
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
        )  # composed ones would be put together each time anew

    def read(
        self, connection: psycopg.Connection, topics: list[str] | None, *, after: int, until: int = NO_END
    ) -> Page | None:
        """What follows a position, at most up to another; of its events those with these topics, or all.

        None if nothing follows yet. Raises LogHasGap, psycopg.OperationalError.
        """
        # Most of the log is of no concern to most read models: of that, only how much there is comes here.
        rows = connection.execute(
            self._select, (topics, topics, after, until, PAGE_EVENTS_MAX, PAGE_BYTES_MAX), binary=True
        ).fetchall()
        first, last, events = rows[0][:3]
        if not events:
            return None
        if first != after + 1 or last != after + events:
            raise LogHasGap(f"after position {after} come {first} to {last} in {events} events")
        return Page(first, last, [Logged(*row[3:]) for row in rows if row[3] is not None])
