"""The explorer on a phone and on a screen, light and dark, for eyes, keyboards and screen readers."""

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.browser.conftest import PHONE, execute, opened, response

pytestmark = [pytest.mark.long, pytest.mark.timeout(240)]

HERE = Path(__file__).parent
SCREENS: dict[str, dict[str, Any]] = {
    "light": {},
    "dark": {"color_scheme": "dark"},
    "phone": PHONE,
    "dark phone": {**PHONE, "color_scheme": "dark"},
}
# Elements that lie beyond the right edge, or have content that is neither shown nor can be scrolled to.
CLIPPED = """() => [...document.querySelectorAll("body *")].filter((element) => {
  const { right, width, height } = element.getBoundingClientRect();
  if (!width || !height || element.closest("[hidden], .lines, option, .language span")) return false;
  const { overflowX, display } = getComputedStyle(element);
  const wide = display !== "inline" && element.scrollWidth > element.clientWidth + 1 && overflowX !== "auto";
  return right > innerWidth || wide;
}).map((element) => element.outerHTML.slice(0, 120))"""
FAULTS = """async () => (await axe.run({ runOnly: ["wcag2a", "wcag2aa", "wcag21aa", "wcag22aa", "best-practice"] }))
  .violations.map(({ id, nodes }) => [id, ...nodes.map(({ html }) => html.slice(0, 150))])"""
WRONG = "query ($first: Int!) {\n  hospitals(first: $first) {\n    nodes { nome }\n  }\n}"


@pytest.fixture
def phone(browser: Browser, city: str) -> Iterator[Page]:
    with opened(browser, city, **PHONE) as page:
        yield page


@pytest.fixture(scope="module")
def axe(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The script of axe-core, which finds faults of accessibility."""
    folder = tmp_path_factory.mktemp("axe")
    for name in ("package.json", "package-lock.json"):
        shutil.copy(HERE / "accessibility" / name, folder)
    subprocess.run(["npm", "ci", "--no-audit", "--no-fund"], cwd=folder, check=True, capture_output=True)
    return (folder / "node_modules" / "axe-core" / "axe.min.js").read_text(encoding="utf-8")


def top(page: Page, selector: str) -> float:
    box = page.locator(selector).bounding_box()
    assert box
    return box["y"]


def test_on_a_phone_the_response_comes_before_the_schema(phone: Page) -> None:
    assert top(phone, "#requesting") < top(phone, "#responding") < top(phone, "#schema")
    order = phone.evaluate("[...document.querySelectorAll('main > section')].map(({ id }) => id)")
    assert order == ["requesting", "responding", "schema"]
    assert phone.evaluate("document.documentElement.scrollHeight") < 1_400
    phone.tap("#execute")
    response(phone)
    expect(phone.locator("#response-title")).to_be_in_viewport()


def test_on_a_screen_the_schema_stands_first_and_the_page_does_not_scroll(page: Page) -> None:
    order = page.evaluate("[...document.querySelectorAll('main > section')].map(({ id }) => id)")
    assert order == ["schema", "requesting", "responding"]
    for group in ("query", "mutation"):
        page.click(f"#group-{group} > summary")
    assert page.evaluate("document.documentElement.scrollHeight <= innerHeight")
    page.set_viewport_size({"width": 390, "height": 844})
    assert page.evaluate("document.querySelector('main').lastElementChild.id") == "schema"


def test_nothing_is_clipped_on_a_phone(phone: Page) -> None:
    assert phone.evaluate(CLIPPED) == []
    execute(phone, WRONG, first=1)
    expect(phone.locator("#errors li")).to_be_visible()
    phone.fill("#document", WRONG + "\n" + "x" * 200)
    expect(phone.locator("#outdated")).to_be_visible()
    for group in ("query", "mutation", "subscription"):
        phone.tap(f"#group-{group} > summary")
    assert phone.evaluate(CLIPPED) == []
    phone.fill("#search", "a")
    assert phone.evaluate(CLIPPED) == []
    phone.evaluate("location.hash = 'RescheduleAppointmentPayload'")
    expect(phone.locator("#found h3")).to_contain_text("RescheduleAppointmentPayload")
    assert phone.evaluate(CLIPPED) == []
    phone.goto(phone.url.partition("#")[0] + "docs/refusals.md")
    expect(phone.locator("table").first).to_be_visible()
    assert phone.evaluate("document.documentElement.scrollWidth") == 390


@pytest.mark.parametrize("screen", SCREENS)
def test_it_is_accessible(browser: Browser, city: str, axe: str, screen: str) -> None:
    """No fault that axe-core finds: labels, roles, headings, contrast, size of targets."""
    with opened(browser, city, **SCREENS[screen]) as page:
        page.evaluate(axe)
        assert page.evaluate(FAULTS) == []
        execute(page, WRONG, first=1)
        expect(page.locator("#errors li")).to_be_visible()
        page.click("#group-mutation > summary")
        assert page.evaluate(FAULTS) == []
        page.fill("#document", "{ a: __typename }")
        page.fill("#search", "slot")
        expect(page.locator("#outdated")).to_be_visible()
        assert page.evaluate(FAULTS) == []
        page.goto(f"{city}/docs/api.md")
        page.evaluate(axe)
        assert page.evaluate(FAULTS) == []


def test_the_links_lead_to_documentation_schema_and_version(page: Page) -> None:
    pages = {"Documentación": "iGob Core", "Esquema en texto": "type Query", "0.": "Changelog"}
    start = page.url
    for name, text in pages.items():
        page.get_by_role("link", name=name).click()
        expect(page.locator("body")).to_contain_text(text)
        page.goto(start)
    page.get_by_role("link", name="Documentación").click()
    page.get_by_role("link", name="the GraphQL API").click()
    expect(page.locator("h1")).to_be_visible()
    page.get_by_role("link", name="Explorer").click()
    expect(page.locator("#group-query")).to_be_visible()
