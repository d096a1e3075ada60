"""What is told to the outside: webhooks, and for each event and webhook a delivery until it has arrived.

All webhooks are on one stream, of which only the last word about each counts: there are few, and administrators alone
write to it. A delivery is a stream of its own that ends when it has arrived or is given up.
"""

import zlib
from datetime import datetime, timedelta
from typing import Annotated, Literal

from msgspec import Meta

from domain.decider import Command, Decided, Event, Instant, State, evolves, names_stream_of
from domain.decision import decides
from domain.errors import InvalidInput, NumberHint, OnceHint, Rejected, WrongTypeHint
from domain.identifiers import DELIVERY_NAME, NAME, SLUG, WEBHOOK_URL, DeliveryId, WebhookId, webhook_of
from domain.outbox import message_of

WEBHOOKS_MAX = 50
GENERATION_MAX = 1_000_000
# How long after an attempt that failed the next one is made: three days in all. Then the delivery is given up.
BACK_OFF = tuple(
    timedelta(seconds=pause_s)
    for pause_s in (5, 30, 120, 600, 3_600, 3 * 3_600, 6 * 3_600, 12 * 3_600, 24 * 3_600, 24 * 3_600)
)
JITTER_SHARE_MAX = 0.2  # by which a pause is longer, or all that failed at once would be tried at once again
ATTEMPTS_MAX = len(BACK_OFF) + 1
RESENDS_MAX = 20
GONE = 410  # HTTP: there is nobody any more

Failure = Literal["timeout", "unreachable", "broken"]
DeliveryState = Literal["PENDING", "DELIVERED", "GIVEN_UP"]


class WebhookRegistered(Event, name="webhook_registered.v1"):
    """Registered, or changed. Each `generation` has a secret of its own, by which what is sent is signed."""

    webhook: WebhookId
    url: str
    name: str
    kinds: list[str]
    generation: int


class WebhookRemoved(Event, name="webhook_removed.v1"):
    webhook: WebhookId


class Webhooks(State):
    """`generations` has those of removed ones, too: no secret comes back."""

    live: dict[WebhookId, WebhookRegistered] = {}
    generations: dict[WebhookId, int] = {}


@names_stream_of(Webhooks)
def stream() -> str:
    """One for the whole city."""
    return "webhooks/all"


WEBHOOKS = stream()


@evolves("webhooks", Webhooks)
def evolve(webhooks: Webhooks, event: Event) -> Webhooks:
    match event:
        case WebhookRegistered():
            webhooks.live[event.webhook] = event
            webhooks.generations[event.webhook] = event.generation
        case WebhookRemoved():
            webhooks.live.pop(event.webhook, None)
    return webhooks


class TooManyWebhooks(
    Rejected,
    es="Hay {limit} webhooks a lo más; quite primero uno.",
    en="There are {limit} webhooks at most; remove one first.",
):
    limit: int


class RegisterWebhook(Command):
    """Tell these kinds of events there from now on, or change what was said of it. A new generation is a new secret."""

    webhook: Annotated[WebhookId, SLUG]
    url: Annotated[str, WEBHOOK_URL]
    name: Annotated[str, NAME]
    kinds: Annotated[list[str], Meta(min_length=1, max_length=10)]
    generation: Annotated[int, Meta(ge=1, le=GENERATION_MAX)] = 1


@decides(RegisterWebhook, reads=lambda c: (WEBHOOKS,))
def register_webhook(command: RegisterWebhook, webhooks: Webhooks, *, now: datetime) -> Decided:
    if len(set(command.kinds)) < len(command.kinds):
        raise InvalidInput(path="kinds", hint=OnceHint())
    for index, kind in enumerate(command.kinds):
        if message_of(kind) is None:
            raise InvalidInput(path=f"kinds.{index}", hint=WrongTypeHint())
    known = webhooks.live.get(command.webhook)
    if known == registered(command):
        return
    lowest = known.generation if known else webhooks.generations.get(command.webhook, 0) + 1
    if command.generation < lowest:
        raise InvalidInput(path="generation", hint=NumberHint(bound=f">= {lowest}"))
    if known is None and len(webhooks.live) >= WEBHOOKS_MAX:
        raise TooManyWebhooks(path="webhook", limit=WEBHOOKS_MAX)
    yield WEBHOOKS, registered(command)


def registered(command: RegisterWebhook) -> WebhookRegistered:
    """What is known of a webhook once it is registered so."""
    return WebhookRegistered(
        webhook=command.webhook,
        url=command.url,
        name=command.name,
        kinds=sorted(command.kinds),
        generation=command.generation,
    )


class WebhookUnknown(Rejected, es="No existe ese webhook.", en="There is no such webhook."): ...


class RemoveWebhook(Command):
    """Tell nothing there any more, not even what is still to be delivered."""

    webhook: Annotated[WebhookId, SLUG]


@decides(RemoveWebhook, reads=lambda c: (WEBHOOKS,))
def remove_webhook(command: RemoveWebhook, webhooks: Webhooks, *, now: datetime) -> Decided:
    if command.webhook not in webhooks.generations:
        raise WebhookUnknown(path="webhook")
    if command.webhook in webhooks.live:
        yield WEBHOOKS, WebhookRemoved(webhook=command.webhook)


class DeliveryAttempted(Event, name="delivery_attempted.v1"):
    """It was sent. `status` is that of the answer, `error` why there was none; `next_at` when it is sent again."""

    delivery: DeliveryId
    attempt: int
    attempted_at: Instant
    state: str
    status: int | None = None
    error: str = ""
    next_at: Instant | None = None


class DeliveryRequested(Event, name="delivery_requested.v1"):
    """It is to be sent again, now, whatever became of it."""

    delivery: DeliveryId
    requested_at: Instant


class Delivery(State):
    """`attempts` in all, `failed` since it was to be sent; `asked`: it is wanted again, and was not sent since."""

    state: str = "PENDING"
    attempts: int = 0
    failed: int = 0
    requests: int = 0
    asked: bool = False


@names_stream_of(Delivery)
def delivery_stream(delivery: DeliveryId) -> str:
    return f"delivery/{delivery}"


@evolves("delivery", Delivery)
def evolve_delivery(delivery: Delivery, event: Event) -> Delivery:
    match event:
        case DeliveryAttempted():
            delivery.state = event.state
            delivery.attempts = event.attempt
            delivery.failed += 1
            delivery.asked = False
        case DeliveryRequested():
            delivery.state = "PENDING"
            delivery.failed = 0
            delivery.requests += 1
            delivery.asked = True
    return delivery


class RecordAttempt(Command):
    """What came of sending it for the n-th time. Who sends it twice at once is heard once."""

    delivery: Annotated[DeliveryId, DELIVERY_NAME]
    attempt: Annotated[int, Meta(ge=1)]
    status: Annotated[int, Meta(ge=100, le=999)] | None = None
    error: Failure | None = None


@decides(RecordAttempt, reads=lambda c: (delivery_stream(c.delivery),))
def record_attempt(command: RecordAttempt, delivery: Delivery, *, now: datetime) -> Decided:
    if command.attempt != delivery.attempts + 1:
        return
    state: DeliveryState = "PENDING"
    if command.status is not None and 200 <= command.status < 300:
        state = "DELIVERED"
    elif command.status == GONE or delivery.failed >= len(BACK_OFF):
        state = "GIVEN_UP"
    yield (
        delivery_stream(command.delivery),
        DeliveryAttempted(
            delivery=command.delivery,
            attempt=command.attempt,
            attempted_at=now,
            state=state,
            status=command.status,
            error=command.error or "",
            next_at=now + pause(command, delivery.failed) if state == "PENDING" else None,
        ),
    )


def pause(command: RecordAttempt, failed: int) -> timedelta:
    """How long to wait after that many failures and this one: always the same for the same attempt."""
    share = zlib.crc32(f"{command.delivery} {command.attempt}".encode()) / 2**32
    return BACK_OFF[failed] * (1 + JITTER_SHARE_MAX * share)


class DeliveryUnknown(
    Rejected,
    es="No existe esa entrega, o todavía no se intentó.",
    en="There is no such delivery, or it was not tried yet.",
): ...


class ResentTooOften(
    Rejected,
    es="Una entrega se reenvía {limit} veces a lo más.",
    en="A delivery is sent again {limit} times at most.",
):
    limit: int


class ResendDelivery(Command):
    """Send it again now, though it arrived, was given up, or is to be sent later."""

    delivery: Annotated[DeliveryId, DELIVERY_NAME]


@decides(ResendDelivery, reads=lambda c: (WEBHOOKS, delivery_stream(c.delivery)))
def resend_delivery(command: ResendDelivery, webhooks: Webhooks, delivery: Delivery, *, now: datetime) -> Decided:
    if webhook_of(command.delivery) not in webhooks.live:
        raise WebhookUnknown(path="delivery")
    if delivery.attempts == 0:
        raise DeliveryUnknown(path="delivery")
    if delivery.asked:
        return
    if delivery.requests >= RESENDS_MAX:
        raise ResentTooOften(path="delivery", limit=RESENDS_MAX)
    yield delivery_stream(command.delivery), DeliveryRequested(delivery=command.delivery, requested_at=now)
