"""The composition root: settings, log, lane and schema make one ASGI application."""

import asyncio
import uuid
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any, TypeVar

from fastapi import FastAPI
from fastapi.responses import JSONResponse
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.types import ASGIApp, Receive, Scope, Send

from api.connections import Places
from api.endpoint import Endpoint
from api.graphql.documents import Documents
from api.graphql.schema import schema
from api.graphql.shared import Context, Headers, Services, freshness_shown
from api.graphql.trusted import Trusted, load_trusted
from api.limits import LoopbackOnly
from api.messages import language_of
from api.sockets import Subscriptions
from api.streams import Streams
from infra.core import open_core
from infra.database import application_conninfo
from infra.log import Unavailable
from infra.serve import become_worker, end_with_server, when_told_to_stop
from infra.settings import Settings, from_environment
from infra.views import Views
from projections.catalogue import PROJECTIONS

GRAPHQL_PATH = "/graphql"
READY_TIMEOUT_S = 3
STUCK_AFTER_S = 5  # commands wait, and none has been answered for so long

T = TypeVar("T")


class Application:
    """Everything under one roof: GraphQL at its path, by HTTP and WebSockets, and FastAPI for the rest.

    On the database of the settings, which must be migrated. `services` can be given instead of being opened with it.
    """

    def __init__(self, settings: Settings, services: Services | None = None) -> None:
        self._settings = settings
        self._services = services
        self._rest = FastAPI(
            title="iGob Core", lifespan=self._lifespan, docs_url=None, redoc_url=None, openapi_url=None
        )
        self._rest.get("/healthz")(healthz)
        self._rest.get("/readyz")(self._readyz)
        places = Places()
        self._streams = Streams(places)
        self._http = Endpoint(self._introduced, self._streams)
        self._sockets = Subscriptions(self._introduced, places)
        # Until there is access control, a page elsewhere must not reach this server through a name of its own.
        named = TrustedHostMiddleware(self._serve, allowed_hosts=["localhost", "127.0.0.1", "[::1]", "::1"])
        self._guarded = LoopbackOnly(named)

    @property
    def services(self) -> Services:
        assert self._services, "it was not started"
        return self._services

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._guarded(scope, receive, send)

    async def _serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        # Exactly so: what is nearly this path has to be somebody else's, or nobody's.
        served: ASGIApp = self._rest
        if scope["type"] != "lifespan" and scope["path"] == GRAPHQL_PATH:
            served = self._http if scope["type"] == "http" else self._sockets
        await served(scope, receive, send)

    @asynccontextmanager
    async def _lifespan(self, _: FastAPI) -> AsyncIterator[None]:
        async with open_core(self._settings) as core:
            views = Views(application_conninfo(self._settings), schema=self._settings.schema)
            await views.open()
            self._services = Services(
                core=core,
                views=views,
                settings=self._settings,
                now=lambda: datetime.now(UTC),
                trusted=trusted_of(self._settings),
            )
            watch = asyncio.create_task(end_with_server())
            with when_told_to_stop(self._streams.stop):
                yield
            self._streams.stop()
            watch.cancel()
            await self._services.live.stop()
            await views.close()

    def _introduced(self, headers: Headers) -> Context:
        return Context(
            self.services,
            actor=self.services.settings.development_actor,
            language=language_of(headers.get(b"accept-language", b"").decode("latin-1")),
            correlation=str(uuid.uuid4()),
        )

    async def _readyz(self) -> JSONResponse:
        return await readyz(self.services)


def trusted_of(settings: Settings) -> Trusted:
    """The documents of the settings. Raises SettingError."""
    documents = Documents(schema._schema, introspection=settings.introspection)
    return load_trusted(settings.trusted_documents, strict=settings.trusted_only, understand=documents.understand)


def create_app() -> Application:
    """What servers call in each worker."""
    become_worker()
    return Application(from_environment())


async def healthz() -> dict[str, str]:
    """The process lives."""
    return {"status": "ok"}


async def readyz(services: Services) -> JSONResponse:
    """The process can do its work: commands get through and the database answers. `position` is the head of the log.

    `views` tells how far each read model is; null for one that was never built. That alone is no reason against us.

    503 with the reason in `status` otherwise, at the latest after READY_TIMEOUT_S.
    """
    if not services.core.lane.alive:
        return JSONResponse({"status": "the lane stopped"}, status_code=503)
    if services.core.lane.waited_s > STUCK_AFTER_S:
        return JSONResponse({"status": "commands do not get through"}, status_code=503)
    try:
        head = await _within(READY_TIMEOUT_S, services.core.log.head())
        views = await _within(READY_TIMEOUT_S, services.views.freshness(PROJECTIONS))
    except (Unavailable, TimeoutError):
        return JSONResponse({"status": "the database does not answer"}, status_code=503)
    shown = {name: freshness and freshness_shown(freshness) for name, freshness in views.items()}
    return JSONResponse({"status": "ready", "position": str(head), "views": shown})


async def _within(timeout_s: float, work: Coroutine[Any, Any, T]) -> T:
    """What `work` gives; raises TimeoutError after that time, also if the work takes long to be cancelled.

    That is why it isn't asyncio.timeout: the database is asked to cancel the query, which may hang just like the query.
    """
    task = asyncio.create_task(work)
    done, _ = await asyncio.wait({task}, timeout=timeout_s)
    if done:
        return task.result()
    _given_up.add(task)  # the event loop itself holds tasks only weakly
    task.add_done_callback(_forget)
    task.cancel()
    raise TimeoutError


def _forget(task: asyncio.Task[Any]) -> None:
    _given_up.discard(task)
    if not task.cancelled():
        task.exception()  # else asyncio complains that nobody looked


_given_up: set[asyncio.Task[Any]] = set()
