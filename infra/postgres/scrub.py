"""Overwrites what is left on disk of deleted subject keys: see docs/adr/0003-personal-data.md.

A deleted row stays in its file until the file is rewritten, in the planner's statistics of its column, and in the WAL,
whose old segments are renamed and kept for reuse.
"""

import re
import time
from collections.abc import Callable

import msgspec
import psycopg
from psycopg import sql

TABLE = "subject_keys"
COLUMN = "wrapped_key"
OLD_READERS_WAIT_S = 30.0
OLD_READERS_POLL_S = 0.5
LAST_SEGMENT = "F" * 24


class ScrubError(Exception):
    """Not everything could be overwritten; the text says why."""


class Scrubbed(msgspec.Struct, frozen=True):
    """`wal_segments` were overwritten, each of 16 MiB unless initdb was given another size.

    `reached_wal` is False if the role is no superuser: then neither WAL nor old statistics could be overwritten.
    """

    reached_wal: bool
    wal_segments: int = 0


def scrub(
    owner_conninfo: str, *, schema: str, say_total: Callable[[int], None], advance: Callable[[], None]
) -> Scrubbed:
    """Overwrite what is left of deleted subject keys in the server's files. Other sessions go on meanwhile.

    `say_total` and `advance` follow the WAL's segments. Raises ScrubError, psycopg.OperationalError.
    """
    with psycopg.connect(owner_conninfo, autocommit=True) as connection:
        # Keep no statistics of the column from now on, and remove the present ones: they have its values.
        column = (sql.Identifier(schema, TABLE), sql.Identifier(COLUMN))
        connection.execute(sql.SQL("ALTER TABLE {} ALTER COLUMN {} SET STATISTICS 0").format(*column))
        connection.execute(sql.SQL("ALTER TABLE {} ALTER COLUMN {} TYPE bytea").format(*column))
        _write_anew(connection, column[0])
        row = connection.execute("SELECT rolsuper FROM pg_roles WHERE rolname = current_user").fetchone()
        if row != (True,):
            return Scrubbed(reached_wal=False)
        _write_anew(connection, sql.Identifier("pg_catalog", "pg_statistic"))
        return Scrubbed(reached_wal=True, wal_segments=_overwrite_wal(connection, say_total, advance))


def _write_anew(connection: psycopg.Connection, table: sql.Identifier) -> None:
    """Rewrite the table without dead rows. Raises ScrubError if a transaction may still need one."""
    deadline_s = time.monotonic() + OLD_READERS_WAIT_S
    while _dead_rows_left(connection, table):
        if time.monotonic() > deadline_s:
            raise ScrubError(
                "a transaction that began before the erasure is still open (pg_stat_activity, pg_prepared_xacts or a"
                " replication slot show it), and deleted keys are kept for it: end it and repeat"
            )
        time.sleep(OLD_READERS_POLL_S)


def _dead_rows_left(connection: psycopg.Connection, table: sql.Identifier) -> int:
    """Vacuum the table fully; the number of deleted rows that had to be kept.

    The server reports it only as the first word of a notice's detail, which is a number in every language.
    """
    counts: list[int] = []

    def listen(diagnostic: psycopg.errors.Diagnostic) -> None:
        found = re.match(r"\d+", diagnostic.message_detail or "")
        if found:
            counts.append(int(found[0]))

    connection.add_notice_handler(listen)
    connection.execute(sql.SQL("VACUUM (FULL, VERBOSE) {}").format(table))
    connection.remove_notice_handler(listen)
    assert counts, "VACUUM reported no number"
    return sum(counts)


def _overwrite_wal(
    connection: psycopg.Connection, say_total: Callable[[int], None], advance: Callable[[], None]
) -> int:
    """Release all WAL until now and overwrite its segments. Returns their number. Raises ScrubError.

    A checkpoint turns unneeded segments into future ones, with their old content. Switching to the next segment fills
    the rest of the present one with zeros, so as many switches as there are segments reach all of them.
    """
    row = connection.execute("SELECT pg_walfile_name(pg_current_wal_lsn())").fetchone()
    assert row is not None
    _switch(connection)
    connection.execute("CHECKPOINT")
    segments = _segments(connection, LAST_SEGMENT)
    say_total(segments)
    for _ in range(segments):
        _switch(connection)
        advance()
    kept = _segments(connection, row[0])
    if kept:
        raise ScrubError(
            f"{kept} old segments of the WAL are kept by a replication slot, by archiving or by wal_keep_size: see to"
            " that and repeat"
        )
    return segments


def _switch(connection: psycopg.Connection) -> None:
    connection.execute("SELECT pg_logical_emit_message(true, 'igob', '')")  # a segment without anything is not left
    connection.execute("SELECT pg_switch_wal()")


def _segments(connection: psycopg.Connection, last: str) -> int:
    """The number of WAL segments up to that name."""
    row = connection.execute(
        "SELECT count(*) FROM pg_ls_waldir() WHERE name ~ '^[0-9A-F]{24}$' AND name COLLATE \"C\" <= %s", (last,)
    ).fetchone()
    assert row is not None
    return int(row[0])
