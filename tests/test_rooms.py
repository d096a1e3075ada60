"""Folders, modules and functions stay small enough to look through: also run by `make check`."""

import ast
from collections.abc import Iterator
from pathlib import Path

REPOSITORY = Path(__file__).parents[1]
PACKAGES = ("domain", "projections", "api", "infra")
FOLDER_MODULES_MAX = 13  # beside __init__.py
MODULE_LINES_MAX = 400
FUNCTION_LINES_MAX = 40  # from `def`, with the docstring and nested functions

# What is too large for now. Take out what is not any more; put nothing in.
EXCEPTIONS: set[str] = set()


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


def test_no_folder_has_too_many_modules() -> None:
    assert {name: count for name, count in large_folders() if name not in EXCEPTIONS} == {}


def test_no_module_is_too_long() -> None:
    assert {name: lines for name, lines in large_modules() if name not in EXCEPTIONS} == {}


def test_no_function_is_too_long() -> None:
    assert {name: lines for name, lines in long_functions() if name not in EXCEPTIONS} == {}


def test_every_exception_is_still_needed() -> None:
    large = {name for find in (large_folders, large_modules, long_functions) for name, _ in find()}
    assert EXCEPTIONS - large == set()
