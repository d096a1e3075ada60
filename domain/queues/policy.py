"""Who is called next, as data."""

from typing import Annotated, Literal

from msgspec import Meta

from domain.decider import Value

# Of commands alone: an event keeps its word as text, so that one that is dropped here stays readable.
Priority = Literal["PREFERENTIAL", "APPOINTMENT", "NORMAL"]
LETTERS: dict[str, str] = {"PREFERENTIAL": "P", "APPOINTMENT": "F", "NORMAL": "A"}  # F: ficha


class Policy(Value):
    """Who is called next. It is data, and published: anyone can check each call against it.

    The classes of `order` are called one after the other, the first as long as somebody of it waits. But of any
    `one_in` calls in a row during which somebody of the class `at_least` waits, at least one is of that class. Within a
    class, whoever has waited longest is next.

    Attributes:
        direct_calls: a counter may call somebody who is not next; the log shows each.
        recalls_max: how often a call is repeated.
        call_timeout_s: how long who was called last has to come; from then on they are absent.
        requeue_within_s: how long after that they can still come back, behind the next two of their class.
        requeues_max: how often.
        early_minutes_max: how long before its time an appointment has a place in the line.
    """

    order: tuple[str, ...] = ("PREFERENTIAL", "APPOINTMENT", "NORMAL")
    at_least: str | None = "NORMAL"
    one_in: int = 3
    direct_calls: bool = False
    recalls_max: int = 3
    call_timeout_s: int = 90
    requeue_within_s: int = 900
    requeues_max: int = 2
    early_minutes_max: int = 60


class PolicyTerms(Policy, forbid_unknown_fields=True):
    """What a policy may be, when a line is opened."""

    order: tuple[Priority, Priority, Priority] = ("PREFERENTIAL", "APPOINTMENT", "NORMAL")
    at_least: Priority | None = "NORMAL"
    one_in: Annotated[int, Meta(ge=2, le=20)] = 3
    recalls_max: Annotated[int, Meta(ge=0, le=10)] = 3
    call_timeout_s: Annotated[int, Meta(ge=10, le=1_800)] = 90
    requeue_within_s: Annotated[int, Meta(ge=0, le=14_400)] = 900
    requeues_max: Annotated[int, Meta(ge=0, le=10)] = 2
    early_minutes_max: Annotated[int, Meta(ge=0, le=720)] = 60


def shown_number(priority: str, number: int) -> str:
    """What is on the board and on the paper: A-017."""
    return f"{LETTERS.get(priority, 'X')}-{number:03d}"
