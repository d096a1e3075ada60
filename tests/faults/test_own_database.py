"""Serving on a PostgreSQL of one's own, named by IGOB_DATABASE_URL: the wheel's and Debian's 15 or newer."""

from pathlib import Path

import psycopg

from infra.postgres.embedded import APPLICATION, OWNER, EmbeddedPostgres
from tests.faults.test_serve import register
from tests.serving import Serving, igob, igob_here

SECRET = "5e" * 32


def url(server: EmbeddedPostgres, role: str) -> str:
    return f"postgresql://{role}@/igob?host={server.socket}"


def settings(server: EmbeddedPostgres, *, owner: bool) -> dict[str, str]:
    given = {"IGOB_DATABASE_URL": url(server, APPLICATION), "IGOB_SECRET": SECRET}
    return given | ({"IGOB_DATABASE_OWNER_URL": url(server, OWNER)} if owner else {})


def test_the_owner_migrates_and_the_application_serves(own: EmbeddedPostgres) -> None:
    """The first test of the module: nobody has migrated the database yet."""
    early = igob("serve", "--port", "0", **settings(own, owner=False))
    assert early.returncode == 1
    assert "igob db migrate" in early.stderr

    migrated = igob("db", "migrate", **settings(own, owner=True))
    assert migrated.returncode == 0, migrated.stderr
    server = Serving(settings=settings(own, owner=False))
    try:
        (ana,) = register(server.url(), 1)
        assert ana
    finally:
        assert server.stop() == 0
    with psycopg.connect(own.conninfo(OWNER)) as connection:
        assert connection.execute("SELECT count(*) FROM la_paz.event_log").fetchone() == (2,)
    assert own.status().state == "running"


def test_the_owner_s_role_is_refused_as_the_application_s(own: EmbeddedPostgres) -> None:
    wrong = settings(own, owner=True) | {"IGOB_DATABASE_URL": url(own, OWNER)}
    refused = igob("serve", "--port", "0", **wrong)
    assert refused.returncode == 1
    assert "can change or delete events" in refused.stderr.replace("\n", " ")


def test_migrating_grants_a_new_role(own: EmbeddedPostgres) -> None:
    given = settings(own, owner=True)
    assert igob("db", "migrate", **given).returncode == 0
    with psycopg.connect(own.conninfo(OWNER), autocommit=True) as connection:
        connection.execute("CREATE ROLE other_app LOGIN")
    other = given | {"IGOB_DATABASE_URL": url(own, "other_app")}
    alone = {name: value for name, value in other.items() if name != "IGOB_DATABASE_OWNER_URL"}
    refused = igob("serve", "--port", "0", **alone)
    assert refused.returncode == 1
    assert 'role "other_app" may not read schema la_paz' in refused.stderr
    migrated = igob("db", "migrate", **other)
    assert migrated.returncode == 0, migrated.stderr
    server = Serving(settings=alone)
    try:
        assert register(server.url(), 1)
    finally:
        assert server.stop() == 0


def test_another_secret_and_no_secret_are_refused(own: EmbeddedPostgres) -> None:
    given = settings(own, owner=True)
    assert igob("db", "migrate", **given).returncode == 0
    other = igob("serve", "--port", "0", **given | {"IGOB_SECRET": "0f" * 32})
    assert other.returncode == 1
    assert "another secret" in other.stderr
    given["IGOB_SECRET"] = ""
    none = igob("serve", "--port", "0", **given)
    assert none.returncode == 1
    assert "IGOB_SECRET must be set" in none.stderr


def test_an_unreachable_database_is_reported_in_a_line(tmp_path: Path) -> None:
    gone = igob(
        "serve",
        "--port",
        "0",
        IGOB_DATABASE_URL=f"postgresql://{APPLICATION}@/igob?host={tmp_path}",
        IGOB_SECRET=SECRET,
    )
    assert gone.returncode == 1
    assert "Traceback" not in gone.stderr
    assert str(tmp_path) in gone.stderr.replace("\n", "")


def test_your_own_database_is_never_started_or_stopped(own: EmbeddedPostgres) -> None:
    for command in ("start", "stop", "status"):
        refused = igob_here("db", command, **settings(own, owner=True))
        assert refused.returncode == 1
        assert "start and stop it yourself" in refused.stderr.replace("\n", " ")
