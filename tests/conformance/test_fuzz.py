"""Random documents and variables from the schema always get a GraphQL response, and never a server error."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import graphql
import httpx
import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from api.graphql.schema import schema
from bench.login import bearer
from tests.clusters import prepare
from tests.following import Ward
from tests.serving import Serving

EXAMPLES = 12  # of each root field
EXAMPLES_LONG = 100

# What stands for things that are there: their ids are not known before they are made.
KNOWN = ["@hospital@", "@agenda@", "@appointment@", "@person@", "@specialty@", "@identity@", "@day@"]
KEYS = [f"key-{n}" for n in range(5)]


def literals(values: st.SearchStrategy[str]) -> st.SearchStrategy[graphql.ValueNode]:
    return values.map(lambda text: graphql.StringValueNode(value=text))


def numbers(values: st.SearchStrategy[int]) -> st.SearchStrategy[graphql.ValueNode]:
    return values.map(lambda number: graphql.IntValueNode(value=str(number)))


def mostly(likely: st.SearchStrategy[Any], *others: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """Three times of four a value that is probably valid."""
    return st.integers(0, 3).flatmap(lambda dice: likely if dice else st.one_of(*others))


WORDS = st.sampled_from([*KNOWN, *KEYS, "p", "la-merced", "4820193-1A LP", "Ana"])
INSTANTS = st.datetimes().map(lambda moment: moment.isoformat() + "Z")
SCALARS = {
    "ID": literals(mostly(st.sampled_from(KNOWN), WORDS, st.text())),
    "String": literals(mostly(WORDS, st.text())),
    "Int": numbers(mostly(st.integers(1, 100), st.integers(-(2**40), 2**40))),
    "Date": literals(mostly(st.just("@day@"), st.dates().map(str), st.text(max_size=12))),
    "Decimal": literals(mostly(st.decimals(0, 10**6, places=2).map(str), st.decimals().map(str), st.text(max_size=12))),
    "Instant": literals(mostly(st.just("@day@T08:30:00-04:00"), INSTANTS, st.text(max_size=30))),
    "Position": literals(mostly(st.integers(0, 9).map(str), st.integers().map(str))),
}
for name, strategy in SCALARS.items():
    schemathesis.graphql.scalar(name, strategy)

FUZZED = schemathesis.graphql.from_dict({**graphql.introspection_from_schema(schema._schema)})
ROOT_FIELDS = [
    (kind.name, field)
    for kind in (schema._schema.query_type, schema._schema.mutation_type)
    if kind
    for field in kind.fields
]


class City:
    """A server with one thing of each kind."""

    def __init__(self, folder: Path) -> None:
        self.server = Serving("--data-dir", str(prepare(folder)))
        url = self.server.url()
        self.http = httpx.Client(base_url=url, headers={"Authorization": bearer()}, timeout=30, trust_env=False)
        ward = Ward(url)
        agenda = ward.publish()
        appointment, _ = ward.book(agenda)
        day = agenda.split("/")[1]
        found = ["h", agenda, appointment, ward.ana, "s0", "5000000", day]
        self.things = dict(zip(KNOWN, found, strict=True))

    def check(self, case: Any) -> None:
        """Send it and check the response."""
        document = case.body
        for name, thing in self.things.items():
            document = document.replace(name, thing)
        answer = self.http.post("/graphql", json={"query": document})
        assert answer.status_code == 200, (document, answer.text)
        found = answer.json()
        assert found.keys() & {"data", "errors"}
        for error in found.get("errors", ()):
            assert isinstance(error["message"], str)
            assert error.get("extensions", {}).get("code") != "internal_error", document
        assert "Traceback" not in answer.text


@pytest.fixture(scope="module")
def city(tmp_path_factory: pytest.TempPathFactory) -> Iterator[City]:
    city = City(tmp_path_factory.mktemp("fuzz") / "city")
    try:
        yield city
    finally:
        city.http.close()
        city.server.stop()
    assert "failed" not in city.server.output, city.server.output


def fuzz(city: City, kind: str, field: str, examples: int) -> None:
    @given(case=FUZZED[kind][field].as_strategy())
    @settings(max_examples=examples, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    def ask(case: Any) -> None:
        city.check(case)

    ask()


@pytest.mark.parametrize(("kind", "field"), ROOT_FIELDS)
def test_any_valid_document_gets_a_response(city: City, kind: str, field: str) -> None:
    fuzz(city, kind, field, EXAMPLES)


@pytest.mark.long
@pytest.mark.timeout(1_200)
@pytest.mark.parametrize(("kind", "field"), ROOT_FIELDS)
def test_larger_random_documents_get_a_response(city: City, kind: str, field: str) -> None:
    fuzz(city, kind, field, EXAMPLES_LONG)
