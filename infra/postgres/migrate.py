"""Numbered SQL migrations, each applied once by the owner's role. A lock serialises concurrent runs."""

import hashlib
import re
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import resources

import msgspec
import psycopg
from psycopg import sql

from infra.running.secret import Secret

POSTGRES_VERSION_MIN = 15
LOCK_KEY = 1607  # one migrator per database at a time


class MigrationError(Exception):
    """The schema is not at the version that this program needs, or can't be migrated; the message says what to do."""


class Migration(msgspec.Struct, frozen=True):
    number: int
    name: str
    text: str

    @property
    def digest(self) -> bytes:
        return hashlib.sha256(self.text.encode()).digest()


def migrations() -> list[Migration]:
    """The program's migrations in order: files named 0001_what.sql, numbered without gaps."""
    found = []
    for file in resources.files("infra.postgres.migrations").iterdir():
        match = re.fullmatch(r"(\d{4})_(\w+)\.sql", file.name)
        if match:
            found.append(Migration(int(match[1]), match[2], file.read_text(encoding="utf-8")))
    found.sort(key=lambda migration: migration.number)
    assert [migration.number for migration in found] == list(range(1, len(found) + 1)), "migrations have gaps"
    return found


def _text(name: str) -> str:
    return (resources.files("infra.postgres.migrations") / name).read_text(encoding="utf-8")


def migrate(owner_conninfo: str, *, schema: str, application_role: str, secret: Secret) -> list[str]:
    """Bring a municipality's schema to this version. Returns what was applied; repeating it applies nothing new.

    The privileges of the application's role are granted each time, since it may be another role than before. Raises
    MigrationError if the server is too old, a role is missing or has too few or too many privileges, the schema is
    newer or was changed, or belongs to another secret.
    """
    with psycopg.connect(owner_conninfo, autocommit=True) as connection, _power_explained(connection, schema):
        _check_server(connection, application_role)
        connection.execute("SELECT pg_advisory_lock(%s)", (LOCK_KEY,))
        with connection.transaction():
            _create_schema(connection, schema)
        applied = _applied(connection, schema)
        done = []
        for migration in migrations():
            if migration.number in applied:
                continue
            with connection.transaction():
                _apply(connection, migration, schema, application_role)
            done.append(f"{migration.number:04d} {migration.name}")
        with connection.transaction():
            connection.execute(_filled_in(_text("grants.sql"), connection, schema, application_role))
            _settle_secret(connection, schema, secret)
        return done


@contextmanager
def _power_explained(connection: psycopg.Connection, schema: str) -> Iterator[None]:
    """Turn the server's refusal to let the owner work into a MigrationError."""
    try:
        yield
    except psycopg.errors.InsufficientPrivilege as error:
        raise MigrationError(
            f'role "{connection.info.user}" may not migrate schema {schema}: {error.diag.message_primary};'
            " IGOB_DATABASE_OWNER_URL must name the owner of the schema, or one who may create it"
        ) from error


def _check_server(connection: psycopg.Connection, application_role: str) -> None:
    major = connection.info.server_version // 10_000
    if major < POSTGRES_VERSION_MIN:
        raise MigrationError(f"PostgreSQL {POSTGRES_VERSION_MIN} or newer is needed, this is {major}")
    if not connection.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", (application_role,)).fetchone():
        raise MigrationError(
            f'the application\'s role "{application_role}" does not exist; create it: '
            f"CREATE ROLE \"{application_role}\" LOGIN PASSWORD '…'"
        )
    if application_role == connection.info.user:
        # Before the owner's own privileges are revoked.
        raise MigrationError(_too_powerful(application_role, "it is the owner's too"))


def _create_schema(connection: psycopg.Connection, schema: str) -> None:
    if connection.execute("SELECT 1 FROM pg_namespace WHERE nspname = %s", (schema,)).fetchone() is None:
        connection.execute(sql.SQL("CREATE SCHEMA {}").format(sql.Identifier(schema)))
    connection.execute(
        sql.SQL(
            "CREATE TABLE IF NOT EXISTS {}.migrations (number int PRIMARY KEY, name text NOT NULL,"
            " digest bytea NOT NULL, applied_at timestamptz NOT NULL DEFAULT now())"
        ).format(sql.Identifier(schema))
    )


def _applied(connection: psycopg.Connection, schema: str) -> dict[int, bytes]:
    table = sql.Identifier(schema, "migrations")
    rows = connection.execute(sql.SQL("SELECT number, digest FROM {}").format(table)).fetchall()
    known = {migration.number: migration.digest for migration in migrations()}
    for number, digest in rows:
        if number not in known:
            raise MigrationError(f"schema {schema} has migration {number:04d}: it is newer than this program")
        if digest != known[number]:
            raise MigrationError(f"migration {number:04d} was changed after schema {schema} had applied it")
    return dict(rows)


def _apply(connection: psycopg.Connection, migration: Migration, schema: str, application_role: str) -> None:
    connection.execute(_filled_in(migration.text, connection, schema, application_role))
    connection.execute(
        sql.SQL("INSERT INTO {} (number, name, digest) VALUES (%s, %s, %s)").format(
            sql.Identifier(schema, "migrations")
        ),
        (migration.number, migration.name, migration.digest),
    )


def _filled_in(text: str, connection: psycopg.Connection, schema: str, application_role: str) -> sql.Composed:
    # The text is the program's own; the names are quoted by psycopg.
    return sql.SQL(text).format(
        schema=sql.Identifier(schema),
        views=sql.Identifier(f"{schema}_views"),
        application=sql.Identifier(application_role),
        log=sql.Literal(sql.Identifier(schema, "events").as_string(connection)),
    )


def _settle_secret(connection: psycopg.Connection, schema: str, secret: Secret) -> None:
    """Store which secret the log is written with. With another one, people would not be found nor keys decrypted."""
    facts = sql.Identifier(schema, "facts")
    connection.execute(
        sql.SQL("INSERT INTO {} (name, value) VALUES ('secret_check', %s) ON CONFLICT DO NOTHING").format(facts),
        (secret.check(),),
    )
    check_secret(connection, schema, secret)


def check_secret(connection: psycopg.Connection, schema: str, secret: Secret) -> None:
    """Raise MigrationError if the schema was written with another secret."""
    row = connection.execute(
        sql.SQL("SELECT value FROM {} WHERE name = 'secret_check'").format(sql.Identifier(schema, "facts"))
    ).fetchone()
    if row is None or row[0] != secret.check():
        raise MigrationError(f"schema {schema} was written with another secret than this one: see IGOB_SECRET")


def check_ready(conninfo: str, *, schema: str, secret: Secret) -> None:
    """Raise MigrationError unless the schema has this version and secret, and the role has the privileges it needs.

    It must have no more: it can't change the log, nor become a role that can.
    """
    with psycopg.connect(conninfo, autocommit=True) as connection:
        major = connection.info.server_version // 10_000
        if major < POSTGRES_VERSION_MIN:
            raise MigrationError(f"PostgreSQL {POSTGRES_VERSION_MIN} or newer is needed, this is {major}")
        try:
            _check_migrated(connection, schema)
            check_secret(connection, schema, secret)
        except psycopg.errors.InsufficientPrivilege:
            raise MigrationError(_powerless(connection, "read", schema)) from None
        _refuse_power_over_log(connection, schema)
        if not _may_append(connection, schema):
            raise MigrationError(_powerless(connection, "write to", schema))


def _check_migrated(connection: psycopg.Connection, schema: str) -> None:
    try:
        applied = _applied(connection, schema)
    except psycopg.errors.UndefinedTable:
        applied = {}
    missing = [m.number for m in migrations() if m.number not in applied]
    if missing:
        raise MigrationError(f"schema {schema} lacks migrations {missing}: run igob db migrate as the owner")


def _powerless(connection: psycopg.Connection, what: str, schema: str) -> str:
    return (
        f'role "{connection.info.user}" may not {what} schema {schema}: run igob db migrate as the owner, with'
        " IGOB_DATABASE_URL naming that role"
    )


def _too_powerful(role: str, why: str) -> str:
    return (
        f'role "{role}" can change or delete events, or stop the log: {why}; IGOB_DATABASE_URL must name one that can'
        " not (the owner's role goes to IGOB_DATABASE_OWNER_URL)"
    )


# Privileges that grants.sql grants, and others with which a role could change or stop the log. REFERENCES and TRIGGER
# let it attach conditions and code to the append; MAINTAIN lets it lock a table against everybody.
GRANTED = {
    "events": {"INSERT"},
    "event_log": set[str](),
    "commands": {"INSERT", "UPDATE"},
    "subject_keys": {"INSERT", "DELETE"},
    "facts": set[str](),
    "migrations": set[str](),
}
HARMFUL = ("INSERT", "UPDATE", "DELETE", "TRUNCATE", "REFERENCES", "TRIGGER")
BY_COLUMN = ("INSERT", "UPDATE", "REFERENCES")
MAINTAIN_SINCE = 17
# Predefined roles whose members can reach the server's files or programs, and so everything.
MIGHTY_ROLES = ("pg_execute_server_program", "pg_write_server_files")

# Every reason against the role, or against a role that it can become. MEMBER: a role that inherits nothing may still
# SET ROLE, and one that may do neither but has the ADMIN option can let itself. CREATEROLE: below PostgreSQL 16 it is
# enough to become any role but a superuser, and nowhere does the application need it.
REASONS_AGAINST = """
WITH roles AS (SELECT * FROM pg_roles AS r WHERE pg_has_role(r.oid, 'MEMBER')),
tables AS (SELECT c.oid, c.relname, c.relowner FROM pg_class AS c WHERE c.relnamespace = %(schema)s::regnamespace)
SELECT rolname, what FROM (
SELECT r.rolname, a.what FROM roles AS r CROSS JOIN LATERAL (
    VALUES (r.rolsuper, 'is a superuser'), (r.rolcreaterole, 'may create and grant roles (CREATEROLE)'),
           (r.rolreplication, 'may replicate, and so keep the WAL from ever being removed (REPLICATION)'),
           (r.rolname = ANY(%(mighty)s), 'reaches the files of the server')
) AS a (stands, what) WHERE a.stands
UNION ALL
SELECT r.rolname, 'owns schema ' || n.nspname FROM roles AS r JOIN pg_namespace AS n ON n.nspowner = r.oid
WHERE n.oid = %(schema)s::regnamespace
UNION ALL
SELECT r.rolname, 'owns database ' || d.datname FROM roles AS r JOIN pg_database AS d ON d.datdba = r.oid
WHERE d.datname = current_database()
UNION ALL
SELECT r.rolname, 'owns ' || t.relname FROM roles AS r JOIN tables AS t ON t.relowner = r.oid
UNION ALL
SELECT r.rolname, 'owns function ' || p.proname FROM roles AS r JOIN pg_proc AS p ON p.proowner = r.oid
WHERE p.pronamespace = %(schema)s::regnamespace
UNION ALL
SELECT r.rolname, 'may ' || h.privilege || ' on ' || t.relname
FROM unnest(%(tables)s::text[], %(privileges)s::text[], %(by_column)s::bool[]) AS h (name, privilege, by_column)
JOIN tables AS t ON t.relname = h.name CROSS JOIN roles AS r
WHERE CASE WHEN h.by_column THEN has_any_column_privilege(r.oid, t.oid, h.privilege)
           ELSE has_table_privilege(r.oid, t.oid, h.privilege) END
) AS against ORDER BY rolname <> session_user LIMIT 1
"""


def _refuse_power_over_log(connection: psycopg.Connection, schema: str) -> None:
    """Raise MigrationError if the role, or one that it can become, may change events, stop the log, or grant that."""
    maintain = ("MAINTAIN",) if connection.info.server_version // 10_000 >= MAINTAIN_SINCE else ()
    excess = [(table, kind) for table, given in GRANTED.items() for kind in (*HARMFUL, *maintain) if kind not in given]
    row = connection.execute(
        REASONS_AGAINST,
        {
            "schema": sql.Identifier(schema).as_string(connection),
            "mighty": list(MIGHTY_ROLES),
            "tables": [table for table, _ in excess],
            "privileges": [kind for _, kind in excess],
            "by_column": [kind in BY_COLUMN for _, kind in excess],
        },
    ).fetchone()
    if row:
        role, what = row
        who = "it" if role == connection.info.user else f'it can become "{role}", which'
        raise MigrationError(_too_powerful(connection.info.user, f"{who} {what}"))


def _may_append(connection: psycopg.Connection, schema: str) -> bool:
    """Whether the role has the privileges from grants.sql that an append needs."""
    needed = {"events": "SELECT INSERT", "commands": "SELECT INSERT UPDATE", "subject_keys": "SELECT INSERT DELETE"}
    pairs = [
        (sql.Identifier(schema, table).as_string(connection), privilege)
        for table, privileges in needed.items()
        for privilege in privileges.split()
    ]
    row = connection.execute(
        "SELECT (SELECT bool_and(has_table_privilege(n.name, n.privilege)) FROM unnest(%s::text[], %s::text[])"
        " AS n (name, privilege)) AND (SELECT bool_and(has_function_privilege(oid, 'EXECUTE')) FROM pg_proc"
        " WHERE pronamespace = %s::regnamespace AND proname IN ('append', 'lock_log', 'kept_for'))",
        (
            [name for name, _ in pairs],
            [privilege for _, privilege in pairs],
            sql.Identifier(schema).as_string(connection),
        ),
    ).fetchone()
    assert row is not None
    return bool(row[0])
