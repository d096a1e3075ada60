"""Builds one generation of a read model: page by page of the log, each in one transaction with the checkpoint."""

from typing import Any, NamedTuple

import msgspec
import psycopg
from psycopg import sql

from projections.generations import Generation, Places
from projections.projection import Decode, Entry, Projection, Row

PAGE_EVENTS_MAX = 5_000
PAGE_BYTES_MAX = 8 * 2**20  # of events; one is always taken, however large
KEPT_BYTES_MAX = 64 * 2**20  # of rows as they were written, until all are forgotten
ERROR_CHARACTERS_MAX = 500


Failure = tuple[str, int, Exception]  # stream, position, and what its fold, or reading it, raised


class LogHasGap(Exception):
    """The log's positions are not 1, 2, 3 …: nothing may be built on it until somebody knows why."""


class Overtaken(Exception):
    """The generation is not where it was left, or not there at all: somebody else has it, or took it away."""


class Folded(NamedTuple):
    """Rows that a page changes, as they are after it (None: gone), and which keys had one before."""

    changed: dict[str, Row | None]
    there: set[str]


class Building:
    """One generation, as far as it is. One at a time per generation: see runner.py.

    The connection is in autocommit and for the building alone.
    """

    def __init__(
        self,
        connection: psycopg.Connection,
        places: Places,
        projection: Projection,
        generation: Generation,
        decode: Decode,
    ) -> None:
        self.generation = generation
        self.position = generation.position
        self._connection = connection
        self._projection = projection
        self._decode = decode
        self._topics = projection.topics()
        self._rows: dict[str, Row | None] = {}  # as they are in the table, which nobody else writes
        self._kept_bytes = 0
        self._encode = msgspec.json.Encoder().encode
        self._decode_rows = msgspec.json.Decoder(list[projection.row]).decode  # type: ignore[name-defined]
        table, key = places.table(generation), sql.Identifier(projection.key)
        self._page = (
            sql.SQL(
                "SELECT notification_id, originator_id, topic, CASE WHEN wanted THEN state END FROM ("
                " SELECT notification_id, originator_id, topic, state, topic = ANY(%s) AS wanted,"
                " sum(octet_length(state)) OVER (ORDER BY notification_id) - octet_length(state) AS bytes_before"
                " FROM (SELECT * FROM {} WHERE notification_id > %s AND notification_id <= %s"
                " ORDER BY notification_id LIMIT %s) AS next"
                ") AS page WHERE bytes_before < %s ORDER BY notification_id"
            )
            .format(places.events)
            .as_bytes()
        )  # composed ones would be put together each time anew
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

    def step(self, *, until: int = 2**62) -> int:
        """Fold the next page, at most `until` that position: how many events it had; 0 if there is nothing new.

        Raises LogHasGap, Overtaken, psycopg.OperationalError. After any of these, begin with a new Building.
        """
        page = self._connection.execute(
            self._page, (self._topics, self.position, until, PAGE_EVENTS_MAX, PAGE_BYTES_MAX), binary=True
        ).fetchall()
        if not page:
            return 0
        if page[0][0] != self.position + 1 or page[-1][0] != self.position + len(page):
            raise LogHasGap(f"after position {self.position} come {page[0][0]} to {page[-1][0]} in {len(page)} events")
        parked: dict[str, tuple[int, str]] = {}
        with self._connection.transaction():
            folded = self._folded(page, parked)
            self._store(folded, parked, page[-1][0])
        self.position = page[-1][0]
        self._parked |= {stream: position for stream, (position, _) in parked.items()}
        if self._kept_bytes > KEPT_BYTES_MAX:
            self._forget()
        return len(page)

    def _folded(self, page: list[Any], parked: dict[str, tuple[int, str]]) -> Folded:
        """The rows that the page changes, as they are after it. Streams that can't go on are added to `parked`.

        A fold that fails may have changed a row halfway: the page begins anew then, without what begins there.
        """
        without = dict(self._parked)
        while True:
            entries, failed = self._entries(page, without)
            folded = Folded({}, set())
            if failed is None:
                folded, failed = self._evolved(entries)
            if failed is None:
                return folded
            stream, position, error = failed
            without[stream] = position
            # Where one failed twice, the second time it was earlier: what comes after the first is left out since.
            parked[stream] = (position, f"{type(error).__name__}: {error}"[:ERROR_CHARACTERS_MAX])
            self._forget()

    def _forget(self) -> None:
        self._rows.clear()
        self._kept_bytes = 0

    def _entries(self, page: list[Any], without: dict[str, int]) -> tuple[list[Entry], Failure | None]:
        entries = []
        for position, stream, topic, state in page:
            if state is None or position >= without.get(stream, position + 1):
                continue
            try:
                entries.append(Entry(position=position, stream=stream, event=self._decode(topic, state)))
            except Exception as error:  # whatever it is: the other streams go on
                return [], (stream, position, error)
        return entries, None

    def _evolved(self, entries: list[Entry]) -> tuple[Folded, Failure | None]:
        keys_of, evolve, rows = self._projection.keys, self._projection.evolve, self._rows
        keyed = []
        for entry in entries:
            try:
                keyed.append((entry, keys_of(entry)))
            except Exception as error:
                return Folded({}, set()), (entry.stream, entry.position, error)
        keys = {key for _, of_entry in keyed for key in of_entry}
        self._provide(keys)
        folded = Folded({}, {key for key in keys if rows[key] is not None})
        for entry, of_entry in keyed:
            try:
                for key in of_entry:
                    folded.changed[key] = rows[key] = evolve(rows[key], entry, key)
            except Exception as error:
                return folded, (entry.stream, entry.position, error)
        return folded, None

    def _provide(self, keys: set[str]) -> None:
        missing = keys - self._rows.keys()
        if not missing:
            return
        ((found,),) = self._connection.execute(self._load, (list(missing),)).fetchall()
        self._kept_bytes += len(found) + sum(map(len, missing))
        self._rows |= dict.fromkeys(missing) | {
            getattr(row, self._projection.key): row for row in self._decode_rows(found)
        }

    def _store(self, folded: Folded, parked: dict[str, tuple[int, str]], position: int) -> None:
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
            execute(self._park, (name, number, stream, at, error.replace("\0", "\\0")))
        if execute(self._move, (position, name, number, self.generation.live, self.position)).rowcount != 1:
            raise Overtaken(f"generation {number} of {name} is not at position {self.position}")

    def _write(self, statement: bytes, rows: list[Any]) -> int:
        """How many rows were written."""
        text = self._encode(rows)
        self._kept_bytes += len(text)
        return self._connection.execute(statement, (text.decode(),)).rowcount
