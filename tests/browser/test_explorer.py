"""The explorer at `/`: requests and their responses."""

import re
from datetime import UTC, datetime, timedelta

import pytest
from playwright.sync_api import Browser, Page, Route, expect

from bench.login import bearer
from tests.browser.conftest import execute, opened, response
from tests.serving import gql, serving

pytestmark = [pytest.mark.long, pytest.mark.timeout(240)]

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


def test_the_first_document_can_be_executed_at_once(page: Page) -> None:
    assert page.title() == "iGob Core"
    page.keyboard.press("Control+Enter")
    assert "hospital:la-merced" in [hospital["id"] for hospital in response(page)["data"]["hospitals"]["nodes"]]
    expect(page.locator("#summary")).to_have_text(re.compile(r"200 · \d+ ms · costo \d+"))
    expect(page.locator("#correlation")).to_have_text(re.compile(r"Id. de correlación: [0-9a-f]{32}"))


def test_a_subscription_is_followed_until_it_is_stopped(page: Page, city: str) -> None:
    (free,) = gql(city, FREE, day=LATER)["data"]["agendas"]["nodes"]
    input_ = {"idempotencyKey": "p", "identity": "4820193 LP", "givenNames": "Ana", "familyNames": "Mamani",
              "birthDate": "1990-05-17", "sex": "F"}  # fmt: skip
    ana = gql(city, REGISTER, input=input_)["data"]["registerPerson"]["person"]["id"]
    execute(page, "subscription($id: ID!) { agenda(id: $id) { position agenda { freeSlots } } }", id=free["id"])
    before = response(page)["data"]["agenda"]["agenda"]["freeSlots"]
    wanted = {"idempotencyKey": "h", "agenda": free["id"], "slot": free["slots"]["nodes"][0]["number"], "patient": ana}
    assert gql(city, HOLD, input=wanted)["data"]["holdSlot"]["errors"] == []
    expect(page.locator("#summary")).to_have_text("Siguiendo en vivo · 2")
    assert response(page)["data"]["agenda"]["agenda"]["freeSlots"] == before - 1
    page.click("#stop")
    expect(page.locator("#summary")).to_have_text("Detenido")
    expect(page.locator("#stop")).to_be_hidden()


def test_only_the_last_request_is_answered(page: Page) -> None:
    held: list[Route] = []

    def hold(route: Route) -> None:
        held.append(route)

    page.route("**/graphql", hold, times=1)
    execute(page, "{ first: __typename }")
    page.wait_for_function("document.querySelector('#summary').textContent.startsWith('Ejecutando')")
    execute(page, "{ second: __typename }")
    assert response(page)["data"] == {"second": "Query"}
    held[0].fulfill(json={"data": {"first": "too late"}})
    page.wait_for_timeout(200)
    assert page.locator("#responses pre").count() == 1
    assert response(page)["data"] == {"second": "Query"}


def test_refusals_are_shown_in_the_language_that_is_chosen(page: Page) -> None:
    messages = []
    for language, word in (("es", "Ejecutar"), ("en", "Execute")):
        page.select_option("#language", language)
        expect(page.locator("#execute")).to_contain_text(word)
        page.fill("#token", "no-token-of-ours")
        execute(page, "{ __typename }")
        expect(page.locator("#responses pre.with-errors")).to_contain_text("token_invalid")
        messages.append(response(page)["errors"][0]["message"])
        expect(page.locator("#summary")).to_contain_text("401")
    assert len(set(messages)) == 2
    page.fill("#token", bearer().removeprefix("Bearer "))
    execute(page, f'{{ person(id: "{"a" * 26}") {{ id }} }}')
    assert response(page) == {"data": {"person": None}, "extensions": {"cost": 2}}


def test_an_invalid_token_or_variables_are_explained(page: Page) -> None:
    page.fill("#variables", "{")
    page.click("#execute")
    expect(page.locator("#responses")).to_have_text("Las variables no son JSON válido.")
    page.fill("#token", "eyJhbGci…")
    page.click("#execute")
    expect(page.locator("#responses")).to_contain_text("Esto no es un token")
    page.fill("#token", "")
    page.route("**/graphql", lambda route: route.abort())
    page.fill("#variables", "")
    page.click("#execute")
    expect(page.locator("#responses")).to_have_text("El servidor no responde.")


def test_one_of_several_operations_is_chosen(page: Page) -> None:
    page.fill(
        "#document", 'query one { a: __typename } # query three\nquery two { b: __type(name: "query four") { name } }'
    )
    assert page.locator("#operation option").all_text_contents() == ["one", "two"]
    page.select_option("#operation", "two")
    page.click("#execute")
    assert response(page)["data"] == {"b": None}


def test_markup_from_the_api_is_shown_as_text(page: Page) -> None:
    page.route("**/graphql", lambda route: route.fulfill(json={"data": {"a": MARKUP}}))
    page.click("#execute")
    expect(page.locator("#responses")).to_contain_text(MARKUP)
    field = {"name": "a", "args": [], "type": {"kind": "SCALAR", "name": "Int"}, "description": MARKUP}
    types = [{"kind": "OBJECT", "name": "Query", "fields": [field]}]
    described = {"data": {"__schema": {"types": types, "queryType": {"name": "Query"}}}}
    page.unroute("**/graphql")
    page.route("**/graphql", lambda route: route.fulfill(json=described))
    page.reload()
    page.click("#group-query summary")
    expect(page.locator("#groups")).to_contain_text(MARKUP)
    assert page.locator("img").count() == 0


def test_responses_stay_after_a_stream_is_cut(browser: Browser, tmp_path_factory: pytest.TempPathFactory) -> None:
    with serving(tmp_path_factory.mktemp("cut") / "city", "--demo") as server, opened(browser, server.url()) as page:
        (agenda,) = gql(server.url(), FREE, day=LATER)["data"]["agendas"]["nodes"]
        execute(page, "subscription($id: ID!) { agenda(id: $id) { position } }", id=agenda["id"])
        before = response(page)
        server.stop()
        expect(page.locator("#summary")).to_have_text(
            re.compile("La conexión se cortó. Ejecute de nuevo. · the server stops")
        )
        assert response(page) == before
        page.click("#execute")
        expect(page.locator("#responses")).to_have_text("El servidor no responde.")


def test_it_works_in_a_browser_that_keeps_nothing(browser: Browser, city: str) -> None:
    with opened(browser, city, DENIED) as page:
        execute(page, "{ a: __typename }")
        assert response(page)["data"] == {"a": "Query"}


def test_variables_are_sent_as_they_were_written(page: Page) -> None:
    sent: list[str] = []
    page.on("request", lambda request: sent.append(request.post_data or ""))
    page.fill("#document", "query($n: Int) { hospitals(first: $n) { nodes { id } } }")
    page.fill("#variables", '{"n": 9007199254740993.0}')
    page.click("#execute")
    response(page)
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
def test_operations_are_found(page: Page, document: str, names: list[str]) -> None:
    page.fill("#document", document)
    assert [name for name in page.locator("#operation option").all_text_contents() if names] == names
    assert page.locator("#operation").is_visible() is bool(names)


def test_token_and_variables_are_kept_in_their_tab_only(page: Page, city: str) -> None:
    page.fill("#document", "{ mine: __typename }")
    page.fill("#variables", '{"identity": "4820193 LP"}')
    page.fill("#token", "mine")
    page.reload()
    inputs = [page.input_value(name) for name in ("#document", "#variables", "#token")]
    assert inputs == ["{ mine: __typename }", '{"identity": "4820193 LP"}', "mine"]
    another = page.context.new_page()
    another.goto(f"{city}/")
    assert [another.input_value(name) for name in ("#document", "#variables", "#token")] == [inputs[0], "", ""]


def test_a_response_is_marked_as_old_while_the_request_differs(page: Page) -> None:
    execute(page, "{ a: __typename }")
    response(page)
    expect(page.locator("#outdated")).to_be_hidden()
    for selector, other, before in (
        ("#document", "{ b: __typename }", "{ a: __typename }"),
        ("#variables", '{"x": 1}', ""),
        ("#token", "somebody", ""),
    ):
        page.fill(selector, other)
        expect(page.locator("#outdated")).to_have_text(
            "La solicitud cambió. Esta respuesta es de la solicitud anterior."
        )
        expect(page.locator("#responses")).to_have_class("outdated")
        page.fill(selector, before)
        expect(page.locator("#outdated")).to_be_hidden()
    page.fill("#document", "{ b: __typename }")
    page.click("#execute")
    assert response(page)["data"] == {"b": "Query"}
    expect(page.locator("#outdated")).to_be_hidden()


def test_the_line_of_an_error_is_marked(page: Page) -> None:
    execute(page, "{\n  hospitals(first: 1) {\n    nodes { nome }\n  }\n}")
    place = page.locator("#errors").get_by_role("button", name="Línea 3, columna 13")
    expect(place).to_be_visible()
    expect(page.locator("#errors")).to_contain_text("nome")
    marked = page.locator("#requesting .lines > .wrong")
    expect(marked).to_have_text("    nodes { nome }")
    expect(marked.locator("mark")).to_have_text("nome")
    expect(page.locator("#document")).to_have_attribute("aria-invalid", "true")
    place.click()
    assert page.evaluate("[document.activeElement.id, document.activeElement.selectionStart]") == ["document", 38]
    page.keyboard.press("Delete")
    expect(marked).to_have_count(0)
    page.keyboard.press("Control+z")
    expect(marked).to_have_count(1)
    page.locator("#document").fill("{ __typename }")
    page.click("#execute")
    expect(page.locator("#errors li")).to_have_count(0)


def test_the_line_of_an_error_in_the_variables_is_marked(page: Page) -> None:
    page.fill("#variables", '{\n  "first": 1,\n}')
    page.click("#execute")
    expect(page.locator("#requesting .lines > .wrong")).to_have_text("}")
    expect(page.locator("#responses")).to_have_text("Las variables no son JSON válido.")


def test_the_marks_lie_on_the_text(page: Page) -> None:
    """The copy behind the text area breaks lines where the text area does: both have the same size."""
    page.set_viewport_size({"width": 390, "height": 844})
    for text in ("a " * 300, "a" * 300, "{\n\n  a\n" * 20, "\t\té " * 40):
        page.fill("#document", text)
        area, copy = (page.locator(one).bounding_box() for one in ("#document", ".editor.large .lines"))
        assert area == copy
        assert (
            page.evaluate(
                "(({ scrollHeight, clientHeight }) => scrollHeight - clientHeight)(document.getElementById('document'))"
            )
            == 0
        )
