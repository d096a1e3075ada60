"""The composition root: settings, log, committer and schema make one ASGI application."""

import asyncio
from collections.abc import AsyncIterator, Coroutine, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any, TypeVar

from fastapi import FastAPI, Request, Response
from fastapi.responses import JSONResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from api.access.identity import ANONYMOUS, KeysUnknown, WrongToken
from api.access.rates import address_of
from api.contexts import figures, load_domain, read_models
from api.descriptions import TRANSLATIONS
from api.graphql.context import Context, RequestRejected, Services, freshness_to_json
from api.graphql.engine.documents import Documents
from api.graphql.engine.execution import Engine
from api.graphql.engine.trusted import Trusted, load_trusted
from api.graphql.schema import schema
from api.http.connections import Places
from api.http.endpoint import Endpoint
from api.http.limits import LoopbackOnly, is_by_own_name, is_local, peer_of
from api.http.origins import Origins
from api.http.protocol import Response as PlainResponse
from api.http.sockets import Subscriptions
from api.http.streams import Streams
from api.messages import LANGUAGE_LENGTH_MAX, language_of
from api.telemetry import Headers, Requests, correlation_of, traceparent_of
from api.web.endpoint_page import endpoint_page
from api.web.pages import add_pages
from domain.errors import Rejected
from infra.gateways.keys import RETRY_S, keys_of
from infra.log.core import open_core
from infra.log.submission import ServiceUnavailable
from infra.postgres.connections import Unavailable
from infra.postgres.database import application_conninfo
from infra.postgres.views import Freshness, Views
from infra.running.logging import log_failure
from infra.running.metrics import CONTENT_TYPE, Metrics, Sample, Shared, share
from infra.running.part import end_with_server, when_told_to_stop
from infra.running.settings import PREFIX, Settings, from_environment
from infra.running.tracing import open_spans
from projections.engine.figures import Figure, Figures

GRAPHQL_PATH = "/graphql"
GRAPHQL_PATH_BYTES = GRAPHQL_PATH.encode()
READY_TIMEOUT_S = 3
SAMPLE_EVERY_S = 1
STUCK_AFTER_S = 5  # commands have waited this long without an answer

T = TypeVar("T")


class TokenInvalid(
    Rejected,
    es="El token no es válido o ya venció: inicie sesión de nuevo.",
    en="The token is not valid or has expired: log in again.",
): ...


class Application:
    """The ASGI application: GraphQL at its path, over HTTP and WebSockets, and FastAPI for the rest.

    It uses the database of the settings, which must be migrated, unless `services` are given. Its metrics are `shared`
    with other workers.
    """

    def __init__(self, settings: Settings, services: Services | None = None, *, shared: Shared | None = None) -> None:
        load_domain()
        self._settings = settings
        self._spans = None if services else open_spans(settings)
        self._requests = services.requests if services else Requests(Metrics(shared), self._spans)
        self._requests.prepare(schema._schema)
        self.engine = Engine(
            schema,
            introspection=settings.introspection,
            trusted=trusted_of(settings),
            translations=TRANSLATIONS,
        )
        self._services = services
        self._rest = FastAPI(
            title="iGob Core", lifespan=self._lifespan, docs_url=None, redoc_url=None, openapi_url=None
        )
        # For a model of what it returns FastAPI would import all of pydantic.v1.
        self._rest.get("/healthz", response_model=None)(healthz)
        self._rest.get("/readyz")(self._readyz)
        self._rest.get("/metrics")(self._metrics)
        add_pages(self._rest, settings)
        self._places = Places()
        self._streams = Streams(self.engine, self._places)
        origins = Origins(settings)
        self._endpoint = Endpoint(
            self.engine, self._introduced, self._requests, self._streams, origins, page=endpoint_page(settings)
        )
        self._http = origins.with_cors(self._endpoint)
        self._sockets = Subscriptions(self.engine, self._introduced, self._places, origins)
        self._guarded: ASGIApp = self._serve
        if not settings.oidc_issuer:
            # The development key can make anybody's token, so only this machine is served, under its own names.
            self._guarded = LoopbackOnly(self._serve)

    @property
    def services(self) -> Services:
        assert self._services, "it was not started"
        return self._services

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._guarded(scope, receive, send)

    async def _serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        # Exactly this path: similar ones belong to FastAPI.
        served: ASGIApp = self._rest
        if scope["type"] != "lifespan" and scope["path"] == GRAPHQL_PATH:
            served = self._http if scope["type"] == "http" else self._sockets
        await served(scope, receive, send)

    @asynccontextmanager
    async def _lifespan(self, _: FastAPI) -> AsyncIterator[None]:
        metrics, spans = self._requests.metrics, self._spans
        async with (
            open_core(self._settings, metrics=metrics, spans=spans) as core,
            keys_of(self._settings, core.secret) as keys,
        ):
            views = Views(application_conninfo(self._settings), schema=self._settings.schema)
            await views.open()
            self._services = Services(
                core=core,
                views=views,
                settings=self._settings,
                now=lambda: datetime.now(UTC),
                keys=keys,
                requests=self._requests,
            )
            watch = asyncio.create_task(end_with_server())
            sampling = asyncio.create_task(self._keep_sampling())
            with when_told_to_stop(self._streams.stop):
                yield
            self._streams.stop()
            sampling.cancel()
            watch.cancel()
            await self._services.stop()
            await views.close()
        if self._spans:
            await asyncio.to_thread(self._spans.close)

    def can_answer(self, path: bytes, headers: Headers, peer: str) -> bool:
        """Whether `answer` can answer a POST to this path, see api/http/protocol.py."""
        if path != GRAPHQL_PATH_BYTES or not (
            self._settings.oidc_issuer or is_by_own_name(peer, headers.get(b"host", b""))
        ):
            return False
        return self._endpoint.can_answer(headers)

    async def answer(self, headers: Headers, body: bytes, peer: str) -> PlainResponse:
        """The answer to a POST to the endpoint for which `can_answer` is true."""
        return await self._endpoint.answer(headers, body, peer)

    async def _introduced(self, headers: Headers, peer: str | None) -> Context:
        services = self.services
        context = Context(
            services,
            actor=ANONYMOUS,
            language=language_of(headers.get(b"accept-language", b"")[:LANGUAGE_LENGTH_MAX]),
            correlation=correlation_of(headers),
            traceparent=traceparent_of(headers),
        )
        try:
            context.actor = await services.identities.actor(headers.get(b"authorization", b""))
        except WrongToken:
            self._count_address(context, headers, peer)
            context.charge()  # guessing tokens counts as well
            challenge = {"www-authenticate": 'Bearer error="invalid_token"'}
            raise RequestRejected(401, TokenInvalid(), context.language, **challenge) from None
        except KeysUnknown:
            raise RequestRejected(
                503, ServiceUnavailable(), context.language, **{"retry-after": str(RETRY_S)}
            ) from None
        if not context.actor.subject:
            self._count_address(context, headers, peer)
        if peer is not None:
            context.charge()
        return context

    def _count_address(self, context: Context, headers: Headers, peer: str | None) -> None:
        """Count an anonymous request by its client's address."""
        if peer is not None:
            context.address = address_of(peer, headers, self.services.settings.client_address_header)

    async def _readyz(self) -> JSONResponse:
        return await readyz(self.services)

    async def _metrics(self, request: Request) -> Response:
        if self.services.settings.metrics_local and not is_local(peer_of(request.scope)):
            return JSONResponse({"status": f"for this machine alone, see {PREFIX}METRICS_LOCAL"}, status_code=403)
        lags: Mapping[str, Freshness | None] = {}
        try:
            lags = await _within(READY_TIMEOUT_S, self.services.views.freshness(read_models()))
        except Exception as error:  # all other metrics are shown nevertheless
            log_failure("the read models' lag is not known", error)
        shown = [figure for one in figures() for figure in await self._figures(one, lags)]
        self._sample()
        page = await asyncio.to_thread(self._requests.metrics.page, lags, shown)
        return Response(page, media_type=CONTENT_TYPE)

    async def _figures(self, asked: Figures, lags: Mapping[str, Freshness | None]) -> list[Figure]:
        """A context's figures; none if they can't be read."""
        now = self.services.now()
        query = asked.query(now)
        if not all(lags.get(name) for name in query.projections):
            return []  # a read model was never built
        try:
            rows, _ = await _within(READY_TIMEOUT_S, self.services.views.ask(query))
        except Exception as error:  # all other metrics are shown nevertheless
            log_failure("figures for the metrics are not known", error)
            return []
        return asked.shown(rows, now)

    async def _keep_sampling(self) -> None:
        """Publish samples, so that another worker can show the metrics of all."""
        while True:
            self._sample()
            await asyncio.sleep(SAMPLE_EVERY_S)

    def _sample(self) -> None:
        services = self.services
        self._requests.metrics.sample(
            Sample(
                waiting_commands=services.core.committer.waiting_commands,
                oldest_wait_s=services.core.committer.oldest_wait_s,
                connections=self._places.taken,
                subscriptions=services.live.followers,
                followed_streams=services.live.streams,
                documents=len(self.engine.documents.known),
            )
        )


def trusted_of(settings: Settings) -> Trusted:
    """The trusted documents that the settings name. Raises SettingError."""
    documents = Documents(schema._schema, introspection=settings.introspection)
    return load_trusted(settings.trusted_documents, strict=settings.trusted_only, understand=documents.understand)


def create_app() -> Application:
    """The factory that servers call in each worker."""
    return Application(from_environment(), shared=share())


async def healthz() -> dict[str, str]:
    """The process is alive."""
    return {"status": "ok"}


async def readyz(services: Services) -> JSONResponse:
    """Ready: commands are accepted and the database answers. `position` is the head of the log.

    `views` has the position of each read model, null if it was never built; it does not affect readiness.

    Otherwise 503 with the reason in `status`, at the latest after READY_TIMEOUT_S.
    """
    if not services.core.committer.alive:
        return JSONResponse({"status": "the committer stopped"}, status_code=503)
    if services.keys.now is None:
        return JSONResponse({"status": "the identity provider does not answer"}, status_code=503)
    if services.core.committer.waited_s > STUCK_AFTER_S:
        return JSONResponse({"status": "commands do not get through"}, status_code=503)
    try:
        head = await _within(READY_TIMEOUT_S, services.core.log.head())
        views = await _within(READY_TIMEOUT_S, services.views.freshness(read_models()))
    except (Unavailable, TimeoutError):
        return JSONResponse({"status": "the database does not answer"}, status_code=503)
    shown = {name: freshness and freshness_to_json(freshness) for name, freshness in views.items()}
    return JSONResponse({"status": "ready", "position": str(head), "views": shown})


async def _within(timeout_s: float, work: Coroutine[Any, Any, T]) -> T:
    """The result of `work`. Raises TimeoutError after that time, even if cancelling the work takes long.

    asyncio.timeout would wait for the cancellation: the database is asked to cancel the query, which may hang as well.
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
        task.exception()  # or asyncio reports that the exception was never retrieved


_given_up: set[asyncio.Task[Any]] = set()
