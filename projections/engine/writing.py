"""The statements that write a page: one statement moves the position of a generation and writes its rows.

One statement is one transaction and one round trip. It has only the parts that the page needs.
"""

from itertools import product

from psycopg import sql

from projections.engine.generations import Generation, Places
from projections.engine.projection import Projection

Parts = tuple[bool, bool, bool]  # whether the page inserts, updates, deletes rows

# Writes only if the generation is still at the expected position, and if this connection's log has the page's last
# event. The page may have been read from another server.
_MOVE = """
    UPDATE {generations} SET "position" = %s
    WHERE name = {name} AND generation = {number} AND live = {live} AND "position" = %s
    AND (%s::bytea IS NULL OR EXISTS (
        SELECT FROM {events} WHERE notification_id = %s AND timestamptz_send(recorded_at) = %s
    ))
"""
# Rows are passed as JSON, because an array can't hold rows with lists of different length.
_INSERT = """
    INSERT INTO {table} SELECT new.* FROM json_populate_recordset(NULL::{table}, %s::json) AS new
    WHERE EXISTS (SELECT FROM moved)
"""
_UPDATE = """
    UPDATE {table} AS r SET ({columns}) = ROW({new}) FROM json_to_recordset(%s::json) AS new ({types})
    WHERE r.{key} = new.{key} AND EXISTS (SELECT FROM moved) RETURNING r.{key}
"""
_DELETE = "DELETE FROM {table} WHERE {key} = ANY(%s) AND EXISTS (SELECT FROM moved)"
# Only an error undoes a statement from within. An updated row is missing only if another process deleted it.
_CHECK_UPDATED = "SELECT 1 / ((SELECT count(*) FROM updated) = %s)::int FROM moved"


def statements(places: Places, projection: Projection, generation: Generation) -> dict[Parts, bytes]:
    """The statement for each combination of changes.

    Parameters, in this order: the page's last position, the one before its first, `Page.written` (None: not compared),
    the last position and `Page.written` again; inserted rows as JSON; updated rows as JSON; keys of deleted rows; the
    number of updated rows. The row count is 1, or 0 if the position has changed and nothing was written. Raises
    DivisionByZero if updated rows are missing.
    """
    changing = [sql.Identifier(name) for name in projection.columns.changing]
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
            sql.SQL("{} {}").format(sql.Identifier(name), sql.SQL(projection.columns.types[name]))
            for name in (projection.key, *projection.columns.changing)
        ),
    }
    return {
        (inserted, updated, deleted): sql.SQL(_statement(inserted, updated, deleted)).format(**names).as_bytes()
        for inserted, updated, deleted in product((False, True), repeat=3)
    }


def _statement(inserted: bool, updated: bool, deleted: bool) -> str:
    if not (inserted or updated or deleted):
        return _MOVE
    parts = [f"moved AS ({_MOVE} RETURNING 1)"]
    parts += [f"inserted AS ({_INSERT})"] if inserted else []
    parts += [f"updated AS ({_UPDATE})"] if updated else []
    parts += [f"deleted AS ({_DELETE})"] if deleted else []
    return f"WITH {', '.join(parts)} {_CHECK_UPDATED if updated else 'SELECT FROM moved'}"
