"""Finds the refusals of a mutation in the code of its function and of its commands' decisions, and their error types.

So the docs can neither name a refusal that does not exist nor leave one out.
"""

import ast
import inspect
import textwrap
from collections.abc import Callable, Iterator
from functools import cache
from types import FunctionType, ModuleType
from typing import Any

from api.graphql.errors import UserError, maker_of
from api.graphql.fields import RootField
from domain.decider import party_fields
from domain.decision import DECISIONS
from domain.errors import InvalidInput, Rejected

OURS = ("domain", "api.graphql")  # the packages whose functions are searched


def raised_by(field: RootField) -> set[type[Rejected]]:
    """The refusals that the field's function and its commands' decisions raise, directly or in functions they call.

    If a command names a party that must be registered, also the refusal that the committer raises before the decision.
    """
    seen: set[FunctionType] = set()
    found = set(_raised(field.function, seen))
    for command in field.commands:
        found |= set(_raised(DECISIONS[command].decide, seen))
        found.update(*party_fields(command).values())
    return found


def error_types_of(field: RootField) -> set[type[UserError]]:
    """The error types that are made for these refusals, without those that every mutation has."""
    makers = (maker_of(refusal) for refusal in raised_by(field) - {InvalidInput})
    return {
        named
        for make in makers
        if isinstance(make, FunctionType)
        for named in _named(make)
        if isinstance(named, type) and issubclass(named, UserError) and named is not UserError
    }


def _raised(function: Callable[..., Any], seen: set[FunctionType]) -> Iterator[type[Rejected]]:
    function = inspect.unwrap(function)
    if not isinstance(function, FunctionType) or function in seen or not function.__module__.startswith(OURS):
        return
    seen.add(function)
    for named in _named(function):
        if isinstance(named, type) and issubclass(named, Rejected) and named is not Rejected:
            yield named
        elif isinstance(named, FunctionType):
            yield from _raised(named, seen)


def _named(function: FunctionType) -> Iterator[Any]:
    """The objects that the code of a function names."""
    names = inspect.getclosurevars(function)
    known = {**names.globals, **names.nonlocals}
    for node in ast.walk(_tree(function)):
        if isinstance(node, ast.Name | ast.Attribute):
            yield _resolved(node, known)


@cache
def _tree(function: FunctionType) -> ast.AST:
    return ast.parse(textwrap.dedent(inspect.getsource(function)))


def _resolved(node: ast.expr, known: dict[str, Any]) -> Any:
    """The object for a name, or for a name in a module; None if unknown."""
    if isinstance(node, ast.Name):
        return known.get(node.id)
    if isinstance(node, ast.Attribute):
        owner = _resolved(node.value, known)
        return getattr(owner, node.attr, None) if isinstance(owner, ModuleType | type) else None
    return None
