"""The schema in the explorer: groups, search, types, and the requests that it writes."""

import httpx
import msgspec
import pytest
from graphql import get_introspection_query, parse
from playwright.sync_api import Browser, Page, expect

from api.graphql.engine.documents import Documents
from api.graphql.engine.limits import COST_MAX
from api.graphql.schema import schema
from tests.browser.conftest import opened, response

pytestmark = [pytest.mark.long, pytest.mark.timeout(240)]

SKETCHES = """async (introspection) => {
  const { sketch } = await import("/sketch.js");
  const { ERRORS } = await import("/errors.js");
  const { types, ...roots } = introspection.__schema;
  const known = new Map(types.map((type) => [type.name, type]));
  return ["query", "mutation", "subscription"].flatMap((kind) =>
    known.get(roots[`${kind}Type`].name).fields.map(
      (field) => ({ name: field.name, ...sketch(kind, field, known, ERRORS[field.name]) })));
}"""


def test_the_groups_are_closed_at_first(page: Page) -> None:
    groups = page.locator("#groups > details")
    assert groups.locator("summary > h3").all_text_contents() == ["Query", "Mutation", "Subscription"]
    for group, root in zip(groups.all(), ("query", "mutation", "subscription"), strict=True):
        fields = getattr(schema._schema, f"{root}_type").fields
        expect(group).not_to_have_attribute("open", "")
        expect(group.locator("summary").first).to_contain_text(str(len(fields)))
        group.locator("summary").first.click()
        assert group.locator("h4 button").all_text_contents() == list(fields)


def test_the_keyboard_opens_a_group_and_chooses_a_field(page: Page) -> None:
    page.locator("#search").focus()
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    name = page.evaluate("document.activeElement.textContent")
    page.keyboard.press("Enter")
    assert f"  {name}" in page.input_value("#document")
    assert page.evaluate("document.activeElement.id") == "document"


def test_a_chosen_field_becomes_a_request(page: Page) -> None:
    page.fill("#search", "hospitals")
    page.get_by_role("button", name="hospitals", exact=True).click()
    assert "query ($first: Int) {\n  hospitals(first: $first) {" in page.input_value("#document")
    assert msgspec.json.decode(page.input_value("#variables")) == {"first": 10}
    page.click("#execute")
    assert len(response(page)["data"]["hospitals"]["nodes"]) == 5


def test_a_mutation_is_offered_with_its_own_errors(page: Page) -> None:
    page.fill("#search", "bookAppointment")
    found = page.locator("#found article").first
    expect(found).to_contain_text("Errores propios: NotReleasedYet SlotTaken VisitConflict")
    found.get_by_role("button", name="bookAppointment").click()
    document = page.input_value("#document")
    for line in ("... on SlotTaken {", "alternatives {", "... on VisitConflict {", "__typename"):
        assert line in document
    assert "NotNext" not in document
    found.get_by_role("link", name="SlotTaken").click()
    expect(page.locator("#found")).to_contain_text("alternatives")


def test_types_lead_to_each_other_and_back(page: Page) -> None:
    page.fill("#search", "bookAppointment")
    page.get_by_role("link", name="BookAppointmentPayload!", exact=True).click()
    page.get_by_role("link", name="Appointment", exact=True).first.click()
    expect(page.locator("#found h3")).to_have_text("object Appointment")
    page.go_back()
    expect(page.locator("#found h3")).to_have_text("object BookAppointmentPayload")
    page.get_by_role("button", name="Volver al esquema").click()
    expect(page.locator("#group-query")).to_be_visible()


def test_the_address_of_a_type_can_be_shared(page: Page) -> None:
    page.goto(f"{page.url}#UserError")
    page.reload()
    expect(page.locator("#found")).to_contain_text("Tipos posibles:")
    page.get_by_role("link", name="SlotTaken").click()
    expect(page.locator("#found h3")).to_have_text("object SlotTaken")


def test_a_search_shows_fields_and_types_and_escape_ends_it(page: Page) -> None:
    page.fill("#search", "slot")
    assert page.locator("#found h3").all_text_contents() == ["Campos", "Tipos"]
    expect(page.locator("#group-query")).to_be_hidden()
    page.fill("#search", "nothing has this name")
    expect(page.locator("#found")).to_have_text("No hay nada con ese nombre.")
    page.keyboard.press("Escape")
    expect(page.locator("#group-query")).to_be_visible()
    assert page.input_value("#search") == ""


def test_every_request_that_it_writes_is_valid_and_within_the_limits(page: Page, city: str) -> None:
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


def test_a_schema_that_did_not_load_can_be_loaded_again(page: Page) -> None:
    page.route("**/graphql", lambda route: route.abort())
    page.reload()
    expect(page.locator("#groups")).to_contain_text("El servidor no responde.")
    page.fill("#search", "hospital")
    expect(page.locator("#groups")).to_contain_text("El servidor no responde.")
    page.unroute("**/graphql")
    page.fill("#token", "one that has expired")
    page.get_by_role("button", name="Intentar de nuevo").click()
    expect(page.locator("#found article").first).to_contain_text("hospital")


@pytest.mark.parametrize(
    ("locale", "language", "query"),
    [("es-BO", "es", "leer datos"), ("en-GB", "en", "read data"), ("qu-BO", "es", "leer datos")],
)
def test_it_follows_the_language_of_the_browser(
    browser: Browser, city: str, locale: str, language: str, query: str
) -> None:
    with opened(browser, city, locale=locale) as page:
        assert page.evaluate("document.documentElement.lang") == language
        expect(page.locator("#group-query summary").first).to_contain_text(query)
        other = "en" if language == "es" else "es"
        with page.expect_request("**/graphql") as asked:
            page.select_option("#language", other)
        assert asked.value.headers["accept-language"] == other
        page.reload()
        assert page.evaluate("document.documentElement.lang") == other
