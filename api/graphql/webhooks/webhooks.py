"""Webhooks in the schema: their registration, their secrets and their deliveries."""

from enum import Enum, EnumMeta
from types import GenericAlias
from typing import Annotated

import strawberry

from api.access.grant import Grant
from api.graphql.access import ALL, DOERS_OF_ALL, READERS_OF_ALL, Rule
from api.graphql.commands import Done, Gives, Takes, command
from api.graphql.fields import (
    AtLeast,
    Info,
    Input,
    KeyedInput,
    Node,
    Payload,
    coded_id,
    mutation,
    node_query,
    query,
)
from api.graphql.links import link
from api.graphql.paging import Connection, Listing, PageArguments, paged
from api.graphql.scalars import Instant, Position
from domain.decider import build
from domain.identifiers import DELIVERY_NAME, SLUG, position_of, webhook_of
from domain.outbox import MESSAGES
from domain.webhooks import delivery as resending
from domain.webhooks import registration
from infra.reactions.webhooks import secret_text
from projections.engine.keyset import Range
from projections.webhooks import deliveries as views

_DELIVERIES = Listing("deliveries", views.LATEST_FIRST)


def _kinds() -> type[Enum]:
    """The enum of the kinds of messages that contexts declare."""
    values = {
        one.kind.upper(): strawberry.enum_value(one.kind, description=one.description) for one in MESSAGES.values()
    }
    return EnumMeta.__call__(Enum, "WebhookKind", values)


WebhookKind = strawberry.enum(_kinds(), description="The kind of a message.")
WebhookKinds = GenericAlias(list, (WebhookKind,))  # mypy allows no variable in `list[...]`


@strawberry.enum(description="The state of a delivery.")
class DeliveryState(Enum):
    PENDING = strawberry.enum_value("PENDING", description="It has yet to be sent, or to be sent again.")
    DELIVERED = strawberry.enum_value("DELIVERED", description="The receiver accepted it with a status of 2xx.")
    GIVEN_UP = strawberry.enum_value(
        "GIVEN_UP",
        description=f"It failed {resending.ATTEMPTS_MAX} times, or the receiver answered 410. It can be sent again.",
    )


@strawberry.type(description="An external program to which events are sent: see docs/webhooks.md.")
class Webhook(Node):
    code: str = strawberry.field(description="Its code: sms-gateway.")
    name: str = strawberry.field(description="A name for people.")
    url: str = strawberry.field(description="The URL to which events are sent.")
    kinds: list[Enum] = strawberry.field(description="The kinds of events that are sent.", graphql_type=WebhookKinds)
    generation: int = strawberry.field(description="The generation of its secret.")


@strawberry.type(description="One attempt at a delivery.")
class DeliveryAttempt:
    at: Instant = strawberry.field(description="When it ended.")
    status: int | None = strawberry.field(description="The HTTP status of the answer; null if there was none.")
    error: str | None = strawberry.field(
        description="Why there was no answer: timeout, unreachable, or broken (not HTTP, or cut short)."
    )


@strawberry.type(description="The delivery of an event to a webhook.")
class Delivery(Node):
    id: strawberry.ID = strawberry.field(
        description="The webhook's code and the position: sms-gateway/1607; also the `webhook-id` of the message."
    )
    webhook = link("webhook", "The webhook; null if it has been removed.", key="webhook_code")
    position: Position = strawberry.field(description="The event's position in the log.")
    kind: Enum = strawberry.field(description="The kind of the message.", graphql_type=WebhookKind)
    happened_at: Instant = strawberry.field(description="When the event happened.")
    state: DeliveryState = strawberry.field(description="Its state.")
    attempts: int = strawberry.field(description="The number of attempts.")
    next_at: Instant | None = strawberry.field(description="When the next attempt is due; null if there is none.")
    history: list[DeliveryAttempt] = strawberry.field(
        description=f"The last {views.HISTORY_MAX} attempts, the earliest first."
    )
    webhook_code: strawberry.Private[str]


def _webhook(registered: registration.WebhookRegistered) -> Webhook:
    return Webhook(
        id=coded_id("webhook", registered.webhook),
        code=registered.webhook,
        name=registered.name,
        url=registered.url,
        kinds=[WebhookKind(kind) for kind in registered.kinds],
        generation=registered.generation,
    )


def _delivery(row: views.ShownDelivery) -> Delivery:
    return Delivery(
        id=strawberry.ID(row.delivery),
        webhook_code=webhook_of(row.delivery),
        position=Position(row.position),
        kind=WebhookKind(row.kind),
        happened_at=Instant(row.happened_at),
        state=DeliveryState(row.state),
        attempts=row.attempts,
        next_at=Instant(row.next_at) if row.next_at else None,
        history=[
            DeliveryAttempt(at=Instant(one.attempted_at), status=one.status, error=one.error or None)
            for one in row.history
        ],
    )


ADMINISTRATORS: Rule = {"administrator": ALL, **DOERS_OF_ALL}
ADMINISTRATORS_AND_READERS: Rule = {"administrator": ALL, **READERS_OF_ALL}


@query(f"The webhooks, by code; at most {registration.WEBHOOKS_MAX}.", who=ADMINISTRATORS_AND_READERS)
async def webhooks(info: Info) -> list[Webhook]:
    state: registration.Webhooks = await info.context.state(registration.WEBHOOKS)
    return [_webhook(registered) for _, registered in sorted(state.live.items())]


@node_query("webhook", "A webhook by its code; null if it is not registered.", who=ADMINISTRATORS_AND_READERS)
async def webhook(
    info: Info, code: Annotated[str, SLUG, strawberry.argument(description="The webhook's code: sms-gateway.")]
) -> Webhook | None:
    state: registration.Webhooks = await info.context.state(registration.WEBHOOKS)
    registered = state.live.get(code)
    return _webhook(registered) if registered else None


@node_query(
    "delivery",
    "A delivery by id, from the read models; null if there is none.",
    who=ADMINISTRATORS_AND_READERS,
)
async def delivery(
    info: Info,
    id: Annotated[
        strawberry.ID,
        DELIVERY_NAME,
        strawberry.argument(description="The webhook's code and the position: sms-gateway/1607."),
    ],
) -> Delivery | None:
    position = position_of(id)
    question = views.of_webhook(webhook_of(id), state=None, part=Range(1, after=(position + 1,)))
    rows = await info.context.ask(question, at_least=None)
    return next((_delivery(row) for row in rows if row.position == position), None)


@query(
    "The deliveries to a webhook, the latest first, from the read models; none if the webhook is not registered. With"
    " `atLeast`, the query waits at most a few seconds until the answer includes that position.",
    who=ADMINISTRATORS_AND_READERS,
)
@paged
async def deliveries(
    info: Info,
    *,
    webhook: Annotated[str, SLUG, strawberry.argument(description="The webhook's code.")],
    page: PageArguments,
    state: Annotated[DeliveryState | None, strawberry.argument(description="A state; default: all.")] = None,
    at_least: AtLeast = None,
) -> Connection[Delivery]:
    wanted = page.of(info, _DELIVERIES, webhook)
    question = views.of_webhook(webhook, state=state.name if state else None, part=wanted.part)
    found = wanted.found(await info.context.ask(question, at_least=at_least))
    return found.connection([_delivery(row) for row in found.items])


@strawberry.input(description="A webhook to register or change.")
class RegisterWebhookInput(KeyedInput):
    webhook: str = strawberry.field(description="A code of your choice: sms-gateway.")
    name: str = strawberry.field(description="A name for people.")
    url: str = strawberry.field(
        description="The URL to which events are sent by POST: https, or http on this machine, with at most"
        " 500 characters. The log keeps it for ever, so it must not contain a secret."
    )
    kinds: list[Enum] = strawberry.field(
        description="The kinds of events to send, from now on.", graphql_type=WebhookKinds
    )
    generation: int = strawberry.field(
        default=1,
        description="The generation of the secret. A higher one makes a new secret. Registering a removed"
        " webhook again requires a higher one.",
    )


@strawberry.type(description="The result of registering a webhook.")
class RegisterWebhookPayload(Payload):
    webhook: Webhook | None = strawberry.field(default=None, description="The webhook as requested.")
    secret: str | None = strawberry.field(
        default=None,
        description="The secret that signs its messages: give it to the receiver only. Null if this request changed"
        " nothing. No query returns it, but repeating the request with the same key does.",
    )


@mutation(
    registration.RegisterWebhook,
    description="Register a webhook, to which events are sent from now on, or change it.",
    who=ADMINISTRATORS,
)
async def register_webhook(info: Info, grant: Grant, input: Input[RegisterWebhookInput]) -> RegisterWebhookPayload:
    context, kind = info.context, registration.RegisterWebhook
    fields = {
        "webhook": input.webhook,
        "url": input.url,
        "name": input.name,
        "kinds": [kind.value for kind in input.kinds],
        "generation": input.generation,
    }
    command, outcome = await context.perform(
        grant, input.idempotency_key, fields, kind, lambda _: build(kind, **fields)
    )
    secret = None
    if await context.recorded(grant, input.idempotency_key, outcome):
        secret = secret_text(context.services.core.secret, command.webhook, command.generation)
    return RegisterWebhookPayload(
        webhook=_webhook(registration.registered(command)), secret=secret, position=Position(outcome.position)
    )


@command(
    registration.RemoveWebhook,
    "Remove a webhook: nothing more is sent to it, not even deliveries that are still due.",
    who=ADMINISTRATORS,
    takes=Takes("A webhook to remove.", webhook="The webhook's code."),
    gives=Gives("The result of removing a webhook.", removed_id="The id of the removed webhook."),
)
async def remove_webhook(info: Info, done: Done[registration.RemoveWebhook]) -> strawberry.ID:
    return coded_id("webhook", done.command.webhook)


@command(
    resending.ResendDelivery,
    "Send a delivery again now, whether it was delivered or given up.",
    who=ADMINISTRATORS,
    takes=Takes("A delivery to send again.", delivery="The delivery's id."),
    gives=Gives(
        "The result of sending a delivery again.",
        delivery_id="The delivery's id: `deliveries` with `atLeast: position` shows it.",
    ),
)
async def resend_delivery(info: Info, done: Done[resending.ResendDelivery]) -> strawberry.ID:
    return strawberry.ID(done.command.delivery)
