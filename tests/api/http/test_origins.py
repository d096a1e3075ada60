"""Whose pages may ask from a browser, and what it is told: of requests, refusals, event streams and WebSockets."""

from collections.abc import Callable

import httpx
import pytest

from api.app import Application
from api.http.limits import BODY_BYTES_MAX
from infra.log.core import Core
from infra.postgres.views import Views
from infra.running.settings import Settings
from tests.api.conftest import services_of, serving
from tests.api.http.test_limits import Asked
from tests.city import AGENDA as ID
from tests.city import open_agenda
from tests.conftest import Clock
from tests.following import AGENDA, follower, reader

pytestmark = pytest.mark.anyio

OURS = "https://citas.example.bo"
APP = "capacitor://localhost"
EVIL = "https://evil.example"
LISTED = Settings(oidc_issuer="https://id.example", allowed_origins=f"{OURS}, {APP}")
NONE_LISTED = Settings(oidc_issuer="https://id.example")
EVERYBODY = Settings(oidc_issuer="https://id.example", allowed_origins="*")
DEVELOPMENT = Settings()
LOCAL = ("http://localhost:5173", "http://127.0.0.1:3000", "https://localhost", "http://[::1]:8080")
JUDGED = [
    *((LISTED, origin, True) for origin in (OURS, APP)),
    *((LISTED, other, False) for other in (EVIL, "null", f"{OURS}:1", f"{OURS}.evil.bo", "http://citas.example.bo")),
    *((LISTED, origin, False) for origin in LOCAL),
    *((NONE_LISTED, origin, False) for origin in (OURS, EVIL, LOCAL[0])),
    *((EVERYBODY, origin, True) for origin in (OURS, EVIL, "null", LOCAL[0])),
    *((DEVELOPMENT, origin, True) for origin in LOCAL),
    *((DEVELOPMENT, origin, False) for origin in (OURS, "null", "http://localhost.evil.example", "http://localhost:5173.evil.example")),
]  # fmt: skip
PREFLIGHT = {"access-control-request-method": "POST", "access-control-request-headers": "authorization,content-type"}

Make = Callable[[Settings], Application]


@pytest.fixture
def made(core: Core, views: Views, clock: Clock) -> Make:
    """The application with these settings."""
    return lambda settings: Application(settings, services_of(core, views, clock))


def client_of(app: Application) -> httpx.AsyncClient:
    """Somebody on this machine."""
    return httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url="http://localhost:8000")


def readable(answer: httpx.Response, origin: str) -> bool:
    """Whether a browser lets a page of that origin read the answer."""
    return answer.headers.get("access-control-allow-origin") in (origin, "*")


@pytest.mark.parametrize(("settings", "origin", "welcome"), JUDGED)
async def test_an_allowed_origin_may_use_each_transport(
    made: Make, settings: Settings, origin: str, welcome: bool
) -> None:
    app = made(settings)
    async with client_of(app) as http:
        preflight = await http.options("/graphql", headers={"origin": origin} | PREFLIGHT)
        assert (readable(preflight, origin), preflight.status_code == 200) == (welcome, welcome)
        asked = await http.post("/graphql", json={"query": "{ __typename }"}, headers={"origin": origin})
        assert (readable(asked, origin), asked.status_code) == (welcome, 200)
        streaming = {"origin": origin, "accept": "text/event-stream"}
        streamed = await http.post("/graphql", json={"query": "{ __typename }"}, headers=streaming)
        assert (readable(streamed, origin), streamed.status_code) == (welcome, 200 if welcome else 403)
    headers = [(b"host", b"localhost:8000"), (b"origin", origin.encode())]
    opened = await Asked(app, type="websocket", scheme="ws", subprotocols=["other"], headers=headers).by("127.0.0.1")
    assert ("websocket.accept" in opened.types) is welcome


@pytest.mark.parametrize("content", ['{"query": "{ __typename }"}', "{"])
async def test_programs_get_no_cors_headers(made: Make, content: str) -> None:
    """It does not say that it hangs on an origin: that is sound for as long as it may not be kept for others."""
    async with client_of(made(LISTED)) as http:
        answer = await http.post("/graphql", content=content, headers={"content-type": "application/json"})
    assert answer.headers["cache-control"] == "no-store"
    assert "vary" not in answer.headers
    assert not [name for name in answer.headers if name.startswith("access-control-")]


async def test_a_preflight_lists_allowed_headers_without_a_token(made: Make) -> None:
    said = "Authorization, content-type,accept-language, last-event-id,traceparent,tracestate,x-correlation-id"
    async with client_of(made(LISTED)) as http:
        asked = {"origin": OURS, "access-control-request-method": "POST", "access-control-request-headers": said}
        answer = await http.options("/graphql", headers=asked)
        assert answer.status_code == 200
        assert set(answer.headers["access-control-allow-methods"].split(", ")) == {"GET", "POST"}
        assert answer.headers["access-control-max-age"] == "3600"
        assert "Origin" in answer.headers["vary"]
        assert "access-control-allow-credentials" not in answer.headers  # there are no cookies
        for wrong in ({"access-control-request-method": "PUT"}, {"access-control-request-headers": "x-evil"}):
            assert (await http.options("/graphql", headers=asked | wrong)).status_code == 400


@pytest.mark.parametrize(
    ("more", "content", "status"),
    [
        ({"authorization": "Bearer nonsense"}, "{}", 401),
        ({"accept": "text/html"}, "{}", 406),
        ({}, "x" * (BODY_BYTES_MAX + 1), 413),
        ({"content-type": "text/plain"}, "{}", 415),
        ({}, "{", 400),
    ],
)
async def test_a_page_can_read_a_refusal(made: Make, more: dict[str, str], content: str, status: int) -> None:
    async with client_of(made(LISTED)) as http:
        headers = {"origin": OURS, "content-type": "application/json", "x-correlation-id": "mine"} | more
        answer = await http.post("/graphql", content=content, headers=headers)
        assert answer.status_code == status
        assert answer.json()["errors"][0]["message"]
        assert readable(answer, OURS)
        assert answer.headers["x-correlation-id"] == "mine"
        read = set(answer.headers["access-control-expose-headers"].lower().split(", "))
        assert {"retry-after", "www-authenticate", "x-correlation-id"} <= read


async def test_other_paths_have_no_cors_headers(made: Make) -> None:
    async with client_of(made(EVERYBODY)) as http:
        answer = await http.get("/healthz", headers={"origin": OURS})
        assert (answer.status_code, readable(answer, OURS)) == (200, False)


async def test_a_page_of_an_allowed_origin_subscribes(made: Make, core: Core) -> None:
    await open_agenda(core)
    app = made(LISTED)
    async with serving(app.services, app) as url:
        async with follower(url, origin=OURS) as one:
            await one.follow(AGENDA, id=ID)
            assert (await one.told())["position"] == 2
        async with reader(url, AGENDA, id=ID, headers={"origin": OURS}) as other:
            assert readable(other.answer, OURS)
            assert other.answer.headers["x-correlation-id"]
            assert (await other.told())["position"] == 2
