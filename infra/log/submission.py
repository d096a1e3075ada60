"""A command submitted to the committer: its key, its caller's future, its outcome, and the committer's own refusals."""

import asyncio
from collections.abc import Mapping

import msgspec

from domain.decider import Command, Recorded, StreamName
from domain.errors import Rejected

NO_PARTIES: Mapping[str, StreamName] = {}


class Key(msgspec.Struct, frozen=True, gc=False):
    """An idempotency key, scoped by actor. `by`: what the log records of the actor, if it differs."""

    actor: str
    name: str
    by: str = ""


class Outcome(msgspec.Struct, frozen=True, gc=False):
    """An accepted command. `position`: wait for it to read the change. `replayed`: its key was already known."""

    position: int
    replayed: bool = False
    recorded: list[Recorded] = []


class Waiting(msgspec.Struct, frozen=True, eq=False):
    """A command in the queue, with the future for which its caller waits."""

    command: Command
    key: Key
    digest: bytes
    correlation: str
    answer: "asyncio.Future[Outcome]"
    came_at_s: float
    required_parties: Mapping[str, StreamName] = {}


class Overloaded(
    Rejected,
    es="Hay demasiadas solicitudes en este momento: intente de nuevo en unos segundos.",
    en="There are too many requests at the moment; try again in a few seconds.",
): ...


class ServiceUnavailable(
    Rejected,
    code="unavailable",
    es="El sistema no está disponible en este momento: repita la solicitud con la misma clave.",
    en="The service is not available at the moment; repeat the request with the same key.",
): ...


class IdempotencyKeyReused(
    Rejected,
    es="Esa clave de idempotencia ya se usó para otra solicitud.",
    en="That idempotency key was already used for another request.",
): ...
