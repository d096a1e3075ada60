"""Mutations derived from a command: input type, call, payload and refusals.

`command` declares one. The input has a field for each field of the command that the client gives: its type follows from
the command's annotation, its description is in `takes`. Other fields get a new id (`new_id`) or a value from the
program (`adds`). If a field of the command has none of these sources, the program does not start.
"""

from collections.abc import Awaitable, Callable, Mapping
from datetime import date, datetime
from functools import partial
from types import NoneType, UnionType
from typing import Annotated, Any, Generic, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

import msgspec
import strawberry
from strawberry.types.private import StrawberryPrivate

from api.access.grant import Grant
from api.graphql.access import Rule
from api.graphql.context import Context
from api.graphql.fields import Info, Input, KeyedInput, Payload, RootField
from api.graphql.links import LinkTo, link
from api.graphql.scalars import Instant, Position
from domain.decider import Command, build
from domain.identifiers import is_id
from infra.log.submission import Outcome

C = TypeVar("C", bound=Command)
E = TypeVar("E", bound=type)

_SAME: tuple[type, ...] = (str, int, bool, date)  # types that the schema has as well
_ENUMS: dict[Any, type] = {}  # Literal of a command → enum of the schema


class Given(msgspec.Struct, frozen=True):
    """A field of an input that needs more than a description.

    Attributes:
        description: for the schema.
        type: its type in the schema, if the command's annotation does not determine it: strawberry.ID for a code.
        default: its value if the client leaves it out. Without it, the command's default applies, if any.
        clean: a function that is applied to the client's value first.
    """

    description: str
    type: Any = None
    default: Any = msgspec.UNSET
    clean: Callable[[Any], Any] | None = None


class Takes:
    """The input of a mutation: its description, and the description of each field that the client gives."""

    def __init__(self, description: str, /, **fields: str | Given) -> None:
        self.description = description
        self.fields = {name: Given(one) if isinstance(one, str) else one for name, one in fields.items()}


class Gives:
    """The payload of a mutation: its description, and those of its fields in the order of the function's results."""

    def __init__(self, description: str, **fields: str) -> None:
        self.description = description
        self.fields = fields


class Done(msgspec.Struct, Generic[C], frozen=True):
    """A command that was accepted, now or by an earlier request with the same key."""

    command: C
    outcome: Outcome


def words_of(literal: Any) -> Callable[[E], E]:
    """Declare the enum that represents a Literal of commands. Raises TypeError if it has other words."""

    def register(enum: E) -> E:
        words = {member.value for member in enum.__members__.values()}  # type: ignore[attr-defined]  # an enum has it
        if words != set(get_args(literal)):
            raise TypeError(f"{enum.__name__} has {sorted(words)}, not {sorted(get_args(literal))}")
        _ENUMS[literal] = enum
        return enum

    return register


Shows = Callable[[Info, Done[C]], Awaitable[Any]]
Adds = Callable[[Context, Grant], Any]


def command(
    kind: type[C],
    description: str,
    *,
    who: Rule,
    takes: Takes,
    gives: Gives,
    new_id: str = "",
    within: str = "",
    adds: Mapping[str, Adds] = {},
) -> Callable[[Shows[C]], RootField]:
    """Declare the mutation of a command. The function below returns the payload's field, or a tuple of its fields.

    `new_id` names the command's field that gets a new opaque id; `within` names the field whose value and a slash come
    before it. `adds` has the fields that the program sets. Raises TypeError unless each of the command's fields is in
    one of these.
    """

    def declare(shows: Shows[C]) -> RootField:
        _check_fields(kind, [*takes.fields, *adds, *([new_id] if new_id else [])])
        if within and within not in takes.fields:
            raise TypeError(f"{kind.__name__}: `within` must be in `takes`, which has no {within}")
        camel = "".join(word.title() for word in shows.__name__.split("_"))
        input_type: Any = _input(f"{camel}Input", kind, takes)
        payload = _payload(f"{camel}Payload", gives, _returned(shows))
        read, show = _reader(kind, takes), _shower(payload, _attributes(gives, _returned(shows)))
        new_field = (new_id, within) if new_id else None

        async def perform(info: Info, grant: Grant, input: Any) -> Any:
            context, content = info.context, read(input)
            added = {name: add(context, grant) for name, add in adds.items()}
            make = partial(_made, kind, content | added, new_field)
            done = Done(*await context.perform(grant, input.idempotency_key, content, kind, make))
            return show(done.outcome, await shows(info, done))

        perform.__name__, perform.__module__ = shows.__name__, shows.__module__
        perform.__annotations__ |= {"input": _argument[input_type], "return": payload}
        return RootField("Mutation", description, who, perform, commands=(kind,))

    return declare


_PRIVATE: Any = Annotated[Any, StrawberryPrivate()]
_argument: Any = Input  # a type checker would read the variable as a type


def _made(kind: type[C], fields: dict[str, Any], new_field: tuple[str, str] | None, id: str) -> C:
    """Make the command. `new_field` names the field for the new id, and the field whose value precedes it, or ""."""
    if new_field:
        name, within = new_field
        fields = {**fields, name: f"{fields[within]}/{id}" if within else id}
    return build(kind, **fields)


def _shower(payload: type[Payload], names: tuple[str, ...]) -> Callable[[Outcome, Any], Payload]:
    if len(names) == 1:
        (name,) = names
        return lambda outcome, shown: payload(position=Position(outcome.position), **{name: shown})
    return lambda outcome, shown: payload(position=Position(outcome.position), **dict(zip(names, shown, strict=True)))


def _check_fields(kind: type[Command], given: list[str]) -> None:
    fields = set(kind.__struct_fields__)
    if missing := fields - set(given):
        raise TypeError(f"{kind.__name__}: {sorted(missing)} must be in `takes`, `adds` or `new_id`")
    if unknown := set(given) - fields:
        raise TypeError(f"{kind.__name__} has no fields {sorted(unknown)}")
    if twice := {field for field in given if given.count(field) > 1}:
        raise TypeError(f"{kind.__name__}: {sorted(twice)} must be in only one of `takes`, `adds` and `new_id`")


def _input(name: str, kind: type[Command], takes: Takes) -> type[KeyedInput]:
    hints = get_type_hints(kind, include_extras=True)
    defaults = {
        field.name: field.default if field.default_factory is msgspec.NODEFAULT else field.default_factory()
        for field in msgspec.structs.fields(kind)
    }
    annotations: dict[str, Any] = {}
    namespace: dict[str, Any] = {"__annotations__": annotations}
    for field, given in takes.fields.items():
        annotations[field] = given.type or _schema_type(hints[field])
        default = defaults[field] if given.default is msgspec.UNSET else given.default
        namespace[field] = strawberry.field(description=given.description, **_default(annotations[field], default))
    made: type[KeyedInput] = strawberry.input(description=takes.description)(type(name, (KeyedInput,), namespace))
    return made


def _default(kind: Any, default: Any) -> dict[str, Any]:
    """The options of a field for a default of the command, as a value of the schema's type."""
    if default is msgspec.NODEFAULT:
        return {}
    if isinstance(default, list):
        return {"default_factory": default.copy}
    return {"default": getattr(kind, default) if kind in _ENUMS.values() else default}


def _schema_type(hint: Any) -> Any:
    """The type in the schema for an annotation of a command. Raises TypeError if there is none."""
    if get_origin(hint) in (Union, UnionType):
        (inner,) = (one for one in get_args(hint) if one is not NoneType)
        return _schema_type(inner) | None
    if get_origin(hint) is Literal:
        if hint not in _ENUMS:
            raise TypeError(f"the schema has no enum for {hint}: declare one with @words_of, and import it here")
        return _ENUMS[hint]
    if get_origin(hint) is Annotated:
        inner, *constraints = get_args(hint)
        if inner is str and any(is_id(one) for one in constraints if isinstance(one, msgspec.Meta)):
            return strawberry.ID
        return Instant if inner is datetime else _schema_type(inner)
    if hint in _SAME:
        return hint
    raise TypeError(f"the schema has no type for {hint}: give one with Given(…, type=…)")


def _reader(kind: type[Command], takes: Takes) -> Callable[[Any], dict[str, Any]]:
    """Reads the client's input into fields of the command: enums become their words."""
    hints = get_type_hints(kind)
    each = [(name, _is_enum(hints[name]), given.clean) for name, given in takes.fields.items()]

    def read(input: Any) -> dict[str, Any]:
        content: dict[str, Any] = {}
        for name, is_enum, clean in each:
            value = getattr(input, name)
            if value is not None:
                if is_enum:
                    value = value.value
                elif clean:
                    value = clean(value)
            content[name] = value
        return content

    return read


def _is_enum(hint: Any) -> bool:
    return hint in _ENUMS or any(one in _ENUMS for one in get_args(hint))


def _returned(shows: Callable[..., Any]) -> Any:
    """What the function returns by its annotation. Raises TypeError if it has none."""
    hints = get_type_hints(shows, include_extras=True)
    if "return" not in hints:
        raise TypeError(f"{shows.__name__} needs an annotation of what it returns: the payload follows from it")
    return hints["return"]


def _types(returns: Any) -> tuple[Any, ...]:
    """The type of each value that a function returns."""
    return get_args(returns) if get_origin(returns) is tuple else (returns,)


def _link_of(kind: Any) -> LinkTo | None:
    marks = get_args(kind)[1:] if get_origin(kind) is Annotated else ()
    return next((mark for mark in marks if isinstance(mark, LinkTo)), None)


def _key(field: str) -> str:
    """The attribute with the id or code to which a field links."""
    return f"{field}_key"


def _attributes(gives: Gives, returns: Any) -> tuple[str, ...]:
    """The attributes of the payload that get the values, in order."""
    return tuple(
        _key(field) if _link_of(kind) else field for field, kind in zip(gives.fields, _types(returns), strict=False)
    )


def _payload(name: str, gives: Gives, returns: Any) -> type[Payload]:
    types = _types(returns)
    if len(types) != len(gives.fields):
        raise TypeError(f"{name}: `gives` has {sorted(gives.fields)}, the function returns {len(types)} values")
    namespace: dict[str, Any] = {"__annotations__": {}}
    for (field, description), kind in zip(gives.fields.items(), types, strict=True):
        if to := _link_of(kind):
            namespace["__annotations__"][_key(field)] = _PRIVATE
            namespace[_key(field)] = None
            namespace[field] = link(to.kind, description, key=_key(field))
        else:
            namespace["__annotations__"][field] = kind if NoneType in get_args(kind) else kind | None
            namespace[field] = strawberry.field(default=None, description=description)
    made: type[Payload] = strawberry.type(description=gives.description)(type(name, (Payload,), namespace))
    return made
