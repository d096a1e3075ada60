"""Webhooks in the schema: who is told, with what secret, what has arrived and what has not."""

import re
from enum import Enum, EnumMeta
from types import GenericAlias
from typing import Annotated

import strawberry

from api.access.grant import Grant
from api.graphql.access import ALL, DOERS_OF_ALL, READERS_OF_ALL, Rule
from api.graphql.commands import Done, Given, Gives, Takes, command
from api.graphql.fields import AtLeast, Info, Input, KeyedInput, Payload, mutation, query, refuse
from api.graphql.paging import After, Connection, CursorHint, First, page, page_size
from api.graphql.scalars import Instant, Position
from domain.decider import build
from domain.identifiers import SLUG, SlugHint, fits
from domain.outbox import MESSAGES
from domain.webhooks import delivery, registration
from infra.reactions.webhooks import shown_secret
from projections.webhooks import deliveries as views

_CURSOR = re.compile(r"[1-9][0-9]{0,17}")


def _kinds() -> type[Enum]:
    """The messages that contexts declare."""
    values = {
        one.kind.upper(): strawberry.enum_value(one.kind, description=one.description) for one in MESSAGES.values()
    }
    return EnumMeta.__call__(Enum, "WebhookKind", values)


WebhookKind = strawberry.enum(_kinds(), description="What a webhook can be told.")
WebhookKinds = GenericAlias(list, (WebhookKind,))  # mypy allows no variable in `list[...]`


@strawberry.enum(description="How far an event is on its way to a webhook.")
class DeliveryState(Enum):
    PENDING = strawberry.enum_value("PENDING", description="It is still to be sent, or to be sent again.")
    DELIVERED = strawberry.enum_value("DELIVERED", description="The receiver took it: it answered 2xx.")
    GIVEN_UP = strawberry.enum_value(
        "GIVEN_UP",
        description=f"It failed {delivery.ATTEMPTS_MAX} times, or the receiver answered 410. It can be sent again.",
    )


@strawberry.type(description="A program outside that is told what happens: see docs/webhooks.md.")
class Webhook:
    id: strawberry.ID = strawberry.field(description="Its code.")
    name: str = strawberry.field(description="For people.")
    url: str = strawberry.field(description="Where it is told.")
    kinds: list[Enum] = strawberry.field(description="What it is told.", graphql_type=WebhookKinds)
    generation: int = strawberry.field(description="Of its secret.")


@strawberry.type(description="Sending it once.")
class DeliveryAttempt:
    at: Instant = strawberry.field(description="When it ended.")
    status: int | None = strawberry.field(description="The HTTP status that was answered; null if none was.")
    error: str | None = strawberry.field(
        description="Why there was no answer: timeout, unreachable, or broken, which is no HTTP or cut short."
    )


@strawberry.type(description="An event on its way to a webhook.")
class Delivery:
    id: strawberry.ID = strawberry.field(description="The webhook and the position; the `webhook-id` of its messages.")
    position: Position = strawberry.field(description="The event's place in the log.")
    kind: Enum = strawberry.field(description="What is told.", graphql_type=WebhookKind)
    happened_at: Instant = strawberry.field(description="When that was.")
    state: DeliveryState = strawberry.field(description="How far it is.")
    attempts: int = strawberry.field(description="How often it was sent.")
    next_at: Instant | None = strawberry.field(description="From when on it is sent next; null if it is not to be.")
    history: list[DeliveryAttempt] = strawberry.field(
        description=f"The last {views.HISTORY_MAX} times it was sent, the first of them first."
    )


def _webhook(said: registration.WebhookRegistered) -> Webhook:
    kinds = [WebhookKind(kind) for kind in said.kinds]
    return Webhook(
        id=strawberry.ID(said.webhook), name=said.name, url=said.url, kinds=kinds, generation=said.generation
    )


def _delivery(row: views.ShownDelivery) -> Delivery:
    return Delivery(
        id=strawberry.ID(row.delivery),
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


@query(f"Who is told what, by code; {registration.WEBHOOKS_MAX} at most.", who=ADMINISTRATORS_AND_READERS)
async def webhooks(info: Info) -> list[Webhook]:
    state: registration.Webhooks = await info.context.state(registration.WEBHOOKS)
    return [_webhook(said) for _, said in sorted(state.live.items())]


@query(
    "What a webhook was told and is to be told, the last first, from the read models; nothing of one"
    " that is not registered. With `atLeast` it waits, a few seconds at most, until what stands at that position is"
    " in it.",
    who=ADMINISTRATORS_AND_READERS,
)
async def deliveries(
    info: Info,
    *,
    webhook: Annotated[strawberry.ID, strawberry.argument(description="The webhook's code.")],
    first: First,
    after: After = None,
    state: Annotated[
        DeliveryState | None, strawberry.argument(description="Only those that are so far; without, all.")
    ] = None,
    at_least: AtLeast = None,
) -> Connection[Delivery]:
    first = page_size(first, info)
    if not fits(SLUG, webhook):
        refuse(info, "webhook", SlugHint())
    if after is not None and not _CURSOR.fullmatch(after):
        refuse(info, "after", CursorHint())
    question = views.of_webhook(
        webhook,
        state=state.name if state else None,
        before=int(after) if after else None,
        first=first + 1,
    )
    rows = await info.context.ask(question, at_least=at_least)
    return page([_delivery(row) for row in rows], first, lambda delivery: str(delivery.position))


@strawberry.input(description="Who is to be told what.")
class RegisterWebhookInput(KeyedInput):
    webhook: strawberry.ID = strawberry.field(description="A code of your choice: sms-gateway.")
    name: str = strawberry.field(description="For people.")
    url: str = strawberry.field(
        description="Where to POST: https, at most 500 characters; http on this machine alone. The log keeps it for"
        " ever: let it have no secret in it."
    )
    kinds: list[Enum] = strawberry.field(
        description="What to tell: what happens from now on.", graphql_type=WebhookKinds
    )
    generation: int = strawberry.field(
        default=1,
        description="Of the secret: a higher one than before is a new secret; one that was removed has to have one.",
    )


@strawberry.type(description="What came of registering a webhook.")
class RegisterWebhookPayload(Payload):
    webhook: Webhook | None = strawberry.field(default=None, description="The webhook, as it was asked for.")
    secret: str | None = strawberry.field(
        default=None,
        description="By which its messages are signed: give it to the receiver alone. Null if nothing was changed by"
        " this request. No query shows it; the same request under the same key does.",
    )


@mutation(
    registration.RegisterWebhook,
    description="Have a program outside told what happens from now on, or change what was said.",
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
        secret = shown_secret(context.services.core.secret, command.webhook, command.generation)
    return RegisterWebhookPayload(
        webhook=_webhook(registration.registered(command)), secret=secret, position=Position(outcome.position)
    )


@command(
    registration.RemoveWebhook,
    "Tell a program outside nothing any more, not even what is still to be sent.",
    who=ADMINISTRATORS,
    takes=Takes("Who is to be told nothing any more.", webhook=Given("The webhook's code.", type=strawberry.ID)),
    gives=Gives("What came of removing a webhook.", webhook="The code of the webhook that was."),
)
async def remove_webhook(info: Info, done: Done[registration.RemoveWebhook]) -> strawberry.ID:
    return strawberry.ID(done.command.webhook)


@command(
    delivery.ResendDelivery,
    "Send something to its webhook again now, whether it arrived or was given up.",
    who=ADMINISTRATORS,
    takes=Takes("What is to be sent again.", delivery="The delivery's id."),
    gives=Gives(
        "What came of asking for it.", delivery="The delivery: `deliveries` with `atLeast: position` shows it."
    ),
)
async def resend_delivery(info: Info, done: Done[delivery.ResendDelivery]) -> strawberry.ID:
    return strawberry.ID(done.command.delivery)
