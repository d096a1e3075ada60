"""The database is frozen or restarted, or somebody holds its log: typed answers in time, and then all goes on."""

import asyncio
import os
import signal
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from datetime import timedelta

import psycopg
import pytest

import infra.log.committer
import infra.postgres.connections
from infra.log.committer import BATCH_COMMANDS_MAX, Committer
from infra.log.core import Core
from infra.log.log import Log
from infra.postgres.connections import Unavailable
from infra.postgres.embedded import EmbeddedPostgres
from tests.city import FIRST_SLOT, open_agenda
from tests.conftest import Clock
from tests.faults.promises import Answers, ask, check_promises, check_repetitions, codes, one_each
from tests.towns import Town

pytestmark = pytest.mark.anyio

GIVE_UP_S = 30  # the short limits, and what psycopg adds to them
ALL_GIVE_UP_S = 4.5  # one batch is tried for SETTLE_FOR_S and once more
SHORTER_S = 0.3
SETTLE_FOR_S = 1.2
OUTAGE_S = 3.5  # psycopg would wait for 1, 2 and then 4 s between attempts
BACK_WITHIN_S = 3.0  # after the database answers again
FROZEN_S = 1.0
THAW_TIMEOUT_S = 10


@pytest.fixture
def short_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(infra.postgres.connections, "APPEND_TIMEOUT_S", 0.5)
    monkeypatch.setattr(infra.postgres.connections, "READ_TIMEOUT_S", 0.5)
    monkeypatch.setattr(infra.postgres.connections, "END_FORMER_S", 0.1)
    monkeypatch.setattr(infra.log.committer, "SETTLE_FOR_S", SETTLE_FOR_S)
    monkeypatch.setattr(infra.log.committer, "SETTLE_PAUSE_S", 0.05)


@pytest.fixture
async def other(town: Town, clock: Clock) -> AsyncIterator[Core]:
    """A second process's log and committer on the same town."""
    log = Log(town.application, schema=town.schema, secret=town.secret)
    committer = Committer(log, secret=town.secret, queue_max=1_000, clock=clock)
    await log.open()
    committer.start()
    yield Core(log=log, committer=committer, secret=town.secret)
    await committer.stop()
    await log.close()


def backends(town: Town, what: str) -> list[int]:
    """Processes of PostgreSQL that serve the application, whose last statement contains `what`."""
    found = town.execute(
        "SELECT pid FROM pg_stat_activity WHERE usename = 'igob_app' AND query LIKE %s", f"%{town.schema}%{what}%"
    )
    return [int(str(pid)) for (pid,) in found]


@contextmanager
def frozen(pids: list[int]) -> Iterator[None]:
    """They neither run nor end: nobody is told, and the kernel goes on taking what is sent to them."""
    assert pids
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in pids:
            os.kill(pid, signal.SIGCONT)


async def settled(town: Town, pids: list[int]) -> None:
    """The thawed backends have done what they were sent, and ended: nobody listens to them any more."""
    deadline = time.monotonic() + THAW_TIMEOUT_S
    while town.execute("SELECT 1 FROM pg_stat_activity WHERE pid = ANY(%s)", pids):
        assert time.monotonic() < deadline
        await asyncio.sleep(0.02)


async def test_a_briefly_frozen_backend_is_waited_for(core: Core, town: Town) -> None:
    await open_agenda(core, slots=100)
    with frozen(backends(town, "append")):
        asked = asyncio.ensure_future(ask(core, one_each(50)))
        await asyncio.sleep(FROZEN_S)
        assert not asked.done()
    answers = await asked
    assert codes(answers) == {"Outcome": 50}
    check_promises(town, answers)


@pytest.mark.long
@pytest.mark.usefixtures("short_limits")
async def test_a_frozen_backend_is_replaced_and_repeats_nothing(core: Core, town: Town) -> None:
    await open_agenda(core, slots=100)
    pids = backends(town, "append")
    with frozen(pids):
        begun = time.monotonic()
        answers = await ask(core, one_each(50))
        assert time.monotonic() - begun < GIVE_UP_S
        assert codes(answers) == {"Outcome": 50}
    await settled(town, pids)
    check_promises(town, answers)
    await check_repetitions(core, one_each(50), answers)


@pytest.mark.usefixtures("short_limits")
async def test_a_refused_command_is_not_written_by_a_frozen_backend(core: Core, town: Town, clock: Clock) -> None:
    """The frozen backend has the booking in its socket. Until it is tried again the slot has begun.

    If it is refused then, the refusal says that nothing was written, and so it must stay.
    """
    await open_agenda(core)
    clock.now = FIRST_SLOT - timedelta(seconds=1)
    pids = backends(town, "append")
    with frozen(pids):
        asked = asyncio.ensure_future(ask(core, one_each(1)))
        await asyncio.sleep(0.3)
        clock.wait(2)
        answers = await asked
        assert codes(answers) in ({"in_the_past": 1}, {"unavailable": 1})
    await settled(town, pids)
    check_promises(town, answers)


@pytest.mark.usefixtures("short_limits")
async def test_a_frozen_lock_holder_makes_others_unavailable(core: Core, other: Core, town: Town) -> None:
    await open_agenda(core, slots=100)
    async with other.log.locked():
        pids = backends(town, "lock_log")
        with frozen(pids):
            begun = time.monotonic()
            during = await ask(core, one_each(20, name="during"))
            assert codes(during) == {"unavailable": 20}
            assert time.monotonic() - begun < GIVE_UP_S
            assert await core.log.head() == 2  # whoever only reads is not kept waiting
    after = await ask(core, one_each(20, name="after", first=51))
    assert codes(after) == {"Outcome": 20}
    check_promises(town, during | after)
    await check_repetitions(core, one_each(20, name="during"), during)


@pytest.mark.usefixtures("short_limits")
async def test_commands_behind_a_held_log_have_a_time_limit(
    core: Core, town: Town, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Four batches of them: those behind must not be tried one batch after another, each for as long as the first."""
    monkeypatch.setattr(infra.postgres.connections, "APPEND_TIMEOUT_S", SHORTER_S)
    await open_agenda(core, slots=1_000)
    wishes = one_each(3 * BATCH_COMMANDS_MAX + 50)
    with psycopg.connect(town.owner) as holding:
        holding.execute(f"SELECT {town.schema}.lock_log()")
        begun = time.monotonic()
        during = await ask(core, wishes)
        assert codes(during) == {"unavailable": len(wishes)}
        assert time.monotonic() - begun < ALL_GIVE_UP_S
        holding.rollback()
    after = await ask(core, wishes)
    assert codes(after) == {"Outcome": len(wishes)}
    check_promises(town, after)


async def test_an_old_snapshot_blocks_nobody(core: Core, town: Town) -> None:
    await open_agenda(core, slots=100)
    with psycopg.connect(town.owner) as holding:
        holding.execute(f"SET search_path = {town.schema}")
        holding.commit()
        holding.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        head = "SELECT max(position) FROM event_log"
        assert holding.execute(head).fetchone() == (2,)
        answers = await asyncio.wait_for(ask(core, one_each(50)), timeout=GIVE_UP_S)
        assert codes(answers) == {"Outcome": 50}
        assert holding.execute(head).fetchone() == (2,)
        assert await core.log.head() == 102
    check_promises(town, answers)


@pytest.mark.parametrize(
    "how", [*(pytest.param(one, marks=pytest.mark.long) for one in (signal.SIGINT, signal.SIGQUIT)), signal.SIGKILL]
)
async def test_a_restart_under_load_loses_and_repeats_nothing(
    core: Core, town: Town, server: EmbeddedPostgres, how: signal.Signals
) -> None:
    await open_agenda(core, slots=1_000)
    wishes = one_each(600)
    stopped = asyncio.Event()

    async def book(names: list[str]) -> Answers:
        answers: Answers = {}
        for name in names:
            answers |= await ask(core, {name: wishes[name]})
            if len(answers) == 5:
                stopped.set()
        return answers

    async def restart() -> None:
        await stopped.wait()
        pid = server.status().pid
        assert pid
        os.kill(pid, how)
        await asyncio.to_thread(server.stop)  # waits until it is gone
        await asyncio.to_thread(server.start)

    names = list(wishes)
    *some, _ = await asyncio.gather(*(book(names[n::20]) for n in range(20)), restart())
    answers = {name: answer for part in some if part for name, answer in part.items()}
    assert codes(answers).keys() <= {"Outcome", "unavailable"}
    check_promises(town, answers)
    await check_repetitions(core, wishes, answers)
    check_promises(town, answers)


@pytest.mark.usefixtures("short_limits")
async def test_requests_are_unavailable_while_the_database_is_away(
    core: Core, town: Town, server: EmbeddedPostgres
) -> None:
    """However long it was away: waits between attempts to connect again must not have grown with the outage."""
    await open_agenda(core, slots=100)
    await asyncio.to_thread(server.stop)
    try:
        away_s = time.monotonic()
        during = await ask(core, one_each(20))
        assert codes(during) == {"unavailable": 20}
        assert time.monotonic() - away_s < GIVE_UP_S
        while time.monotonic() - away_s < OUTAGE_S:
            with pytest.raises(Unavailable):
                await core.log.load(["agenda/never-loaded"])
            await asyncio.sleep(0.05)
    finally:
        await asyncio.to_thread(server.start)
    back_s = time.monotonic()
    after: Answers = {}
    while codes(after) != {"Outcome": 20}:
        assert time.monotonic() - back_s < BACK_WITHIN_S
        after = await ask(core, one_each(20))
    check_promises(town, after)
