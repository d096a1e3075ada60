"""The one list of contexts, and what each of them declares in each layer.

A context is a package of rules in `domain/`. It may also have `projections/<context>` with its read models,
`infra/reactions/<context>` for work that no request triggers, and `api/graphql/<context>` for its fields. A new context
is added to CONTEXTS, and nowhere else.

Importing this module imports none of them: each function loads what it needs.
"""

from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from types import ModuleType
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from infra.reactions.reaction import Reaction, Resources
    from projections.engine.due import Due
    from projections.engine.figures import Figures
    from projections.engine.projection import Projection

CONTEXTS = ("people", "appointments", "queues", "webhooks", "obligations", "infractions")
BETWEEN_CONTEXTS = ("arrivals", "service_points")  # modules that know several contexts, in the domain and in the API

T = TypeVar("T")


class ContextError(Exception):
    """A context is missing, or does not declare what it should."""


@cache
def load_domain() -> tuple[ModuleType, ...]:
    """Import the rules of all contexts, which registers their events, folds, decisions and messages.

    Call it before events are stored or read. Raises ContextError.
    """
    return tuple(_required(f"domain.{name}") for name in (*CONTEXTS, *BETWEEN_CONTEXTS))


@cache
def read_models() -> "dict[str, Projection]":
    """The read models, by name. Raises ContextError."""
    from projections.engine.projection import Projection

    found: dict[str, Projection] = {}
    for module in _layer("projections"):
        for projection in _declared(module, "PROJECTIONS", Projection):
            if projection.name in found:
                raise ContextError(f"{module.__name__}: another read model is named {projection.name}")
            found[projection.name] = projection
    return found


@cache
def due_work() -> "tuple[Due[Any], ...]":
    """What falls due by time in all contexts. Raises ContextError."""
    from projections.engine.due import Due

    return tuple(due for module in _layer("projections") for due in _declared(module, "DUE", Due, optional=True))


@cache
def figures() -> "tuple[Figures, ...]":
    """The figures that contexts add to the metrics. Raises ContextError."""
    from projections.engine.figures import Figures

    return tuple(
        one for module in _layer("projections") for one in _declared(module, "FIGURES", Figures, optional=True)
    )


def graphql_modules() -> list[ModuleType]:
    """The modules in which contexts declare their part of the API, in order. Raises ContextError."""
    own = [one for module in _layer("api.graphql") for one in _declared(module, "MODULES", ModuleType)]
    between = (f"api.graphql.{name}" for name in BETWEEN_CONTEXTS)
    return own + [import_module(name) for name in between if find_spec(name)]


@asynccontextmanager
async def open_reactions(resources: "Resources") -> "AsyncIterator[Sequence[Reaction]]":
    """Work that no request triggers: commands that fall due, and reactions of contexts. Raises ContextError."""
    from infra.reactions.reaction import Jobs, asked

    reactions: list[Reaction] = [Jobs(resources, asked(resources.views, one)) for one in due_work()]
    async with AsyncExitStack() as stack:
        for module in _layer("infra.reactions"):
            name = f"projections.{module.__name__.rpartition('.')[2]}"
            read_models = import_module(name) if find_spec(name) else None
            reactions += await stack.enter_async_context(module.open_reactions(resources, read_models))
        yield reactions


def _layer(layer: str) -> Iterator[ModuleType]:
    """The packages of those contexts that have this layer."""
    load_domain()  # so that a misspelt context is found, whatever layer is loaded first
    for context in CONTEXTS:
        name = f"{layer}.{context}"
        if find_spec(name):
            yield import_module(name)


def _required(name: str) -> ModuleType:
    if find_spec(name) is None:
        raise ContextError(f"there is no {name}; contexts are {', '.join(CONTEXTS)}")
    return import_module(name)


def _declared(module: ModuleType, name: str, kind: type[T], *, optional: bool = False) -> tuple[T, ...]:
    """The tuple that a package declares under a name."""
    declared: Any = getattr(module, name, () if optional else None)
    if not isinstance(declared, tuple) or not all(isinstance(one, kind) for one in declared):
        raise ContextError(f"{module.__name__}.{name} is not a tuple of {kind.__name__}")
    return declared
