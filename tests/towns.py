"""Towns for tests: migrated municipalities of one server, emptied after use instead of dropped.

Creating the schema of a municipality takes longer than most tests, and its read models take twice as long. So a town
whose schema is as it was created is emptied and used again. Every other town is left behind: the server is thrown away
at the end anyhow.
"""

import itertools
from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict

from api.contexts import read_models as all_read_models
from infra.postgres.embedded import APPLICATION, OWNER, EmbeddedPostgres
from infra.postgres.migrate import migrate
from infra.running.secret import Secret
from projections.engine.generations import Generation, Generations, Places

LOCK_TIMEOUT_MS = 1_000  # whatever a test left behind must not hold up the next one
EVENTS_BYTES_MAX = 256 * 1024  # deleted rows stay in the table until it is vacuumed: a new town has none

# Changes of any schema of the database, by whichever role; what was rolled back is none.
RECORD_CHANGES = """
CREATE TABLE public.schema_changes (at timestamptz NOT NULL);
CREATE FUNCTION public.record_schema_change() RETURNS event_trigger LANGUAGE plpgsql SECURITY DEFINER AS
$$ BEGIN INSERT INTO public.schema_changes VALUES (clock_timestamp()); END $$;
CREATE EVENT TRIGGER schema_changes ON ddl_command_end EXECUTE FUNCTION public.record_schema_change();
"""
FORGET_CHANGES = "DELETE FROM public.schema_changes"

# What must be as in a new town: what its owner alone may write, and what the planner knows of its tables. No row if the
# schema of any town was changed, another session is at work, or the log has had too many events.
AS_FOUND = """
SELECT (SELECT string_agg(concat_ws(' ', name, xmin), ',' ORDER BY name) FROM {facts}),
       (SELECT string_agg(concat_ws(' ', name, xmin), ',' ORDER BY name) FROM {migrations}),
       (SELECT string_agg(concat_ws(' ', oid, relpages, reltuples), ',' ORDER BY oid) FROM pg_class
        WHERE oid = ANY ({tables}::regclass[]::oid[]))
WHERE pg_relation_size({events}::regclass) <= {bytes_max}
AND NOT EXISTS (SELECT FROM public.schema_changes)
AND NOT EXISTS (
    SELECT FROM pg_stat_activity
    WHERE datname = current_database() AND pid <> pg_backend_pid()
    AND backend_type = 'client backend' AND state <> 'idle'
)
"""


class Town:
    """A municipality with an empty log."""

    def __init__(self, server: EmbeddedPostgres, schema: str, secret: Secret) -> None:
        self.schema = schema
        self.secret = secret
        self.owner = server.conninfo(OWNER)
        self.application = server.conninfo(APPLICATION)
        self.application_parameters = conninfo_to_dict(self.application)

    def execute(self, statement: str, *parameters: object, owner: bool = True) -> list[tuple[object, ...]]:
        """Run one statement with this town's schema first in the search path; the rows it gives."""
        with psycopg.connect(self.owner if owner else self.application, autocommit=True) as connection:
            connection.execute(f"SET search_path = {self.schema}")
            cursor = connection.execute(statement, parameters or None)
            return cursor.fetchall() if cursor.description else []


class _Kept:
    """A town that is used again if its schema has not changed; with the read models that it has, empty and live."""

    def __init__(self, town: Town, read_models: list[Generation], owner: psycopg.Connection) -> None:
        self.town = town
        places = Places(town.schema)
        log = {name: sql.Identifier(town.schema, name) for name in ("events", "commands", "subject_keys")}
        tables = [*log.values(), *(places.table(one) for one in read_models), places.parked, places.generations]
        self._as_found = sql.SQL(AS_FOUND).format(
            facts=sql.Identifier(town.schema, "facts"),
            migrations=sql.Identifier(town.schema, "migrations"),
            events=sql.Literal(log["events"].as_string()),
            tables=sql.Literal([table.as_string() for table in tables]),
            bytes_max=sql.Literal(EVENTS_BYTES_MAX),
        )
        registered = [
            sql.SQL("INSERT INTO {} (name, generation, version, live) VALUES ({}, {}, {}, true)").format(
                places.generations, one.name, one.generation, one.version
            )
            for one in read_models
        ]
        deletes = [sql.SQL("DELETE FROM {}").format(table) for table in tables]
        limit = sql.SQL("SET LOCAL lock_timeout = {}").format(LOCK_TIMEOUT_MS)
        self._empty = sql.SQL("; ").join([sql.SQL("BEGIN"), limit, *deletes, *registered, sql.SQL("COMMIT")])
        self._as_new = self._found(owner)

    def _found(self, owner: psycopg.Connection) -> tuple[object, ...] | None:
        return owner.execute(self._as_found).fetchone()

    def emptied(self, owner: psycopg.Connection) -> bool:
        """Whether the town is as new again. Raises psycopg.Error."""
        found = self._found(owner)
        if found is None or found != self._as_new:
            return False
        owner.execute(self._empty)
        return True


class Towns:
    """The towns of a server that are free. One test at a time has one."""

    def __init__(self, server: EmbeddedPostgres, secret: Secret) -> None:
        self._server = server
        self._secret = secret
        self._numbers = itertools.count(1)
        self._free: dict[bool, list[_Kept]] = {False: [], True: []}
        self._connection: psycopg.Connection | None = None
        self._owner().execute(RECORD_CHANGES)

    @contextmanager
    def town(self, *, read_models: bool) -> Iterator[Town]:
        """An empty one, with its read models or without any."""
        free = self._free[read_models]
        kept = free.pop() if free else self._new(read_models=read_models)
        self._owner().execute(FORGET_CHANGES)
        yield kept.town
        try:
            if kept.emptied(self._owner()):
                free.append(kept)
        except psycopg.Error:  # its schema or its server is gone, or somebody has locked it
            self.close()

    def is_empty(self, town: Town) -> bool:
        """Whether nothing was written to its log yet."""
        events = sql.Identifier(town.schema, "events")
        found = self._owner().execute(sql.SQL("SELECT FROM {} LIMIT 1").format(events))
        return found.rowcount == 0

    def _new(self, *, read_models: bool) -> _Kept:
        town = Town(self._server, f"town_{next(self._numbers)}", self._secret)
        migrate(town.owner, schema=town.schema, application_role=APPLICATION, secret=town.secret)
        begun: list[Generation] = []
        if read_models:
            with psycopg.connect(town.application, autocommit=True) as connection:
                generations = Generations(connection, Places(town.schema))
                begun = [generations.begin(one, live=True) for one in all_read_models().values()]
        self._owner().execute(FORGET_CHANGES)
        return _Kept(town, begun, self._owner())

    def _owner(self) -> psycopg.Connection:
        if self._connection is None:
            self._connection = psycopg.connect(self._server.conninfo(OWNER), autocommit=True)
        return self._connection

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None
