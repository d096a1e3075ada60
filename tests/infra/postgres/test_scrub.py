"""What is left on disk of an erased person's key, looked for in the files themselves."""

from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from bench.login import SECRET
from domain import people
from domain.decider import build
from infra.log.core import Core, open_core
from infra.postgres import scrub as scrubbing
from infra.postgres.database import bring_up_to_date
from infra.postgres.embedded import OWNER, EmbeddedPostgres
from infra.postgres.scrub import Scrubbed, ScrubError, scrub
from infra.running.settings import Settings
from tests.city import key, opaque, person
from tests.clusters import prepare
from tests.serving import igob
from tests.towns import Town

pytestmark = pytest.mark.anyio

PEOPLE = 60
PIECE_BYTES = 8
STEP_BYTES = 4
SOME_SEGMENTS = "INSERT INTO filling SELECT repeat(md5(n::text), 40) FROM generate_series(1, 12000) AS n"


@pytest.fixture
def own(tmp_path: Path) -> Iterator[EmbeddedPostgres]:
    """A server of one's own: all towns of a server share its WAL."""
    server = EmbeddedPostgres(prepare(tmp_path / "city"))
    with server.hold("a test"):
        server.start()
        yield server
        server.stop()


def owner(server: EmbeddedPostgres, *statements: str) -> list[tuple[bytes]]:
    with psycopg.connect(server.conninfo(OWNER), autocommit=True) as connection:
        for statement in statements:
            cursor = connection.execute(statement)
        return cursor.fetchall() if cursor.description else []


def files_with(secret: bytes, folder: Path) -> set[str]:
    """The files of the folder in which a piece of the secret stands, compressed or not."""
    pieces = [secret[n : n + PIECE_BYTES] for n in range(0, len(secret) - PIECE_BYTES + 1, STEP_BYTES)]
    found = set()
    for path in folder.rglob("*"):
        if path.is_file():
            content = path.read_bytes()
            found |= {str(path.relative_to(folder)) for piece in pieces if piece in content}
    return found


async def erase_one_of_many(core: Core, server: EmbeddedPostgres) -> bytes:
    """The wrapped key of the person erased, which has got about meanwhile."""
    for number in range(PEOPLE):
        await core.committer.submit(person(f"p{number}", core, ci=str(4_820_193 + number)), key(f"p{number}"))
    lookup = f"SELECT wrapped_key FROM la_paz.subject_keys WHERE subject = '{opaque('p0')}'"
    ((wrapped,),) = owner(server, lookup)
    # As autovacuum does; and enough WAL to let segments come round again.
    owner(server, "ANALYZE la_paz.subject_keys", "CHECKPOINT", "CREATE TABLE filling (text text)", SOME_SEGMENTS)
    await core.committer.submit(build(people.ErasePerson, person=opaque("p0")), key("e"))
    owner(server, SOME_SEGMENTS, "CHECKPOINT")
    return bytes(wrapped)


async def test_a_scrub_removes_an_erased_key_from_all_files(own: EmbeddedPostgres) -> None:
    settings = Settings(data_dir=own.folder, secret=SECRET)
    bring_up_to_date(settings)
    async with open_core(settings) as core:
        wrapped = await erase_one_of_many(core, own)
        left = files_with(wrapped, own.folder)
        assert any(name.startswith("pg/pg_wal/") for name in left)
        assert any(name.startswith("pg/base/") for name in left)

        done = igob("db", "scrub", "--data-dir", str(own.folder))
        assert done.returncode == 0, done.stderr
        assert "segments of the WAL were overwritten" in done.stderr
        assert files_with(wrapped, own.folder) == set()
        others = await core.log.load(people.stream(opaque(f"p{number}")) for number in range(1, PEOPLE))
        assert all(loaded.state.registered.given_names for loaded in others.values())
    owner(own, "ANALYZE")
    own.stop()
    assert files_with(wrapped, own.folder) == set()


async def test_a_scrub_fails_while_an_old_transaction_sees_the_key(
    core: Core, town: Town, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scrubbing, "OLD_READERS_WAIT_S", 0.1)
    await core.committer.submit(person("Ana", core), key("p"))
    with psycopg.connect(town.owner) as looking:
        looking.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        looking.execute("SELECT 1")
        await core.committer.submit(build(people.ErasePerson, person=opaque("Ana")), key("e"))
        with pytest.raises(ScrubError, match="is still open"):
            scrub(town.owner, schema=town.schema, say_total=lambda _: None, advance=lambda: None)
    done = scrub(town.owner, schema=town.schema, say_total=lambda _: None, advance=lambda: None)
    assert done.reached_wal
    assert done.wal_segments > 0


def test_a_scrub_reports_retained_wal(own: EmbeddedPostgres) -> None:
    bring_up_to_date(Settings(data_dir=own.folder, secret=SECRET))
    owner(own, "SELECT pg_create_physical_replication_slot('replica', true)", "SELECT pg_switch_wal()")
    refused = igob("db", "scrub", "--data-dir", str(own.folder))
    assert refused.returncode == 1
    assert "old segments of the WAL are kept by a replication slot" in refused.stderr
    owner(own, "SELECT pg_drop_replication_slot('replica')")
    assert igob("db", "scrub", "--data-dir", str(own.folder)).returncode == 0


def test_a_scrub_without_superuser_reports_the_rest(town: Town) -> None:
    modest = f"modest_{town.schema}"
    town.execute(f"CREATE ROLE {modest} LOGIN")
    town.execute(f"GRANT USAGE ON SCHEMA {town.schema} TO {modest}")
    town.execute(f"ALTER TABLE subject_keys OWNER TO {modest}")
    try:
        done = scrub(
            make_conninfo(town.owner, user=modest), schema=town.schema, say_total=lambda _: None, advance=lambda: None
        )
        assert done == Scrubbed(reached_wal=False)
    finally:
        town.execute("ALTER TABLE subject_keys OWNER TO CURRENT_USER")
        town.execute(f"DROP OWNED BY {modest}")
        town.execute(f"DROP ROLE {modest}")
