"""The log: roles, the auditor's view, and what remains of an erased person."""

import asyncio
from datetime import date
from typing import Any

import psycopg
import pytest
from msgspec.structs import replace

import infra.postgres.connections
from domain import people
from domain.appointments import patient as patients
from domain.decider import build
from domain.errors import Rejected
from domain.people import dependants
from infra.log.batch import Conflict
from infra.log.committer import Committer
from infra.log.core import Core
from infra.log.log import Log
from infra.postgres.connections import Unavailable
from infra.postgres.embedded import APPLICATION
from infra.postgres.libpq import LibpqConnection
from infra.postgres.migrate import MigrationError, check_ready, migrate
from infra.running.secret import Secret
from tests.city import AGENDA, booking, key, opaque, open_agenda, person
from tests.conftest import Clock
from tests.towns import Town

pytestmark = pytest.mark.anyio

FORBIDDEN = [
    "UPDATE events SET topic = 'forged.v1'",
    "UPDATE events SET state = state WHERE false",
    "DELETE FROM events",
    "TRUNCATE events",
    "DROP TABLE events",
    "ALTER TABLE events ADD COLUMN note text",
    "CREATE TRIGGER t BEFORE INSERT ON events FOR EACH ROW EXECUTE FUNCTION suppress_redundant_updates_trigger()",
    "CREATE RULE r AS ON INSERT TO events DO INSTEAD NOTHING",
    "UPDATE event_log SET actor = 'nobody'",
    "DELETE FROM event_log",
    "UPDATE facts SET value = ''",
    "DELETE FROM migrations",
    "CREATE TABLE mine (x int)",
    "DELETE FROM commands",
]


@pytest.mark.parametrize("statement", FORBIDDEN)
def test_the_application_s_role_cannot_change_the_log(town: Town, statement: str) -> None:
    town.execute(
        "INSERT INTO events (originator_id, originator_version, topic, state, notification_id)"
        " VALUES ('case/1', 1, 'noted.v1', '{}', 1)",
        owner=False,
    )
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        town.execute(statement, owner=False)
    assert town.execute("SELECT topic FROM events") == [("noted.v1",)]


def test_a_role_that_can_change_the_log_is_refused(town: Town) -> None:
    with pytest.raises(MigrationError, match="can change or delete events"):
        check_ready(town.owner, schema=town.schema, secret=town.secret)
    check_ready(town.application, schema=town.schema, secret=town.secret)


def test_migrating_again_applies_nothing(town: Town) -> None:
    assert migrate(town.owner, schema=town.schema, application_role=APPLICATION, secret=town.secret) == []


def test_another_secret_is_refused(town: Town) -> None:
    other = Secret(b"?" * 32)
    with pytest.raises(MigrationError, match="another secret"):
        migrate(town.owner, schema=town.schema, application_role=APPLICATION, secret=other)
    with pytest.raises(MigrationError, match="another secret"):
        check_ready(town.application, schema=town.schema, secret=other)


def test_a_newer_or_changed_schema_is_refused(town: Town) -> None:
    town.execute("INSERT INTO migrations (number, name, digest) VALUES (9999, 'future', '')")
    with pytest.raises(MigrationError, match="newer than this program"):
        check_ready(town.application, schema=town.schema, secret=town.secret)
    town.execute("DELETE FROM migrations WHERE number = 9999")
    town.execute("UPDATE migrations SET digest = 'x' WHERE number = 1")
    with pytest.raises(MigrationError, match="was changed after"):
        migrate(town.owner, schema=town.schema, application_role=APPLICATION, secret=town.secret)


def test_an_unmigrated_schema_is_refused_with_a_hint(town: Town) -> None:
    with pytest.raises(MigrationError, match="igob db migrate"):
        check_ready(town.application, schema="nowhere", secret=town.secret)


def test_a_role_that_does_not_exist_is_named(town: Town) -> None:
    with pytest.raises(MigrationError, match='"nobody_here" does not exist'):
        migrate(town.owner, schema=town.schema, application_role="nobody_here", secret=town.secret)


async def test_an_auditor_reads_events_as_json(core: Core, town: Town) -> None:
    await open_agenda(core)
    await core.committer.submit(booking(1, "ana"), key("b"))
    rows = town.execute("SELECT state FROM event_log WHERE event = 'appointment_booked.v1'", owner=False)
    assert rows == [
        ({"slot": 1, "patient": opaque("ana"), "channel": "WEB", "appointment": booking(1, "ana").appointment},)
    ]


async def test_loading_returns_state_and_version_even_of_an_empty_stream(core: Core) -> None:
    await open_agenda(core)
    loaded = await core.log.load([f"agenda/{AGENDA}", "patient/nobody"])
    assert loaded[f"agenda/{AGENDA}"].version == 1
    assert len(loaded[f"agenda/{AGENDA}"].state.slots) == 6
    assert loaded["patient/nobody"].version == 0
    assert loaded["patient/nobody"].state == patients.Patient()


async def test_a_stale_read_is_reported_even_without_events(core: Core) -> None:
    await open_agenda(core)
    batch = core.log.batch()
    batch.read.update({f"agenda/{AGENDA}": 0, "patient/x": 0, "hospital/la-merced": 2})
    answer = await core.log.append(batch)
    assert isinstance(answer, Conflict)
    assert sorted(answer.stale) == [f"agenda/{AGENDA}", "hospital/la-merced"]
    assert await core.log.head() == 2


async def test_stream_names_of_a_prefix_are_paged_in_order(core: Core) -> None:
    await open_agenda(core)
    await core.committer.submit(person("Ana", core), key("p"))
    assert await core.log.stream_names("agenda/", first=10) == [f"agenda/{AGENDA}"]
    assert await core.log.stream_names("agenda/", after=f"agenda/{AGENDA}", first=10) == []
    assert await core.log.stream_names("hospital/", first=1) == ["hospital/la-merced"]


def everything_stored(town: Town) -> str:
    """Every row of every table of the town, as text, bytes in clear."""
    tables = town.execute("SELECT tablename FROM pg_tables WHERE schemaname = %s", town.schema)
    return "\n".join(
        bytes(value).decode("utf-8", "replace") if isinstance(value, bytes | memoryview) else str(value)
        for (table,) in tables
        for row in town.execute(f"SELECT * FROM {table}")
        for value in row
    )


PERSONAL = ["Ana", "Mamani", "Quispe", "1990-05-17", "4820193", "71234567", "example.org"]


async def test_tables_contain_no_readable_personal_data(core: Core, town: Town) -> None:
    await open_agenda(core)
    ana = opaque("Ana")
    await core.committer.submit(person("Ana", core), key("p"))
    await core.committer.submit(booking(1, "Ana"), key("b"))
    assert (await core.log.state(people.stream(ana))).registered.given_names == "Ana"
    assert not [word for word in PERSONAL if word in everything_stored(town)]

    await core.committer.submit(build(people.ErasePerson, person=ana), key("e"))
    assert town.execute("SELECT count(*) FROM subject_keys") == [(0,)]
    assert not [word for word in PERSONAL if word in everything_stored(town)]

    left = await core.log.state(people.stream(ana))
    assert left.erased
    assert {getattr(left.registered, field) for field in left.registered.personal_fields} == {None}
    every_stream = [row[0] for row in town.execute("SELECT DISTINCT originator_id FROM events")]
    folded = await core.log.load(every_stream)  # type: ignore[arg-type]
    assert folded[f"agenda/{AGENDA}"].state.booked == {1: booking(1, "Ana").appointment}


async def test_an_erasure_deletes_the_key_in_its_commit(core: Core, town: Town, clock: Clock) -> None:
    await core.committer.submit(person("Ana", core), key("p"))
    other_log = Log(town.application, schema=town.schema, secret=town.secret)
    await other_log.open()
    assert (await other_log.state(people.stream(opaque("Ana")))).registered.given_names == "Ana"
    other = Committer(other_log, secret=town.secret, queue_max=10, clock=clock)
    other.start()
    await other.submit(build(people.ErasePerson, person=opaque("Ana")), key("e"))
    assert (await core.log.state(people.stream(opaque("Ana")))).registered.given_names is None
    await other.stop()
    await other_log.close()


async def family(core: Core) -> str:
    """Ana with her children Eva and Luis, both confirmed: the name of her stream as a guardian."""
    for number, name in enumerate(("Ana", "Eva", "Luis")):
        born = date(1990, 5, 17) if name == "Ana" else date(2015, 3, 9)
        registering = replace(person(name, core, ci=str(4820193 + number)), birth_date=born)
        await core.committer.submit(registering, key(name))
    for name in ("Eva", "Luis"):
        fields = {"guardian": opaque("Ana"), "dependant": opaque(name), "relation": "MINOR"}
        declare = build(dependants.DeclareDependant, **fields, declared_by=opaque("clerk"))
        await core.committer.submit(declare, key(f"declare {name}"))
        confirm = build(dependants.ConfirmDependant, **fields, confirmed_by=opaque("officer"))
        await core.committer.submit(confirm, key(f"confirm {name}"))
    return dependants.stream(opaque("Ana"))


async def test_an_erasure_leaves_other_subjects_of_a_stream_readable(core: Core, town: Town, clock: Clock) -> None:
    stream = await family(core)

    async def until() -> list[date | None]:
        return [said.until for said in (await core.log.state(stream)).dependants.values()]

    assert await until() == [date(2033, 3, 9)] * 2
    assert "2033" not in everything_stored(town)
    await core.committer.submit(build(people.ErasePerson, person=opaque("Eva")), key("e"))
    assert await until() == [None, date(2033, 3, 9)]
    guardian = await core.log.state(stream)
    children = [await core.log.state(people.stream(opaque(name))) for name in ("Eva", "Luis")]
    acts = [dependants.acts_for(guardian, child, clock()) for child in children]
    assert acts == [False, True]
    await core.committer.submit(build(people.ErasePerson, person=opaque("Ana")), key("e2"))
    assert await until() == [None, date(2033, 3, 9)]  # it is the child's secret, not the guardian's
    await core.committer.submit(build(people.ErasePerson, person=opaque("Luis")), key("e3"))
    assert await until() == [None, None]


async def test_an_erasure_releases_the_identity_number(core: Core) -> None:
    await core.committer.submit(person("Ana", core), key("p1"))
    with pytest.raises(Rejected, match="identity_taken"):
        await core.committer.submit(person("Luisa", core), key("p2"))
    await core.committer.submit(build(people.ErasePerson, person=opaque("Ana")), key("e"))
    await core.committer.submit(person("Luisa", core), key("p3"))
    found = await core.log.state(people.identity_stream(core.secret.identity_digest("4820193")))
    assert found.person == opaque("Luisa")


async def test_repeated_timeouts_leave_at_most_one_waiting_backend(
    core: Core, town: Town, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Otherwise a table locked for an hour would use up all connections."""
    monkeypatch.setattr(infra.postgres.connections, "READ_TIMEOUT_S", 0.2)
    with psycopg.connect(town.owner) as holding:
        holding.execute(f"LOCK TABLE {town.schema}.events IN ACCESS EXCLUSIVE MODE")
        for _ in range(5):
            with pytest.raises(Unavailable):
                await core.log.load([f"agenda/{AGENDA}"])
        waiting = "SELECT 1 FROM pg_stat_activity WHERE application_name = %s AND wait_event_type = 'Lock'"
        assert len(town.execute(waiting, f"{core.log._connector.name} reads")) <= 1
        holding.rollback()
    assert (await core.log.load([f"agenda/{AGENDA}"]))[f"agenda/{AGENDA}"].version == 0


async def test_concurrent_loads_get_their_own_streams(core: Core) -> None:
    """One uses the libpq connection, the others use the pool."""
    await open_agenda(core)
    names = [f"agenda/{AGENDA}", "hospital/la-merced", "agenda/nowhere"] * 10
    loaded = await asyncio.gather(*(core.log.load([name]) for name in names))
    assert [list(found) for found in loaded] == [[name] for name in names]
    assert [found[name].version for name, found in zip(names, loaded, strict=True)] == [1, 1, 0] * 10


async def test_a_cancelled_load_does_not_affect_the_next(core: Core) -> None:
    await open_agenda(core)
    agenda, hospital = f"agenda/{AGENDA}", "hospital/la-merced"
    await core.log.load([agenda])
    for _ in range(20):
        gone = asyncio.ensure_future(core.log.load([agenda]))
        await asyncio.sleep(0)
        gone.cancel()
        assert (await core.log.load([hospital]))[hospital].state.registered is not None


async def test_a_connection_abandoned_during_setup_is_not_watched(core: Core, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its file descriptor may be reused by another connection."""
    made: list[LibpqConnection] = []
    prepare = LibpqConnection.prepare
    await core.log._reader.close()

    async def never_ready(connection: LibpqConnection, *arguments: Any, **options: Any) -> None:
        made.append(connection)
        await prepare(connection, *arguments, **options)
        await asyncio.Event().wait()

    with monkeypatch.context() as patch:
        patch.setattr(LibpqConnection, "prepare", never_ready)
        patch.setattr(infra.postgres.connections, "READ_TIMEOUT_S", 0.2)
        with pytest.raises(Unavailable):
            await core.log.load([f"agenda/{AGENDA}"])
    (connection,) = made
    assert connection.broken
    assert not connection._watching
    assert (await core.log.load([f"agenda/{AGENDA}"]))[f"agenda/{AGENDA}"].version == 0
