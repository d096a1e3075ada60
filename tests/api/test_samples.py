"""The GraphQL samples of the documentation are valid documents of this schema."""

import re
from pathlib import Path

import pytest
from graphql import parse, validate

from api.graphql.schema import schema

DOCS = Path(__file__).parents[2] / "docs"
SAMPLES = [
    (page.name, sample)
    for page in sorted(DOCS.glob("*.md"))
    for sample in re.findall(r"```graphql\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL)
]


@pytest.mark.parametrize(("page", "sample"), SAMPLES)
def test_a_sample_of_the_documentation_is_valid(page: str, sample: str) -> None:
    assert validate(schema._schema, parse(sample)) == [], page


def test_the_pages_about_money_have_samples() -> None:
    assert {"obligations.md", "infractions.md"} <= {page for page, _ in SAMPLES}
