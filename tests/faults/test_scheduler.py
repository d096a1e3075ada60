"""The process that does what is due is killed, doubled, absent for a while: all is done, and told at least once."""

import asyncio
import signal
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack, contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest

from domain.calendar import local_date
from domain.decider import build
from domain.queues.calling import CallNext
from domain.queues.turns import AskNotice
from domain.webhooks.delivery import DeliveryAttempted
from domain.webhooks.registration import RegisterWebhook
from infra.log.core import Core
from infra.postgres.embedded import APPLICATION
from tests.city import TODAY, key
from tests.conftest import SECRET, Clock
from tests.faults.rig import wait_for
from tests.programs import Program
from tests.projecting import projector
from tests.receiving import Receiver, receiving
from tests.serving import environment
from tests.towns import Town
from tests.waiting_log import OPENS_AT, open_line, take

START_S = 30
LOOK_EVERY_S = 0.02
HOOK = "sms"
REGISTER = """mutation ($input: RegisterWebhookInput!) { registerWebhook(input: $input) { secret errors { code } } }"""
DELIVERIES = """{ deliveries(webhook: "sms", first: 9) { nodes { kind state attempts history { status } } } }"""


@contextmanager
def running(town: Town, *arguments: str) -> Iterator[Program]:
    """One of the parts of `igob serve`, on the town."""
    database = f"postgresql://{APPLICATION}@/igob?host={town.application_parameters['host']}"
    settings = {"IGOB_DATABASE_URL": database, "IGOB_SECRET": SECRET.hex(), "IGOB_SCHEMA": town.schema}
    process = Program(arguments, environment(**settings), outputs=(1, 2))
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def scheduling(town: Town) -> AbstractContextManager[Program]:
    return running(town, "scheduler")


@contextmanager
def projecting(town: Town) -> Iterator[None]:
    """Read models that are kept up to date in this process: that one is killed, too, test_projector.py shows."""
    done = threading.Event()

    def keep_up() -> None:
        with projector(town) as keeping:
            while not done.wait(LOOK_EVERY_S):
                keeping.catch_up()

    with ThreadPoolExecutor(1) as pool:
        keeping = pool.submit(keep_up)
        try:
            yield
        finally:
            done.set()
            keeping.result()


@pytest.fixture
def clock() -> Clock:
    """Noon in La Paz of tomorrow: what happens in a line then is not due by the time of the processes."""
    clock = Clock()
    clock.now = OPENS_AT + (local_date(datetime.now(UTC)) - TODAY) + timedelta(days=1, hours=5)
    return clock


@pytest.fixture
async def line(core: Core, clock: Clock) -> str:
    return await open_line(core, day=local_date(clock.now))


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as one:
        yield one


async def register(core: Core, receiver: Receiver, **more: Any) -> None:
    fields = {"webhook": HOOK, "url": receiver.url, "name": "SMS", "kinds": ["notice_given", "line_closed"]}
    await core.committer.submit(build(RegisterWebhook, **fields | more), key("webhook"))


async def notice(core: Core, name: str, line: str) -> str:
    """What the message about it is called."""
    asked = build(AskNotice, turn=await take(core, name, line), ahead=100)
    return f"{HOOK}/{(await core.committer.submit(asked, key(f'ask {line} {name}'))).position}"


async def until(so: Callable[[], bool], timeout_s: float = START_S) -> None:
    await asyncio.to_thread(wait_for, so, timeout_s=timeout_s)


async def attempts(core: Core) -> list[DeliveryAttempted]:
    events = [core.log.event(entry) for entry in await everything(core)]
    return [event for event in events if isinstance(event, DeliveryAttempted)]


async def everything(core: Core) -> list[Any]:
    found: list[Any] = []
    while more := await core.log.since(found[-1].position if found else 0):
        found += more
    return found


async def recorded(core: Core, names: set[str]) -> None:
    """Wait until of each of these it is known that it arrived."""
    async with asyncio.timeout(START_S):
        while not {one.delivery for one in await attempts(core) if one.state == "DELIVERED"} >= names:  # noqa: ASYNC110
            await asyncio.sleep(0.02)


@pytest.mark.anyio
async def test_a_message_sent_but_not_recorded_is_resent(core: Core, town: Town, line: str, receiver: Receiver) -> None:
    await register(core, receiver)
    receiver.answer = receiver.hang  # it has it, and whoever sent it does not know
    with projecting(town), ExitStack() as first:
        process = first.enter_context(scheduling(town))
        name = await notice(core, "ana", line)
        await until(lambda: receiver.ids() == [name])
        process.kill()
        first.close()
        receiver.answer = lambda got: 200
        receiver.release.set()
        with scheduling(town):
            await recorded(core, {name})
            assert receiver.ids() == [name, name]
    assert receiver.got[0].body == receiver.got[1].body
    assert [one.attempt for one in await attempts(core)] == [1]


@pytest.mark.anyio
@pytest.mark.parametrize("kills", [3, pytest.param(30, marks=[pytest.mark.long, pytest.mark.timeout(900)])])
async def test_two_killed_schedulers_lose_and_repeat_nothing(
    core: Core, town: Town, clock: Clock, receiver: Receiver, kills: int
) -> None:
    await register(core, receiver)
    names: set[str] = set()
    with projecting(town), ExitStack() as stack:
        processes = [stack.enter_context(scheduling(town)) for _ in range(2)]
        for number in range(kills):
            line = await open_line(core, service=f"s-{number}", day=local_date(clock.now))
            new = {await notice(core, str(n), line) for n in range(20)}
            names |= new
            await until(lambda: not new.isdisjoint(receiver.ids()))  # noqa: B023 (it is called at once)
            processes.pop(0).kill()
            processes.append(stack.enter_context(scheduling(town)))
        await recorded(core, names)
    assert set(receiver.ids()) == names
    times = Counter((one.delivery, one.attempt) for one in await attempts(core))
    assert set(times.values()) == {1}
    # What was under way at a kill, and nothing else, came twice.
    assert len(receiver.got) <= len(names) + 4 * kills


@pytest.mark.anyio
async def test_a_new_scheduler_does_the_missed_work(core: Core, town: Town, clock: Clock, receiver: Receiver) -> None:
    """By the clock of the processes the line is over since yesterday, and who was called did not come."""
    clock.wait(-48 * 3_600)
    line = await open_line(core, day=local_date(clock.now))
    await register(core, receiver)
    for name in ("ana", "luis", "eva"):
        await take(core, name, line)
    await core.committer.submit(build(CallNext, line=line, counter=1), key("call"))
    with projecting(town), scheduling(town) as one, scheduling(town) as other:
        await until(lambda: len(receiver.got) == 1)
        await recorded(core, set(receiver.ids()))
        async with asyncio.timeout(START_S):
            while len(names := [entry.name for entry in await core.log.history(f"line/{line}")]) < 7:  # noqa: ASYNC110
                await asyncio.sleep(0.02)
        for process in (one, other):
            process.send_signal(signal.SIGTERM)
        assert [process.wait(START_S) for process in (one, other)] == [0, 0]
    assert sorted(names[-2:]) == ["line_closed.v1", "turn_absent.v1"]
    response = msgspec.json.decode(receiver.got[0].body)
    assert response["type"] == "line_closed"
    assert len(response["data"]["unserved"]) == 2


@pytest.mark.anyio
async def test_a_stop_does_not_wait_for_slow_receivers(core: Core, town: Town, line: str, receiver: Receiver) -> None:
    await register(core, receiver)
    receiver.answer = receiver.hang
    with projecting(town), scheduling(town) as process:
        await notice(core, "ana", line)
        await until(lambda: len(receiver.got) == 1)
        process.send_signal(signal.SIGTERM)
        assert await asyncio.to_thread(process.wait, START_S) == 0
