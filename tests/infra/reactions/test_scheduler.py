"""What falls due by time is done, once, whoever comes late or twice."""

import asyncio
import inspect
import re
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

import msgspec
import psycopg
import pytest

import infra.reactions.queues.notices
import infra.reactions.scheduler
from api.contexts import due_work, open_reactions
from domain.decider import build
from domain.due import Job
from domain.queues.calling import CallNext, MarkAbsent
from domain.queues.opening import PauseCounter, ResumeCounter
from domain.queues.turns import AskNotice, GiveNotice, RequeueAbsent
from infra.log.core import Core
from infra.postgres.views import Views
from infra.reactions.queues.notices import Notices
from infra.reactions.reaction import Jobs, Resources, Source
from infra.reactions.scheduler import Scheduler
from tests import city
from tests.city import key
from tests.conftest import Clock
from tests.projecting import projector
from tests.towns import Town
from tests.waiting_log import LINE, open_line, take

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("read_models")]

SOON_S = 10


def test_the_docs_list_every_due_command() -> None:
    docs = (Path(__file__).parents[3] / "docs" / "operations.md").read_text(encoding="utf-8")
    told = docs.partition("\n## The scheduler\n")[2].partition("\n## ")[0]
    declared: list[Any] = [*(one.job for one in due_work()), Notices]
    sent = {name for where in declared for name in re.findall(r"Job\(command=(\w+)\(", inspect.getsource(where))}
    assert {GiveNotice.__name__, MarkAbsent.__name__} < sent
    assert {name for name in sent if f"| `{name}`" not in told} == set()


class Hall:
    """A line, and what happens in it."""

    def __init__(self, core: Core) -> None:
        self.core = core
        self._numbers = 0

    async def do(self, kind: Any, **fields: Any) -> int:
        self._numbers += 1
        return (await self.core.committer.submit(build(kind, **fields), key(f"hall {self._numbers}"))).position

    async def happened(self) -> list[str]:
        """The names of the line's events, without those that open it and give turns."""
        entries = await self.core.log.history(f"line/{LINE}")
        names = [entry.name.partition(".")[0] for entry in entries]
        return [name for name in names if name not in ("line_opened", "turn_taken")]

    async def until(self, *wanted: str) -> None:
        """Wait for exactly these, and see that nothing more comes."""
        async with asyncio.timeout(SOON_S):
            while await self.happened() != list(wanted):  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        await asyncio.sleep(0.1)
        assert await self.happened() == list(wanted)


@pytest.fixture
async def hall(core: Core, clock: Clock) -> Hall:
    await open_line(core)  # for eight hours more
    return Hall(core)


class Office:
    """Read models that are kept up to date, and schedulers on them that can be started."""

    def __init__(self, town: Town, core: Core, views: Views, clock: Clock) -> None:
        self._town = town
        self._core = core
        self._views = views
        self._clock = clock

    @asynccontextmanager
    async def scheduling(self, sources: Sequence[Source] | None = None) -> AsyncIterator[Scheduler]:
        """With what all contexts declare, or these sources instead of what falls due."""
        resources = Resources(core=self._core, views=self._views, clock=self._clock)
        async with open_reactions(resources) as declared:
            if sources is None:
                reactions = declared
            else:
                others = [one for one in declared if not isinstance(one, Jobs)]
                reactions = [*others, *(Jobs(resources, source) for source in sources)]
            scheduler = Scheduler(self._town.application, schema=self._town.schema, reactions=reactions)
            working = asyncio.create_task(scheduler.run())
            try:
                yield scheduler
            finally:
                scheduler.stop()
                async with asyncio.timeout(SOON_S):
                    await working


@pytest.fixture
async def office(
    town: Town, core: Core, views: Views, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Office]:
    for name in ("POLL_S", "STANDBY_POLL_S", "RETRY_S"):
        monkeypatch.setattr(infra.reactions.scheduler, name, 0.02)
    monkeypatch.setattr(infra.reactions.queues.notices, "LOOKED_AGAIN_S", 0)
    with projector(town) as projecting:
        done = asyncio.Event()

        async def project() -> None:
            while not done.is_set():
                await asyncio.to_thread(projecting.catch_up)
                await asyncio.sleep(0.01)

        keeping = asyncio.create_task(project())
        yield Office(town, core, views, clock)
        done.set()
        await keeping


async def test_an_unanswered_call_becomes_absent(hall: Hall, office: Office, clock: Clock) -> None:
    turn = await take(hall.core, "ana")
    async with office.scheduling():
        await hall.do(CallNext, line=LINE, counter=1)
        await hall.until("turn_called")
        clock.wait(90)
        await hall.until("turn_called", "turn_absent")
        await hall.do(RequeueAbsent, turn=turn)
        await hall.do(CallNext, line=LINE, counter=1)
        clock.wait(89)
        await hall.until("turn_called", "turn_absent", "turn_requeued", "turn_called")
        clock.wait(1)
        await hall.until("turn_called", "turn_absent", "turn_requeued", "turn_called", "turn_absent")


async def test_a_line_is_closed_at_its_closing_time(hall: Hall, office: Office, clock: Clock) -> None:
    await take(hall.core, "ana")
    async with office.scheduling():
        clock.wait(8 * 3_600 - 1)
        await asyncio.sleep(0.1)
        assert await hall.happened() == []
        clock.wait(1)
        await hall.until("line_closed")


async def test_work_due_during_an_outage_is_done_later(hall: Hall, office: Office, clock: Clock) -> None:
    await take(hall.core, "ana")
    await hall.do(CallNext, line=LINE, counter=1)
    clock.wait(9 * 3_600)
    await asyncio.sleep(0.1)
    assert await hall.happened() == ["turn_called"]
    async with office.scheduling():
        async with asyncio.timeout(SOON_S):
            while len(await hall.happened()) < 3:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        assert sorted(await hall.happened()) == ["line_closed", "turn_absent", "turn_called"]


async def test_one_of_two_schedulers_works(hall: Hall, office: Office, clock: Clock) -> None:
    await take(hall.core, "ana")
    asked: list[str] = []

    def watched(name: str) -> Source:
        async def source(now: datetime) -> list[Job]:
            asked.append(name)
            return []

        return source

    async with office.scheduling([watched("second")]) as second:
        await _until(lambda: asked != [])
        async with office.scheduling([watched("first")]):
            await asyncio.sleep(0.1)
            assert set(asked) == {"second"}
            second.stop()
            await _until(lambda: "first" in asked)
            asked.clear()
            await _until(lambda: len(asked) > 3)
            assert set(asked) == {"first"}


async def test_a_lost_lock_is_taken_again(hall: Hall, office: Office, town: Town, clock: Clock) -> None:
    asked: list[datetime] = []

    async def source(now: datetime) -> list[Job]:
        asked.append(now)
        return []

    async with office.scheduling([source]):
        await _until(lambda: asked != [])
        with psycopg.connect(town.owner, autocommit=True) as connection:
            ended = connection.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory' AND classid = %s",
                (infra.reactions.scheduler.LOCK_SPACE,),
            ).fetchall()
        assert ended == [(True,)]
        asked.clear()
        await _until(lambda: len(asked) > 3)


async def test_a_failing_source_does_not_delay_others(
    hall: Hall, office: Office, clock: Clock, capsys: pytest.CaptureFixture[str]
) -> None:
    turn = await take(hall.core, "ana")

    async def broken(now: datetime) -> list[Job]:
        raise ValueError("4820193")

    async def too_early(now: datetime) -> list[Job]:
        return [Job(command=MarkAbsent(turn=turn), key="early")]

    async def minutes(now: datetime) -> list[Job]:
        return [Job(command=GiveNotice(turn=turn), key=f"notice:{turn}:1")]

    async with office.scheduling([broken, too_early, minutes]):
        await asyncio.sleep(0.1)
        assert await hall.happened() == []
        # Whoever knows when the call is to be expected says who is to be told: this is how.
        await hall.do(AskNotice, turn=turn, minutes=10)
        await hall.until("notice_asked")  # by that key it was answered already
    async with office.scheduling([broken, lambda now: _given(turn, 2)]):
        await hall.until("notice_asked", "notice_given")
    output = capsys.readouterr().err
    assert output.count("what is due is not done") == 2  # once each
    assert "4820193" not in output


async def test_a_failing_reaction_does_not_stop_others(
    town: Town, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(infra.reactions.scheduler, "POLL_S", 0.02)
    done: list[str] = []

    class Works:
        failure = "works"

        async def begin(self) -> None:
            done.append("begin")

        async def tick(self) -> None:
            done.append("tick")

        async def stop(self) -> None:
            done.append("stop")

    class Fails(Works):
        failure = "a context fails"

        async def begin(self) -> None:
            if "tick" not in done:
                raise ValueError("4820193")
            done.append("begin at last")

        async def stop(self) -> None:
            raise KeyError("4820193")

    scheduler = Scheduler(town.application, schema=town.schema, reactions=[Fails(), Works()])
    working = asyncio.create_task(scheduler.run())
    await _until(lambda: "begin at last" in done)
    scheduler.stop()
    async with asyncio.timeout(SOON_S):
        await working
    assert done.count("begin") == 1
    assert done[-1] == "stop"
    output = capsys.readouterr().err
    assert output.count("a context fails") == 2
    assert "4820193" not in output


async def _given(turn: str, wish: int) -> list[Job]:
    return [Job(command=GiveNotice(turn=turn), key=f"notice:{turn}:{wish}")]


async def _until(so: Callable[[], bool]) -> None:
    async with asyncio.timeout(SOON_S):
        while not so():  # noqa: ASYNC110
            await asyncio.sleep(0.005)


async def test_a_notice_by_time_is_given(hall: Hall, office: Office, clock: Clock) -> None:
    """One counter, five minutes each as far as anybody knows; Eva has three people before her."""
    await hall.do(PauseCounter, line=LINE, counter=2)
    turns = [await take(hall.core, name) for name in ("ana", "luis", "juan", "eva")]
    await hall.do(AskNotice, turn=turns[3], minutes=1)
    async with office.scheduling():
        await hall.until("counter_paused", "notice_asked")
        await hall.do(AskNotice, turn=turns[3], minutes=240)
        await hall.until("counter_paused", "notice_asked", "notice_asked", "notice_given")
        told = (await hall.core.log.history(f"line/{LINE}"))[-1]
        assert msgspec.json.decode(told.state) | {"given_at": ""} == {
            "turn": turns[3], "number": 4, "priority": "NORMAL", "ahead": 3, "given_at": "",
            "person": city.opaque("eva"), "minutes": 240,
        }  # fmt: skip
        await hall.do(AskNotice, turn=turns[3], minutes=240)  # again
        clock.wait(3)
        await hall.until(*["counter_paused", "notice_asked"], *["notice_asked", "notice_given"] * 2)


async def test_no_notice_by_time_without_an_open_counter(hall: Hall, office: Office, clock: Clock) -> None:
    turn = await take(hall.core, "ana")
    for counter in (1, 2):
        await hall.do(PauseCounter, line=LINE, counter=counter)
    await hall.do(AskNotice, turn=turn, minutes=240)
    async with office.scheduling():
        clock.wait(3)
        await hall.until("counter_paused", "counter_paused", "notice_asked")
        await hall.do(ResumeCounter, line=LINE, counter=1)
        clock.wait(3)
        await hall.until("counter_paused", "counter_paused", "notice_asked", "counter_resumed", "notice_given")
