"""The outbox: which events are sent to external programs, and what each message contains.

Each context declares the messages of its own events. Webhooks, read models and the sender look them up here.
"""

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, TypeVar

import msgspec

from domain.decider import Event, StreamName

E = TypeVar("E", bound=Event)
Data = Mapping[str, Any]  # the content of a message, as JSON


class Message(msgspec.Struct, frozen=True):
    """How an event becomes a message.

    Attributes:
        kind: the message's type, which never changes. Webhooks are registered for kinds.
        description: when such a message is sent, for the API's documentation.
        happened_at: returns the moment at which the event happened.
        data: returns what the outbox stores of the event.
        reads: returns the stream that is also needed, given the stored data. None if none is.
        complete: returns the content that is sent, given the stored data and the state of that stream.
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
    """Declare that an event is sent to external programs; the function below returns the content.

    Raises TypeError if the event or the kind already has a message, and for an event with personal fields: sent data
    can't be erased.
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
