"""Builds one generation of a read model: page by page of the log, each in one transaction with the checkpoint."""

from contextlib import nullcontext
from copy import deepcopy
from typing import Any, NamedTuple

import msgspec
import psycopg
from psycopg import sql

from domain.decider import StreamName
from projections.generations import Generation, Places
from projections.pages import NO_END, Logged, Page, Pages
from projections.projection import Decode, Entry, Projection, Row
from projections.tail import Tail

KEPT_BYTES_MAX = 64 * 2**20  # of rows as they were written, until all are forgotten
ERROR_CHARACTERS_MAX = 500


Failures = dict[StreamName, tuple[int, Exception]]  # by stream the position, and what its fold, or reading it, raised


class FoldFailed(Exception):
    """A fold raised what it has as its cause."""


class Overtaken(Exception):
    """The generation is not where it was left, or not there at all: somebody else has it, or took it away."""


class Folded(NamedTuple):
    """Rows that a page changes, as they are after it (None: gone), and which keys had one before."""

    changed: dict[str, Row | None]
    there: set[str]


class Building:
    """One generation, as far as it is. One at a time per generation: see runner.py.

    The connection is in autocommit and for the building alone. What is new is taken from the `tail`, if there is one.
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
        self.position = generation.position
        self._connection = connection
        self._projection = projection
        self._decode = decode
        self._topics = projection.topics()
        self._pages = Pages(places)
        self._tail = tail
        self._rows: dict[str, Row | None] = {}  # as they are in the table, which nobody else writes
        self._kept_bytes = 0
        self._encode = msgspec.json.Encoder().encode
        self._decode_rows = msgspec.json.Decoder(list[projection.row]).decode  # type: ignore[name-defined]
        table, key = places.table(generation), sql.Identifier(projection.key)
        self._load = (
            sql.SQL("SELECT coalesce(json_agg(r), '[]')::text FROM {} AS r WHERE {} = ANY(%s)")
            .format(table, key)
            .as_bytes()
        )
        self._insert = (
            sql.SQL("INSERT INTO {table} SELECT * FROM json_populate_recordset(NULL::{table}, %s::json)")
            .format(table=table)
            .as_bytes()
        )
        self._changed = msgspec.defstruct("Changed", [projection.key, *projection.changing], gc=False)
        changing = [sql.Identifier(name) for name in projection.changing]
        self._update = (
            sql.SQL(
                "UPDATE {table} AS r SET ({columns}) = ROW({new}) FROM json_to_recordset(%s::json) AS new ({types})"
                " WHERE r.{key} = new.{key}"
            )
            .format(
                table=table,
                key=key,
                columns=sql.SQL(", ").join(changing),
                new=sql.SQL(", ").join(sql.SQL("new.{}").format(column) for column in changing),
                types=sql.SQL(", ").join(
                    sql.SQL("{} {}").format(sql.Identifier(name), sql.SQL(projection.columns[name]))
                    for name in (projection.key, *projection.changing)
                ),
            )
            .as_bytes()
        )
        self._delete = sql.SQL("DELETE FROM {} WHERE {} = ANY(%s)").format(table, key).as_bytes()
        self._move = (
            sql.SQL(
                'UPDATE {} SET "position" = %s WHERE name = %s AND generation = %s AND live = %s AND "position" = %s'
            )
            .format(places.generations)
            .as_bytes()
        )
        self._park = (
            sql.SQL('INSERT INTO {} (name, generation, stream, "position", error) VALUES (%s, %s, %s, %s, %s)')
            .format(places.parked)
            .as_bytes()
        )
        # From which position on a stream is missing.
        self._parked: dict[str, int] = dict(
            connection.execute(
                sql.SQL('SELECT stream, "position" FROM {} WHERE name = %s AND generation = %s').format(places.parked),
                (generation.name, generation.generation),
            ).fetchall()
        )

    def step(self, *, until: int = NO_END) -> int:
        """Fold the next page, at most `until` that position: how many events it had; 0 if there is nothing new.

        Raises LogHasGap, Overtaken, psycopg.OperationalError. After any of these, begin with a new Building.
        """
        page = self._next_page(until)
        if page is None:
            return 0
        parked: Failures = {}
        with self._connection.transaction() if page.entries else nullcontext():  # to move on is one statement
            if page.entries:
                self._store(self._folded(page.entries, parked), parked)
            self._move_to(page.last)
        self.position = page.last
        self._parked |= {stream: position for stream, (position, _) in parked.items()}
        if self._kept_bytes > KEPT_BYTES_MAX:
            self._forget()
        return page.events

    def _next_page(self, until: int) -> Page | None:
        """What follows, with those of its events that count."""
        page = self._tail.after(self.position) if self._tail and until == NO_END else None
        if page is None:
            return self._pages.read(self._connection, self._topics, after=self.position, until=until)
        return page._replace(entries=[entry for entry in page.entries if entry.topic in self._topics])

    def _folded(self, page: list[Logged], parked: Failures) -> Folded:
        """The rows that the page changes, as they are after it. Streams that can't go on are added to `parked`."""
        entries = self._entries(page, parked)
        keys = {key for _, of_entry in entries for key in of_entry}
        self._provide(keys)
        there = {key for key in keys if self._rows[key] is not None}
        try:
            changed = self._evolved(entries, parked, careful=False)
        except FoldFailed:
            # It may have changed its rows halfway. That is rare: only now each row is copied beforehand.
            self._forget()
            self._provide(keys)
            changed = self._evolved(entries, parked, careful=True)
        return Folded({key: self._rows[key] for key in changed}, there)

    def _forget(self) -> None:
        self._rows.clear()
        self._kept_bytes = 0

    def _entries(self, page: list[Logged], parked: Failures) -> list[tuple[Entry, tuple[str, ...]]]:
        """A page's events that count, and which rows each changes."""
        entries = []
        for position, stream, topic, state in page:
            if self._is_missing(stream, position, parked):
                continue
            try:
                entry = Entry(position=position, stream=stream, event=self._decode(topic, state))
                entries.append((entry, self._projection.keys(entry)))
            except Exception as error:  # whatever it is: the other streams go on
                parked[stream] = (position, error)
        return entries

    def _evolved(
        self, entries: list[tuple[Entry, tuple[str, ...]]], parked: Failures, *, careful: bool
    ) -> dict[str, None]:
        """Fold into the rows; the keys of those that changed. Unless `careful`, raises FoldFailed at a failure."""
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
                changed |= dict.fromkeys(keys)
        return changed

    def _is_missing(self, stream: StreamName, position: int, parked: Failures) -> bool:
        """Whether the stream is parked from this position or an earlier one on."""
        since = parked[stream][0] if stream in parked else self._parked.get(stream)
        return since is not None and position >= since

    def _provide(self, keys: set[str]) -> None:
        missing = [key for key in keys if key not in self._rows]  # as a difference of sets it would go through all rows
        if not missing:
            return
        ((found,),) = self._connection.execute(self._load, (missing,)).fetchall()
        self._kept_bytes += len(found) + sum(map(len, missing))
        self._rows |= dict.fromkeys(missing) | {
            getattr(row, self._projection.key): row for row in self._decode_rows(found)
        }

    def _store(self, folded: Folded, parked: Failures) -> None:
        changed, there = folded.changed, folded.there
        name, number = self.generation.name, self.generation.generation
        execute = self._connection.execute
        if begun := [row for key, row in changed.items() if row is not None and key not in there]:
            self._write(self._insert, begun)
        if altered := [row for key, row in changed.items() if row is not None and key in there]:
            fields = self._changed.__struct_fields__
            values = [self._changed(*[getattr(row, name) for name in fields]) for row in altered]
            if self._write(self._update, values) != len(altered):
                raise Overtaken(f"rows of generation {number} of {name} are gone: somebody else deleted them")
        if gone := [key for key, row in changed.items() if row is None and key in there]:
            execute(self._delete, (gone,))
        for stream, (at, error) in parked.items():
            said = f"{type(error).__name__}: {error}"[:ERROR_CHARACTERS_MAX]
            execute(self._park, (name, number, stream, at, said.replace("\0", "\\0")))

    def _move_to(self, position: int) -> None:
        name, number, live = self.generation.name, self.generation.generation, self.generation.live
        moved = self._connection.execute(self._move, (position, name, number, live, self.position))
        if moved.rowcount != 1:
            raise Overtaken(f"generation {number} of {name} is not at position {self.position}")

    def _write(self, statement: bytes, rows: list[Any]) -> int:
        """How many rows were written."""
        text = self._encode(rows)
        self._kept_bytes += len(text)
        return self._connection.execute(statement, (text.decode(),)).rowcount
