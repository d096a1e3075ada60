"""Registration of webhooks: which events are sent to which URL.

All webhooks are on one stream, in which the last event about each counts: there are few, and only administrators write
to it.
"""

from datetime import datetime
from typing import Annotated

from msgspec import Meta

from domain.decider import Command, Decided, Event, State, evolves, names_stream_of
from domain.decision import decides
from domain.errors import InvalidInput, NumberHint, OnceHint, Rejected, WrongTypeHint
from domain.identifiers import NAME, SLUG, WEBHOOK_URL, WebhookId
from domain.outbox import message_of

WEBHOOKS_MAX = 50
GENERATION_MAX = 1_000_000


class WebhookRegistered(Event, name="webhook_registered.v1"):
    """Registered, or changed. Each `generation` has its own secret, which signs what is sent."""

    webhook: WebhookId
    url: str
    name: str
    kinds: list[str]
    generation: int


class WebhookRemoved(Event, name="webhook_removed.v1"):
    webhook: WebhookId


class Webhooks(State):
    """`generations` includes removed webhooks, so that no secret is ever used again."""

    live: dict[WebhookId, WebhookRegistered] = {}
    generations: dict[WebhookId, int] = {}


@names_stream_of(Webhooks)
def stream() -> str:
    """The one stream for the whole city."""
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
    es="Se pueden registrar {limit} webhooks como máximo: primero quite uno.",
    en="At most {limit} webhooks can be registered; remove one first.",
):
    limit: int


class RegisterWebhook(Command):
    """Send events of these kinds to a URL from now on, or change a webhook. A new generation has a new secret."""

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
    """The event that this command records."""
    return WebhookRegistered(
        webhook=command.webhook,
        url=command.url,
        name=command.name,
        kinds=sorted(command.kinds),
        generation=command.generation,
    )


class WebhookUnknown(Rejected, es="No existe ese webhook.", en="There is no such webhook."): ...


class RemoveWebhook(Command):
    """Send nothing more to a webhook, not even deliveries that are still due."""

    webhook: Annotated[WebhookId, SLUG]


@decides(RemoveWebhook, reads=lambda c: (WEBHOOKS,))
def remove_webhook(command: RemoveWebhook, webhooks: Webhooks, *, now: datetime) -> Decided:
    if command.webhook not in webhooks.generations:
        raise WebhookUnknown(path="webhook")
    if command.webhook in webhooks.live:
        yield WEBHOOKS, WebhookRemoved(webhook=command.webhook)
