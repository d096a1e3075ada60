"""A command submitted to the lane: its key, its caller's future, and its outcome."""

import asyncio
from collections.abc import Mapping

import msgspec

from domain.decider import Command, Recorded, StreamName

NO_PERSONS: Mapping[str, StreamName] = {}


class Key(msgspec.Struct, frozen=True, gc=False):
    """An idempotency key, in its actor's own space. `by`: what the log keeps of the actor, if that is not it."""

    actor: str
    name: str
    by: str = ""


class Outcome(msgspec.Struct, frozen=True, gc=False):
    """An accepted command. `position`: wait for it to read what was written. `replayed`: its key was known already."""

    position: int
    replayed: bool = False
    recorded: list[Recorded] = []


class Waiting(msgspec.Struct, frozen=True, eq=False):
    """A command in the queue, and where its caller waits for the outcome."""

    command: Command
    key: Key
    digest: bytes
    correlation: str
    answer: "asyncio.Future[Outcome]"
    came_at_s: float
    required_persons: Mapping[str, StreamName] = {}
