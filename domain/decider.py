"""The protocol of decisions: what events, states and commands are.

A context's module reads top to bottom: events, state, stream name and `evolve`, commands each with what it reads and
decides. Nothing here knows how events are stored.
"""

import re
from collections.abc import Callable, Iterable, Iterator
from copy import copy
from datetime import datetime
from functools import cache
from typing import (
    Annotated,
    Any,
    ClassVar,
    Generic,
    ParamSpec,
    TypeAlias,
    TypeVar,
    cast,
    dataclass_transform,
    get_args,
    get_type_hints,
    overload,
)

import msgspec

from domain.copy_on_write import CopyOnWriteDict
from domain.errors import OrganisationUnknown, PersonUnknown, Rejected
from domain.identifiers import OPAQUE, ORGANISATION, PARTY, category_of, party_stream
from domain.msgspec_words import refusal_of

T = TypeVar("T")
S = TypeVar("S", bound="State")
C = TypeVar("C", bound="Command")
P = ParamSpec("P")

StreamName: TypeAlias = str  # "category/identifier…": the category says which fold makes its state


class Stream(str, Generic[S]):
    """The name of a stream whose state is known to the type checker.

    At run time it is a plain str: no object of this class is ever made. See `names_stream_of`.
    """

    __slots__ = ()


Instant = Annotated[datetime, msgspec.Meta(tz=True)]  # always aware; UTC in events

MUST_BE_REGISTERED = "must be registered"
# Marks a command's field that must name a party which is registered, and not erased, when the command is decided. The
# form tells which parties are meant: Annotated[SubjectId, OPAQUE, MUST_BE_REGISTERED] for a person,
# Annotated[PartyId, PARTY, MUST_BE_REGISTERED] for a person or an organisation. See `required_parties`.

PERSONAL = "personal"
# A personal field is encrypted in the log under its subject's key. It is None for ever once the subject is erased.
Personal = Annotated[T | None, PERSONAL]

EVENTS: dict[str, type["Event"]] = {}  # stable name, "slot_held.v1" → class
UPCASTERS: dict[str, "Upcaster"] = {}  # old name → upcaster to the next version
FOLDS: dict[str, "Fold"] = {}  # category → fold

_VERSIONED = re.compile(r"[a-z]+(?:_[a-z]+)*\.v[1-9][0-9]*")
CONTAINERS = (dict, list, set, CopyOnWriteDict)  # mutable containers that a state may have


@dataclass_transform(kw_only_default=True, frozen_default=True)
class ValueMeta(msgspec.StructMeta):
    """Makes every struct below it immutable and built by keyword.

    Immutable values can't form cycles, so the garbage collector need not track them: there are very many.
    """

    def __new__(mcls, class_name: str, bases: tuple[type, ...], namespace: dict[str, Any], **config: Any) -> Any:
        return super().__new__(
            mcls, class_name, bases, namespace, **{"frozen": True, "kw_only": True, "gc": False} | config
        )


class Value(msgspec.Struct, metaclass=ValueMeta):
    """An immutable value."""


class EventMeta(ValueMeta):
    """Registers each event class under its stable name.

    Class keywords: `name`, the stable name with its version; `subject`, the field that holds the subject id whose key
    encrypts the personal fields; `erases`, True if storing the event deletes that key. A class whose own name begins
    with an underscore is a base of events and has no stable name.
    """

    def __new__(
        mcls,
        class_name: str,
        bases: tuple[type, ...],
        namespace: dict[str, Any],
        *,
        name: str = "",
        subject: str = "",
        erases: bool = False,
        **config: Any,
    ) -> Any:
        cls: Any = super().__new__(mcls, class_name, bases, namespace, **config)
        cls.event_name, cls.subject_field, cls.erases_subject = name, subject, erases
        cls.personal_fields = _personal_fields(cls)
        is_base = class_name.startswith("_") or bases == (Value,)
        if not (_VERSIONED.fullmatch(name) or (is_base and not name)):
            raise TypeError(f'{class_name} needs a name with a version, such as name="slot_held.v1"; it has "{name}"')
        if bool(cls.personal_fields or erases) > bool(subject):
            raise TypeError(f"{class_name} has personal fields or erases, but names no subject")
        if name and EVENTS.setdefault(name, cls) is not cls:
            raise TypeError(f"two events are named {name}")
        if name in UPCASTERS:
            raise TypeError(f"{name} is upcast to {UPCASTERS[name].to}: no event can have that name")
        return cls


def _personal_fields(cls: type) -> tuple[str, ...]:
    hints = get_type_hints(cls, include_extras=True)
    return tuple(field for field, hint in hints.items() if PERSONAL in getattr(hint, "__metadata__", ()))


class Event(Value, metaclass=EventMeta, omit_defaults=True):
    """A fact: never changed, never deleted. Its fields are JSON; streams and plain fields carry opaque ids only."""

    event_name: ClassVar[str]
    subject_field: ClassVar[str]
    erases_subject: ClassVar[bool]
    personal_fields: ClassVar[tuple[str, ...]]


E = TypeVar("E", bound=Event)


def redacted(event: E) -> E:
    """The event as it reads once its subject is erased."""
    return msgspec.structs.replace(event, **dict.fromkeys(event.personal_fields))


class State(msgspec.Struct, gc=False):
    """The state of one stream: the result of folding its events. Mutable: it belongs to the code that folds it.

    All fields have defaults. Containers hold immutable values only (see `copied`), so a state can't form cycles.
    """


class Command(Value, forbid_unknown_fields=True):
    """A request for a change. Time and new identifiers come in from outside."""


Recorded: TypeAlias = tuple[StreamName, Event]
Decided: TypeAlias = Iterator[Recorded]


class Upcaster(msgspec.Struct, frozen=True):
    """Turns a stored event of an old version into the next one. `personal` names the old version's personal fields."""

    to: str
    upcast: Callable[[dict[str, Any]], dict[str, Any]]
    personal_fields: tuple[str, ...] = ()


# Returns the ids of the entities of a stream that an event changes: live fields follow single entities.
Touches: TypeAlias = Callable[[Any], Iterable[str]]


class Fold(msgspec.Struct, frozen=True):
    """How a category's streams become states. `touches` is None if such a stream has no entities to follow."""

    initial: Callable[[], State]
    evolve: Callable[[Any, Event], Any]
    touches: Touches | None = None


def names_stream_of(state: type[S]) -> Callable[[Callable[P, StreamName]], Callable[P, Stream[S]]]:
    """Declare that the function below names a stream of this state, so that type checkers know what is read there."""

    def typed(name: Callable[P, StreamName]) -> Callable[P, Stream[S]]:
        return cast("Callable[P, Stream[S]]", name)

    return typed


def evolves(
    category: str, initial: Callable[[], S], *, touches: Touches | None = None
) -> Callable[[Callable[[S, Event], S]], Callable[[S, Event], S]]:
    """Declare how streams named "category/…" are folded. `evolve` takes any event and may change the state."""

    def register(evolve: Callable[[S, Event], S]) -> Callable[[S, Event], S]:
        FOLDS[category] = Fold(initial=initial, evolve=evolve, touches=touches)
        return evolve

    return register


def required_parties(command: Command) -> dict[str, StreamName]:
    """The streams of the parties that must be registered for this command, keyed by the field that names the party."""
    fields = party_fields(type(command))
    if not fields:
        return {}
    parties = ((field, getattr(command, field)) for field in fields)
    return {field: party_stream(party) for field, party in parties if party is not None}


@cache
def party_fields(command_type: type[Command]) -> dict[str, tuple[type[Rejected], ...]]:
    """The fields marked with MUST_BE_REGISTERED, each with the refusals of a party that is not.

    Raises TypeError for a field with this mark but without the form of a party's id.
    """
    found: dict[str, tuple[type[Rejected], ...]] = {}
    for field, hint in get_type_hints(command_type, include_extras=True).items():
        for marks in (getattr(part, "__metadata__", ()) for part in (hint, *get_args(hint))):
            if MUST_BE_REGISTERED in marks:
                found[field] = next((_UNKNOWN[form] for form in marks if form in _UNKNOWN), ())
                if not found[field]:
                    raise TypeError(f"{command_type.__name__}.{field} must have the form of a party's id")
    return found


_UNKNOWN: dict[Any, tuple[type[Rejected], ...]] = {
    OPAQUE: (PersonUnknown,),
    ORGANISATION: (OrganisationUnknown,),
    PARTY: (PersonUnknown, OrganisationUnknown),
}


def unknown_party(stream: StreamName) -> type[Rejected]:
    """The refusal for a party of this stream that is not registered."""
    return OrganisationUnknown if category_of(stream) == "organisation" else PersonUnknown


def upcasts(
    old_name: str, to: str, *, personal: tuple[str, ...] = ()
) -> Callable[[Callable[[dict[str, Any]], dict[str, Any]]], Callable[[dict[str, Any]], dict[str, Any]]]:
    """Declare how a stored event of an old version becomes the next one, as raw dicts.

    `personal` names the old version's personal fields: once the subject is erased, the function finds None in them.
    Fields that had their default value were not stored, so they are absent. Raises TypeError if an event still has the
    old name, if that name is already upcast, or if the chain of upcasters leads back to it.
    """

    def register(function: Callable[[dict[str, Any]], dict[str, Any]]) -> Callable[[dict[str, Any]], dict[str, Any]]:
        if old_name in EVENTS or old_name in UPCASTERS:
            raise TypeError(f"{old_name} is an event or upcast already")
        name = to
        while name in UPCASTERS and name != old_name:
            name = UPCASTERS[name].to
        if name == old_name:
            raise TypeError(f"{old_name} would be upcast to itself")
        UPCASTERS[old_name] = Upcaster(to=to, upcast=function, personal_fields=personal)
        return function

    return register


def fold_of(stream: StreamName) -> Fold:
    """The fold of a stream, by its category. Raises KeyError for an undeclared category."""
    return FOLDS[category_of(stream)]


@overload
def fold(stream: Stream[S], events: Iterable[Event]) -> S: ...
@overload
def fold(stream: StreamName, events: Iterable[Event]) -> Any: ...
def fold(stream: StreamName, events: Iterable[Event]) -> Any:
    """The state of a stream after these events."""
    of = fold_of(stream)
    state: Any = of.initial()
    for event in events:
        state = of.evolve(state, event)
    return state


def copied(state: S) -> S:
    """An equal, independent state. Values in a state's containers are immutable, so copying one level is enough."""
    twin = copy(state)
    for field in state.__struct_fields__:
        value = getattr(state, field)
        if isinstance(value, CONTAINERS):
            setattr(twin, field, value.copy())
    return twin


def build(command_type: type[C], **fields: Any) -> C:
    """Make a command from untrusted fields. Raises InvalidInput, which names the field and describes a valid value."""
    try:
        return msgspec.convert(fields, command_type)
    except msgspec.ValidationError as error:
        raise refusal_of(error) from None
