"""Planned fields: how a value is resolved and how it is shown; and the state of one execution of a plan."""

from collections.abc import Callable, Coroutine, Mapping
from types import CoroutineType
from typing import Any

from graphql import (
    FieldNode,
    GraphQLError,
    GraphQLNonNull,
    located_error,
)
from graphql.pyutils import Undefined

from api.graphql.engine.plans.coercion import Coerce

Path = tuple[Any, Any] | None  # the path above, and the key or index there


class Unplannable(Exception):
    """The library has to execute the operation."""


class ResolverInfo:
    """What resolvers get as `info`: only what they need of it."""

    def __init__(self, context: object) -> None:
        self.context = context


class Run:
    """One execution of a plan."""

    def __init__(self, context: object, values: dict[str, Any]) -> None:
        self.info = ResolverInfo(context)
        self.values = values  # of the variables
        self.errors: list[GraphQLError] = []

    def failed(self, error: Exception, nodes: list[FieldNode], path: Path, *, required: bool) -> None:
        """Report why this value is null. If it can't be null, raise the error, which makes its parent null."""
        located = error if isinstance(error, GraphQLError) and error.path else None
        located = located or located_error(error, nodes, _steps(path))
        if required:
            raise located
        self.errors.append(located)


def _steps(path: Path) -> list[str | int]:
    steps = []
    while path is not None:
        path, step = path
        steps.append(step)
    return steps[::-1]


Complete = Callable[[Any, Path, Run], Any]  # the shown value, or a coroutine that returns it
FastComplete = Callable[[Any], Any]  # the fast path: attributes only, raises any exception


class FastPathFailed(Exception):
    """The slow path has to show this value."""


class Field:
    """A field of a selection: how to resolve it, and how to show its value."""

    __slots__ = (
        "arguments",
        "complete",
        "fast",
        "function",
        "get",
        "key",
        "leaf",
        "name",
        "nodes",
        "plain",
        "required",
    )

    arguments: "Arguments"
    complete: "Complete"

    def __init__(self, key: str, nodes: list[FieldNode], name: str, kind: Any) -> None:
        self.key = key
        self.nodes = nodes
        self.name = name  # Type.field
        self.required = isinstance(kind, GraphQLNonNull)
        self.get: Callable[[Any], Any] | None = None  # an attribute
        self.function: Callable[..., Any] | None = None
        self.leaf: Coerce | None = None
        self.fast: FastComplete | None = None  # for values that are not null; None if a part is not a plain attribute
        self.plain: type | None = None  # values of exactly this type are shown unchanged

    def ask(self, source: Any, path: Path, run: Run) -> Any:
        """The shown value, or a coroutine that returns it. Raises a GraphQLError if it is null but must not be."""
        try:
            if self.get is not None:
                found = self.get(source)
            else:
                assert self.function
                found = self.function(source, run.info, **self.arguments.of(run.values))
                if type(found) is CoroutineType:
                    return self._awaited(found, path, run)
            shown = None if found is None else self.complete(found, (path, self.key), run)
            if type(shown) is CoroutineType:
                return self._awaited(shown, path, run, completed=True)
            return self._checked(shown)
        except Exception as error:
            run.failed(error, self.nodes, (path, self.key), required=self.required)
            return None

    async def _awaited(self, found: Coroutine[Any, Any, Any], path: Path, run: Run, *, completed: bool = False) -> Any:
        try:
            shown = await found
            if not completed and shown is not None:
                shown = self.complete(shown, (path, self.key), run)
                if type(shown) is CoroutineType:
                    shown = await shown
            return self._checked(shown)
        except Exception as error:
            run.failed(error, self.nodes, (path, self.key), required=self.required)
            return None

    def _checked(self, shown: Any) -> Any:
        if shown is None and self.required:
            raise TypeError(f"Cannot return null for non-nullable field {self.name}.")
        return shown


class Arguments:
    """The arguments of a field: values from the document, and those from variables."""

    def __init__(self, constant: dict[str, Any], variable: dict[str, tuple[str, Any]]) -> None:
        self._constant = constant
        self._variable = variable  # name of the argument → name of the variable, and its default or Undefined

    def of(self, values: Mapping[str, Any]) -> dict[str, Any]:
        if not self._variable:
            return self._constant
        arguments = dict(self._constant)
        for name, (variable, default) in self._variable.items():
            value = values.get(variable, default)
            if value is not Undefined:
                arguments[name] = value
        return arguments
