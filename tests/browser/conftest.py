"""A real browser, Debian's Chromium, and a served city."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import msgspec
import pytest
from playwright.sync_api import Browser, ConsoleMessage, Page, expect, sync_playwright

from tests.serving import serving

# Chromium contacts its maker at every start, unless it is told not to.
ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--disable-background-networking", "--disable-sync"]
PHONE: dict[str, Any] = {"viewport": {"width": 390, "height": 844}, "is_mobile": True, "has_touch": True}


@pytest.fixture(scope="package")
def city(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a served demo city."""
    with serving(tmp_path_factory.mktemp("browser") / "city", "--demo") as server:
        yield server.url()


@pytest.fixture(scope="package")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=ARGUMENTS)
        yield browser
        browser.close()


@contextmanager
def opened(browser: Browser, url: str, before: str = "", locale: str = "es-BO", **settings: Any) -> Iterator[Page]:
    """The explorer, with the schema loaded, after the script `before`. An error in its console, or a request to
    another host, fails the test.
    """
    context = browser.new_context(locale=locale, **settings)
    page = context.new_page()
    page.add_init_script(before)
    faults: list[str] = []

    def note(message: ConsoleMessage) -> None:
        expected = "status of 4", "net::ERR_"  # refusals, and what a test broke off
        if message.type == "error" and not any(one in message.text for one in expected):
            faults.append(message.text)

    page.on("pageerror", lambda error: faults.append(str(error)))
    page.on("console", note)
    page.on("request", lambda request: None if request.url.startswith(url) else faults.append(request.url))
    page.goto(f"{url}/")
    expect(page.locator("#group-query")).to_be_visible()
    yield page
    context.close()
    assert faults == []


@pytest.fixture
def page(browser: Browser, city: str) -> Iterator[Page]:
    with opened(browser, city) as page:
        yield page


def execute(page: Page, document: str, **variables: Any) -> None:
    page.fill("#document", document)
    page.fill("#variables", msgspec.json.encode(variables).decode() if variables else "")
    page.click("#execute")


def response(page: Page) -> Any:
    """The newest response."""
    shown = page.locator("#responses pre").first
    shown.wait_for()
    return msgspec.json.decode(shown.text_content() or "")
