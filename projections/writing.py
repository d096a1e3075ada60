"""The statements by which a page gets into a generation: its new position and its rows, in one statement each.

One statement is one transaction and one round trip. Which parts it has depends on what the page changes.
"""

from itertools import product

from psycopg import sql

from projections.generations import Generation, Places
from projections.projection import Projection

Parts = tuple[bool, bool, bool]  # whether there are new rows, changed rows, rows that are gone

# The generation is where it was left, and the log that this connection reads has the page's last event: behind the
# connection by which the page was read there may be another server.
_MOVED = """
    UPDATE {generations} SET "position" = %s
    WHERE name = {name} AND generation = {number} AND live = {live} AND "position" = %s
    AND (%s::bytea IS NULL OR EXISTS (
        SELECT FROM {events} WHERE notification_id = %s AND timestamptz_send(recorded_at) = %s
    ))
"""
# Rows come as JSON, which PostgreSQL turns into records: lists in rows of different length go in no array.
_BEGUN = """
    INSERT INTO {table} SELECT new.* FROM json_populate_recordset(NULL::{table}, %s::json) AS new
    WHERE EXISTS (SELECT FROM moved)
"""
_ALTERED = """
    UPDATE {table} AS r SET ({columns}) = ROW({new}) FROM json_to_recordset(%s::json) AS new ({types})
    WHERE r.{key} = new.{key} AND EXISTS (SELECT FROM moved) RETURNING r.{key}
"""
_GONE = "DELETE FROM {table} WHERE {key} = ANY(%s) AND EXISTS (SELECT FROM moved)"
# An error is the only way to undo a statement from within. Rows can only be missing if somebody else deleted them.
_ALL_ALTERED = "SELECT 1 / ((SELECT count(*) FROM altered) = %s)::int FROM moved"


def statements(places: Places, projection: Projection, generation: Generation) -> dict[Parts, bytes]:
    """By what a page changes, the statement for it.

    Parameters, in this order: the page's last position, the one before its first, when its last event was recorded (as
    Page has it; None: not to be compared), its last position, the same moment; new rows as JSON; changed rows as JSON;
    keys of rows that are gone; how many rows change. Its row count is 1, or 0 if the generation can't be moved and
    nothing was written. Raises DivisionByZero if rows that should change are not there.
    """
    changing = [sql.Identifier(name) for name in projection.changing]
    names = {
        "generations": places.generations,
        "name": sql.Literal(generation.name),
        "number": sql.Literal(generation.generation),
        "live": sql.Literal(generation.live),
        "events": places.events,
        "table": places.table(generation),
        "key": sql.Identifier(projection.key),
        "columns": sql.SQL(", ").join(changing),
        "new": sql.SQL(", ").join(sql.SQL("new.{}").format(column) for column in changing),
        "types": sql.SQL(", ").join(
            sql.SQL("{} {}").format(sql.Identifier(name), sql.SQL(projection.columns[name]))
            for name in (projection.key, *projection.changing)
        ),
    }
    return {
        (begun, altered, gone): sql.SQL(_statement(begun, altered, gone)).format(**names).as_bytes()
        for begun, altered, gone in product((False, True), repeat=3)
    }


def _statement(begun: bool, altered: bool, gone: bool) -> str:
    if not (begun or altered or gone):
        return _MOVED
    parts = [f"moved AS ({_MOVED} RETURNING 1)"]
    parts += [f"begun AS ({_BEGUN})"] if begun else []
    parts += [f"altered AS ({_ALTERED})"] if altered else []
    parts += [f"gone AS ({_GONE})"] if gone else []
    return f"WITH {', '.join(parts)} {_ALL_ALTERED if altered else 'SELECT FROM moved'}"
