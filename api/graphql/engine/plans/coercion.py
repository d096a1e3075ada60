"""Coercion of variables, as graphql-core does it, but with the work for each type done once."""

from collections.abc import Callable
from typing import Any, NamedTuple

from graphql import (
    GraphQLEnumType,
    GraphQLInputObjectType,
    GraphQLNonNull,
    GraphQLScalarType,
    GraphQLSchema,
    VariableDefinitionNode,
    type_from_ast,
)
from graphql.pyutils import Undefined
from graphql.utilities.coerce_input_value import coerce_default_value, coerce_input_literal, coerce_input_value

Coerce = Callable[[Any], Any]


class Variable(NamedTuple):
    name: str
    coerce: Coerce
    default: Any  # Undefined: no default
    nullable: bool


def variable_of(schema: GraphQLSchema, node: VariableDefinitionNode) -> Variable:
    kind: Any = type_from_ast(schema, node.type)
    default = Undefined if node.default_value is None else coerce_input_literal(node.default_value, kind)
    return Variable(node.variable.name.value, coercer(kind), default, not isinstance(kind, GraphQLNonNull))


class _Unfit(Exception):
    """A value does not have its type."""


def coercer(kind: Any, *above: GraphQLInputObjectType) -> Coerce:
    """A function that coerces a variable's value. It raises some exception for a value of the wrong type."""
    if isinstance(kind, GraphQLNonNull):
        return _never_null(_coercer_of(kind.of_type, *above))
    coerce = _coercer_of(kind, *above)
    return lambda value: None if value is None else coerce(value)


def _never_null(coerce: Coerce) -> Coerce:
    def coerced(value: Any) -> Any:
        if value is None:
            raise _Unfit
        return coerce(value)

    return coerced


def _coercer_of(kind: Any, *above: GraphQLInputObjectType) -> Coerce:
    """Like `coercer`, for values that are not null. From a recursive type on, the library takes over."""
    if isinstance(kind, GraphQLInputObjectType) and not kind.is_one_of and kind not in above:
        return _object_coercer(kind, *above)
    if isinstance(kind, GraphQLEnumType):
        members = {name: kind.coerce_input_value(name) for name in kind.values}
        return lambda value: members[value]
    if isinstance(kind, GraphQLScalarType):
        coerce: Coerce = kind.coerce_input_value
        if kind.name in ("String", "ID"):
            return lambda value: value if type(value) is str else coerce(value)
        return coerce

    def as_the_library(value: Any) -> Any:
        coerced = coerce_input_value(value, kind)
        if coerced is Undefined:
            raise _Unfit
        return coerced

    return as_the_library


def _object_coercer(kind: GraphQLInputObjectType, *above: GraphQLInputObjectType) -> Coerce:
    make = kind.out_type
    defaults = {}
    required = set()
    for name, field in kind.fields.items():
        default = coerce_default_value(field)
        if default is not Undefined:
            defaults[field.out_name or name] = default
        elif isinstance(field.type, GraphQLNonNull):
            required.add(name)
    known = {name: (field.out_name or name, coercer(field.type, *above, kind)) for name, field in kind.fields.items()}

    def coerced(value: Any) -> Any:
        if type(value) is not dict or not required <= value.keys():
            raise _Unfit
        found = dict(defaults)
        for name, field_value in value.items():
            out_name, coerce = known[name]
            found[out_name] = coerce(field_value)
        return make(found)

    return coerced
