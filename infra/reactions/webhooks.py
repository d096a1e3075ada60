"""Sends due messages to webhooks, signed by the Standard Webhooks specification, and records the results.

At least once: a message that was sent but not recorded when this process ends is sent again, with the same id. See
docs/webhooks.md.
"""

import asyncio
import base64
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime
from typing import Any, Protocol

import msgspec
from standardwebhooks import Webhook

from domain.errors import Rejected
from domain.outbox import message_of
from domain.webhooks.delivery import Failure, RecordAttempt
from infra.gateways.posting import Posting, open_posting
from infra.log.core import Core
from infra.log.log import Log
from infra.log.submission import Key
from infra.postgres.connections import Unavailable
from infra.postgres.views import Question, Views
from infra.reactions.reaction import ACTOR, Reaction, Resources
from infra.running.logging import log_failure
from infra.running.secret import Secret

AT_ONCE_MAX = 4  # to one webhook, so that a slow receiver does not delay others
EACH_MAX = 32  # of one webhook, sending or queued
STRETCH_EVENTS = 50_000  # examined at a time for deliveries never attempted
RECORD_PAUSE_S = 1.0  # before a failed recording is tried again
STOP_WAIT_S = 3.0  # for messages being sent; unfinished ones are sent again after the next start
SECRET_PREFIX = "whsec_"  # noqa: S105 (a prefix, not a secret)


class Message(Protocol):
    """A due delivery, from projections/webhooks/deliveries.py."""

    @property
    def delivery(self) -> str: ...
    @property
    def webhook(self) -> str: ...
    @property
    def url(self) -> str: ...
    @property
    def generation(self) -> int: ...
    @property
    def position(self) -> int: ...
    @property
    def kind(self) -> str: ...
    @property
    def happened_at(self) -> datetime: ...
    @property
    def data(self) -> Mapping[str, Any]: ...
    @property
    def attempts(self) -> int: ...


class Stretch(Protocol):
    """The position at which a stretch of the outbox ends; None at the end of the outbox."""

    @property
    def until(self) -> int | None: ...


class ReadModels(Protocol):
    """The part of projections/webhooks that is needed here."""

    def stretch(self, settled: int, messages: int, /) -> Question[Stretch]: ...

    def due_deliveries(
        self, now: datetime, each: int, settled: int, settled_of: Mapping[str, int], until: int | None, /
    ) -> Question[Message]: ...


def secret_text(secret: Secret, webhook: str, generation: int) -> str:
    """A webhook's secret, in the form for its receiver."""
    return SECRET_PREFIX + base64.b64encode(secret.webhook_key(webhook, generation)).decode()


async def body_of(message: Message, log: Log) -> bytes:
    """The body to send: JSON, the same at each attempt. Raises Unavailable."""
    data, declared = message.data, message_of(message.kind)
    if declared and declared.reads:
        data = declared.complete(data, await log.state(declared.reads(data)))
    return msgspec.json.encode(
        {
            "type": message.kind,
            "timestamp": message.happened_at.astimezone(UTC),
            "position": str(message.position),
            "data": data,
        }
    )


def signed(key: bytes, delivery: str, body: bytes, now: datetime) -> dict[str, str]:
    """The headers of a message, which sign its id, the time (UTC) and the body. The id is the same at each attempt."""
    return {
        "content-type": "application/json",
        "user-agent": "igob-core",
        "webhook-id": delivery,
        "webhook-timestamp": str(int(now.timestamp())),
        "webhook-signature": Webhook(key).sign(delivery, now, body.decode()),
    }


def settled_of(due: Iterable[Message]) -> dict[str, int]:
    """For each webhook with unattempted messages, the position up to which all were attempted once."""
    found: dict[str, int] = {}
    for message in due:
        if message.attempts == 0:
            found[message.webhook] = min(message.position - 1, found.get(message.webhook, message.position))
    return found


class WebhookSender:
    """Sends due messages to webhooks, many at once. Call `tick` repeatedly, in one process at a time.

    A message is not taken again while it is being sent, or while its record is beyond the read models' position. A
    queued message is sent as the latest look found it, and not at all if its webhook was removed meanwhile.
    """

    failure = "webhooks are not sent"

    def __init__(
        self, core: Core, views: Views, posting: Posting, read_models: ReadModels, clock: Callable[[], datetime]
    ) -> None:
        self._core = core
        self._views = views
        self._posting = posting
        self._read_models = read_models
        self._clock = clock
        self._at_least = 0
        self._settled = 0
        self._settled_of: dict[str, int] = {}
        self._due: dict[str, Message] = {}
        self._in_hand: dict[str, asyncio.Task[None]] = {}
        self._recorded: dict[str, int] = {}
        self._places: defaultdict[str, asyncio.Semaphore] = defaultdict(lambda: asyncio.Semaphore(AT_ONCE_MAX))

    async def begin(self) -> None:
        """Start. Another process may have sent until now, so wait for its records first. Raises Unavailable."""
        self._at_least = await self._core.log.head()
        self._settled, self._settled_of, self._due = 0, {}, {}

    async def tick(self) -> None:
        """Start to send what is due. Raises Unavailable, NotReached, NeverBuilt."""
        (stretch,), _ = await self._views.ask(self._read_models.stretch(self._settled, STRETCH_EVENTS))
        question = self._read_models.due_deliveries(
            self._clock(), EACH_MAX, self._settled, self._settled_of, stretch.until
        )
        rows, freshness = await self._views.ask(question, at_least=self._at_least)
        self._recorded = {name: position for name, position in self._recorded.items() if position > freshness.position}
        # Look again at what one read model has and another has not yet.
        self._settled = freshness.position if stretch.until is None else min(stretch.until, freshness.position)
        self._settled_of = settled_of(rows)
        self._due = {row.delivery: row for row in rows}
        for row in rows:
            if row.delivery not in self._in_hand and row.delivery not in self._recorded:
                self._in_hand[row.delivery] = asyncio.create_task(self._deliver(row.delivery, row.webhook))

    async def idle(self, timeout_s: float | None = None) -> None:
        """Wait until all started messages are sent and recorded."""
        if self._in_hand:
            await asyncio.wait(self._in_hand.values(), timeout=timeout_s)

    async def stop(self) -> None:
        """Wait a short time for messages being sent."""
        await self.idle(STOP_WAIT_S)
        for task in self._in_hand.values():
            task.cancel()
        await self.idle()

    async def _deliver(self, delivery: str, webhook: str) -> None:
        try:
            async with self._places[webhook]:  # held until recorded, which limits how many can be sent twice
                message = self._due.get(delivery)
                if message is None:
                    return
                status, error = await self._post(message)
                attempt = message.attempts + 1
                record = RecordAttempt(delivery=delivery, attempt=attempt, status=status, error=error)
                self._recorded[delivery] = await self._record(record)
        except Unavailable:
            return  # it was not sent
        except Exception as error:
            log_failure("a message can't be sent", error, delivery=delivery)
        finally:
            del self._in_hand[delivery]

    async def _post(self, message: Message) -> tuple[int | None, Failure | None]:
        """The status of the answer, or why there is none. Raises Unavailable."""
        body = await body_of(message, self._core.log)
        key = self._core.secret.webhook_key(message.webhook, message.generation)
        headers = signed(key, message.delivery, body, self._clock())
        return await self._posting.post(message.url, body, headers)

    async def _record(self, record: RecordAttempt) -> int:
        """Record the result, trying until it succeeds, so that it is not sent again. Returns the log position."""
        key = Key(ACTOR, f"attempt:{record.delivery}:{record.attempt}")
        while True:
            with suppress(Exception):  # the committer reports the failure
                return await self._heard(record, key)
            await asyncio.sleep(RECORD_PAUSE_S)

    async def _heard(self, record: RecordAttempt, key: Key) -> int:
        try:
            return (await self._core.committer.submit(record, key)).position
        except Rejected as refusal:
            if refusal.code != "idempotency_key_reused":
                raise
            return await self._core.log.head()  # another process recorded this attempt


@asynccontextmanager
async def open_reactions(resources: Resources, read_models: ReadModels) -> AsyncIterator[Sequence[Reaction]]:
    async with open_posting() as posting:
        yield [WebhookSender(resources.core, resources.views, posting, read_models, resources.clock)]
