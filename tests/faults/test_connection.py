"""The connection to PostgreSQL breaks or stalls at chosen points: what was said to callers, and what the log holds."""

import asyncio
import random
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

import infra.log.committer
import infra.postgres.connections
from domain.errors import Rejected
from infra.log.committer import BATCH_COMMANDS_MAX, Committer
from infra.log.core import Core
from infra.log.log import Log
from infra.log.submission import Outcome
from infra.postgres.connections import Unavailable
from tests.city import booking, open_agenda
from tests.conftest import Clock
from tests.faults.promises import Answers, ask, check_promises, check_repetitions, one_each
from tests.faults.relay import BREAKS, COMMITTED, HOLDS, Fault, Relay
from tests.towns import Town

pytestmark = pytest.mark.anyio

STRUCK_TIMEOUT_S = 10
# A connection that stalls is given up after this limit and ten seconds in which psycopg tries to cancel.
SHORT_TIMEOUT_S = 0.5
SETTLE_FOR_S = 2.0
GIVE_UP_S = 30


@pytest.fixture
def relay(town: Town) -> Iterator[Relay]:
    # A socket's address has little room: pytest's own folders are too deep.
    with tempfile.TemporaryDirectory(prefix="igob-relay-") as folder, Relay(Path(folder), town.application) as relay:
        yield relay


@pytest.fixture
async def city(town: Town, clock: Clock, relay: Relay) -> AsyncIterator[Core]:
    """Log and committer behind the relay, with an agenda of many slots."""
    log = Log(relay.conninfo(town.application), schema=town.schema, secret=town.secret)
    committer = Committer(log, secret=town.secret, queue_max=2_000, clock=clock)
    await log.open()
    committer.start()
    core = Core(log=log, committer=committer, secret=town.secret)
    await open_agenda(core, slots=1_000)
    yield core
    relay.reset()
    await committer.stop()
    await log.close()


@pytest.fixture
def short_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(infra.postgres.connections, "APPEND_TIMEOUT_S", SHORT_TIMEOUT_S)
    monkeypatch.setattr(infra.postgres.connections, "READ_TIMEOUT_S", SHORT_TIMEOUT_S)
    monkeypatch.setattr(infra.log.committer, "SETTLE_FOR_S", SETTLE_FOR_S)
    monkeypatch.setattr(infra.log.committer, "SETTLE_PAUSE_S", 0.05)


async def struck(relay: Relay) -> None:
    assert await asyncio.to_thread(relay.struck.wait, STRUCK_TIMEOUT_S)


@pytest.mark.parametrize("fault", BREAKS)
@pytest.mark.parametrize("nth", [1, 2])
async def test_a_broken_connection_is_settled_by_the_keys(
    city: Core, town: Town, relay: Relay, fault: Fault, nth: int
) -> None:
    relay.strike(fault, nth=nth)
    wishes = one_each(8)
    answers: Answers = {}
    for name, wish in wishes.items():
        answers |= await ask(city, {name: wish})
    assert relay.struck.is_set()
    outcomes = [answer for answer in answers.values() if isinstance(answer, Outcome)]
    assert len(outcomes) == len(wishes)
    # What was committed before the connection broke is known by its key; what was not is decided and written anew.
    assert [outcome.replayed for outcome in outcomes] == [n == nth and fault in COMMITTED for n in range(1, 9)]
    check_promises(town, answers)
    await check_repetitions(city, wishes, answers)
    check_promises(town, answers)


@pytest.mark.parametrize("fault", BREAKS)
async def test_a_batch_lost_under_the_next_one_is_decided_again(
    city: Core, town: Town, relay: Relay, fault: Fault
) -> None:
    """The second batch wants slots that the first one takes, and others."""
    relay.strike(fault, nth=1)
    first = one_each(BATCH_COMMANDS_MAX)
    second = {f"late{n}": booking(n, f"patient late{n}") for n in range(200, 200 + BATCH_COMMANDS_MAX)}
    answers = await ask(city, first | second)
    assert relay.struck.is_set()
    assert all(isinstance(answers[name], Outcome) for name in first)
    taken = [name for name, answer in answers.items() if isinstance(answer, Rejected) and answer.code == "slot_taken"]
    assert taken == [f"late{n}" for n in range(200, BATCH_COMMANDS_MAX + 1)]
    check_promises(town, answers)
    await check_repetitions(city, first | second, answers)


async def test_repeated_breaks_lose_and_repeat_nothing(city: Core, town: Town, relay: Relay) -> None:
    dice = random.Random(1607)
    wishes = {f"w{n}": booking(1 + n // 2, f"patient {n}") for n in range(600)}  # each slot is wanted twice
    names = list(wishes)
    answers: Answers = {}
    breaks = 0
    for begin in range(0, len(names), 50):
        relay.strike(dice.choice(BREAKS), nth=dice.randint(1, 2))
        some = {name: wishes[name] for name in names[begin : begin + 50]}
        answers |= await ask(city, some)
        breaks += relay.struck.is_set()
    assert breaks >= 6
    assert sum(isinstance(answer, Outcome) for answer in answers.values()) == 300
    check_promises(town, answers)
    await check_repetitions(city, wishes, answers)
    check_promises(town, answers)


@pytest.mark.parametrize("fault", HOLDS)
async def test_a_short_stall_is_waited_for(city: Core, town: Town, relay: Relay, fault: Fault) -> None:
    relay.strike(fault)
    wishes = one_each(20)
    asked = asyncio.ensure_future(ask(city, wishes))
    await struck(relay)
    await asyncio.sleep(0.3)
    assert not asked.done()
    relay.heal()
    answers = await asked
    assert all(isinstance(answer, Outcome) and not answer.replayed for answer in answers.values())
    check_promises(town, answers)


@pytest.mark.usefixtures("short_limits")
@pytest.mark.parametrize("fault", [Fault.HELD_BEFORE, pytest.param(Fault.HELD_AFTER, marks=pytest.mark.long)])
async def test_a_stalled_append_is_not_written_later(city: Core, town: Town, relay: Relay, fault: Fault) -> None:
    relay.strike(fault)
    wishes = one_each(20)
    begun = time.monotonic()
    answers = await ask(city, wishes)
    assert time.monotonic() - begun < GIVE_UP_S
    assert all(isinstance(answer, Outcome) for answer in answers.values())
    relay.heal()  # an append that was held back reaches the server now, from somebody who has hung up
    more = await ask(city, one_each(20, first=101, name="more"))
    check_promises(town, answers | more)
    await check_repetitions(city, wishes, answers)


@pytest.mark.usefixtures("short_limits")
@pytest.mark.long
@pytest.mark.parametrize("how", ["heal", "reset"])
async def test_a_cut_network_is_unavailable_until_it_is_back(city: Core, town: Town, relay: Relay, how: str) -> None:
    before = await ask(city, one_each(20, name="before"))
    sending = asyncio.ensure_future(ask(city, one_each(300, first=101, name="sent")))
    relay.cut()
    begun = time.monotonic()
    with pytest.raises(Unavailable):
        await city.log.head()
    during = await ask(city, one_each(20, first=501, name="during"))
    during |= await sending
    assert time.monotonic() - begun < GIVE_UP_S
    assert {answer.code for answer in during.values() if isinstance(answer, Rejected)} == {"unavailable"}
    getattr(relay, how)()
    after = await ask(city, one_each(20, first=601, name="after"))
    assert all(isinstance(answer, Outcome) for answer in after.values())
    assert await city.log.head()
    check_promises(town, before | during | after)
    await check_repetitions(
        city, one_each(300, first=101, name="sent"), {n: a for n, a in during.items() if "sent" in n}
    )
    check_promises(town, before | after)
