"""A delivery: an event on its way to a webhook, a stream of its own that ends when it has arrived or is given up."""

import zlib
from datetime import datetime, timedelta
from typing import Annotated, Literal

from msgspec import Meta

from domain.decider import Command, Decided, Event, Instant, State, evolves, names_stream_of
from domain.decision import decides
from domain.errors import Rejected
from domain.identifiers import DELIVERY_NAME, DeliveryId, webhook_of
from domain.webhooks.registration import WEBHOOKS, Webhooks, WebhookUnknown

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
    """What came of sending it for the n-th time. Who sends it twice at once is heard once."""

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
