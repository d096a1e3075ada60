"""The outbox: which events are sent to programs outside, and what each message says.

A context declares the messages of its own events. Webhooks, read models and whoever sends know them from here.
"""

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, TypeVar

import msgspec

from domain.decider import Event, StreamName

E = TypeVar("E", bound=Event)
Data = Mapping[str, Any]  # what a message says, as JSON


class Message(msgspec.Struct, frozen=True):
    """How an event becomes a message.

    Attributes:
        kind: the message's type: webhooks are registered for it, and it never changes.
        description: when such a message is sent, for the API's documentation.
        happened_at: the moment that the event names.
        data: what of the event is stored in the outbox.
        reads: the stream that the message needs besides, by the stored data; None if it needs none.
        complete: what is sent, by the stored data and the state of that stream.
    """

    kind: str
    description: str
    happened_at: Callable[[Any], datetime]
    data: Callable[[Any], dict[str, Any]]
    reads: Callable[[Data], StreamName] | None = None
    complete: Callable[[Data, Any], Data] = lambda data, _state: data


MESSAGES: dict[type[Event], Message] = {}


def sends(
    event_type: type[E],
    kind: str,
    *,
    description: str,
    happened_at: Callable[[E], datetime],
    reads: Callable[[Data], StreamName] | None = None,
    complete: Callable[[Data, Any], Data] = lambda data, _state: data,
) -> Callable[[Callable[[E], dict[str, Any]]], Callable[[E], dict[str, Any]]]:
    """Declare that an event is sent to programs outside, with what the function below tells of it.

    Raises TypeError if the event or the kind has a message already, and for an event with personal fields: what was
    sent can't be erased.
    """

    def register(data: Callable[[E], dict[str, Any]]) -> Callable[[E], dict[str, Any]]:
        if event_type in MESSAGES or message_of(kind):
            raise TypeError(f"two messages for {event_type.__name__} or of the kind {kind}")
        if event_type.personal_fields:
            raise TypeError(f"{event_type.__name__} has personal fields")
        MESSAGES[event_type] = Message(kind, description, happened_at, data, reads, complete)
        return data

    return register


def message_of(kind: str) -> Message | None:
    """The message of a kind; None if no context declares it."""
    return next((one for one in MESSAGES.values() if one.kind == kind), None)
