"""Documents that explode, and queries that cost too much, are refused before they are executed."""

import gc
import weakref
from typing import Any

import pytest
from graphql import get_introspection_query, parse

from api.graphql.engine.limits import (
    ALIASES_MAX,
    COST_MAX,
    DEPTH_MAX,
    FIELDS_MAX,
    PAGE_SIZE_MAX,
    ROOT_FIELDS_MAX,
    cost,
    root_fields,
)
from infra.log.core import Core
from tests.api.conftest import Client
from tests.api.test_appointments import SLOTS
from tests.city import AGENDA, opaque, open_agenda


def doubling(steps: int, fields: str = "") -> str:
    """Fragments of which each spreads the next one twice."""
    chain = [f"fragment f{n} on Query {{ {fields} ...f{n + 1} ...f{n + 1} }}" for n in range(steps)]
    return " ".join(["{ ...f0 }", *chain, f"fragment f{steps} on Query {{ __typename }}"])


def rooted(aliases: int) -> str:
    """A document with three root fields more than that, half of them in a fragment."""
    named = [f"a{n}: __typename" for n in range(aliases)]
    return (
        f"{{ {' '.join(named[::2])} ...f __typename __schema {{ description }} }}"
        f' fragment f on Query {{ {" ".join(named[1::2])} __type(name: "x") {{ name }} }}'
    )


def nested(depth: int) -> str:
    """A document with so many fields within each other."""
    return '{ __type(name: "x") { ' + "ofType { " * (depth - 2) + "name" + " }" * depth


def chained(depth: int) -> str:
    """The same, each field in a fragment of its own."""
    chain = [f"fragment f{n} on __Type {{ ofType {{ ...f{n + 1} }} }}" for n in range(depth - 2)]
    return " ".join(['{ __type(name: "x") { ...f0 } }', *chain, f"fragment f{depth - 2} on __Type {{ name }}"])


async def first_error(client: Client, query: str) -> str:
    answer = await client.ask(query, language="en")
    assert "data" not in answer
    message: str = answer["errors"][0]["message"]
    return message


@pytest.mark.anyio
@pytest.mark.timeout(20)
@pytest.mark.parametrize(
    ("query", "message"),
    [
        (doubling(60), f"more than {FIELDS_MAX} fields, fragments expanded"),
        (doubling(11), f"more than {FIELDS_MAX} fields, fragments expanded"),  # 2,048
        (doubling(5, fields="a: __typename"), f"more than {ALIASES_MAX} aliases"),  # 31
        (rooted(14), f"more than {ROOT_FIELDS_MAX} root fields"),
        (nested(21), f"more than {DEPTH_MAX} fields within each other"),
        (chained(21), f"more than {DEPTH_MAX} fields within each other"),
        ("query a " + doubling(10) + " query b { ...f0 }", f"more than {FIELDS_MAX} fields"),
        ("{ ...a } fragment a on Query { ...b ...b } fragment b on Query { ...a ...a }", "within itself"),
        ("{ ...a } fragment a on Query { ...a ...a }", "Cannot spread fragment 'a' within itself"),
        ("{ ...nobody }", "Unknown fragment 'nobody'"),
        ("{ " + "a{" * 100 + "b" + "}" * 100 + " }", "Cannot query field 'a'"),
        ("{ " + "a{" * 600 + "b" + "}" * 600 + " }", "nested too deeply"),
    ],
)
async def test_exploding_documents_are_refused(client: Client, query: str, message: str) -> None:
    assert message in await first_error(client, query)


@pytest.mark.anyio
@pytest.mark.parametrize(
    "query",
    [doubling(10), doubling(4, fields="a: __typename"), get_introspection_query(), rooted(13), nested(20), chained(20)],
)
async def test_documents_within_the_limits_are_answered(client: Client, query: str) -> None:
    assert "errors" not in await client.ask(query)


AGENDAS = 'agendas(hospital: "la-merced", first: 100)'
AGENDAS_OF_N = '{ agendas(hospital: "x", first: $n) { nodes { slots(first: $n) { nodes { number } } } } }'
EDGES_OF_N = """{ agendas(hospital: "x", first: $n) { nodes { id }
  edges { node { slots(last: $n) { nodes { number } } } cursor } } }"""
DEEP = "{ __schema { types { " + "fields { type { " * 8 + "name" + " } }" * 8 + " } } }"


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("query", "variables"),
    [
        (f"{{ {AGENDAS} {{ nodes {{ slots(first: 100) {{ nodes {{ number }} }} }} }} }}", {}),
        ("query($n: Int!)" + AGENDAS_OF_N, {"n": 100}),
        ("query($n: Int! = 100)" + AGENDAS_OF_N, {}),
        ("query($n: Int)" + AGENDAS_OF_N.replace("first", "last"), {"n": 100}),
        ("query($n: Int)" + EDGES_OF_N, {"n": 60}),
        (f"{{ {AGENDAS} {{ nodes {{ ...a }} }} }} fragment a on Agenda {{ slots(first: 50) {{ ...b }} }}"
         " fragment b on SlotConnection { nodes { number start } }", {}),
        (f"{{ ... on Query {{ {AGENDAS} {{ nodes {{ "
         + " ".join(f"s{n}: slots(first: 2, state: HELD) {{ nodes {{ number start }} }}" for n in range(14))
         + " } } } }", {}),
    ],
)  # fmt: skip
async def test_lists_within_lists_multiply_and_have_a_limit(
    client: Client, query: str, variables: dict[str, Any]
) -> None:
    messages = {}
    for language in ("es", "en"):
        answer = await client.ask(query, language=language, **variables)
        assert "data" not in answer
        (error,) = answer["errors"]
        assert error["extensions"] == {"code": "query_too_large"}
        messages[language] = error["message"]
    assert str(COST_MAX) in messages["es"]
    assert "smaller pages" in messages["en"]


@pytest.mark.anyio
@pytest.mark.parametrize(
    "query",
    [
        f"{{ {AGENDAS} {{ nodes {{ id freeSlots }} }} }}",
        f"{{ {AGENDAS} {{ nodes {{ id hospital {{ code }} specialty {{ code }} practitioner {{ code }} date releaseAt"
        " freeSlots quotas { channel limit taken } slots(first: 8, state: FREE) { nodes { number start state } } } } }",
        '{ agenda(id: "x/2027-01-15/y") { slots(first: 100) { nodes { number start minutes state heldUntil }'
        " pageInfo { endCursor hasNextPage } } } }",
        "query($n: Int! = 100) { hospitals(first: $n) { nodes { id name } } }",
        "query($n: Int! = 100) { hospitals(last: $n) { edges { node { __typename id name } cursor }"
        " pageInfo { endCursor hasNextPage startCursor hasPreviousPage } } }",
    ],
)
async def test_usual_queries_are_within_the_limit(client: Client, query: str) -> None:
    assert "errors" not in await client.ask(query)


def test_the_cost_cache_keeps_no_variables() -> None:
    """Cycles would keep them until the collector comes, thousands of requests later."""

    class Variables(dict[str, int]):
        pass

    variables = Variables(n=7)
    gone = weakref.ref(variables)
    gc.disable()
    try:
        assert cost(parse("query($n: Int) { ...f } fragment f on Q { a(first: $n) { nodes } }"), None, variables) == 8
        del variables
        assert gone() is None
    finally:
        gc.enable()


def test_the_cost_of_a_query() -> None:
    def of(query: str, **variables: Any) -> int:
        return cost(parse(query), None, variables)

    assert of("{ a { b c } }") == 3
    assert of("{ a(first: 10) { nodes { b } } }") == of("{ a(last: 10) { nodes { b } } }") == 21
    assert of("{ a(first: 10) { edges { node { b } cursor } } }") == 1 + 10 * (1 + 2 + 1)
    assert of("{ a(first: 10) { nodes { b } edges { node { b } } } }") == 1 + 10 * 2 + 10 * 3
    assert of("{ a(first: 10) { nodes { b } pageInfo { endCursor hasNextPage } __typename } }") == 21 + 3 + 1
    assert of("{ a(first: 10) { ...f ... on X { edges } } } fragment f on X { nodes { b } pageInfo { c } }") == 33
    assert of("{ a(first: 10) { nodes { b(first: 10) { nodes } } } }") == 1 + 10 * (1 + 1 + 10)
    assert of("{ a { nodes { b } } }") == 3
    assert of("query($n: Int) { a(last: $n) { nodes } }", n=7) == 8
    assert of("{ a(first: 3, last: 4) { nodes } }") == 5
    assert of("{ ...f ...f } fragment f on Q { a(first: 5) { nodes } }") == 12
    assert of("query($n: Int) { a(first: $n) { nodes } }", n=7) == 8
    assert of("query($n: Int) { a(first: $n) { nodes } }", n=7.0) == 8
    assert of("query($n: Int = 3) { a(first: $n) { nodes } }") == 4
    assert of("query($n: Int = 3) { a(first: $n) { nodes } }", n=2) == 3
    for wrong in (-5, 0, "7", None, [7]):  # refused when it is read
        assert of("query($n: Int) { a(first: $n) { nodes } }", n=wrong) == 2
    assert of("{ a(last: 999999999) { nodes } }") == 1 + PAGE_SIZE_MAX
    assert cost(parse("query a { a } query b { a b }"), "b", {}) == 2


@pytest.mark.anyio
@pytest.mark.timeout(20)
async def test_doubling_fragments_are_counted_quickly() -> None:
    chain = " ".join(f"fragment f{n} on Q {{ ...f{n + 1} ...f{n + 1} }}" for n in range(200))
    assert cost(parse(f"{{ ...f0 }} {chain} fragment f200 on Q {{ a }}"), None, {}) == 2**200


@pytest.mark.anyio
async def test_streams_per_request_are_limited(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("api.graphql.context.STREAMS_PER_REQUEST_MAX", 3)
    one, other = (f'{name}: patient(id: "{opaque(name)}") {{ __typename }}' for name in "xy")  # two streams each
    assert "errors" not in await client.ask(f"{{ {one} }}")
    errors = (await client.ask(f"{{ {one} {other} }}", language="en"))["errors"]
    assert [error["path"] for error in errors] == [["x"], ["y"]]  # they are read at once
    for error in errors:
        assert error["extensions"] == {"code": "query_too_large"}
        assert "the limit is 3" in error["message"]
    assert "errors" not in await client.ask(f"{{ {one} }}")


@pytest.mark.anyio
async def test_a_crowded_agenda_is_read_page_by_page(client: Client, core: Core) -> None:
    await open_agenda(core, slots=5_000)
    seen: list[int] = []
    after = None
    while len(seen) < 5_000:
        agenda = await client.data(SLOTS, id=AGENDA, first=100, after=after, state="FREE")
        seen += [slot["number"] for slot in agenda["slots"]["nodes"]]
        after = agenda["slots"]["pageInfo"]["endCursor"]
    assert seen == list(range(1, 5_001))
    assert agenda["slots"]["pageInfo"]["hasNextPage"] is False


@pytest.mark.anyio
@pytest.mark.timeout(20)
async def test_circular_introspection_is_refused(client: Client) -> None:
    assert "depth" in (await first_error(client, DEEP)).lower()


@pytest.mark.anyio
@pytest.mark.parametrize(
    "text",
    [
        "mutation { }",
        "{ hospital(code: 1) { } }",
        "mutation { ...f0 } fragment f60 on Mutation { } "
        + " ".join(f"fragment f{n} on Mutation {{ ...f{n + 1} ...f{n + 1} }}" for n in range(60)),
    ],
)
async def test_an_empty_selection_is_refused(client: Client, text: str) -> None:
    answer = await client.ask(text, language="en")
    assert "A selection can't be empty." in [error["message"] for error in answer["errors"]]
    assert "data" not in answer


def test_root_fields_are_counted_once_however_often_fragments_are_spread() -> None:
    chain = " ".join(f"fragment f{n} on Mutation {{ ...f{n + 1} ...f{n + 1} }}" for n in range(60))
    text = f"mutation {{ ...f0 b: x }} fragment f60 on Mutation {{ a: x }} {chain}"
    assert root_fields(parse(text), None) == 2
