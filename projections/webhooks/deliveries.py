"""The read models of webhooks. There are three tables, because a fold sees only its own row.

`outbox` has a row for each event that is sent, `webhooks` one for each registered webhook, and `deliveries` one for
each event and webhook with at least one attempt. What is due to be sent follows from the three; no table stores it.
"""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import msgspec

from domain.decider import Instant
from domain.identifiers import DeliveryId, WebhookId, position_of, webhook_of
from domain.outbox import MESSAGES
from domain.webhooks.delivery import DeliveryAttempted, DeliveryRequested, DeliveryState
from domain.webhooks.registration import WebhookRegistered, WebhookRemoved
from projections.engine.columns import BigInt, Fixed, JsonB, Text
from projections.engine.figures import Figure, Figures
from projections.engine.keyset import ColumnOrder, Keyset, Range
from projections.engine.projection import Entry, Projection, Row
from projections.engine.query import Query

LAST = 2**63 - 1  # beyond all positions
HISTORY_MAX = 20  # the last attempts, kept in a row


class OutboxRow(Row):
    """An event that is sent, with the stored content of its message. `happened_at` is from the event."""

    message: str
    position: Fixed[BigInt]
    kind: Fixed[Text]
    happened_at: Fixed[Instant]
    data: JsonB[dict[str, Any]]


def _sent(_row: OutboxRow | None, entry: Entry, key: str) -> OutboxRow | None:
    event, message = entry.event, MESSAGES[type(entry.event)]
    return OutboxRow(key, entry.position, message.kind, message.happened_at(event), message.data(event))


OUTBOX = Projection(
    name="outbox",
    version=1,
    row=OutboxRow,
    indexes=("position",),
    # The events that contexts declare, including those whose modules are imported later.
    events=MESSAGES.keys(),
    keys=lambda entry: (str(entry.position),),
    evolve=_sent,
    created_by=MESSAGES.keys(),
)


class WebhookRow(Row):
    """A webhook. For each of its `kinds` it gets the events after the position in `since`."""

    webhook: WebhookId
    url: Text
    generation: int
    kinds: list[str]
    since: list[BigInt]


def _registered(row: WebhookRow | None, entry: Entry, _key: str) -> WebhookRow | None:
    event = entry.event
    if not isinstance(event, WebhookRegistered):
        return None
    known = dict(zip(row.kinds, row.since, strict=True)) if row else {}
    since = [known.get(kind, entry.position) for kind in event.kinds]
    return WebhookRow(event.webhook, event.url, event.generation, event.kinds, since)


def _webhook(entry: Entry) -> tuple[str, ...]:
    event: Any = entry.event
    return (event.webhook,)


WEBHOOKS = Projection(
    name="webhooks",
    version=1,
    row=WebhookRow,
    indexes=(),
    events=(WebhookRegistered, WebhookRemoved),
    keys=_webhook,
    evolve=_registered,
)


class Attempt(msgspec.Struct, frozen=True):
    """One attempt: the answer's status, or the word for why there was none."""

    attempted_at: Instant
    status: int | None
    error: str


class DeliveryRow(Row):
    """The delivery of an event to a webhook. `next_at` is the time of the next attempt; None if there is none."""

    delivery: DeliveryId
    webhook: Fixed[WebhookId]
    position: Fixed[BigInt]
    state: DeliveryState
    attempts: int
    next_at: Instant | None
    history: JsonB[list[Attempt]]


def _delivered(row: DeliveryRow | None, entry: Entry, key: str) -> DeliveryRow:
    event: Any = entry.event
    row = row or DeliveryRow(key, webhook_of(key), position_of(key), "PENDING", 0, None, [])
    if isinstance(event, DeliveryRequested):
        row.state, row.next_at = "PENDING", event.requested_at
        return row
    row.state, row.next_at, row.attempts = event.state, event.next_at, event.attempt
    attempt = Attempt(attempted_at=event.attempted_at, status=event.status, error=event.error)
    row.history = [*row.history, attempt][-HISTORY_MAX:]
    return row


def _delivery(entry: Entry) -> tuple[str, ...]:
    event: Any = entry.event
    return (event.delivery,)


DELIVERIES = Projection(
    name="deliveries",
    version=1,
    row=DeliveryRow,
    indexes=("webhook, next_at", "webhook, position", "webhook, state, position"),
    events=(DeliveryAttempted, DeliveryRequested),
    keys=_delivery,
    evolve=_delivered,
)


class DueDelivery(msgspec.Struct, frozen=True):
    """A delivery to attempt now: the message, the webhook, and the number of earlier attempts."""

    delivery: DeliveryId
    webhook: WebhookId
    url: str
    generation: int
    position: int
    kind: str
    happened_at: Instant
    data: dict[str, Any]
    attempts: int
    due_at: Instant


class Stretch(msgspec.Struct, frozen=True):
    """The position at which a stretch of the outbox ends; None at the end of the outbox."""

    until: int | None


def stretch(settled: int, messages: int) -> Query[Stretch]:
    """The stretch of `messages` events after a position: this many are examined at a time."""
    return Query(
        projections=(OUTBOX.name,),
        select="""
            SELECT CASE WHEN count(*) = %(messages)s THEN max(position) END AS until
            FROM (SELECT position FROM {outbox} WHERE position > %(settled)s ORDER BY position LIMIT %(messages)s) AS o
        """,
        parameters={"settled": settled, "messages": messages},
        row=Stretch,
    )


def due_deliveries(
    now: datetime, each: int, settled: int, settled_of: Mapping[WebhookId, int], until: int | None
) -> Query[DueDelivery]:
    """For each webhook, at most `each` deliveries never attempted, in order of the log, and `each` due for a retry.

    Up to `settled`, or the webhook's position in `settled_of`, all are known to have been attempted. Events after
    `until` are not examined yet: there may be millions.
    """
    return Query(
        projections=(OUTBOX.name, WEBHOOKS.name, DELIVERIES.name),
        select=_DUE,
        parameters={
            "now": now.astimezone(UTC),
            "each": each,
            "settled": settled,
            "names": list(settled_of),
            "settled_of": list(settled_of.values()),
            "until": LAST if until is None else until,
        },
        row=DueDelivery,
    )


# OFFSET 0 forces one index look-up for each event, whatever the planner assumes about unknown parameters.
_DUE = """
    SELECT w.webhook || '/' || due.position AS delivery, w.webhook, w.url, w.generation, due.*
    FROM {webhooks} AS w
    LEFT JOIN unnest(%(names)s::text[], %(settled_of)s::bigint[]) AS s (webhook, position)
        ON s.webhook = w.webhook
    CROSS JOIN LATERAL (
        (SELECT o.position, o.kind, o.happened_at, o.data, 0 AS attempts, o.happened_at AS due_at
        FROM {outbox} AS o LEFT JOIN LATERAL (
            SELECT true AS tried FROM {deliveries} AS d
            WHERE d.webhook = w.webhook AND d.position = o.position OFFSET 0
        ) AS d ON true
        WHERE o.position > coalesce(s.position, %(settled)s) AND o.position <= %(until)s
            AND o.position > w.since[array_position(w.kinds, o.kind)] AND d.tried IS NULL
        ORDER BY o.position LIMIT %(each)s)
        UNION ALL
        (SELECT o.position, o.kind, o.happened_at, o.data, d.attempts, d.next_at
        FROM {deliveries} AS d JOIN {outbox} AS o ON o.position = d.position
        WHERE d.webhook = w.webhook AND d.next_at <= %(now)s
        ORDER BY d.next_at LIMIT %(each)s)
    ) AS due
    ORDER BY due.due_at, due.position
"""


class Overdue(msgspec.Struct, frozen=True):
    """How many messages are due, and since when the first is; None if none is."""

    messages: int
    since: Instant | None


def overdue(now: datetime) -> Query[Overdue]:
    """The overdue messages of all webhooks: retries that are due, and events after the last one attempted."""
    return Query(
        projections=(OUTBOX.name, WEBHOOKS.name, DELIVERIES.name),
        select="""
            SELECT count(*) AS messages, min(due.due_at) AS since
            FROM {webhooks} AS w CROSS JOIN LATERAL (
                SELECT o.happened_at AS due_at FROM {outbox} AS o
                WHERE o.position > w.since[array_position(w.kinds, o.kind)] AND o.position > coalesce((
                    SELECT max(d.position) FROM {deliveries} AS d WHERE d.webhook = w.webhook
                ), 0)
                UNION ALL
                SELECT d.next_at FROM {deliveries} AS d WHERE d.webhook = w.webhook AND d.next_at <= %(now)s
            ) AS due
        """,
        parameters={"now": now.astimezone(UTC)},
        row=Overdue,
    )


def _due_figures(rows: Sequence[Overdue], now: datetime) -> list[Figure]:
    (found,) = rows
    oldest_s = max((now - found.since).total_seconds(), 0.0) if found.since else 0.0
    return [
        Figure("igob_webhook_due_messages", "Messages to webhooks that are due.", found.messages),
        Figure("igob_webhook_oldest_due_seconds", "For how long the oldest due message has been due.", oldest_s),
    ]


DUE_FIGURES = Figures(query=overdue, shown=_due_figures)


class ShownDelivery(msgspec.Struct, frozen=True):
    """An event and its delivery to a webhook. If never attempted, it is PENDING since `happened_at`."""

    delivery: DeliveryId
    position: int
    kind: str
    happened_at: Instant
    state: DeliveryState
    attempts: int
    next_at: Instant | None
    history: list[Attempt]


LATEST_FIRST = ColumnOrder(ShownDelivery, "position", descending=True)


def of_webhook(webhook: WebhookId, *, state: str | None, part: Range) -> Query[ShownDelivery]:
    """A part of a webhook's deliveries, the latest first.

    Optionally only those in one state. PENDING then leaves out events that were never attempted but are older than the
    last one attempted: they are being sent now. Returns no rows for a webhook that is not registered.
    """
    page = LATEST_FIRST.keyset(part)
    return Query(
        projections=(OUTBOX.name, WEBHOOKS.name, DELIVERIES.name),
        select=_all(page) if state is None else _of_state(page),
        parameters={"webhook": webhook, "state": state} | page.parameters,
        row=ShownDelivery,
    )


_SHOWN = """
    SELECT w.webhook || '/' || o.position AS delivery, o.position, o.kind, o.happened_at,
        coalesce(d.state, 'PENDING') AS state, coalesce(d.attempts, 0) AS attempts,
        CASE WHEN d.delivery IS NULL THEN o.happened_at ELSE d.next_at END AS next_at,
        coalesce(d.history, '[]') AS history
    FROM {webhooks} AS w CROSS JOIN {outbox} AS o LEFT JOIN LATERAL (
        SELECT * FROM {deliveries} AS d WHERE d.webhook = w.webhook AND d.position = o.position OFFSET 0
    ) AS d ON true
    WHERE w.webhook = %(webhook)s
"""


def _all(page: Keyset) -> str:
    return f"""
        {_SHOWN}{page.where("o.")} AND (d.delivery IS NOT NULL OR o.position > w.since[array_position(w.kinds, o.kind)])
        ORDER BY {page.order("o.")} LIMIT %(limit)s
    """


def _of_state(page: Keyset) -> str:
    return f"""
        SELECT * FROM (
            (SELECT d.delivery, d.position, o.kind, o.happened_at, d.state, d.attempts, d.next_at, d.history
            FROM {{webhooks}} AS w JOIN {{deliveries}} AS d USING (webhook)
            JOIN {{outbox}} AS o ON o.position = d.position
            WHERE w.webhook = %(webhook)s AND d.state = %(state)s{page.where("d.")}
            ORDER BY {page.order("d.")} LIMIT %(limit)s)
            UNION ALL
            ({_SHOWN}{page.where("o.")} AND %(state)s = 'PENDING' AND d.delivery IS NULL
            AND o.position > w.since[array_position(w.kinds, o.kind)] AND o.position > coalesce((
                SELECT max(d.position) FROM {{deliveries}} AS d WHERE d.webhook = %(webhook)s
            ), 0)
            ORDER BY {page.order("o.")} LIMIT %(limit)s)
        ) AS found ORDER BY {page.order()} LIMIT %(limit)s
    """
