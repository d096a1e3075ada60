"""Builds one generation of a read model: page by page of the log, each in one transaction with the checkpoint."""

from contextlib import nullcontext
from copy import deepcopy
from operator import attrgetter
from typing import Any, NamedTuple

import msgspec
import psycopg
from psycopg import sql

from domain.decider import StreamName
from projections.engine.generations import Generation, Places
from projections.engine.pages import NO_END, Logged, Page, Pages
from projections.engine.projection import Decode, Entry, Projection, Row
from projections.engine.tail import Follower, Tail
from projections.engine.writing import statements

KEPT_BYTES_MAX = 64 * 2**20  # of rows as written; beyond this all are dropped from memory
ERROR_CHARACTERS_MAX = 500


Keyed = tuple[Entry, tuple[str, ...]]  # an event, and the keys of the rows that it changes
Failures = dict[
    StreamName, tuple[int, Exception]
]  # by stream: the position, and the exception from the fold or the decoding


class FoldFailed(Exception):
    """A fold raised an exception, which is the cause of this one."""


class Overtaken(Exception):
    """The generation is not at the expected position, or is gone: another process moved or dropped it."""


class Folded(NamedTuple):
    """Rows as they are after a page (None: deleted). `there`: keys that had a row; `unseen`: keys not looked up."""

    changed: dict[str, Row | None]
    there: set[str]
    unseen: set[str]


class Building:
    """Builds one generation from its position on. Only one process builds a generation at a time: see runner.py.

    The connection is in autocommit, and used for nothing else. New events come from the `tail`, if there is one.
    """

    def __init__(
        self,
        connection: psycopg.Connection,
        places: Places,
        projection: Projection,
        generation: Generation,
        decode: Decode,
        *,
        tail: Tail | None = None,
    ) -> None:
        self.generation = generation
        self.follower = Follower(generation, frozenset(projection.topics()))
        self._connection = connection
        self._places = places
        self._projection = projection
        self._decode = decode
        self._topics = projection.topics()
        self._creating_events = frozenset(projection.created_by)
        self._pages = Pages(places)
        self._tail = tail
        self._rows: dict[str, Row | None] = {}  # as in the table, which no other process writes
        self._kept_bytes = 0
        self._encode = msgspec.json.Encoder().encode
        self._decode_rows = msgspec.json.Decoder(list[projection.row]).decode  # type: ignore[name-defined]
        self._changed = msgspec.defstruct("Changed", [projection.key, *projection.columns.changing], gc=False)
        self._changing = attrgetter(*self._changed.__struct_fields__)
        table, key = places.table(generation), sql.Identifier(projection.key)
        self._load = (
            sql.SQL("SELECT coalesce(json_agg(r), '[]')::text FROM {} AS r WHERE {} = ANY(%s)")
            .format(table, key)
            .as_bytes()
        )
        self._statements = statements(places, projection, generation)
        self._park = (
            sql.SQL('INSERT INTO {} (name, generation, stream, "position", error) VALUES (%s, %s, %s, %s, %s)')
            .format(places.parked)
            .as_bytes()
        )
        self._parked = self._parked_streams()  # from this position on, the stream is missing

    def _parked_streams(self) -> dict[StreamName, int]:
        found = sql.SQL('SELECT stream, "position" FROM {} WHERE name = %s AND generation = %s')
        parameters = (self.generation.name, self.generation.generation)
        return dict(self._connection.execute(found.format(self._places.parked), parameters).fetchall())

    @property
    def position(self) -> int:
        """The position of the last event folded."""
        return self.follower.position

    def step(self, *, until: int = NO_END) -> int:
        """Fold the next page, at most up to position `until`. Returns its number of events; 0 if there is none.

        Raises LogHasGap, Overtaken, psycopg.OperationalError. After any of these, start again with a new Building.
        """
        page = self._next_page(until)
        if page is None:
            return 0
        try:
            self._take(page, look_up_all=False)
        except psycopg.errors.UniqueViolation:  # a creating event found an existing row
            self._forget()
            self._take(page, look_up_all=True)
        self.follower.position = page.last
        if self._kept_bytes > KEPT_BYTES_MAX:
            self._forget()
        return page.events

    def _next_page(self, until: int) -> Page | None:
        """The next page, with the events that this read model wants."""
        page = self._tail.after(self.position) if self._tail and until == NO_END else None
        if page is None:
            return self._pages.read(self._connection, self._topics, after=self.position, until=until)
        return page.wanted(self.follower.topics)

    def _take(self, page: Page, *, look_up_all: bool) -> None:
        """Fold a page, and write its rows and the new position in one transaction."""
        parked: Failures = {}
        folded = self._folded(page.entries, parked, look_up_all=look_up_all)
        with self._connection.transaction() if parked else nullcontext():  # otherwise one statement does it all
            self._store(folded, page)
            for stream, (at, error) in parked.items():
                text = f"{type(error).__name__}: {error}"[:ERROR_CHARACTERS_MAX].replace("\0", "\\0")
                self._connection.execute(
                    self._park, (self.generation.name, self.generation.generation, stream, at, text)
                )
        self._parked |= {stream: position for stream, (position, _) in parked.items()}

    def _folded(self, page: list[Logged], parked: Failures, *, look_up_all: bool) -> Folded:
        """The rows that the page changes, as they are after it. Streams whose fold fails are added to `parked`."""
        entries = self._entries(page, parked)
        unseen = set() if look_up_all else self._assume_new_rows(entries)
        self._provide(entries)
        rows = self._rows
        there = {key for _, keys in entries for key in keys if rows[key] is not None}
        try:
            changed = self._evolved(entries, parked, careful=False)
        except FoldFailed:
            # The failed fold may have changed rows. That is rare, so only now are rows looked up and copied first.
            self._forget()
            self._provide(entries)
            there, unseen = {key for _, keys in entries for key in keys if rows[key] is not None}, set()
            changed = self._evolved(entries, parked, careful=True)
        return Folded({key: rows[key] for key in changed}, there, unseen)

    def _forget(self) -> None:
        self._rows.clear()
        self._kept_bytes = 0

    def _entries(self, page: list[Logged], parked: Failures) -> list[Keyed]:
        """A page's wanted events, each with the keys of the rows that it changes."""
        entries: list[Keyed] = []
        keys = self._projection.keys
        for logged in page:
            if (parked or self._parked) and self._is_missing(logged.stream, logged.position, parked):
                continue
            try:
                entry = logged.entry or self._decoded(logged)
                entries.append((entry, keys(entry)))
            except Exception as error:  # whatever the error: other streams go on
                parked[logged.stream] = (logged.position, error)
        return entries

    def _decoded(self, logged: Logged) -> Entry:
        event = self._decode(logged.topic, logged.state)
        logged.entry = Entry(position=logged.position, stream=logged.stream, event=event)
        return logged.entry

    def _evolved(self, entries: list[Keyed], parked: Failures, *, careful: bool) -> dict[str, None]:
        """Fold events into the rows. Returns the changed keys. Unless `careful`, raises FoldFailed if a fold fails."""
        rows, evolve = self._rows, self._projection.evolve
        changed: dict[str, None] = {}
        for entry, keys in entries:
            if parked and self._is_missing(entry.stream, entry.position, parked):
                continue
            before = {key: deepcopy(rows[key]) for key in keys} if careful else {}
            try:
                for key in keys:
                    rows[key] = evolve(rows[key], entry, key)
            except Exception as error:
                if not careful:
                    raise FoldFailed from error
                rows |= before
                parked[entry.stream] = (entry.position, error)
            else:
                for key in keys:
                    changed[key] = None
        return changed

    def _is_missing(self, stream: StreamName, position: int, parked: Failures) -> bool:
        """Whether the stream is parked from this position or an earlier one on."""
        since = parked[stream][0] if stream in parked else self._parked.get(stream)
        return since is not None and position >= since

    def _assume_new_rows(self, entries: list[Keyed]) -> set[str]:
        """Assume that keys have no row if their first event creates it; return these keys."""
        unseen: set[str] = set()
        if not self._creating_events:
            return unseen
        rows = self._rows
        seen: set[str] = set()
        for entry, keys in entries:
            for key in keys:
                if key not in rows and key not in seen:
                    seen.add(key)
                    if type(entry.event) in self._creating_events:
                        unseen.add(key)
        rows |= dict.fromkeys(unseen)
        self._kept_bytes += sum(map(len, unseen))
        return unseen

    def _provide(self, entries: list[Keyed]) -> None:
        """Load the rows that are not in memory."""
        rows = self._rows
        missing = list({key: None for _, keys in entries for key in keys if key not in rows})
        if not missing:
            return
        ((found,),) = self._connection.execute(self._load, (missing,)).fetchall()
        self._kept_bytes += len(found) + sum(map(len, missing))
        rows |= dict.fromkeys(missing) | {getattr(row, self._projection.key): row for row in self._decode_rows(found)}

    def _store(self, folded: Folded, page: Page) -> None:
        """Move the position and write the rows in one statement. Raises Overtaken if the position has changed."""
        changed, there, unseen = folded
        inserted = [row for key, row in changed.items() if row is not None and key not in there]
        updated = [row for key, row in changed.items() if row is not None and key in there]
        deleted = [key for key, row in changed.items() if row is None and (key in there or key in unseen)]
        parameters: list[Any] = [page.last, self.position, page.written, page.last, page.written]
        if inserted:
            parameters.append(self._text(inserted))
        if updated:
            values = [self._changed(*self._changing(row)) for row in updated]
            parameters.append(self._text(values))
        if deleted:
            parameters.append(deleted)
        if updated:
            parameters.append(len(updated))
        statement = self._statements[bool(inserted), bool(updated), bool(deleted)]
        try:
            moved = self._connection.execute(statement, parameters, prepare=True).rowcount
        except psycopg.errors.DivisionByZero as error:
            # The position was right. The transaction is aborted, so no more queries can run in it.
            raise Overtaken(f"generation {self.generation.generation} of {self.generation.name} lost rows") from error
        if moved != 1:
            self._refuse(page)

    def _refuse(self, page: Page) -> None:
        """Raise Overtaken with the reason why the page was not written."""
        name, number = self.generation.name, self.generation.generation
        own = sql.SQL("SELECT FROM {} WHERE notification_id = %s AND timestamptz_send(recorded_at) = %s").format(
            self._places.events
        )
        if self._tail and page.written and not self._connection.execute(own, (page.last, page.written)).rowcount:
            self._tail.end()  # the page was read from another server
            raise Overtaken(f"event {page.last} is another one in the log of generation {number} of {name}")
        raise Overtaken(f"generation {number} of {name} is not at position {self.position}")

    def _text(self, rows: list[Any]) -> str:
        text = self._encode(rows)
        self._kept_bytes += len(text)
        return text.decode()
