"""Plans do what graphql-core does: the same data, the same errors at the same places, on documents made at random."""

import asyncio
import gc
import warnings
from collections.abc import AsyncIterator, Callable, Iterator
from datetime import UTC, datetime
from enum import Enum
from functools import cache
from typing import Any, cast

import pytest
import strawberry
from graphql import DocumentNode, ExecutionResult, GraphQLError, GraphQLSchema, execute, parse, validate
from graphql.pyutils import is_awaitable
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis_graphql import mutations, queries

from api.graphql.engine.documents import PLANNED_FIELDS_MAX, Document
from api.graphql.engine.plans.fields import Unplannable
from api.graphql.engine.plans.plan import Plan
from api.graphql.engine.resolvers import set_direct_resolvers
from api.graphql.fields import Info
from api.graphql.schema import schema as city_schema
from tests.examples import examples

# The library now and then cancels what it has not begun to await, and Python complains of that when it finds it.
pytestmark = pytest.mark.filterwarnings(
    "ignore:coroutine .* was never awaited", "ignore::pytest.PytestUnraisableExceptionWarning"
)

CONTEXT: Any = object()


@pytest.fixture(scope="module", autouse=True)
def _found_here() -> Iterator[None]:
    """And not while another module's tests run. What these left is kept out of each search for garbage."""
    gc.freeze()
    yield
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        gc.collect()


@strawberry.enum
class Colour(Enum):
    RED = "r"
    BLUE = "b"


@strawberry.interface
class Thing:
    name: str
    broken: int | None


@strawberry.input
class Wish:
    word: str
    count: int | None = None
    colour: Colour = Colour.RED
    tags: list[str] = strawberry.field(default_factory=lambda: ["a"])
    inner: "Wish | None" = None


async def _soon(value: Any) -> Any:
    await asyncio.sleep(0)
    return value


@strawberry.type
class Box(Thing):
    colour: Colour
    missing: str  # null, which it must not be

    @strawberry.field
    def deeper(self, info: Info, depth: int = 1) -> "Box":
        return box(f"{self.name}.{depth}")

    @strawberry.field
    async def later(self, info: Info) -> "Box | None":
        return cast("Box", await _soon(box(self.name + "+")))

    @strawberry.field
    async def fails(self, info: Info, why: str = "so") -> "Box | None":
        raise ValueError(why)

    @strawberry.field
    async def must(self, info: Info) -> "Box":
        raise GraphQLError("must", extensions={"code": "x"})

    @strawberry.field
    async def things(self, info: Info) -> list[Thing | None]:
        return [box("in"), None, Stone(name="s", broken=7, weight=1.5)]

    @strawberry.field
    def rows(self, info: Info) -> list[list[int]] | None:
        return [[1, 2], [3]]


@strawberry.type
class Stone(Thing):
    weight: float

    @strawberry.field
    def boxes(self, info: Info) -> "list[Box]":
        return [box("b1"), cast("Box", None), box("b3")]

    @strawberry.field
    async def some(self, info: Info) -> "list[Box | None] | None":
        return [box("b1"), None]


@strawberry.interface
class Part:
    name: str | None


@strawberry.type
class Nail(Part):
    length: int


@strawberry.type
class Board(Part):
    colour: Colour | None
    nails: list[Nail]


@strawberry.type
class Crate:
    """A type whose fields are all plain attributes, at each level."""

    label: str
    count: int | None
    lid: Board | None
    bottom: Board
    parts: list[Part]
    some: list[Board | None] | None
    grid: list[list[int | None]]


def board(name: str, *lengths: Any, colour: Any = Colour.RED) -> Board:
    nails = [cast("Nail", None) if length is None else Nail(name=None, length=length) for length in lengths]
    return Board(name=name, colour=colour, nails=nails)


def crate(**changed: Any) -> Crate:
    sound: dict[str, Any] = {
        "label": "crate",
        "count": 3,
        "lid": None,
        "bottom": board("bottom", 1, 2),
        "parts": [Nail(name="nail", length=3), board("side")],
        "some": [board("first", 4), None],
        "grid": [[1, None], []],
    }
    return Crate(**sound | changed)


CRATES: dict[str, Callable[[], Crate]] = {
    "sound": crate,
    "no-label": lambda: crate(label=None),
    "other-types": lambda: crate(label=7, count="5", grid=((1,), (2,)), lid=board("lid", "6", colour="b")),
    "once": lambda: crate(parts=iter([Nail(name=None, length=1)]), some=iter([None, board("late")])),
    "null-nail": lambda: crate(lid=board("lid", 1, None), parts=[board("side", None)]),
    "wrong-number": lambda: crate(count=2**31, some=[board("a", "x"), None, board("c", 2)]),
    "wrong-colour": lambda: crate(lid=board("lid", colour="green"), bottom=board("bottom", colour="green")),
    "no-lists": lambda: crate(some="text", grid=[[None], None]),
    "not-of-it": lambda: crate(lid=Nail(name="n", length=1), parts=[crate(), 5]),
}


def box(name: str) -> Box:
    return Box(name=name, broken=cast("int", "no number"), colour=Colour.BLUE, missing=cast("str", None))


@strawberry.type
class Query:
    @strawberry.field
    async def box(self, info: Info, name: str = "box") -> Box | None:
        return cast("Box", await _soon(box(name)))

    @strawberry.field
    def crate(self, info: Info, which: str = "sound") -> Crate | None:
        return CRATES[which]()

    @strawberry.field
    async def crates(self, info: Info) -> list[Crate | None]:
        return [make() for make in CRATES.values()]

    @strawberry.field
    def stone(self, info: Info) -> Stone:
        return Stone(name="stone", broken=1, weight=2)

    @strawberry.field
    async def wished(self, info: Info, wish: Wish | None = None, many: list[Wish] | None = None) -> str:
        return f"{wish!r} {many!r}"

    @strawberry.field
    async def thing(self, info: Info, of: Colour) -> Thing | None:
        return box("t") if of is Colour.BLUE else cast("Thing", self_stone())

    @strawberry.field
    def context(self, info: Info) -> bool:
        return info.context is CONTEXT


def self_stone() -> Stone:
    return Stone(name="stone", broken=1, weight=2)


order: list[str] = []


@strawberry.type
class Mutation:
    @strawberry.mutation
    async def do(self, info: Info, what: str) -> str:
        order.append(f"begin {what}")
        await asyncio.sleep(0)
        order.append(f"end {what}")
        if what == "fail":
            raise ValueError(what)
        return what


@strawberry.type
class Subscription:
    @strawberry.subscription
    async def ticks(self, info: Info) -> AsyncIterator[int]:
        yield 1


made = strawberry.Schema(query=Query, mutation=Mutation, subscription=Subscription, types=[Box, Stone, Nail, Board])
SCHEMA: GraphQLSchema = made._schema
set_direct_resolvers(SCHEMA)


@cache
def valid(text: str, schema: GraphQLSchema = SCHEMA) -> DocumentNode:
    """The document, which is valid. One test asks the same for a hundred sets of variables."""
    document = parse(text)
    assert validate(schema, document) == []
    return document


def plan_of(text: str, name: str | None = None, schema: GraphQLSchema = SCHEMA) -> Plan:
    document = valid(text, schema)
    operation = Document(document).operation(name)
    assert operation
    return Plan(schema, document, operation.node, PLANNED_FIELDS_MAX)


def as_the_library(text: str, variables: dict[str, Any]) -> ExecutionResult:
    async def run() -> ExecutionResult:
        result: Any = execute(SCHEMA, valid(text), variable_values=variables, context_value=CONTEXT)
        found = await result if is_awaitable(result) else result
        assert isinstance(found, ExecutionResult)
        return found

    return asyncio.run(run())


def as_planned(text: str, variables: dict[str, Any]) -> ExecutionResult:
    return asyncio.run(plan_of(text).execute(variables, CONTEXT))


def told(result: ExecutionResult) -> tuple[Any, list[Any], set[Any]]:
    """Data; errors of what is null itself; and what is null for an error in it.

    Of several errors in what is null now, it hangs on who was first which are told.
    """
    plain, within = [], set()
    for error in result.errors or ():
        place = nulled(result.data, error.path or [])
        if len(place) == len(error.path or []):
            plain.append((error.message, error.path, error.extensions, error.locations))
        within.add(tuple(place))
    return result.data, sorted(plain, key=repr), within


def nulled(data: Any, path: list[str | int]) -> list[str | int]:
    """As far as there is something."""
    for number, step in enumerate(path):
        if data is None:
            return path[:number]
        data = data[step]
    return path


def check(text: str, **variables: Any) -> ExecutionResult:
    planned, library = as_planned(text, variables), as_the_library(text, variables)
    assert told(planned) == told(library)
    # The order of fields is the document's.
    assert repr(planned.data) == repr(library.data)
    return planned


@settings(
    deadline=None, max_examples=examples(60), suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much]
)
@given(text=queries(made.as_str()))
def test_a_plan_equals_the_library(text: str) -> None:
    check(text)


@settings(
    deadline=None, max_examples=examples(25), suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much]
)
@given(text=mutations(made.as_str()))
def test_a_plan_of_a_mutation_equals_the_library(text: str) -> None:
    check(text)


LITERALS = """query ($w: Wish, $of: Colour! = RED, $n: String! = "n") {
  a: wished(wish: $w) b: wished(many: [{word: "x", inner: {word: "y", colour: BLUE}}]) c: wished(wish: null)
  thing(of: $of) { name __typename ... on Stone { weight } ...B } box(name: $n) { name } }
  fragment B on Box { colour ...B2 } fragment B2 on Thing { name broken }"""

values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=3) | st.sampled_from(["RED", "BLUE"]),
    lambda inner: (
        st.lists(inner, max_size=2)
        | st.dictionaries(st.sampled_from(["word", "count", "colour", "tags", "inner", "other"]), inner, max_size=4)
    ),
    max_leaves=8,
)
wishes = st.fixed_dictionaries(
    {"word": st.text(max_size=3)},
    optional={
        "count": st.none() | st.integers(-(2**31), 2**31),
        "colour": st.sampled_from(["RED", "BLUE", "GREEN"]),
        "tags": st.lists(st.text(max_size=2), max_size=2) | st.text(max_size=2),
        "inner": st.none() | st.fixed_dictionaries({"word": st.text(max_size=2)}),
    },
)


@settings(deadline=None, max_examples=examples(100))
@given(variables=st.dictionaries(st.sampled_from(["w", "of", "n", "x"]), values | wishes, max_size=4))
def test_variables_are_coerced_as_by_the_library(variables: dict[str, Any]) -> None:
    library = as_the_library(LITERALS, variables)
    try:
        planned = as_planned(LITERALS, variables)
    except Unplannable:
        assert library.data is None
        assert library.errors
    else:
        assert told(planned) == told(library)


@pytest.mark.parametrize(
    "text",
    [
        "{ box { name deeper(depth: 3) { name deeper { name } } } box { colour } }",
        "{ a: box { fails { name } later { name broken } } b: stone { name } }",
        "{ box { missing } stone { name } }",
        "{ stone { boxes { name } } }",
        "{ box { things { name __typename ... on Box { must { name } } } } stone { some { missing } } }",
        "{ box { later { later { must { name } fails { name } } } rows } }",
        "{ ... on Query { ...{ box { ...F } } } } fragment F on Box { later { ...G ...G } } fragment G on Box { name }",
        "{ context stone { name must: name } }",
        'mutation { a: do(what: "1") b: do(what: "2") }',
        'mutation { __typename do(what: "1") t: __typename }',
        "{ __typename stone { __typename } }",
    ],
)
def test_fixed_documents_render_as_with_the_library(text: str) -> None:
    check(text)


CRATE = """label count __typename lid { ...B } bottom { ...B } grid some { name nails { length } }
  parts { name ... on Nail { length } ... on Board { nails { name length } } }"""
BOARD = "fragment B on Board { name colour nails { __typename length name } }"


@pytest.mark.parametrize("which", CRATES)
def test_the_fast_path_equals_the_library(which: str) -> None:
    for selected in (
        CRATE,
        "label",
        "count grid",
        "lid { ...B }",
        "bottom { nails { __typename } } some { __typename }",
    ):
        check(f'{{ crate(which: "{which}") {{ {selected} }} stone {{ name }} }} {BOARD if "...B" in selected else ""}')


crates = queries(made.as_str(), fields=["crates", "crate"])


@settings(
    deadline=None, max_examples=examples(40), suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much]
)
@given(text=crates)
def test_the_fast_path_equals_the_library_for_random_documents(text: str) -> None:
    check(text)


@pytest.mark.parametrize("field", ["missing", "must { name }", "deeper { missing }", "later { must { name } }"])
def test_started_resolvers_are_awaited_after_an_error(field: str) -> None:
    """Else Python complains of coroutines that nobody awaited."""
    gc.collect()
    for text in (
        f"{{ box {{ later {{ name }} {field} fails {{ name }} }} box2: box {{ {field} }} }}",
        f"{{ box {{ things {{ name ... on Box {{ later {{ name }} {field} }} }} }} stone {{ some {{ {field} }} }} }}",
    ):
        with warnings.catch_warnings(record=True) as complaints:
            warnings.simplefilter("always")
            as_planned(text, {})
            gc.collect()
        assert complaints == []


def test_a_null_in_a_required_field_nulls_its_parent() -> None:
    found = check("{ box { name must { name } } stone { name } }")
    assert found.data == {"box": None, "stone": {"name": "stone"}}
    assert [(error.message, error.path) for error in found.errors or ()] == [("must", ["box", "must"])]
    assert check("{ stone { boxes { name } } box { name } }").data is None


def test_mutations_run_in_order_until_the_first_failure() -> None:
    order.clear()
    found = as_planned('mutation { a: do(what: "1") b: do(what: "fail") c: do(what: "3") }', {})
    assert order == ["begin 1", "end 1", "begin fail", "end fail"]
    assert found.data is None


@pytest.mark.parametrize(
    "text",
    [
        "{ __schema { queryType { name } } }",
        '{ __type(name: "Box") { name } stone { name } }',
        "query ($yes: Boolean!) { stone { name @include(if: $yes) } }",
        "query ($word: String!) { wished(wish: {word: $word}) }",
        "query ($of: Colour = BLUE) { thing(of: $of) { name } }",
        "subscription { ticks }",
    ],
)
def test_rare_features_are_left_to_the_library(text: str) -> None:
    with pytest.raises(Unplannable):
        plan_of(text)


def test_a_document_is_planned_at_its_second_request() -> None:
    document = Document(parse("query A { stone { name } } query B { __schema { queryType { name } } }"))
    assert document.plan(SCHEMA, "A") is None
    plan = document.plan(SCHEMA, "A")
    assert isinstance(plan, Plan)
    assert document.plan(SCHEMA, "A") is plan
    for name in ("B", "B", "C", "C", None, None):
        assert document.plan(SCHEMA, name) is None


def test_plans_per_document_are_limited() -> None:
    some = "errors { code message path __typename }"
    one = f'checkIn(input: {{idempotencyKey: "k", appointment: "a"}}) {{ {some} }}'
    assert plan_of(f"mutation {{ {one} }}", schema=city_schema._schema)
    with pytest.raises(Unplannable):
        plan_of(f"mutation {{ {' '.join(f'a{n}: {one}' for n in range(8))} }}", schema=city_schema._schema)
    each = " ".join(f"query A{n} {{ {' '.join(f'b{m}: stone {{ name }}' for m in range(20))} }}" for n in range(10))
    document = Document(parse(each))
    planned = [name for name in [f"A{n}" for n in range(10)] * 2 if document.plan(SCHEMA, name)]
    assert planned == [f"A{n}" for n in range(PLANNED_FIELDS_MAX // 40)]


def test_an_operation_is_planned_once_with_and_without_its_name() -> None:
    document = Document(parse("query A { stone { name } }"))
    assert document.plan(SCHEMA, "A") is None
    plan = document.plan(SCHEMA, None)
    assert plan
    assert document.plan(SCHEMA, "A") is plan


def test_bookings_are_planned() -> None:
    text = """mutation ($input: BookAppointmentInput!) { bookAppointment(input: $input) {
      appointment { id state } position errors { code message path ... on SlotTaken { alternatives { number } } } } }"""
    assert plan_of(text, schema=city_schema._schema)


@given(instant=st.datetimes(timezones=st.just(UTC) | st.timezones(), allow_imaginary=False))
def test_instants_are_shown_in_utc_as_by_the_standard_library(instant: datetime) -> None:
    try:
        in_utc = instant.astimezone(UTC)
    except OverflowError:
        return
    show = city_schema._schema.type_map["Instant"].coerce_output_value  # type: ignore[attr-defined]
    assert show(instant) == in_utc.isoformat().replace("+00:00", "Z")
