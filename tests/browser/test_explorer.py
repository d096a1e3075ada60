"""The page at `/` in a real browser, Debian's Chromium, on a city that is really served."""

import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import msgspec
import pytest
from graphql import get_introspection_query, parse
from playwright.sync_api import Browser, ConsoleMessage, Page, Route, expect, sync_playwright

from api.graphql.engine.documents import Documents
from api.graphql.engine.limits import COST_MAX
from api.graphql.schema import schema
from bench.login import bearer
from tests.serving import gql, serving

pytestmark = [pytest.mark.long, pytest.mark.timeout(240)]

# Of what Chromium would ask of its maker at every start, nothing.
ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--disable-background-networking", "--disable-sync"]
FREE = """query($day: Date!) { agendas(hospital: "la-merced", onOrAfter: $day, first: 1) { nodes {
  id slots(first: 1, state: FREE) { nodes { number } } } } }"""
LATER = (datetime.now(UTC) + timedelta(days=2)).date().isoformat()
DENIED = """for (const name of ["localStorage", "sessionStorage"]) Object.defineProperty(window, name, {
  get() { throw new DOMException("", "SecurityError") } })"""
MARKUP = "<img src=x onerror=alert(1)>"
HOLD = """mutation($input: HoldSlotInput!) { holdSlot(input: $input) { errors { code } } }"""
REGISTER = (
    """mutation($input: RegisterPersonInput!) { registerPerson(input: $input) { person { id } errors { code } } }"""
)
SKETCHES = """async (introspection) => {
  const { sketch } = await import("/sketch.js");
  const { types, ...roots } = introspection.__schema;
  const known = new Map(types.map((type) => [type.name, type]));
  return ["query", "mutation", "subscription"].flatMap((kind) =>
    known.get(roots[`${kind}Type`].name).fields.map((field) => ({ name: field.name, ...sketch(kind, field, known) })));
}"""


@pytest.fixture(scope="module")
def city(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with serving(tmp_path_factory.mktemp("browser") / "city", "--demo") as server:
        yield server.url()


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=ARGUMENTS)
        yield browser
        browser.close()


@contextmanager
def opened(browser: Browser, url: str, before: str = "") -> Iterator[Page]:
    """The page in Spanish, open and knowing the schema; whatever it complains of, or asks of others, is a fault."""
    context = browser.new_context(locale="es-BO")
    page = context.new_page()
    page.add_init_script(before)
    faults: list[str] = []

    def complained(message: ConsoleMessage) -> None:
        expected = "status of 4", "net::ERR_"  # refusals, and what a test broke off
        if message.type == "error" and not any(one in message.text for one in expected):
            faults.append(message.text)

    page.on("pageerror", lambda error: faults.append(str(error)))
    page.on("console", complained)
    page.on("request", lambda request: None if request.url.startswith(url) else faults.append(request.url))
    page.goto(f"{url}/")
    expect(page.locator("#found article").first).to_be_visible()
    yield page
    context.close()
    assert faults == []


@pytest.fixture
def page(browser: Browser, city: str) -> Iterator[Page]:
    with opened(browser, city) as page:
        yield page


def ask(page: Page, document: str, **variables: Any) -> None:
    page.fill("#document", document)
    page.fill("#variables", msgspec.json.encode(variables).decode() if variables else "")
    page.click("#ask")


def answer(page: Page) -> Any:
    """The newest."""
    shown = page.locator("#answers pre").first
    shown.wait_for()
    return msgspec.json.decode(shown.text_content() or "")


def test_what_it_begins_with_can_be_asked_at_once(page: Page) -> None:
    assert page.title() == "iGob Core"
    page.keyboard.press("Control+Enter")
    assert "la-merced" in [hospital["id"] for hospital in answer(page)["data"]["hospitals"]["nodes"]]
    expect(page.locator("#summary")).to_have_text(re.compile(r"200 · \d+ ms · costo \d+ · [0-9a-f]{32}"))


def test_a_field_that_is_chosen_becomes_a_document_that_can_be_asked(page: Page) -> None:
    page.fill("#search", "hospital")
    page.get_by_role("button", name="hospital", exact=True).click()
    assert "query ($id: ID!) {\n  hospital(id: $id) {" in page.input_value("#document")
    assert msgspec.json.decode(page.input_value("#variables")) == {"id": ""}
    page.fill("#variables", '{"id": "la-merced"}')
    page.click("#ask")
    assert answer(page)["data"]["hospital"]["id"] == "la-merced"


def test_types_lead_to_each_other(page: Page) -> None:
    page.fill("#search", "bookAppointment")
    page.get_by_role("button", name="BookAppointmentPayload!", exact=True).click()
    page.get_by_role("button", name="Appointment", exact=True).first.click()
    assert page.input_value("#search") == "Appointment"
    expect(page.locator("#found article").first).to_contain_text("object Appointment")
    page.fill("#search", "nothing is called so")
    expect(page.locator("#found")).to_have_text("No hay nada con ese nombre.")


def test_every_document_that_it_makes_is_valid_and_within_the_limits(page: Page, city: str) -> None:
    introspection = httpx.post(f"{city}/graphql", json={"query": get_introspection_query()}).json()["data"]
    made = page.evaluate(SKETCHES, introspection)
    roots = [schema._schema.query_type, schema._schema.mutation_type, schema._schema.subscription_type]
    assert sorted(one["name"] for one in made) == sorted(name for root in roots if root for name in root.fields)
    documents = Documents(schema._schema, introspection=False)
    for one in made:
        variables = msgspec.json.decode(one["values"] or "{}")
        assert documents.understand(one["query"]).cost(None, variables) <= COST_MAX
        (operation,) = parse(one["query"]).definitions
        assert set(variables) == {definition.variable.name.value for definition in operation.variable_definitions or ()}  # type: ignore[attr-defined]


def test_changes_are_followed_live_until_it_is_stopped(page: Page, city: str) -> None:
    (free,) = gql(city, FREE, day=LATER)["data"]["agendas"]["nodes"]
    input_ = {"idempotencyKey": "p", "identity": "4820193 LP", "givenNames": "Ana", "familyNames": "Mamani",
              "birthDate": "1990-05-17", "sex": "F"}  # fmt: skip
    ana = gql(city, REGISTER, input=input_)["data"]["registerPerson"]["person"]["id"]
    ask(page, "subscription($id: ID!) { agenda(id: $id) { position agenda { freeSlots } } }", id=free["id"])
    before = answer(page)["data"]["agenda"]["agenda"]["freeSlots"]
    wanted = {"idempotencyKey": "h", "agenda": free["id"], "slot": free["slots"]["nodes"][0]["number"], "patient": ana}
    assert gql(city, HOLD, input=wanted)["data"]["holdSlot"]["errors"] == []
    expect(page.locator("#summary")).to_have_text("Siguiendo en vivo · 2")
    assert answer(page)["data"]["agenda"]["agenda"]["freeSlots"] == before - 1
    page.click("#stop")
    expect(page.locator("#summary")).to_have_text("Detenido")
    expect(page.locator("#stop")).to_be_hidden()


def test_who_asks_again_gets_the_last_answer_alone(page: Page) -> None:
    held: list[Route] = []

    def hold(route: Route) -> None:
        held.append(route)

    page.route("**/graphql", hold, times=1)
    ask(page, "{ first: __typename }")
    page.wait_for_function("document.querySelector('#summary').textContent.startsWith('Preguntando')")
    ask(page, "{ second: __typename }")
    assert answer(page)["data"] == {"second": "Query"}
    held[0].fulfill(json={"data": {"first": "too late"}})
    page.wait_for_timeout(200)
    assert page.locator("#answers pre").count() == 1
    assert answer(page)["data"] == {"second": "Query"}


def test_refusals_are_shown_in_the_language_that_is_chosen(page: Page) -> None:
    messages = []
    for language, word in (("es", "Preguntar"), ("en", "Ask")):
        page.select_option("#language", language)
        expect(page.locator("#ask")).to_have_text(word)
        page.fill("#token", "no-token-of-ours")
        ask(page, "{ __typename }")
        expect(page.locator("#answers pre.wrong")).to_contain_text("token_invalid")
        messages.append(answer(page)["errors"][0]["message"])
        expect(page.locator("#summary")).to_contain_text("401")
    assert len(set(messages)) == 2
    page.fill("#token", bearer().removeprefix("Bearer "))
    ask(page, '{ person(id: "nobody") { id } }')
    assert answer(page) == {"data": {"person": None}, "extensions": {"cost": 2}}


def test_what_is_wrong_with_what_was_written_is_said(page: Page) -> None:
    page.fill("#variables", "{")
    page.click("#ask")
    expect(page.locator("#answers")).to_have_text("Las variables no son JSON.")
    page.fill("#token", "eyJhbGci…")
    page.click("#ask")
    expect(page.locator("#answers")).to_contain_text("Eso no es un token")
    page.fill("#token", "")
    page.route("**/graphql", lambda route: route.abort())
    page.fill("#variables", "")
    page.click("#ask")
    expect(page.locator("#answers")).to_have_text("El servidor no responde.")


def test_of_several_operations_one_is_chosen(page: Page) -> None:
    page.fill(
        "#document", 'query one { a: __typename } # query three\nquery two { b: __type(name: "query four") { name } }'
    )
    assert page.locator("#operation option").all_text_contents() == ["one", "two"]
    page.select_option("#operation", "two")
    page.click("#ask")
    assert answer(page)["data"] == {"b": None}


def test_what_the_api_says_is_text_and_nothing_else(page: Page) -> None:
    page.route("**/graphql", lambda route: route.fulfill(json={"data": {"a": MARKUP}}))
    page.click("#ask")
    expect(page.locator("#answers")).to_contain_text(MARKUP)
    field = {"name": "a", "args": [], "type": {"kind": "SCALAR", "name": "Int"}, "description": MARKUP}
    types = [{"kind": "OBJECT", "name": "Query", "fields": [field]}]
    described = {"data": {"__schema": {"types": types, "queryType": {"name": "Query"}}}}
    page.unroute("**/graphql")
    page.route("**/graphql", lambda route: route.fulfill(json=described))
    page.reload()
    expect(page.locator("#found")).to_contain_text(MARKUP)
    assert page.locator("img").count() == 0


def test_a_stream_that_is_cut_leaves_what_was_told(browser: Browser, tmp_path_factory: pytest.TempPathFactory) -> None:
    with serving(tmp_path_factory.mktemp("cut") / "city", "--demo") as server, opened(browser, server.url()) as page:
        (agenda,) = gql(server.url(), FREE, day=LATER)["data"]["agendas"]["nodes"]
        ask(page, "subscription($id: ID!) { agenda(id: $id) { position } }", id=agenda["id"])
        told = answer(page)
        server.stop()
        expect(page.locator("#summary")).to_have_text(
            re.compile("La conexión se cortó; pregunte otra vez. · the server stops")
        )
        assert answer(page) == told
        page.click("#ask")
        expect(page.locator("#answers")).to_have_text("El servidor no responde.")


def test_without_an_answer_at_first_the_schema_can_be_asked_for_again(page: Page) -> None:
    page.route("**/graphql", lambda route: route.abort())
    page.reload()
    expect(page.locator("#found")).to_contain_text("El servidor no responde.")
    page.fill("#search", "hospital")
    expect(page.locator("#found")).to_contain_text("El servidor no responde.")
    page.unroute("**/graphql")
    page.fill("#token", "one that has ended")
    page.get_by_role("button", name="Intentar otra vez").click()
    expect(page.locator("#found article").first).to_contain_text("hospital")


def test_where_a_browser_keeps_nothing_all_the_rest_works(browser: Browser, city: str) -> None:
    with opened(browser, city, DENIED) as page:
        ask(page, "{ a: __typename }")
        assert answer(page)["data"] == {"a": "Query"}


def test_variables_are_sent_as_they_were_written(page: Page) -> None:
    sent: list[str] = []
    page.on("request", lambda request: sent.append(request.post_data or ""))
    page.fill("#document", "query($n: Int) { hospitals(first: $n) { nodes { id } } }")
    page.fill("#variables", '{"n": 9007199254740993.0}')
    page.click("#ask")
    answer(page)
    assert sent[-1].endswith('"variables": {"n": 9007199254740993.0}}')


@pytest.mark.parametrize(
    ("document", "names"),
    [
        ("query A { a: __typename }, query B { b: __typename }", ["A", "B"]),
        ("query A($query: Int = 1) { mutation: __typename query } fragment query on Query { __typename }", []),
        ("fragment f on Query { __typename }, query A { ...f }\nmutation B { query }", ["A", "B"]),
        ('query A { a(b: "} query X {", c: """ } query Y { """) } # query Z\nsubscription B { c }', ["A", "B"]),
    ],
)
def test_operations_are_told_from_what_looks_like_them(page: Page, document: str, names: list[str]) -> None:
    page.fill("#document", document)
    assert [name for name in page.locator("#operation option").all_text_contents() if names] == names
    assert page.locator("#operation").is_visible() is bool(names)


def test_it_remembers_the_document_and_in_its_tab_alone_what_may_name_somebody(page: Page, city: str) -> None:
    page.fill("#document", "{ mine: __typename }")
    page.fill("#variables", '{"identity": "4820193 LP"}')
    page.fill("#token", "mine")
    page.reload()
    inputs = [page.input_value(name) for name in ("#document", "#variables", "#token")]
    assert inputs == ["{ mine: __typename }", '{"identity": "4820193 LP"}', "mine"]
    another = page.context.new_page()
    another.goto(f"{city}/")
    assert [another.input_value(name) for name in ("#document", "#variables", "#token")] == [inputs[0], "", ""]
