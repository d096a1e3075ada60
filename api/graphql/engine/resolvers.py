"""How fields are asked: their own functions, with arguments that are Python's already.

Strawberry finds out anew for each field of each request which arguments a function takes and how to make them. What it
finds is the same each time: here it is written into the schema once, in words that graphql-core has for it.
"""

from collections.abc import Callable
from operator import attrgetter
from typing import Any

from graphql import GraphQLField, GraphQLInputObjectType, GraphQLObjectType, GraphQLSchema


def ask_plainly(schema: GraphQLSchema) -> None:
    """Have every field asked so, and what it is told made so."""
    for kind in schema.type_map.values():
        if isinstance(kind, GraphQLInputObjectType) and "strawberry-definition" in kind.extensions:
            _make_plainly(kind)
        elif isinstance(kind, GraphQLObjectType):
            # Of what implements an interface it is asked whether it is of its type; an interface knows that of ours.
            kind.is_type_of = None
            for field in kind.fields.values():
                if said := field.extensions.get("strawberry-definition"):
                    _ask_plainly(field, said, followed=kind is schema.subscription_type)


def _make_plainly(kind: GraphQLInputObjectType) -> None:
    made = kind.extensions["strawberry-definition"]
    for field in made.fields:
        kind.fields[_named(field)].out_name = field.python_name
    kind.out_type = _maker(made.origin)  # type: ignore[assignment]  # as a subclass would have it


def _maker(origin: Callable[..., Any]) -> Callable[[dict[str, Any]], Any]:
    return lambda fields: origin(**fields)


def _ask_plainly(field: GraphQLField, said: Any, *, followed: bool) -> None:
    if said.is_basic_field:
        field.resolve = _attribute(said.python_name)
        field.extensions["attribute"] = said.python_name
        return
    for argument in said.arguments:
        field.args[_named(argument)].out_name = argument.python_name
    # It takes what it is asked of, and anything that has a `context` for its `info`.
    if followed:
        field.subscribe = said.base_resolver.wrapped_func
    else:
        field.resolve = said.base_resolver.wrapped_func


def _named(said: Any) -> str:
    """What the schema calls it."""
    name: str = said.graphql_name or _camel(said.python_name)
    return name


def _camel(name: str) -> str:
    first, *others = name.split("_")
    return first + "".join(word.title() for word in others)


def _attribute(name: str) -> Callable[..., Any]:
    get = attrgetter(name)
    return lambda source, _: get(source)
