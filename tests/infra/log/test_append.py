"""The append function in PostgreSQL, called by the application's role: conflicts and answers."""

import threading
import time

import psycopg
import pytest
from psycopg import sql

import infra.postgres.migrate
from infra.log.batch import NULL, column
from infra.log.statements import APPEND_TYPES, append_statement
from infra.postgres.connections import CONNECTION
from infra.postgres.embedded import APPLICATION
from infra.postgres.migrate import check_ready, migrate
from tests.towns import Town

LOCK_TIMEOUT_S = 10
DIGEST = "0a"

Rows = list[tuple[object, ...]]


def key(number: int) -> str:
    return f"{number:032x}"


def parameters(
    *, read: dict[str, int] | None = None, accepted: dict[str, list[tuple[str, int]]] | None = None, refused: str = ""
) -> list[object]:
    """The parameters of an append: streams read, events of accepted commands by key, and the key of a refused one."""
    read, accepted = read or {}, accepted or {}
    events = [(stream, version, n) for n, some in enumerate(accepted.values(), 1) for stream, version in some]
    counts = [len(some) for some in accepted.values()]
    ordinals = [str(sum(counts[: n + 1])) for n in range(len(counts))]
    keys = [*accepted, *([refused] if refused else [])]
    return [
        column(list(read)),
        column([str(version) for version in read.values()]),
        column(keys),
        column([DIGEST] * len(keys)),
        column(["ana"] * len(keys)),
        column([NULL] * len(keys)),
        column([*ordinals, *([NULL] if refused else [])]),
        column([stream for stream, _, _ in events]),
        column([str(version) for _, version, _ in events]),
        column(["noted.v1"] * len(events)),
        column(["{}"] * len(events)),
        column([str(number) for _, _, number in events]),
        *([],) * 3,
    ]


def append(town: Town, *given: object) -> Rows:
    """Call the append; return answer, name, position and version of each row."""
    with psycopg.connect(town.application, **CONNECTION) as connection:
        return [
            (answer, name, position, version)
            for answer, name, _, position, version, *_ in connection.execute(append_statement(town.schema), given)
        ]


def positions(town: Town) -> list[object]:
    return [position for (position,) in town.execute("SELECT notification_id FROM events ORDER BY 1")]


def test_a_stream_that_was_only_read_is_compared_under_the_lock(town: Town) -> None:
    """The stream changes while the append waits for the lock. No primary key conflicts, since it is only read."""
    append(town, *parameters(accepted={key(1): [("case/1", 1)]}))
    found: list[Rows] = []
    late = parameters(read={"case/1": 1}, accepted={key(2): [("case/2", 1)]})
    with psycopg.connect(town.application) as rival:
        rival.execute(append_statement(town.schema), parameters(read={"case/1": 1}, accepted={key(3): [("case/1", 2)]}))
        waiting = threading.Thread(target=lambda: found.append(append(town, *late)))
        waiting.start()
        _wait_for_the_lock(town)
        rival.commit()
    waiting.join(LOCK_TIMEOUT_S)
    assert found == [[("stale", "case/1", None, 2), ("missed", "case/1", None, 2)]]
    assert positions(town) == [1, 2]


def _wait_for_the_lock(town: Town) -> None:
    deadline = time.monotonic() + LOCK_TIMEOUT_S
    while not town.execute("SELECT 1 FROM pg_stat_activity WHERE usename = 'igob_app' AND wait_event = 'advisory'"):
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.mark.parametrize("seen", [0, 1, 3, 40])
def test_any_other_version_is_stale(town: Town, seen: int) -> None:
    """Also a version that the log never had, as after a restore from a backup."""
    append(town, *parameters(accepted={key(1): [("case/1", 1), ("case/1", 2)]}))
    answer = append(town, *parameters(read={"case/1": seen}, accepted={key(2): [("case/2", 1)]}))
    assert answer[0] == ("stale", "case/1", None, 2)
    assert {row[0] for row in answer[1:]} <= {"missed"}
    assert positions(town) == [1, 2]
    assert append(town, *parameters(read={"case/1": 2}, accepted={key(2): [("case/2", 1)]})) == [
        ("appended", None, 2, None)
    ]


def test_a_refused_command_s_key_is_looked_up_without_a_conflict(town: Town) -> None:
    append(town, *parameters(accepted={key(1): [("case/1", 1)]}))
    known = ("known", key(1), 1, None)
    assert append(town, *parameters(read={"case/1": 1}, refused=key(1))) == [known]
    assert append(town, *parameters(read={"case/1": 0}, refused=key(1)))[:2] == [known, ("stale", "case/1", None, 1)]
    both = parameters(read={"case/1": 1}, accepted={key(2): [("case/1", 2)]}, refused=key(3))
    assert append(town, *both) == [("appended", None, 1, None)]


def test_an_expired_key_and_a_stale_stream_are_a_stream_conflict(town: Town) -> None:
    append(town, *parameters(accepted={key(1): [("case/1", 1)]}))
    town.execute("UPDATE commands SET recorded_at = recorded_at - interval '8 days'")
    answer = append(town, *parameters(accepted={key(1): [("case/1", 1)]}))
    assert answer == [("stale", "case/1", None, 1), ("missed", "case/1", None, 1)]
    assert append(town, *parameters(accepted={key(1): [("case/1", 2)]})) == [("appended", None, 1, None)]
    assert positions(town) == [1, 2]


def test_a_known_key_is_reported_before_a_stream_conflict(town: Town) -> None:
    append(town, *parameters(accepted={key(1): [("case/1", 1)]}))
    again = parameters(accepted={key(1): [("case/1", 1)], key(2): [("case/2", 1)]})
    assert append(town, *again) == [("known", key(1), 1, None)]
    assert positions(town) == [1]


def test_an_inconsistent_batch_fails_and_writes_nothing(town: Town) -> None:
    with pytest.raises(psycopg.errors.UniqueViolation):
        append(town, *parameters(accepted={key(1): [("case/1", 1), ("case/1", 1)]}))
    assert positions(town) == []
    assert town.execute("SELECT * FROM commands") == []


def test_a_log_of_an_earlier_migration_works_after_the_upgrade(town: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    known = infra.postgres.migrate.migrations()
    place = {"schema": town.schema, "application_role": APPLICATION, "secret": town.secret}
    town.execute(f"DROP SCHEMA {town.schema}, {town.schema}_views CASCADE")
    with monkeypatch.context() as patch:
        patch.setattr(infra.postgres.migrate, "migrations", lambda: known[:2])
        migrate(town.owner, **place)  # type: ignore[arg-type]
    append(town, *parameters(accepted={key(1): [("case/1", 1)]}))
    assert migrate(town.owner, **place)[0] == "0003 append"  # type: ignore[arg-type]
    check_ready(town.application, schema=town.schema, secret=town.secret)
    assert append(town, *parameters(refused=key(1))) == [("known", key(1), 1, None)]
    assert append(town, *parameters(read={"case/1": 1}, accepted={key(2): [("case/1", 2)]})) == [
        ("appended", None, 1, None)
    ]
    call = sql.SQL("SELECT has_function_privilege('public', '{}.append({})', 'EXECUTE')")
    types = sql.SQL(", ").join(map(sql.SQL, APPEND_TYPES))
    with psycopg.connect(town.owner) as connection:
        assert connection.execute(call.format(sql.SQL(town.schema), types)).fetchone() == (False,)
