"""The page at `/`: who gets it, and that it is whole by itself. What it does in a browser: tests/browser."""

import re
import tomllib
from pathlib import Path

import httpx
import msgspec
import pytest

from api.app import Application
from api.web.markdown import page
from api.web.pages import FILES, documents
from infra.log.core import Core
from infra.postgres.views import Views
from infra.running.settings import Settings
from infra.version import VERSION
from tests.api.conftest import services_of
from tests.conftest import Clock

ROOT = Path(__file__).parents[2]
WEB = ROOT / "api" / "web"
LOCAL = "http://localhost"


async def got(settings: Settings, core: Core, views: Views, clock: Clock) -> dict[str, httpx.Response]:
    """What is served for each file of the page."""
    return {path: await fetch(path, settings, core, views, clock) for path in FILES}


async def fetch(path: str, settings: Settings, core: Core, views: Views, clock: Clock) -> httpx.Response:
    transport = httpx.ASGITransport(app=Application(settings, services_of(core, views, clock)))
    async with httpx.AsyncClient(transport=transport, base_url=LOCAL) as http:
        return await http.get(path)


@pytest.mark.anyio
async def test_the_page_is_served_and_may_load_and_ask_only_here(core: Core, views: Views, clock: Clock) -> None:
    for path, answer in (await got(Settings(), core, views, clock)).items():
        assert answer.status_code == 200
        assert answer.text == (WEB / FILES[path][0]).read_text().replace("{{version}}", VERSION)
        assert answer.headers["content-type"] == FILES[path][1]
        assert answer.headers["x-content-type-options"] == "nosniff"
        policy = answer.headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "frame-ancestors 'none'" in policy
        assert not re.search("unsafe|https?:|\\*", policy)


@pytest.mark.anyio
@pytest.mark.parametrize("introspection", [True, False])
async def test_where_nobody_may_ask_what_there_is_there_is_no_page(
    core: Core, views: Views, clock: Clock, tmp_path: Path, introspection: bool
) -> None:
    trusted = Settings(trusted_documents=str(tmp_path), trusted_only=True)
    settings = trusted if introspection else Settings(introspection=False)
    assert {answer.status_code for answer in (await got(settings, core, views, clock)).values()} == {404}


@pytest.mark.anyio
@pytest.mark.parametrize("explorable", [True, False])
async def test_the_endpoint_has_a_page_for_browsers(core: Core, views: Views, clock: Clock, explorable: bool) -> None:
    settings = Settings(introspection=explorable)
    app = Application(settings, services_of(core, views, clock, settings))
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url=LOCAL) as http:
        for language, text, link in (
            ("es", "Los programas envían aquí sus consultas", '<a href="./">explorador</a>'),
            ("en", "Programs send their queries here", '<a href="./">explorer</a>'),
        ):
            answer = await http.get("/graphql", headers={"accept": "text/html", "accept-language": language})
            assert answer.status_code == 200
            assert f'<html lang="{language}">' in answer.text
            assert text in answer.text
            assert (link in answer.text) == explorable
            assert "default-src 'none'" in answer.headers["content-security-policy"]


def test_it_needs_nothing_from_elsewhere() -> None:
    served = {name for name, _ in FILES.values()}
    assert {path.name for path in WEB.iterdir() if path.suffix in (".html", ".css", ".js")} == served
    for name in served:
        text = (WEB / name).read_text()
        assert not re.search(r"(https?:)?//[a-z0-9-]+\.", text), name
        named = re.findall(r"""(?:src|href)="([^"]+)"|from "\./([^"]+)\"""", text)
        assert {one or other for one, other in named} - {"data:,", "schema.graphql", *documents()} <= served


def test_the_texts_are_in_both_languages_and_all_are_used() -> None:
    spanish, english = (WEB / "texts.js").read_text().split("  en: {")
    keys = [re.findall(r"^    (\w+): (?:\"[^\"]|\()", part, re.MULTILINE) for part in (spanish, english)]
    assert keys[0] == keys[1]
    page, scripts = (WEB / "explorer.html").read_text(), "".join(path.read_text() for path in WEB.glob("*.js"))
    used = set(re.findall(r'data-(?:text|hint|label)="(\w+)"', page)) | set(re.findall(r"texts\.(\w+)[^\w\"]", scripts))
    assert used | {"query", "mutation", "subscription"} == set(keys[0])


def test_the_version_is_that_of_the_package() -> None:
    assert tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"] == VERSION


def test_the_explorer_knows_the_error_types_of_each_mutation() -> None:
    lines = re.findall(r"^  (\w+): (\[.+\]),$", (WEB / "errors.js").read_text(), re.MULTILINE)
    known = {name: msgspec.json.decode(types) for name, types in lines}
    assert known["bookAppointment"] == ["NotReleasedYet", "SlotTaken", "VisitConflict"]
    assert "registerHospital" not in known


@pytest.mark.anyio
async def test_documentation_and_schema_are_served(core: Core, views: Views, clock: Clock) -> None:
    for path, media, text in (
        ("/docs/index.md", "text/html", '<a href="/docs/api.md">'),
        ("/docs/api.md", "text/html", '<h1 id="'),
        ("/README.md", "text/html", '<a href="/docs/access.md">'),
        ("/CHANGELOG.md", "text/html", "<title>Changelog · iGob Core</title>"),
        ("/docs/releases/breaking.txt", "text/plain", "#"),
        ("/schema.graphql", "text/plain", "type Query"),
    ):
        answer = await fetch(path, Settings(), core, views, clock)
        assert answer.status_code == 200
        assert answer.headers["content-type"] == f"{media}; charset=utf-8"
        assert answer.headers["content-security-policy"].startswith("default-src 'none'")
        assert text in answer.text
        assert (await fetch(path, Settings(introspection=False), core, views, clock)).status_code == 404


@pytest.mark.anyio
@pytest.mark.parametrize(
    "path", ["/docs/nothing.md", "/docs/../pyproject.toml", "/docs/%2e%2e/pyproject.toml", "/docs/adr", "/LICENSE"]
)
async def test_nothing_but_documentation_is_served(core: Core, views: Views, clock: Clock, path: str) -> None:
    assert (await fetch(path, Settings(), core, views, clock)).status_code == 404


def test_a_page_of_the_documentation_links_to_what_is_served() -> None:
    served = {"docs/api.md", "README.md"}
    links = "[a](api.md#x) [b](../README.md) [c](../api/app.py) [d](#x)"
    made = page(f"# A `b`\n## What's new\n{links} <img src=x>\n\n| a |\n|---|\n| b |", "docs/index.md", served)
    assert re.findall(r'<a(?: href="([^"]*)")?>(\w)</a>', made) == [
        ("/docs/api.md#x", "a"), ("/README.md", "b"), ("", "c"), ("#x", "d"),
    ]  # fmt: skip
    assert '<h2 id="whats-new">' in made
    assert "<title>A b · iGob Core</title>" in made
    assert "<img" not in made
    assert '<div class="table" tabindex="0"><table>' in made
