"""The page at `/`: who gets it, and that it is whole by itself. What it does in a browser: tests/browser."""

import re
from pathlib import Path

import httpx
import pytest

from api.app import Application
from api.web.pages import FILES
from infra.log.core import Core
from infra.postgres.views import Views
from infra.running.settings import Settings
from tests.api.conftest import services_of
from tests.conftest import Clock

WEB = Path(__file__).parents[2] / "api" / "web"
LOCAL = "http://localhost"


async def got(settings: Settings, core: Core, views: Views, clock: Clock) -> dict[str, httpx.Response]:
    """What is served for each file of the page."""
    transport = httpx.ASGITransport(app=Application(settings, services_of(core, views, clock)))
    async with httpx.AsyncClient(transport=transport, base_url=LOCAL) as http:
        return {path: await http.get(path) for path in FILES}


@pytest.mark.anyio
async def test_the_page_is_served_and_may_load_and_ask_only_here(core: Core, views: Views, clock: Clock) -> None:
    for path, answer in (await got(Settings(), core, views, clock)).items():
        assert answer.status_code == 200
        assert answer.text == (WEB / FILES[path][0]).read_text()
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
        assert {one or other for one, other in named} - {"data:,"} <= served


def test_all_that_it_says_it_says_in_both_languages() -> None:
    spanish, english = (WEB / "texts.js").read_text().split("  en: {")
    keys = [re.findall(r"^    (\w+): \"[^\"]+", part, re.MULTILINE) for part in (spanish, english)]
    assert keys[0] == keys[1]
    page, script = (WEB / "explorer.html").read_text(), (WEB / "explorer.js").read_text()
    used = set(re.findall(r'data-(?:text|hint|label)="(\w+)"', page)) | set(re.findall(r"texts\.(\w+)[^\w\"]", script))
    assert used == set(keys[0])
