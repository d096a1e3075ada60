"""Folders, modules and functions stay small, and contexts apart: also run by `make check`."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from api.contexts import CONTEXTS

REPOSITORY = Path(__file__).parents[1]
PACKAGES = ("domain", "projections", "api", "infra")
FOLDER_MODULES_MAX = 13  # beside __init__.py
MODULE_LINES_MAX = 400
FUNCTION_LINES_MAX = 40  # from `def`, with the docstring and nested functions

LAYERS = ("domain", "projections", "infra/reactions", "api/graphql")  # in each, a context has a place of its name
MODULES_OF_LAYERS = [layer.replace("/", ".") for layer in LAYERS]
ACTING = "api.graphql.people.acting"


def modules() -> Iterator[Path]:
    for package in PACKAGES:
        yield from sorted((REPOSITORY / package).rglob("*.py"))


def name_of(path: Path) -> str:
    return path.relative_to(REPOSITORY).as_posix()


def large_folders() -> Iterator[tuple[str, int]]:
    for folder in sorted({path.parent for path in modules()}):
        count = sum(path.name != "__init__.py" for path in folder.glob("*.py"))
        if count > FOLDER_MODULES_MAX:
            yield name_of(folder), count


def large_modules() -> Iterator[tuple[str, int]]:
    for path in modules():
        lines = len(path.read_text(encoding="utf-8").splitlines())
        if lines > MODULE_LINES_MAX:
            yield name_of(path), lines


def long_functions() -> Iterator[tuple[str, int]]:
    for path in modules():
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                assert node.end_lineno
                lines = node.end_lineno - node.lineno + 1
                if lines > FUNCTION_LINES_MAX:
                    yield f"{name_of(path)}:{node.name}", lines


def imported(path: Path) -> Iterator[str]:
    """The modules that a module imports, and what it imports from them, as dotted names."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def test_no_folder_has_too_many_modules() -> None:
    assert dict(large_folders()) == {}


def test_no_module_is_too_long() -> None:
    assert dict(large_modules()) == {}


def test_no_function_is_too_long() -> None:
    assert dict(long_functions()) == {}


@pytest.mark.parametrize("layer", LAYERS)
@pytest.mark.parametrize("context", CONTEXTS)
def test_a_context_knows_no_other_one(layer: str, context: str) -> None:
    """Import rules can't say "of the same name". Everybody may know who an actor is as a person."""
    place = REPOSITORY / layer / context
    paths = [*place.rglob("*.py"), *([place.with_suffix(".py")] if place.with_suffix(".py").exists() else [])]
    others = tuple(f"{where}.{other}." for where in MODULES_OF_LAYERS for other in CONTEXTS if other != context)
    known = {(name_of(path), name) for path in paths for name in imported(path) if f"{name}.".startswith(others)}
    assert {(path, name) for path, name in known if not name.startswith(("domain.people", ACTING))} == set()
