"""A delivery: an event sent to a webhook. Its stream ends when it is delivered or given up."""

import zlib
from datetime import datetime, timedelta
from typing import Annotated, Literal

from msgspec import Meta

from domain.decider import Command, Decided, Event, Instant, State, evolves, names_stream_of
from domain.decision import decides
from domain.errors import Rejected
from domain.identifiers import DELIVERY_NAME, DeliveryId, webhook_of
from domain.webhooks.registration import WEBHOOKS, Webhooks, WebhookUnknown

# The pauses after each failed attempt: three days in all. After the last one the delivery is given up.
BACK_OFF = tuple(
    timedelta(seconds=pause_s)
    for pause_s in (5, 30, 120, 600, 3_600, 3 * 3_600, 6 * 3_600, 12 * 3_600, 24 * 3_600, 24 * 3_600)
)
JITTER_SHARE_MAX = 0.2  # lengthens pauses, so that deliveries that failed together are not retried together
ATTEMPTS_MAX = len(BACK_OFF) + 1
RESENDS_MAX = 20
GONE = 410  # HTTP status: the receiver is gone for good

Failure = Literal["timeout", "unreachable", "broken"]
DeliveryState = Literal["PENDING", "DELIVERED", "GIVEN_UP"]


class DeliveryAttempted(Event, name="delivery_attempted.v1"):
    """An attempt was made. `status` is the answer's; `error` says why there was none; `next_at` is the next attempt."""

    delivery: DeliveryId
    attempt: int
    attempted_at: Instant
    state: str
    status: int | None = None
    error: str = ""
    next_at: Instant | None = None


class DeliveryRequested(Event, name="delivery_requested.v1"):
    """Somebody asked to send it again now, whatever its state."""

    delivery: DeliveryId
    requested_at: Instant


class Delivery(State):
    """`attempts` counts all, `failed` those since the last request; `asked`: requested again and not sent since."""

    state: str = "PENDING"
    attempts: int = 0
    failed: int = 0
    requests: int = 0
    asked: bool = False


@names_stream_of(Delivery)
def stream(delivery: DeliveryId) -> str:
    return f"delivery/{delivery}"


@evolves("delivery", Delivery)
def evolve(delivery: Delivery, event: Event) -> Delivery:
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
    """Record the result of the n-th attempt. If two senders report the same attempt, the first one counts."""

    delivery: Annotated[DeliveryId, DELIVERY_NAME]
    attempt: Annotated[int, Meta(ge=1)]
    status: Annotated[int, Meta(ge=100, le=999)] | None = None
    error: Failure | None = None


@decides(RecordAttempt, reads=lambda c: (stream(c.delivery),))
def record_attempt(command: RecordAttempt, delivery: Delivery, *, now: datetime) -> Decided:
    if command.attempt != delivery.attempts + 1:
        return
    state: DeliveryState = "PENDING"
    if command.status is not None and 200 <= command.status < 300:
        state = "DELIVERED"
    elif command.status == GONE or delivery.failed >= len(BACK_OFF):
        state = "GIVEN_UP"
    yield (
        stream(command.delivery),
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
    """The pause after this failure and `failed` earlier ones: always the same for the same attempt."""
    share = zlib.crc32(f"{command.delivery} {command.attempt}".encode()) / 2**32
    return BACK_OFF[failed] * (1 + JITTER_SHARE_MAX * share)


class DeliveryUnknown(
    Rejected,
    es="No existe esa entrega, o todavía no se intentó hacerla.",
    en="There is no such delivery, or it has not been attempted yet.",
): ...


class ResentTooOften(
    Rejected,
    es="Una entrega se puede reenviar {limit} veces como máximo.",
    en="A delivery can be sent again at most {limit} times.",
):
    limit: int


class ResendDelivery(Command):
    """Send it again now, whether it was delivered, was given up, or is due later."""

    delivery: Annotated[DeliveryId, DELIVERY_NAME]


@decides(ResendDelivery, reads=lambda c: (WEBHOOKS, stream(c.delivery)))
def resend_delivery(command: ResendDelivery, webhooks: Webhooks, delivery: Delivery, *, now: datetime) -> Decided:
    if webhook_of(command.delivery) not in webhooks.live:
        raise WebhookUnknown(path="delivery")
    if delivery.attempts == 0:
        raise DeliveryUnknown(path="delivery")
    if delivery.asked:
        return
    if delivery.requests >= RESENDS_MAX:
        raise ResentTooOften(path="delivery", limit=RESENDS_MAX)
    yield stream(command.delivery), DeliveryRequested(delivery=command.delivery, requested_at=now)
