"""Generations of read models: their tables, which of them is live, how far each is, what is parked there."""

from contextlib import suppress
from datetime import datetime

import msgspec
import psycopg
from psycopg import sql
from psycopg.rows import class_row

from projections.engine.projection import Projection

DROP_LOCK_WAIT_MS = 1_000
SWITCH_LOCK_WAIT_MS = 1_000  # queries that come meanwhile wait behind the switch: it gives up and tries again


class Generation(msgspec.Struct, frozen=True):
    """One building of a projection's table. `position`: the last event in it."""

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
        """What queries read: the live generation, whichever it is."""
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
        """A new generation with an empty table; `live` for the very first, which queries may read as it grows."""
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
        # One of that name, whose view or entry somebody dropped, is of no use to anybody.
        self._connection.execute(sql.SQL("DROP TABLE IF EXISTS {} CASCADE").format(table))
        # Rows change without their indexed columns: with room on the page no index has to learn of it.
        self._connection.execute(
            sql.SQL("CREATE TABLE {} ({}, PRIMARY KEY ({})) WITH (fillfactor = 60)").format(
                table, columns, sql.Identifier(projection.key)
            )
        )
        for index in projection.indexes:
            self._connection.execute(sql.SQL("CREATE INDEX ON {} ({})").format(table, sql.SQL(index)))

    def analyze(self, generation: Generation) -> None:
        """Have the planner know how large the table is: who asks first must not get a plan for an empty one."""
        self._connection.execute(sql.SQL("ANALYZE {}").format(self._places.table(generation)))

    def _show(self, generation: Generation) -> None:
        view = self._places.view(generation.name)
        self._connection.execute(sql.SQL("DROP VIEW IF EXISTS {}").format(view))  # columns may be others now
        self._connection.execute(
            sql.SQL("CREATE VIEW {} AS SELECT * FROM {}").format(view, self._places.table(generation))
        )

    def switch(self, to: Generation) -> bool:
        """Make a generation the live one, in one moment, unless the live one is ahead of it. Whether it was done.

        Raises psycopg.errors.LockNotAvailable if queries keep it from that: try again.
        """
        with self._connection.transaction():
            self._connection.execute(sql.SQL("SET LOCAL lock_timeout = {}").format(sql.Literal(SWITCH_LOCK_WAIT_MS)))
            # Whoever folds the live one waits at its checkpoint, and finds another live one then.
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
        """Drop a generation with what is parked in it. Nothing happens to one that is live, or gone.

        Nor to one that somebody reads or writes: whoever makes the next one drops it.
        """
        if not any(one.generation == generation.generation and not one.live for one in self.all(generation.name)):
            return
        with suppress(psycopg.errors.LockNotAvailable), self._connection.transaction():
            self._connection.execute(sql.SQL("SET LOCAL lock_timeout = {}").format(sql.Literal(DROP_LOCK_WAIT_MS)))
            # Table, then registry: in the order of whoever may be folding into it still.
            self._connection.execute(sql.SQL("DROP TABLE IF EXISTS {}").format(self._places.table(generation)))
            self.forget(generation)

    def forget(self, generation: Generation) -> None:
        """Take a generation out of the registry, also a live one whose table is gone."""
        self._connection.execute(
            sql.SQL("DELETE FROM {} WHERE name = %s AND generation = %s").format(self._places.generations),
            (generation.name, generation.generation),
        )

    def has_table(self, generation: Generation) -> bool:
        """Whether the table and the view on it are there: somebody may have dropped them."""
        ((there,),) = self._connection.execute(
            "SELECT to_regclass(%s) IS NOT NULL AND to_regclass(%s) IS NOT NULL",
            (
                self._places.table(generation).as_string(self._connection),
                self._places.view(generation.name).as_string(self._connection),
            ),
        ).fetchall()
        return bool(there)

    def parked(self, generation: Generation) -> list[Parked]:
        """What is parked in a generation, in order of the log."""
        with self._connection.cursor(row_factory=class_row(Parked)) as cursor:
            found = sql.SQL('SELECT * FROM {} WHERE name = %s AND generation = %s ORDER BY "position"').format(
                self._places.parked
            )
            return cursor.execute(found, (generation.name, generation.generation)).fetchall()
