"""The composition root: settings, log, lane and schema make one ASGI application."""

import asyncio
import uuid
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import HTTPConnection
from strawberry.fastapi import GraphQLRouter
from strawberry.subscriptions import GRAPHQL_TRANSPORT_WS_PROTOCOL

from api.graphql.schema import schema
from api.graphql.shared import Context, Services, freshness_shown
from api.limits import LoopbackOnly, RequestLimits
from api.messages import language_of
from api.sockets import INIT_TIMEOUT_S, SubscriptionHandler, WebSocketLimits
from infra.core import open_core
from infra.database import application_conninfo
from infra.log import Unavailable
from infra.serve import become_worker, end_with_server
from infra.settings import Settings, from_environment
from infra.views import Views
from projections.catalogue import PROJECTIONS

GRAPHQL_PATH = "/graphql"
READY_TIMEOUT_S = 3
STUCK_AFTER_S = 5  # commands wait, and none has been answered for so long

T = TypeVar("T")


def create_app(settings: Settings | None = None) -> FastAPI:
    """An application on the database of the settings, which must be migrated. Servers call it without arguments."""
    become_worker()
    settings = settings or from_environment()

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with open_core(settings) as core:
            views = Views(application_conninfo(settings), schema=settings.schema)
            await views.open()
            services = Services(core=core, views=views, settings=settings, now=lambda: datetime.now(UTC))
            app.state.services = services
            watch = asyncio.create_task(end_with_server())
            yield
            watch.cancel()
            await services.live.stop()
            await views.close()

    app = FastAPI(title="iGob Core", lifespan=lifespan, docs_url=None, redoc_url=None, openapi_url=None)
    # What is added last is asked first.
    app.add_middleware(RequestLimits, path=GRAPHQL_PATH)
    # Until there is access control, a page elsewhere must not reach this server through a name of its own.
    app.add_middleware(TrustedHostMiddleware, allowed_hosts=["localhost", "127.0.0.1", "[::1]", "::1"])
    app.add_middleware(WebSocketLimits)
    app.add_middleware(LoopbackOnly)
    router: GraphQLRouter[Context, None] = GraphQLRouter(
        schema,
        graphql_ide=None,
        context_getter=_context,
        subscription_protocols=(GRAPHQL_TRANSPORT_WS_PROTOCOL,),
        connection_init_wait_timeout=timedelta(seconds=INIT_TIMEOUT_S),
    )
    router.graphql_transport_ws_handler_class = SubscriptionHandler
    app.include_router(router, prefix=GRAPHQL_PATH)
    app.get("/healthz")(healthz)
    app.get("/readyz")(readyz)
    return app


async def _context(request: HTTPConnection) -> Any:
    services: Services = request.app.state.services
    return Context(
        services,
        actor=services.settings.development_actor,
        language=language_of(request.headers.get("accept-language", "")),
        correlation=str(uuid.uuid4()),
    )


async def healthz() -> dict[str, str]:
    """The process lives."""
    return {"status": "ok"}


async def readyz(request: Request) -> JSONResponse:
    """The process can do its work: commands get through and the database answers. `position` is the head of the log.

    `views` tells how far each read model is; null for one that was never built. That alone is no reason against us.

    503 with the reason in `status` otherwise, at the latest after READY_TIMEOUT_S.
    """
    services: Services = request.app.state.services
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
