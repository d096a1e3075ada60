"""Makes fields call their own functions directly, with arguments that are already Python values.

For each field of each request, Strawberry determines which arguments a function takes and how to convert them. The
result is always the same, so here it is written into the schema once, by the means of graphql-core.
"""

from collections.abc import Callable
from operator import attrgetter
from typing import Any

from graphql import GraphQLField, GraphQLInputObjectType, GraphQLObjectType, GraphQLSchema


def set_direct_resolvers(schema: GraphQLSchema) -> None:
    """Set direct resolvers for all fields, and conversions for all input types."""
    for kind in schema.type_map.values():
        if isinstance(kind, GraphQLInputObjectType) and "strawberry-definition" in kind.extensions:
            _set_conversions(kind)
        elif isinstance(kind, GraphQLObjectType):
            # graphql-core asks objects behind an interface for their type; the interface can tell for our classes.
            kind.is_type_of = None
            for field in kind.fields.values():
                if definition := field.extensions.get("strawberry-definition"):
                    _set_direct_resolver(field, definition, followed=kind is schema.subscription_type)


def _set_conversions(kind: GraphQLInputObjectType) -> None:
    made = kind.extensions["strawberry-definition"]
    for field in made.fields:
        kind.fields[_schema_name(field)].out_name = field.python_name
    kind.out_type = _maker(made.origin)  # type: ignore[assignment]  # as a subclass would have it


def _maker(origin: Callable[..., Any]) -> Callable[[dict[str, Any]], Any]:
    return lambda fields: origin(**fields)


def _set_direct_resolver(field: GraphQLField, definition: Any, *, followed: bool) -> None:
    if definition.is_basic_field:
        field.resolve = _attribute(definition.python_name)
        field.extensions["attribute"] = definition.python_name
        return
    for argument in definition.arguments:
        field.args[_schema_name(argument)].out_name = argument.python_name
    # It takes the source, and any object with a `context` as `info`.
    if followed:
        field.subscribe = definition.base_resolver.wrapped_func
    else:
        field.resolve = definition.base_resolver.wrapped_func


def _schema_name(definition: Any) -> str:
    """The name in the schema."""
    name: str = definition.graphql_name or _camel(definition.python_name)
    return name


def _camel(name: str) -> str:
    first, *others = name.split("_")
    return first + "".join(word.title() for word in others)


def _attribute(name: str) -> Callable[..., Any]:
    get = attrgetter(name)
    return lambda source, _: get(source)
