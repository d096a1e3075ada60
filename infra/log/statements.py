"""The log's SQL, for one schema.

All are bytes: psycopg would compose other statements, and parse their parameters, on each execution. Those for
libpq have numbered parameters.
"""

from psycopg import sql

from infra.log.batch import PLAIN_PARAMETERS

APPEND_TYPES = (*("text",) * PLAIN_PARAMETERS, "text[]", "bytea[]", "text[]")

# One index scan per stream, whatever the statistics say; a wide ANY() may scan the whole table.
SINCE = """
SELECT e.* FROM unnest(string_to_array({}, chr(10)), string_to_array({}, chr(10))::bigint[]) AS s (name, seen)
CROSS JOIN LATERAL (
    SELECT originator_id, originator_version, topic, state FROM {}
    WHERE originator_id = s.name AND originator_version > s.seen AND notification_id <= {}
    ORDER BY originator_version OFFSET 0
) AS e
"""
ENTRY = "SELECT notification_id, originator_id, originator_version, topic, state FROM {} "
NAMES = """
SELECT originator_id FROM {} WHERE originator_id > %s AND originator_id < %s AND originator_version = 1
ORDER BY originator_id LIMIT %s
"""
POSITIONS = """
SELECT e.notification_id FROM unnest(%s::text[], %s::bigint[]) WITH ORDINALITY AS s (name, version, number)
LEFT JOIN {} AS e ON e.originator_id = s.name AND e.originator_version = s.version ORDER BY s.number
"""


class Statements:
    """The statements of a log in this schema."""

    def __init__(self, schema: str) -> None:
        events, keys = sql.Identifier(schema, "events"), sql.Identifier(schema, "subject_keys")

        def on_events(text: str) -> bytes:
            return sql.SQL(text).format(events).as_bytes()

        def since(names: str, seen: str, until: str) -> bytes:
            return sql.SQL(SINCE).format(sql.SQL(names), sql.SQL(seen), events, sql.SQL(until)).as_bytes()

        self.append = append_statement(schema)
        self.append_plain = plain_append_statement(schema)
        self.lock = sql.SQL("BEGIN; SELECT {}()").format(sql.Identifier(schema, "lock_log")).as_bytes()
        self.since = since("%s", "%s", "%s::bigint")
        self.since_libpq = since("$1::text", "$2::text", "$3::bigint")
        self.page = on_events(ENTRY + "WHERE notification_id > %s ORDER BY notification_id LIMIT %s")
        self.page_libpq = on_events(ENTRY + "WHERE notification_id > $1::bigint ORDER BY notification_id LIMIT $2::int")
        self.history = on_events(ENTRY + "WHERE originator_id = %s ORDER BY originator_version")
        self.head = on_events("SELECT coalesce(max(notification_id), 0) FROM {}")
        self.names = on_events(NAMES)
        self.positions = on_events(POSITIONS)
        self.written = on_events("SELECT 1 FROM {} WHERE notification_id = %s::bigint AND command_id = %s::text")
        self.keys = sql.SQL("SELECT subject, wrapped_key FROM {} WHERE subject = ANY(%s)").format(keys).as_bytes()


def append_statement(schema: str) -> bytes:
    """The call of the append, each parameter cast to its type."""
    parameters = sql.SQL(", ").join(sql.SQL("%b::" + kind) for kind in APPEND_TYPES)
    return sql.SQL("SELECT * FROM {}({})").format(sql.Identifier(schema, "append"), parameters).as_bytes()


def plain_append_statement(schema: str) -> bytes:
    """The same call for a batch without personal data, for libpq: only the first PLAIN_PARAMETERS are parameters."""
    texts = sql.SQL(", ").join(sql.SQL(f"${number}::text") for number in range(1, PLAIN_PARAMETERS + 1))
    rest = sql.SQL(", ").join(sql.SQL(f"'{{}}'::{kind}") for kind in APPEND_TYPES[PLAIN_PARAMETERS:])
    return sql.SQL("SELECT * FROM {}({}, {})").format(sql.Identifier(schema, "append"), texts, rest).as_bytes()
