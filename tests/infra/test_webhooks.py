"""Webhooks on a real log, sent to a real receiver: at least once, signed, one after the other or not at all."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

import msgspec
import pytest

import infra.webhooks
from domain.decider import build
from domain.queues.calling import CallNext
from domain.queues.opening import CloseLine, OpenLine
from domain.queues.service_point import RegisterServicePoint
from domain.queues.turns import AskNotice, TakeTurn
from domain.webhooks import ATTEMPTS_MAX, BACK_OFF, RegisterWebhook, RemoveWebhook, ResendDelivery
from infra.core import Core
from infra.views import Views
from infra.webhooks import Courier, open_http
from projections.deliveries import ShownDelivery, due_deliveries, of_webhook
from tests.city import key, opaque
from tests.conftest import Clock, Town
from tests.projecting import Projector, projector
from tests.receiving import Got, Receiver, receiving

pytestmark = pytest.mark.anyio

LINE = "sopocachi/cadastre/2027-01-04"
HOOK = "sms-gateway"
SOON_S = 10


@pytest.fixture
def receiver() -> Any:
    with receiving() as one:
        yield one


class Post:
    """A courier, and the projector that shows it what happened."""

    def __init__(self, core: Core, views: Views, projecting: Projector, courier: Courier) -> None:
        self.core = core
        self.views = views
        self.projecting = projecting
        self.courier = courier
        self._numbers = 0

    async def do(self, kind: Any, **fields: Any) -> int:
        self._numbers += 1
        return (await self.core.lane.submit(build(kind, **fields), key(f"post {self._numbers}"))).position

    async def open_line(self, clock: Clock) -> None:
        await self.do(RegisterServicePoint, service_point="sopocachi", name="Sopocachi")
        await self.do(
            OpenLine,
            service_point="sopocachi",
            service="cadastre",
            date=clock.now.date(),
            counters=[1],
            opens_at=clock.now,
            closes_at=clock.now + timedelta(hours=3),
        )

    async def notice(self, name: str) -> int:
        """Somebody takes a turn and is told at once that at most so many are before them: the notice's position."""
        turn = f"{LINE}/{opaque(name)}"
        await self.do(TakeTurn, line=LINE, turn=turn, channel="WEB", person=opaque(name))
        return await self.do(AskNotice, turn=turn, ahead=100)

    async def tick(self) -> None:
        """Look once, and wait until all that was begun has ended."""
        self.projecting.catch_up()
        await self.courier.tick()
        while self.courier._in_hand:
            await asyncio.sleep(0.005)

    async def shown(self, hook: str = HOOK) -> list[ShownDelivery]:
        self.projecting.catch_up()
        return (await self.views.ask(of_webhook(hook, state=None, before=None, first=100)))[0]


@asynccontextmanager
async def posting(town: Town, core: Core, views: Views, clock: Clock) -> AsyncIterator[Post]:
    with projector(town) as projecting:
        async with open_http() as http:
            post = Post(core, views, projecting, Courier(core, views, http, due_deliveries, clock))
            projecting.catch_up()
            await post.courier.begin()
            yield post
            await post.courier.stop()


@pytest.fixture
async def post(town: Town, core: Core, views: Views, clock: Clock, receiver: Receiver) -> AsyncIterator[Post]:
    """With a line, and the receiver registered for all there is."""
    async with posting(town, core, views, clock) as one:
        await one.open_line(clock)
        await one.do(RegisterWebhook, webhook=HOOK, url=receiver.url, name="SMS", kinds=["notice_given", "line_closed"])
        yield one


async def test_a_notice_is_sent_once_it_is_given(post: Post, receiver: Receiver, clock: Clock) -> None:
    position = await post.notice("ana")
    await post.tick()
    await post.tick()
    (got,) = receiver.got
    assert got.id == f"{HOOK}/{position}"
    assert msgspec.json.decode(got.body) == {
        "type": "notice_given",
        "timestamp": "2027-01-04T12:00:00Z",
        "position": str(position),
        "data": {
            "turn": f"{LINE}/{opaque('ana')}",
            "line": LINE,
            "number": "A-001",
            "ahead": 0,
            "minutes": None,
            "person": opaque("ana"),
        },
    }
    (shown,) = await post.shown()
    assert (shown.state, shown.attempts, shown.next_at) == ("DELIVERED", 1, None)
    assert [(one.status, one.error) for one in shown.history] == [(200, "")]
