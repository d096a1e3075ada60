"""graphql-eslint's presets for schemas, on docs/schema.graphql, with the exceptions of ADR 0021."""

import json
import shutil
import subprocess
from pathlib import Path

import pytest

PROGRAM = Path(__file__).parent / "schema_rules"
SCHEMA = Path(__file__).parents[2] / "docs" / "schema.graphql"
EXCEPTIONS = {
    ("no-typename-prefix", 'Field "calledAt" starts with the name of the parent type "Call"'),
    ("no-typename-prefix", 'Field "calls" starts with the name of the parent type "Call"'),
}
UNDESCRIBED = "type Undescribed { x: Int }\n"


def reported(folder: Path) -> set[tuple[str, str]]:
    """The rule and the message of each problem in the folder's schema."""
    ran = subprocess.run(
        ["npx", "--no-install", "eslint", "--format", "json", "schema.graphql"],
        cwd=folder, check=False, capture_output=True, text=True,
    )  # fmt: skip
    assert ran.stdout, ran.stderr
    (file,) = json.loads(ran.stdout)
    return {(str(one["ruleId"]).rpartition("/")[2], one["message"]) for one in file["messages"]}


@pytest.mark.long
def test_the_schema_follows_the_rules(tmp_path: Path) -> None:
    program = tmp_path / "program"
    shutil.copytree(PROGRAM, program, ignore=shutil.ignore_patterns("node_modules"))
    subprocess.run(["npm", "ci", "--no-audit", "--no-fund"], cwd=program, check=True, capture_output=True)
    schema = SCHEMA.read_text(encoding="utf-8")
    (program / "schema.graphql").write_text(schema)
    assert reported(program) == EXCEPTIONS
    (program / "schema.graphql").write_text(schema + UNDESCRIBED)
    assert "require-description" in {rule for rule, _ in reported(program) - EXCEPTIONS}
