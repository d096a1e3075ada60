"""What the last release promised: changes of the schema that break a front end are found, and only made on purpose."""

from pathlib import Path

import pytest
from graphql import BreakingChangeType, DangerousChangeType, GraphQLSchema, build_schema, find_schema_changes

from api.graphql.schema import schema

RELEASES = Path(__file__).parents[2] / "docs" / "releases"
BREAKING = RELEASES / "breaking.txt"

# Whoever leaves such a thing out would silently ask for something else.
SILENT = {DangerousChangeType.ARG_DEFAULT_VALUE_CHANGE, DangerousChangeType.INPUT_FIELD_DEFAULT_VALUE_CHANGE}


def last_release(folder: Path) -> Path:
    """The schema of the highest version: 0.10.0 comes after 0.9.1."""
    return max(folder.glob("*.graphql"), key=lambda file: [int(number) for number in file.stem.split(".")])


def breaking(before: GraphQLSchema, now: GraphQLSchema) -> list[str]:
    """What breaks documents that were right before, or changes what they ask for, in graphql-core's words."""
    return [
        change.description
        for change in find_schema_changes(before, now)
        if isinstance(change.type, BreakingChangeType) or change.type in SILENT
    ]


def meant(text: str) -> dict[str, str]:
    """Changes that are made on purpose, each with its reason: the indented lines below it. Lines with # are notes."""
    reasons: dict[str, str] = {}
    change = ""
    for line in text.splitlines():
        if line.startswith("#") or not line.strip():
            continue
        if line[0].isspace():
            reasons[change] = f"{reasons[change]} {line.strip()}".strip()
        else:
            change = line
            reasons[change] = ""
    return reasons


def test_the_schema_is_compatible_with_the_last_release() -> None:
    release = last_release(RELEASES)
    found = breaking(build_schema(release.read_text(encoding="utf-8")), schema._schema)
    reasons = meant(BREAKING.read_text(encoding="utf-8"))
    unsaid = "\n".join(change for change in found if not reasons.get(change))
    assert not unsaid, (
        f"breaks front ends made for {release.stem}; if it must be, say why in {BREAKING.name}:\n{unsaid}"
    )
    gone = "\n".join(change for change in reasons if change not in found)
    assert not gone, f"stands in {BREAKING.name} and is no change since {release.stem}:\n{gone}"


BEFORE = """
type Query { a(x: Int = 1): Int, b(x: Int): Int, c: Int, d: Thing, e: Int!, f: [Colour!], g(in: In): Int }
type Thing implements Node { id: ID! }
interface Node { id: ID! }
enum Colour { RED BLUE }
input In { x: Int, y: Int = 1 }
"""


@pytest.mark.parametrize(
    ("was", "becomes", "found"),
    [
        ("", "", []),
        ("c: Int,", "", ["Field Query.c was removed."]),
        ("b(x: Int)", "b", ["Argument Query.b(x:) was removed."]),
        ("c: Int", "c(x: Int!): Int", ["A required argument Query.c(x:) was added."]),
        ("c: Int", "c(x: Int): Int", []),
        ("e: Int!", "e: Int", ["Field Query.e changed type from Int! to Int."]),
        ("RED BLUE", "RED", ["Enum value Colour.BLUE was removed."]),
        ("RED BLUE", "RED BLUE GREEN", []),
        ("Thing implements Node", "Thing", ["Thing no longer implements interface Node."]),
        ("Int = 1): Int, b", "Int = 2): Int, b", ["Query.a(x:) has changed defaultValue from 1 to 2."]),
        ("y: Int = 1", "y: Int = 2", ["In.y has changed defaultValue from 1 to 2."]),
        ("{ x: Int, y", "{ x: Int, z: Int!, y", ["A required field In.z was added."]),
        ("{ x: Int, y", "{ x: Int, z: Int, y", []),
    ],
)
def test_a_breaking_change_is_detected(was: str, becomes: str, found: list[str]) -> None:
    after = BEFORE.replace(was, becomes, 1) if was else BEFORE
    assert (after == BEFORE) == (not was)
    assert breaking(build_schema(BEFORE), build_schema(after)) == found


def test_a_removed_field_is_detected() -> None:
    snapshot = last_release(RELEASES).read_text(encoding="utf-8")
    before, now = build_schema(snapshot), build_schema(snapshot)
    assert now.mutation_type
    name = next(iter(now.mutation_type.fields))
    del now.mutation_type.fields[name]
    assert breaking(before, now) == [f"Field Mutation.{name} was removed."]


def test_the_last_release_is_the_highest_version(tmp_path: Path) -> None:
    for version in ("0.9.1", "0.10.0", "0.2.0"):
        (tmp_path / f"{version}.graphql").touch()
    assert last_release(tmp_path).stem == "0.10.0"


def test_an_intended_break_is_listed_with_its_reason() -> None:
    text = "# A note.\n\nField Query.a was removed.\n  Nobody asked for it:\n  see b.\nField Query.c was removed.\n"
    assert meant(text) == {
        "Field Query.a was removed.": "Nobody asked for it: see b.",
        "Field Query.c was removed.": "",
    }
