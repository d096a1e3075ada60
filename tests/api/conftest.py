"""A client of the API in this process: the real schema and endpoint on a real log."""

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, closing
from datetime import datetime, timedelta
from typing import Any

import httpx
import msgspec
import pytest
import uvicorn
from psycopg import AsyncConnection

from api.app import Application
from api.graphql.context import Services
from api.http.protocol import Connections
from api.http.worker import config_for
from infra.gateways.keys import DevelopmentKeys, Login, development_token
from infra.log.core import Core
from infra.log.log import Log
from infra.postgres.embedded import EmbeddedPostgres
from infra.postgres.libpq import LibpqConnection
from infra.postgres.views import Views
from infra.running.serve import CONNECTIONS_MAX
from infra.running.settings import Settings
from tests.city import booking, key, person
from tests.conftest import Clock
from tests.connected import Connected
from tests.projecting import LastProjector, ProjectorOnDemand
from tests.towns import Town, Towns

DEVELOPER = Login(roles=["developer"])


class Client:
    """Asks GraphQL over HTTP, as a developer unless told otherwise."""

    def __init__(self, http: httpx.AsyncClient, services: Services, projector: ProjectorOnDemand | None = None) -> None:
        self.http = http
        self.services = services
        self.act_as(DEVELOPER)
        self.projector = projector

    def act_as(self, login: Login | None, **changed: Any) -> None:
        """Go on as somebody, or as nobody."""
        self.http.headers.pop("authorization", None)
        if login:
            self.http.headers["authorization"] = f"Bearer {self.token(login, **changed)}"

    def token(self, login: Login, *, begin: datetime | None = None, lasts: timedelta = timedelta(days=365)) -> str:
        """A token that is good from now on by the test's clock, unless told otherwise."""
        services = self.services
        secret, begin = services.core.secret, begin or services.now()
        return development_token(secret, services.settings, login, begin=begin, lasts=lasts)

    def settings(self, **changed: Any) -> None:
        """Go on with other settings, as after a restart."""
        self.services.settings = msgspec.structs.replace(self.services.settings, **changed)

    async def ask(self, query: str, *, language: str = "es", **variables: Any) -> dict[str, Any]:
        """The whole answer, with read models that are up to date."""
        if self.projector:
            self.projector.catch_up()
        answer = await self.http.post(
            "/graphql",
            content=json.dumps({"query": query, "variables": variables}),  # half characters escaped, not refused
            headers={"accept-language": language, "content-type": "application/json"},
        )
        assert answer.status_code == 200, answer.text
        found: dict[str, Any] = answer.json()
        return found

    async def data(self, query: str, **variables: Any) -> Any:
        """The data of an answer without errors; of its one field if it has one."""
        answer = await self.ask(query, **variables)
        assert "errors" not in answer, answer
        fields = list(answer["data"].values())
        return fields[0] if len(fields) == 1 else answer["data"]


def services_of(core: Core, views: Views, clock: Clock, settings: Settings | None = None, **more: Any) -> Services:
    """What an application works with, whose tokens are signed by the development key; it may be asked at any rate."""
    keys = DevelopmentKeys(core.secret)
    return Services(
        core=core,
        views=views,
        settings=settings or Settings(requests_per_s=0, anonymous_per_s=0),
        now=clock,
        keys=keys,
        **more,
    )


@pytest.fixture(scope="module")
async def connected() -> AsyncIterator[Connected]:
    connected = Connected()
    yield connected
    await connected.close()


@pytest.fixture
async def log_and_views(connected: Connected, town: Town) -> AsyncIterator[tuple[Log, Views]]:
    async with connected.to(town) as log_and_views:
        yield log_and_views


@pytest.fixture
def log(log_and_views: tuple[Log, Views]) -> Log:
    return log_and_views[0]


@pytest.fixture
def views(log_and_views: tuple[Log, Views]) -> Views:
    return log_and_views[1]


@pytest.fixture(scope="session")
def last_projector(server: EmbeddedPostgres) -> Iterator[LastProjector]:
    with closing(LastProjector()) as last:
        yield last


@pytest.fixture
def projecting(towns: Towns, town: Town, read_models: None, last_projector: LastProjector) -> ProjectorOnDemand:
    return ProjectorOnDemand(town, towns, last_projector)


@pytest.fixture
async def services(core: Core, views: Views, clock: Clock) -> Services:
    return services_of(core, views, clock)


@pytest.fixture
async def app(services: Services) -> Application:
    return Application(Settings(), services)


@pytest.fixture
async def client(projecting: ProjectorOnDemand, app: Application) -> AsyncIterator[Client]:
    transport = httpx.ASGITransport(app=app)
    async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as http:
        yield Client(http, app.services, projecting)


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Every statement that is sent to the database."""
    statements: list[Any] = []
    execute, send = AsyncConnection.execute, LibpqConnection.send

    async def counting(self: Any, *arguments: Any, **options: Any) -> Any:
        statements.append(arguments[0])
        return await execute(self, *arguments, **options)

    def counting_send(self: LibpqConnection, name: bytes, *arguments: Any) -> None:
        statements.append(name)
        send(self, name, *arguments)

    monkeypatch.setattr(AsyncConnection, "execute", counting)
    monkeypatch.setattr(LibpqConnection, "send", counting_send)
    return statements


@asynccontextmanager
async def serving(
    services: Services, app: Application | None = None, connections: Connections | None = None
) -> AsyncIterator[str]:
    """A worker whose application works on the test's log."""
    app = app or Application(Settings(), services)
    config = config_for(app, connections or Connections(CONNECTIONS_MAX))
    config.lifespan, config.port = "off", 0  # the services are open already
    server = uvicorn.Server(config)
    running = asyncio.create_task(server.serve())
    while not server.started:  # noqa: ASYNC110
        await asyncio.sleep(0.01)
    try:
        yield f"http://localhost:{server.servers[0].sockets[0].getsockname()[1]}"
    finally:
        server.should_exit = True
        await running
        await services.live.stop()


@pytest.fixture
async def url(services: Services, app: Application) -> AsyncIterator[str]:
    async with serving(services, app) as url:
        yield url


async def book(core: Core, slot: int = 1, name: str = "Ana") -> tuple[str, int]:
    """An appointment and its position."""
    await core.committer.submit(person(name, core, ci=str(4_820_193 + slot)), key(f"p{name}"))
    command = booking(slot, name)
    outcome = await core.committer.submit(command, key(f"b{name}{slot}"))
    return command.appointment, outcome.position
