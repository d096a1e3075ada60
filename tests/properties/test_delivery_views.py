"""What is due to webhooks is what the log says, whatever happens and wherever one goes on looking."""

import random
from contextlib import suppress
from typing import Any

import pytest

import projections.engine.building
import projections.engine.pages
from domain.decider import Command, build, fold
from domain.errors import Rejected
from domain.queues.line import LineClosed, NoticeGiven
from domain.queues.opening import CloseLine
from domain.queues.turns import AskNotice
from domain.webhooks.delivery import DeliveryAttempted, RecordAttempt, ResendDelivery
from domain.webhooks.delivery import stream as delivery_stream
from domain.webhooks.registration import RegisterWebhook, RemoveWebhook, WebhookRegistered, WebhookRemoved
from infra.log.core import Core
from infra.postgres.views import Views
from infra.reactions.webhooks import settled_of
from projections.engine.generations import Places
from projections.engine.runner import verify
from projections.webhooks.deliveries import DELIVERIES, OUTBOX, WEBHOOKS, due_deliveries
from tests.city import key, open_line, service_point, take
from tests.conftest import Clock
from tests.projecting import decode, projector
from tests.towns import Town

HOOKS = ("a", "b", "c")
KINDS = (["notice_given"], ["line_closed"], ["line_closed", "notice_given"])
SERVICES = [f"service-{number}" for number in range(40)]


class Told:
    """What the log says, read from its beginning: who is told what from where on, and what became of it."""

    def __init__(self, core: Core) -> None:
        self._core = core
        self._position = 0
        self._since: dict[str, dict[str, int]] = {}
        self._events: list[tuple[int, str]] = []
        self.deliveries: dict[str, list[Any]] = {}

    async def read(self) -> None:
        for entry in await self._core.log.since(self._position):
            self._position = entry.position
            event = self._core.log.event(entry)
            match event:
                case WebhookRegistered():
                    known = self._since.get(event.webhook, {})
                    self._since[event.webhook] = {kind: known.get(kind, entry.position) for kind in event.kinds}
                case WebhookRemoved():
                    self._since.pop(event.webhook, None)
                case NoticeGiven():
                    self._events.append((entry.position, "notice_given"))
                case LineClosed():
                    self._events.append((entry.position, "line_closed"))
                case _ if entry.stream.startswith("delivery/"):
                    self.deliveries.setdefault(entry.stream.partition("/")[2], []).append(event)

    def due(self, now: Any) -> dict[str, int]:
        """How often what is due was sent."""
        found = {
            f"{hook}/{position}": 0
            for hook, since in self._since.items()
            for position, kind in self._events
            if position > since.get(kind, 2**62) and f"{hook}/{position}" not in self.deliveries
        }
        for name, events in self.deliveries.items():
            state, last = fold(delivery_stream(name), events), events[-1]
            next_at = last.next_at if isinstance(last, DeliveryAttempted) else last.requested_at
            if name.partition("/")[0] in self._since and state.state == "PENDING" and next_at <= now:
                found[name] = state.attempts
        return found


def wish(dice: random.Random, count: int, told: Told, due: dict[str, int]) -> list[Command]:
    """What comes to mind."""
    match dice.randrange(8):
        case 0:
            fields = {"url": "https://example.org", "name": "x", "kinds": dice.choice(KINDS), "generation": count + 1}
            return [build(RegisterWebhook, webhook=dice.choice(HOOKS), **fields)]
        case 1 if dice.random() < 0.3:
            return [build(RemoveWebhook, webhook=dice.choice(HOOKS))]
        case 2:
            command = open_line(service=dice.choice(SERVICES))
            return [command, build(CloseLine, line=command.line)]
        case 3 if told.deliveries:
            return [build(ResendDelivery, delivery=dice.choice(sorted(told.deliveries)))]
        case 4 | 5 if due:
            name = dice.choice(sorted(due))
            fields = {"status": dice.choice([200, 410, 500, 500, 500])}
            return [build(RecordAttempt, delivery=name, attempt=due[name] + 1, **fields)]
        case _:
            command = open_line(service="notices")
            taken = take(command.line, f"person {count}")
            return [command, taken, build(AskNotice, turn=taken.turn, ahead=100)]


@pytest.mark.anyio
@pytest.mark.parametrize("seed", range(4))
async def test_due_messages_agree_with_the_log(core: Core, town: Town, views: Views, clock: Clock, seed: int) -> None:
    dice = random.Random(seed)
    told, seen = Told(core), 0
    settled, of = 0, dict[str, int]()
    await core.committer.submit(service_point(), key("point"))
    with projector(town, (OUTBOX, WEBHOOKS, DELIVERIES)) as projecting:
        for count in range(120):
            clock.wait(dice.choice([0, 1, 10, 60]))
            due = told.due(clock.now)
            for number, command in enumerate(wish(dice, count, told, due)):
                with suppress(Rejected):
                    await core.committer.submit(command, key(f"{count} {number}"))
            await told.read()
            if dice.random() < 0.5:
                continue
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(projections.engine.pages, "PAGE_EVENTS_MAX", dice.choice([1, 2, 7, 5_000]))
                patch.setattr(projections.engine.building, "KEPT_BYTES_MAX", dice.choice([0, 500, 2**26]))
                projecting.catch_up(look=dice.random() < 0.5)
            rows, fresh = await views.ask(due_deliveries(clock.now, 1_000, settled, of, None))
            assert {row.delivery: row.attempts for row in rows} == told.due(clock.now)
            seen += len(rows)
            settled, of = fresh.position, settled_of(rows)
            few, _ = await views.ask(due_deliveries(clock.now, 1, 0, {}, None))
            assert {row.webhook for row in few} == {row.webhook for row in rows}
    assert seen > 100
    for projection in (OUTBOX, WEBHOOKS, DELIVERIES):
        found = verify(town.application, Places(town.schema), projection, decode)
        assert found.different == 0, str(found)
        assert found.rows > 0
