"""Migrations: who is granted what, each time; who is refused, and what is said then."""

from collections.abc import Iterator

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from infra.postgres.embedded import APPLICATION
from infra.postgres.migrate import MigrationError, check_ready, migrate, migrations
from tests.towns import Town

GREATEST_POSITION = 10**15
INSERT = (
    "INSERT INTO events (originator_id, originator_version, topic, state, notification_id)"
    " VALUES (%s, 1, 'noted.v1', '{}', %s)"
)
APPEND = (
    "SELECT answer, position FROM append('', '', %s, '00', 'ana', '', '1',"
    " %s, '1', 'noted.v1', '{}', '1', '{}', '{}', '{}')"
)

# SHA-256 of each migration that a city may have applied. One whose text changes is refused there, even by a comment.
APPLIED_SOMEWHERE = {
    "0001_log": "5672d00c0e10a337645024b902528e002f7be074e78f53365cad0c15b8b1acde",
    "0002_views": "7ae9eb49fc2c5067ae086ac6f5daace0a52181629dad67ab5925b6b80d2f3f51",
    "0003_append": "af3b09e052d4cee2c9c14b6707537e3ef4c9f5a2d171c4db23e39b2413c4db19",
}

OLD_KEY = "00000000-0000-4000-8000-000000000001"
NEW_KEY = "00000000-0000-4000-8000-000000000002"


@pytest.fixture
def role(town: Town, request: pytest.FixtureRequest) -> Iterator[str]:
    """Another role than the application's usual one; it is nobody yet. Parameters are words for CREATE ROLE."""
    name = f"other_app_{town.schema}"
    town.execute(f"CREATE ROLE {name} LOGIN {getattr(request, 'param', '')}")
    yield name
    town.execute(f"DROP OWNED BY {name}")
    town.execute(f"DROP ROLE {name}")


def test_applied_migrations_are_unchanged() -> None:
    there = {f"{one.number:04d}_{one.name}": one.digest.hex() for one in migrations()}
    assert {name: there.get(name) for name in APPLIED_SOMEWHERE} == APPLIED_SOMEWHERE
    assert there.keys() == APPLIED_SOMEWHERE.keys(), "add its digest once it is on main"


def check(town: Town, role: str, schema: str = "") -> None:
    check_ready(make_conninfo(town.owner, user=role), schema=schema or town.schema, secret=town.secret)


def migrate_for(town: Town, role: str) -> list[str]:
    return migrate(town.owner, schema=town.schema, application_role=role, secret=town.secret)


def test_a_new_application_role_gets_its_grants(town: Town, role: str) -> None:
    with pytest.raises(MigrationError, match=f'role "{role}" may not read schema {town.schema}: run igob db migrate'):
        check(town, role)
    assert migrate_for(town, role) == []
    check(town, role)
    check(town, APPLICATION)
    with psycopg.connect(make_conninfo(town.owner, user=role), autocommit=True) as connection:
        connection.execute(f"SET search_path = {town.schema}")
        assert connection.execute(APPEND, (NEW_KEY, "case/1")).fetchone() == ("appended", 0)


def test_missing_migrations_and_privileges_have_different_errors(town: Town, role: str) -> None:
    with pytest.raises(MigrationError, match=r"lacks migrations \[1"):
        check(town, role, schema="nowhere")
    town.execute(f"GRANT USAGE ON SCHEMA {town.schema} TO {role}")
    town.execute(f"GRANT SELECT ON migrations TO {role}")
    with pytest.raises(MigrationError, match="may not read"):
        check(town, role)
    town.execute(f"GRANT SELECT ON ALL TABLES IN SCHEMA {town.schema} TO {role}")
    with pytest.raises(MigrationError, match="may not write to"):
        check(town, role)


def test_excess_grants_are_revoked(town: Town) -> None:
    town.execute(f"GRANT UPDATE ON events TO {APPLICATION}")
    with pytest.raises(MigrationError, match="can change or delete events"):
        check(town, APPLICATION)
    migrate_for(town, APPLICATION)
    check(town, APPLICATION)


def test_the_owner_keeps_its_own_privileges(town: Town) -> None:
    with pytest.raises(MigrationError, match="can change or delete events"):
        migrate_for(town, "igob_owner")
    assert migrate_for(town, APPLICATION) == []


def test_an_owner_without_privileges_gets_an_error(town: Town, role: str) -> None:
    with pytest.raises(MigrationError, match="IGOB_DATABASE_OWNER_URL must name the owner"):
        migrate(
            make_conninfo(town.owner, user=role), schema=town.schema, application_role=APPLICATION, secret=town.secret
        )


@pytest.mark.parametrize("role", ["INHERIT", "NOINHERIT"], indirect=True)
def test_a_role_that_can_become_the_owner_is_refused(town: Town, role: str) -> None:
    migrate_for(town, role)
    check(town, role)
    town.execute(f"CREATE ROLE owner_of_{town.schema}")
    town.execute(f"ALTER TABLE events OWNER TO owner_of_{town.schema}")
    town.execute(f"GRANT owner_of_{town.schema} TO {role}")
    try:
        with pytest.raises(MigrationError, match="can change or delete events"):
            check(town, role)
    finally:
        town.execute("ALTER TABLE events OWNER TO CURRENT_USER")
        town.execute(f"DROP OWNED BY owner_of_{town.schema}")
        town.execute(f"DROP ROLE owner_of_{town.schema}")
    check(town, role)


def test_an_owner_without_privileges_is_still_refused(town: Town, role: str) -> None:
    migrate_for(town, role)
    town.execute(f"ALTER TABLE events OWNER TO {role}")
    town.execute(f"REVOKE UPDATE, DELETE, TRUNCATE ON events FROM {role}")
    try:
        with pytest.raises(MigrationError, match="can change or delete events"):
            check(town, role)
    finally:
        town.execute("ALTER TABLE events OWNER TO CURRENT_USER")


TAKE_BACK = {
    "ALTER SCHEMA {schema} OWNER TO {role}": "ALTER SCHEMA {schema} OWNER TO CURRENT_USER",
    "ALTER DATABASE igob OWNER TO {role}": "ALTER DATABASE igob OWNER TO CURRENT_USER",
    "ALTER TABLE commands OWNER TO {role}": "ALTER TABLE commands OWNER TO CURRENT_USER",
    "ALTER FUNCTION lock_log OWNER TO {role}": "ALTER FUNCTION lock_log OWNER TO CURRENT_USER",
    "ALTER ROLE {role} CREATEROLE": "ALTER ROLE {role} NOCREATEROLE",
    "ALTER ROLE {role} REPLICATION": "ALTER ROLE {role} NOREPLICATION",
    "ALTER ROLE {role} SUPERUSER": "ALTER ROLE {role} NOSUPERUSER",
    "GRANT pg_write_server_files TO {role}": "REVOKE pg_write_server_files FROM {role}",
    "GRANT pg_write_all_data TO {role}": "REVOKE pg_write_all_data FROM {role}",
} | {
    f"GRANT {privilege} ON {table} TO {{role}}": f"REVOKE {privilege} ON {table} FROM {{role}}"
    for table, privileges in {
        "events": ("UPDATE", "DELETE", "TRUNCATE", "TRIGGER", "REFERENCES", "UPDATE (topic)", "REFERENCES (topic)"),
        "commands": ("DELETE", "TRUNCATE", "TRIGGER", "REFERENCES"),
        "subject_keys": ("UPDATE", "TRIGGER"),
        "facts": ("INSERT", "TRIGGER"),
        "migrations": ("INSERT (name)",),
    }.items()
    for privilege in privileges
}


@pytest.mark.parametrize("give", TAKE_BACK)
def test_a_role_that_can_destroy_or_block_the_log_is_refused(town: Town, role: str, give: str) -> None:
    migrate_for(town, role)
    names = {"schema": town.schema, "role": role}
    town.execute(give.format(**names))
    try:
        with pytest.raises(MigrationError, match=f'role "{role}" can change or delete events, or stop the log: it '):
            check(town, role)
    finally:
        town.execute(TAKE_BACK[give].format(**names))
    migrate_for(town, role)
    check(town, role)


def test_maintain_and_trigger_privileges_are_refused(town: Town, role: str) -> None:
    migrate_for(town, role)
    with psycopg.connect(town.owner) as connection:
        can_be_granted = connection.info.server_version >= 17 * 10_000
    town.execute(f"GRANT {'MAINTAIN' if can_be_granted else 'TRIGGER'} ON events TO {role}")
    with pytest.raises(MigrationError, match=r"it may (MAINTAIN|TRIGGER) on events"):
        check(town, role)
    town.execute(f"REVOKE ALL ON events FROM {role}")
    migrate_for(town, role)
    check(town, role)


def test_an_unused_membership_is_refused(town: Town, role: str) -> None:
    """Neither inherited nor to be set, where the server knows that; but with the right to grant it to itself."""
    migrate_for(town, role)
    with psycopg.connect(town.owner) as connection:
        options = (
            "ADMIN TRUE, INHERIT FALSE, SET FALSE" if connection.info.server_version >= 16 * 10_000 else "ADMIN OPTION"
        )
    middle, last = f"middle_{town.schema}", f"last_{town.schema}"
    town.execute(f"CREATE ROLE {middle} NOINHERIT")
    town.execute(f"CREATE ROLE {last}")
    town.execute(f"GRANT TRUNCATE ON events TO {last}")
    town.execute(f"GRANT {last} TO {middle}")
    check(town, role)
    town.execute(f"GRANT {middle} TO {role} WITH {options}")
    try:
        with pytest.raises(MigrationError, match=f'it can become "{last}", which may TRUNCATE on events'):
            check(town, role)
    finally:
        town.execute(f"DROP OWNED BY {last}")
        town.execute(f"DROP ROLE {middle}, {last}")
    check(town, role)


@pytest.mark.parametrize("position", [-1, 0, GREATEST_POSITION + 1, 2**63 - 1])
def test_a_position_out_of_range_is_refused(town: Town, position: int) -> None:
    with pytest.raises(psycopg.errors.CheckViolation):
        town.execute(INSERT, "case/1", position, owner=False)
    assert town.execute(APPEND, NEW_KEY, "case/1", owner=False) == [("appended", 0)]


def test_an_expired_key_gets_a_new_outcome(town: Town) -> None:
    assert town.execute(APPEND, OLD_KEY, "case/1", owner=False) == [("appended", 0)]
    town.execute("UPDATE commands SET recorded_at = recorded_at - interval '8 days'")
    both = (
        APPEND.replace("'ana'", r"E'ana\nana'")
        .replace("'00'", r"E'01\n02'")
        .replace("'', '1',", r"E'\\N\n\\N', E'1\n1',")
    )
    assert town.execute(both, f"{OLD_KEY}\n{NEW_KEY}", "case/2", owner=False) == [("appended", 1)]
    rows = town.execute(
        "SELECT key::text, digest, position, recorded_at > now() - interval '1 day' FROM commands ORDER BY key"
    )
    assert [tuple(row) for row in rows] == [(OLD_KEY, b"\1", 2, True), (NEW_KEY, b"\2", 2, True)]
    assert town.execute(APPEND, OLD_KEY, "case/3", owner=False) == [("known", 2)]
