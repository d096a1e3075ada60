"""The one list of contexts: nothing is missing from it, and what is not there is said at once."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

import projections.queues
from api import contexts
from api.contexts import BETWEEN_CONTEXTS, CONTEXTS, ContextError, load_domain, read_models

ROOT = Path(__file__).parents[2]
PRODUCT = ("domain", "projections", "infra", "api")
# Packages that belong to no context.
SHARED = {"domain": {"identifiers"}, "projections": {"engine"}, "api/graphql": {"engine", "paging"}}

# Code that serves all contexts alike.
GENERIC = (
    "domain/identifiers",
    "projections/engine",
    "infra/log",
    "infra/postgres",
    "infra/running",
    "infra/gateways",
    "infra/cli",
)
GENERIC_FILES = ("infra/reactions/reaction.py", "infra/reactions/scheduler.py")

REGISTERS = re.compile(r"^@(decides|evolves|sends)\(", re.MULTILINE)
DECLARES = re.compile(r"^@(query|node_query|mutation|subscription|command|error_of)\(", re.MULTILINE)


def modules(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*.py") if "__pycache__" not in path.parts)


def packages(folder: str) -> set[str]:
    return {path.parent.name for path in (ROOT / folder).glob("*/__init__.py")} - SHARED.get(folder, set())


@pytest.fixture
def listed(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """For changing the list: what was loaded by it is forgotten before and after."""
    for function in (contexts.load_domain, contexts.read_models, contexts.due_work):
        monkeypatch.setattr(contexts, function.__name__, function.__wrapped__)
    return monkeypatch


@pytest.mark.parametrize("folder", ["domain", "projections", "api/graphql", "infra/reactions"])
def test_every_package_of_a_context_is_in_the_list(folder: str) -> None:
    assert packages(folder) <= set(CONTEXTS)


LOADED = set(
    subprocess.run(
        [sys.executable, "-c", "import sys; from api.contexts import load_domain; load_domain(); print(*sys.modules)"],
        capture_output=True,
        text=True,
        check=True,
        cwd=ROOT,
    ).stdout.split()
)


def test_every_module_of_rules_is_loaded() -> None:
    rules = {path for path in modules(ROOT / "domain") if REGISTERS.search(path.read_text(encoding="utf-8"))}
    names = {".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__") for path in rules}
    assert {name.split(".")[1] for name in names} == {*CONTEXTS, *BETWEEN_CONTEXTS}
    assert names - LOADED == set(), "import them in the __init__.py of their context"


def test_every_module_with_root_fields_or_types_of_errors_is_listed() -> None:
    found = {path for path in modules(ROOT / "api" / "graphql") if DECLARES.search(path.read_text(encoding="utf-8"))}
    names = {".".join(path.relative_to(ROOT).with_suffix("").parts) for path in found}
    listed = {one.__name__ for one in contexts.graphql_modules()} | {"api.graphql.errors", "api.graphql.nodes"}
    assert listed & names  # the pattern finds them
    assert names - listed == set(), "add them to MODULES of their context, or to BETWEEN_CONTEXTS"


def test_the_list_imports_no_database() -> None:
    assert LOADED & {"strawberry", "fastapi", "psycopg", "eventsourcing", "infra", "projections"} == set()


@pytest.mark.parametrize("load", ["load_domain", "read_models", "due_work", "graphql_modules"])
def test_a_misspelt_context_is_refused(listed: pytest.MonkeyPatch, load: str) -> None:
    listed.setattr(contexts, "CONTEXTS", ("people", "apointments"))
    with pytest.raises(ContextError, match=r"there is no domain\.apointments; contexts are people, apointments"):
        getattr(contexts, load)()


def test_a_context_may_lack_a_layer() -> None:
    assert load_domain()[CONTEXTS.index("people")].__name__ == "domain.people"
    assert {one.row.__module__.split(".")[1] for one in read_models().values()} == packages("projections")
    assert "people" not in packages("projections")


def test_a_wrongly_declared_context_is_refused(listed: pytest.MonkeyPatch) -> None:
    listed.setattr(projections.queues, "PROJECTIONS", ["lines"])
    with pytest.raises(ContextError, match=r"projections\.queues\.PROJECTIONS is not a tuple of Projection"):
        contexts.read_models()
    listed.setattr(projections.queues, "PROJECTIONS", tuple(read_models().values()))
    with pytest.raises(ContextError, match="another read model is named"):
        contexts.read_models()


def imported(path: Path) -> set[str]:
    """Names of modules, and of what is imported of them: `from domain import people` gives both."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {one.name for one in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module, *(f"{node.module}.{one.name}" for one in node.names)}
    return found


def test_generic_code_imports_no_context() -> None:
    own = re.compile(
        rf"^(domain|projections|infra\.reactions|api\.graphql)\.({'|'.join((*CONTEXTS, *BETWEEN_CONTEXTS))})\b"
    )
    files = [path for folder in GENERIC for path in modules(ROOT / folder)]
    files += [ROOT / file for file in GENERIC_FILES]
    files += [path for path in (ROOT / "domain").glob("*.py") if path.stem not in (*CONTEXTS, *BETWEEN_CONTEXTS)]
    found = {
        str(path.relative_to(ROOT)): names for path in files if (names := {x for x in imported(path) if own.match(x)})
    }
    assert found == {}


def test_no_import_is_only_for_side_effects() -> None:
    files = [path for folder in PRODUCT for path in modules(ROOT / folder)]
    assert [str(path) for path in files if re.search("noqa:.*F401", path.read_text(encoding="utf-8"))] == []
