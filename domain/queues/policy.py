"""The policy of a line, as data: who is called next."""

from typing import Annotated, Literal

from msgspec import Meta

from domain.decider import Value

# Only commands are limited to these words. Events store text, so they stay readable after a word is dropped here.
Priority = Literal["PREFERENTIAL", "APPOINTMENT", "NORMAL"]
LETTERS: dict[str, str] = {"PREFERENTIAL": "P", "APPOINTMENT": "F", "NORMAL": "A"}  # F: ficha


class Policy(Value):
    """Who is called next. The policy is published data, so that anyone can check each call against it.

    The classes of `order` are called one after the other, each as long as somebody of it waits. But of any
    `one_in` calls in a row during which somebody of the class `at_least` waits, at least one is of that class. Within a
    class, the turn that has waited longest is next.

    Attributes:
        direct_calls: whether a counter may call a turn that is not next; the log shows each such call.
        recalls_max: how often a call may be repeated.
        call_timeout_s: how long a person has to come after the last call; from then on they are absent.
        requeue_within_s: how long an absent person can still come back, behind the next two of their class.
        requeues_max: how often a person may come back.
        early_minutes_max: how long before its start an appointment gets a turn.
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
    """A policy within the limits that apply when a line is opened."""

    order: tuple[Priority, Priority, Priority] = ("PREFERENTIAL", "APPOINTMENT", "NORMAL")
    at_least: Priority | None = "NORMAL"
    one_in: Annotated[int, Meta(ge=2, le=20)] = 3
    recalls_max: Annotated[int, Meta(ge=0, le=10)] = 3
    call_timeout_s: Annotated[int, Meta(ge=10, le=1_800)] = 90
    requeue_within_s: Annotated[int, Meta(ge=0, le=14_400)] = 900
    requeues_max: Annotated[int, Meta(ge=0, le=10)] = 2
    early_minutes_max: Annotated[int, Meta(ge=0, le=720)] = 60


def format_number(priority: str, number: int) -> str:
    """The number on the board and on the paper ticket: A-017."""
    return f"{LETTERS.get(priority, 'X')}-{number:03d}"
