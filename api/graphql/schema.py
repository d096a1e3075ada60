"""The whole schema, made from the root fields and error types that contexts declare."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import wraps
from inspect import signature
from types import ModuleType
from typing import Any, TypeVar

import strawberry
from graphql import GraphQLSchema
from strawberry.schema.config import StrawberryConfig

from api.contexts import graphql_modules
from api.graphql import errors
from api.graphql.engine.resolvers import set_direct_resolvers
from api.graphql.engine.values import HINT
from api.graphql.errors import UserError
from api.graphql.fields import RootField
from api.graphql.guard import guarded
from api.graphql.nodes import node
from api.graphql.scalars import SCALAR_HINTS, SCALARS

T = TypeVar("T")

DESCRIPTIONS = {
    "Query": "Queries. They change nothing.",
    "Mutation": "Commands. A request that is repeated with its idempotency key is executed once.",
    "Subscription": "Live fields, as an event stream or over WebSockets (graphql-transport-ws).",
}


def root_fields(modules: Iterable[ModuleType]) -> dict[str, RootField]:
    """All root fields of these modules, and `node`, keyed by "Query.name". Raises TypeError if a name is used twice."""
    fields: dict[str, RootField] = {}
    for field in _declared(modules, RootField):
        if fields.setdefault(name := f"{field.root}.{_camel(field.name)}", field) is not field:
            raise TypeError(f"two root fields are named {name}")
    return fields | {"Query.node": node}


def schema_of(modules: Iterable[ModuleType]) -> strawberry.Schema:
    """The schema that these modules declare, with the guard before each root field."""
    modules = list(modules)
    fields = root_fields(modules)
    roots = {root: _root(root, [field for field in fields.values() if field.root == root]) for root in DESCRIPTIONS}
    schema = strawberry.Schema(
        query=roots["Query"],
        mutation=roots["Mutation"],
        subscription=roots["Subscription"],
        types=_user_errors([errors, *modules]),
        config=StrawberryConfig(scalar_map=SCALARS),
    )
    for name, hint in SCALAR_HINTS.items():
        schema._schema.type_map[name].extensions[HINT] = hint
    set_direct_resolvers(schema._schema)
    _guard(schema._schema, fields)
    return schema


def _declared(modules: Iterable[ModuleType], kind: type[T]) -> Iterator[T]:
    """The objects of a type that modules declare, each once, in order."""
    for module in modules:
        for value in vars(module).values():
            if isinstance(value, kind):
                yield value


def _user_errors(modules: Iterable[ModuleType]) -> list[type[UserError]]:
    """The error types that these modules declare. No field of the schema refers to them, only their interface."""
    return [
        kind
        for kind in _declared(modules, type)
        if issubclass(kind, UserError)
        and kind is not UserError
        and kind.__module__ in {one.__name__ for one in modules}
    ]


def _root(root: str, fields: list[RootField]) -> type:
    namespace: dict[str, Any] = {"__annotations__": {}}
    for field in fields:
        resolver = _without_grant(field.function)
        declare = strawberry.subscription if root == "Subscription" else strawberry.field
        namespace[field.name] = declare(resolver=resolver, description=field.description)
    made: type = strawberry.type(description=DESCRIPTIONS[root])(type(root, (), namespace))
    return made


def _without_grant(function: Callable[..., Any]) -> Callable[..., Any]:
    """The function without its parameter `grant`, which is not an argument of the field."""

    @wraps(function)
    def seen(*arguments: Any, **named: Any) -> Any:
        return function(*arguments, **named)

    seen_signature = signature(function)
    parameters = [one for one in seen_signature.parameters.values() if one.name != "grant"]
    seen.__signature__ = seen_signature.replace(parameters=parameters)  # type: ignore[attr-defined]
    return seen


def _guard(schema: GraphQLSchema, fields: Mapping[str, RootField]) -> None:
    """Put the guard before every root field. Raises KeyError for an undeclared field."""
    for root in (schema.query_type, schema.mutation_type, schema.subscription_type):
        assert root
        for name, field in root.fields.items():
            assert "attribute" not in field.extensions, "a plan would read it without the guard"
            resolve = guarded(fields[f"{root.name}.{name}"])
            if root is schema.subscription_type:
                field.subscribe = resolve
            else:
                field.resolve = resolve


def _camel(name: str) -> str:
    first, *others = name.split("_")
    return first + "".join(word.title() for word in others)


FIELDS = root_fields(graphql_modules())
schema = schema_of(graphql_modules())
