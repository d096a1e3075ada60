"""Generations of read models: their tables, which one is live, their positions, and their parked streams."""

from contextlib import suppress
from datetime import datetime

import msgspec
import psycopg
from psycopg import sql
from psycopg.rows import class_row

from projections.engine.projection import Projection

DROP_LOCK_WAIT_MS = 1_000
SWITCH_LOCK_WAIT_MS = 1_000  # new queries wait behind the switch, so it gives up soon and tries again


class Generation(msgspec.Struct, frozen=True):
    """One build of a projection's table. `position` is that of the last event in it."""

    name: str
    generation: int
    version: int
    position: int
    live: bool
    begun_at: datetime


class Parked(msgspec.Struct, frozen=True):
    """A stream that is missing in a generation from this event on, and why."""

    name: str
    generation: int
    stream: str
    position: int
    error: str
    parked_at: datetime


class Places:
    """The names in a municipality's database: its log, and the schema of its read models."""

    def __init__(self, schema: str) -> None:
        self.schema = schema
        self.events = sql.Identifier(schema, "events")
        self.views = f"{schema}_views"
        self.generations = sql.Identifier(self.views, "generations")
        self.parked = sql.Identifier(self.views, "parked")
        self.freshness = sql.Identifier(self.views, "freshness")

    def table(self, generation: Generation) -> sql.Identifier:
        return sql.Identifier(self.views, f"{generation.name}_{generation.generation}")

    def view(self, name: str) -> sql.Identifier:
        """The view that queries read: it shows the live generation."""
        return sql.Identifier(self.views, name)

    def head(self, connection: psycopg.Connection) -> int:
        """The position of the log's last event; 0 if it is empty."""
        last = sql.SQL("SELECT coalesce(max(notification_id), 0) FROM {}").format(self.events)
        ((position,),) = connection.execute(last).fetchall()
        return int(position)


class Generations:
    """The registry, over one connection in autocommit."""

    def __init__(self, connection: psycopg.Connection, places: Places) -> None:
        self._connection = connection
        self._places = places

    def all(self, name: str) -> list[Generation]:
        """A projection's generations, oldest first."""
        with self._connection.cursor(row_factory=class_row(Generation)) as cursor:
            found = sql.SQL("SELECT * FROM {} WHERE name = %s ORDER BY generation").format(self._places.generations)
            return cursor.execute(found, (name,)).fetchall()

    def live(self, name: str) -> Generation | None:
        return next((one for one in self.all(name) if one.live), None)

    def begin(self, projection: Projection, *, live: bool) -> Generation:
        """Make a new generation with an empty table. Only the first is `live` at once: queries read it as it grows."""
        with self._connection.transaction():
            number = max((one.generation for one in self.all(projection.name)), default=0) + 1
            self._connection.execute(
                sql.SQL("INSERT INTO {} (name, generation, version, live) VALUES (%s, %s, %s, %s)").format(
                    self._places.generations
                ),
                (projection.name, number, projection.version, live),
            )
            begun = next(one for one in self.all(projection.name) if one.generation == number)
            self._create_table(projection, begun)
            if live:
                self._show(begun)
        return begun

    def _create_table(self, projection: Projection, generation: Generation) -> None:
        columns = sql.SQL(", ").join(
            sql.SQL("{} {}").format(sql.Identifier(name), sql.SQL(kind))
            for name, kind in projection.columns.types.items()
        )
        table = self._places.table(generation)
        # A table of that name whose view or entry was dropped is useless.
        self._connection.execute(sql.SQL("DROP TABLE IF EXISTS {} CASCADE").format(table))
        # Most changes leave indexed columns alone: with room on the page, no index must be updated (HOT).
        self._connection.execute(
            sql.SQL("CREATE TABLE {} ({}, PRIMARY KEY ({})) WITH (fillfactor = 60)").format(
                table, columns, sql.Identifier(projection.key)
            )
        )
        for index in projection.indexes:
            self._connection.execute(sql.SQL("CREATE INDEX ON {} ({})").format(table, sql.SQL(index)))

    def analyze(self, generation: Generation) -> None:
        """Update the planner's statistics, so that the first queries do not get a plan for an empty table."""
        self._connection.execute(sql.SQL("ANALYZE {}").format(self._places.table(generation)))

    def _show(self, generation: Generation) -> None:
        view = self._places.view(generation.name)
        self._connection.execute(sql.SQL("DROP VIEW IF EXISTS {}").format(view))  # the columns may have changed
        self._connection.execute(
            sql.SQL("CREATE VIEW {} AS SELECT * FROM {}").format(view, self._places.table(generation))
        )

    def switch(self, to: Generation) -> bool:
        """Make a generation the live one, atomically, unless the live one is ahead of it. Returns whether it did.

        Raises psycopg.errors.LockNotAvailable if queries hold the lock for too long: try again.
        """
        with self._connection.transaction():
            self._connection.execute(sql.SQL("SET LOCAL lock_timeout = {}").format(sql.Literal(SWITCH_LOCK_WAIT_MS)))
            # A process that folds the live one waits at its checkpoint, and then finds that another is live.
            self._connection.execute(
                sql.SQL("SELECT FROM {} WHERE name = %s FOR UPDATE").format(self._places.generations), (to.name,)
            )
            known = {one.generation: one for one in self.all(to.name)}
            live = next((one for one in known.values() if one.live), None)
            if to.generation not in known or (live and live.position > known[to.generation].position):
                return False
            for one, is_live in ((live, False), (to, True)):
                if one:
                    self._connection.execute(
                        sql.SQL("UPDATE {} SET live = %s WHERE name = %s AND generation = %s").format(
                            self._places.generations
                        ),
                        (is_live, one.name, one.generation),
                    )
            self._show(to)
        return True

    def drop(self, generation: Generation) -> None:
        """Drop a generation and its parked streams, unless it is live or gone.

        One that is being read or written stays too, and is dropped when the next one is made.
        """
        if not any(one.generation == generation.generation and not one.live for one in self.all(generation.name)):
            return
        with suppress(psycopg.errors.LockNotAvailable), self._connection.transaction():
            self._connection.execute(sql.SQL("SET LOCAL lock_timeout = {}").format(sql.Literal(DROP_LOCK_WAIT_MS)))
            # Table first, then registry: the same order of locks as a process that may still be folding into it.
            self._connection.execute(sql.SQL("DROP TABLE IF EXISTS {}").format(self._places.table(generation)))
            self.forget(generation)

    def forget(self, generation: Generation) -> None:
        """Remove a generation from the registry, even a live one whose table is gone."""
        self._connection.execute(
            sql.SQL("DELETE FROM {} WHERE name = %s AND generation = %s").format(self._places.generations),
            (generation.name, generation.generation),
        )

    def has_table(self, generation: Generation) -> bool:
        """Whether the table and its view exist: somebody may have dropped them."""
        ((there,),) = self._connection.execute(
            "SELECT to_regclass(%s) IS NOT NULL AND to_regclass(%s) IS NOT NULL",
            (
                self._places.table(generation).as_string(self._connection),
                self._places.view(generation.name).as_string(self._connection),
            ),
        ).fetchall()
        return bool(there)

    def parked(self, generation: Generation) -> list[Parked]:
        """The parked streams of a generation, in order of the log."""
        with self._connection.cursor(row_factory=class_row(Parked)) as cursor:
            found = sql.SQL('SELECT * FROM {} WHERE name = %s AND generation = %s ORDER BY "position"').format(
                self._places.parked
            )
            return cursor.execute(found, (generation.name, generation.generation)).fetchall()
