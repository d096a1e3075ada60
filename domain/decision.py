"""Decisions: what each command reads, and the function that decides it on the states found there.

    @decides(BookAppointment, reads=lambda c: (stream(c.agenda), patients.stream(c.patient)))
    def book_appointment(command: BookAppointment, agenda: Agenda, patient: Patient, *, now: datetime) -> Decided: ...

A type checker finds a misspelt field, a state of another stream, and a missing read.
"""

from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from itertools import takewhile
from typing import Any, Protocol, TypeAlias, TypeVar, cast, overload

import msgspec

from domain.decider import Command, Recorded, State, Stream, StreamName

C = TypeVar("C", bound=Command)
A = TypeVar("A", bound=State)
B = TypeVar("B", bound=State)
D = TypeVar("D", bound=State)
E = TypeVar("E", bound=State)
C_contra = TypeVar("C_contra", bound=Command, contravariant=True)
A_contra = TypeVar("A_contra", bound=State, contravariant=True)
B_contra = TypeVar("B_contra", bound=State, contravariant=True)
D_contra = TypeVar("D_contra", bound=State, contravariant=True)
E_contra = TypeVar("E_contra", bound=State, contravariant=True)

Events: TypeAlias = Iterable[Recorded]
Names: TypeAlias = tuple[StreamName, ...]
MoreNames: TypeAlias = tuple[StreamName | None, ...]
Decider: TypeAlias = Callable[..., Events]

DECISIONS: dict[type[Command], "Decision"] = {}
MAX_READ_ROUNDS = 3


class Decision(msgspec.Struct, frozen=True):
    """What a command reads and what it decides.

    `reads(command)` names the streams. If `asks_again`, `reads(command, found)` is called with the states found so far
    until it names no new stream. `decide(command, *states, now=…)` gets the states in that order; it yields what is to
    be recorded, or raises Rejected.
    """

    reads: Callable[..., Names]
    decide: Decider
    asks_again: bool

    def streams(self, command: Command, found: Mapping[StreamName, Any]) -> Names:
        """The streams that the command reads, as far as the states found so far determine them."""
        return self.reads(command, found) if self.asks_again else self.reads(command)


# One protocol for each shape of `reads` and `then`. A state named by `then` is None if its stream is not read.


class _Decides1(Protocol[C_contra, A_contra]):
    def __call__(self, command: C_contra, a: A_contra, /, *, now: datetime) -> Events: ...


class _Decides2(Protocol[C_contra, A_contra, B_contra]):
    def __call__(self, command: C_contra, a: A_contra, b: B_contra, /, *, now: datetime) -> Events: ...


class _Decides3(Protocol[C_contra, A_contra, B_contra, D_contra]):
    def __call__(self, command: C_contra, a: A_contra, b: B_contra, d: D_contra, /, *, now: datetime) -> Events: ...


class _Decides4(Protocol[C_contra, A_contra, B_contra, D_contra, E_contra]):
    def __call__(
        self, command: C_contra, a: A_contra, b: B_contra, d: D_contra, e: E_contra, /, *, now: datetime
    ) -> Events: ...


class _Decides1Then1(Protocol[C_contra, A_contra, B_contra]):
    def __call__(self, command: C_contra, a: A_contra, b: B_contra | None = None, /, *, now: datetime) -> Events: ...


class _Decides1Then2(Protocol[C_contra, A_contra, B_contra, D_contra]):
    def __call__(
        self, command: C_contra, a: A_contra, b: B_contra | None = None, d: D_contra | None = None, /, *, now: datetime
    ) -> Events: ...


class _Decides2Then1(Protocol[C_contra, A_contra, B_contra, D_contra]):
    def __call__(
        self, command: C_contra, a: A_contra, b: B_contra, d: D_contra | None = None, /, *, now: datetime
    ) -> Events: ...


@overload
def decides(
    command: type[C], *, reads: Callable[[C], tuple[Stream[A]]]
) -> Callable[[_Decides1[C, A]], _Decides1[C, A]]: ...
@overload
def decides(
    command: type[C], *, reads: Callable[[C], tuple[Stream[A], Stream[B]]]
) -> Callable[[_Decides2[C, A, B]], _Decides2[C, A, B]]: ...
@overload
def decides(
    command: type[C], *, reads: Callable[[C], tuple[Stream[A], Stream[B], Stream[D]]]
) -> Callable[[_Decides3[C, A, B, D]], _Decides3[C, A, B, D]]: ...
@overload
def decides(
    command: type[C], *, reads: Callable[[C], tuple[Stream[A], Stream[B], Stream[D], Stream[E]]]
) -> Callable[[_Decides4[C, A, B, D, E]], _Decides4[C, A, B, D, E]]: ...
@overload
def decides(
    command: type[C],
    *,
    reads: Callable[[C], tuple[Stream[A]]],
    then: Callable[[C, A], tuple[Stream[B] | None]],
) -> Callable[[_Decides1Then1[C, A, B]], _Decides1Then1[C, A, B]]: ...
@overload
def decides(
    command: type[C],
    *,
    reads: Callable[[C], tuple[Stream[A]]],
    then: Callable[[C, A], tuple[Stream[B] | None, Stream[D] | None]],
) -> Callable[[_Decides1Then2[C, A, B, D]], _Decides1Then2[C, A, B, D]]: ...
@overload
def decides(
    command: type[C],
    *,
    reads: Callable[[C], tuple[Stream[A], Stream[B]]],
    then: Callable[[C, A, B], tuple[Stream[D] | None]],
) -> Callable[[_Decides2Then1[C, A, B, D]], _Decides2Then1[C, A, B, D]]: ...
def decides(
    command: type[Command],
    *,
    reads: Callable[..., Names],
    then: Callable[..., MoreNames] | None = None,
) -> Callable[[Decider], Decider]:
    """Declare what a command reads and that the function below decides it.

    `reads(command)` names the streams whose states the function gets, in that order. If the command alone does not
    determine all of them, `then(command, *states)` names more, given the first states. From its first None on, nothing
    more is read, and the function gets None.
    """

    def register(decide: Decider) -> Decider:
        if then:
            DECISIONS[command] = Decision(reads=_reads_on(reads, then), decide=decide, asks_again=True)
        else:
            DECISIONS[command] = Decision(reads=reads, decide=decide, asks_again=False)
        return decide

    return register


def _reads_on(
    reads: Callable[..., Names], then: Callable[..., MoreNames]
) -> Callable[[Command, Mapping[StreamName, Any]], Names]:
    def reads_on(command: Command, found: Mapping[StreamName, Any]) -> Names:
        first = reads(command)
        try:
            states = [found[name] for name in first]
        except KeyError:
            return first
        more = takewhile(lambda name: name is not None, then(command, *states))
        return (*first, *cast("Iterable[StreamName]", more))

    return reads_on


def decide(command: Command, states: Mapping[StreamName, Any], now: datetime) -> list[Recorded]:
    """Decide one command. `states` has all that it reads, and is not changed. Raises Rejected."""
    decision = DECISIONS[type(command)]
    read = [states[stream] for stream in decision.streams(command, states)]
    return list(decision.decide(command, *read, now=now))
