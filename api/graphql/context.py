"""One request: its actor and language, and how it reads the log and submits commands."""

import re
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Any, TypeVar

from strawberry.dataloader import DataLoader

from api.access.grant import Grant
from api.access.identity import Actor, Identities
from api.access.person_lookup import PersonLookup
from api.access.rates import Rates, TooManyRequests
from api.graphql.engine.limits import QueryTooLarge
from api.graphql.engine.live import Change, Following, Live, Snapshot
from api.graphql.engine.request_errors import as_graphql_error
from api.graphql.scalars import Position, PositionHint
from api.telemetry import UNKNOWN, Requests, new_correlation
from domain.decider import Command, State, Stream, StreamName, fold, required_parties
from domain.errors import Hint, InvalidInput, Language, Rejected
from domain.identifiers import TextHint
from infra.gateways.keys import Keys
from infra.log.core import Core
from infra.log.submission import Key, Outcome, ServiceUnavailable
from infra.postgres.connections import Unavailable
from infra.postgres.views import BeyondLog, Freshness, NeverBuilt, NotReached, Question, Views
from infra.running.settings import Settings

IDEMPOTENCY_KEY_LENGTH_MAX = 128
STREAMS_PER_REQUEST_MAX = 300  # read from the log and folded; a page of agendas takes 101
AGENDAS_AT_ONCE_MAX = 10  # to show one blocks the event loop: an agenda may have 5,000 slots

T = TypeVar("T")
C = TypeVar("C", bound=Command)
S = TypeVar("S", bound="ProcessService")
F = TypeVar("F", bound=State)


class ProcessService:
    """An object that a context keeps for the life of the process, see `Services.of`."""

    def __init__(self, core: Core, now: Callable[[], datetime]) -> None:
        self._core = core
        self._now = now

    def stop(self) -> None:
        """The process ends."""


class Services:
    """The services that resolvers use, made once per process by the composition root."""

    def __init__(
        self,
        *,
        core: Core,
        views: Views,
        settings: Settings,
        now: Callable[[], datetime],
        keys: Keys,
        requests: Requests | None = None,
        rates: Rates | None = None,
    ) -> None:
        self.core = core
        self.keys = keys
        self.identities = Identities(keys, settings, core.secret, now)
        self.requests = Requests(core.committer.metrics) if requests is None else requests
        self.rates = Rates(settings) if rates is None else rates
        self.views = views
        self.settings = settings
        self.now = now
        self.live = Live(core.log)
        self.person_lookup = PersonLookup(core.log)
        self._of_contexts: dict[type[ProcessService], ProcessService] = {}

    def of(self, kind: type[S]) -> S:
        """The one object of this class in the process, made on first use."""
        found = self._of_contexts.get(kind)
        if found is None:
            found = self._of_contexts[kind] = kind(self.core, self.now)
        assert isinstance(found, kind)
        return found

    async def stop(self) -> None:
        """The process ends."""
        await self.live.stop()
        for one in self._of_contexts.values():
            one.stop()


class NotReachedYet(
    Rejected,
    es="Los datos llegan hasta la posición {position} del registro y no todavía hasta la pedida: intente de nuevo.",
    en="The read model is at position {position} of the log and has not reached the requested one yet; try again.",
):
    position: int


class IdempotencyKeyHint(
    Hint,
    es="la clave de idempotencia debe ser un texto de 1 a {limit} caracteres visibles",
    en="an idempotency key must be a text of 1 to {limit} visible characters",
):
    limit: int


class Context:
    """One request: its actor and language, and methods to read and to submit commands."""

    def __init__(
        self,
        services: Services,
        *,
        actor: Actor,
        language: Language,
        correlation: str,
        traceparent: str = "",
        address: str = "",
    ) -> None:
        self.services = services
        self.actor = actor
        self.address = address  # the client's, see `address_of`; "" if unknown
        self.may_still: Callable[[], Awaitable[bool]] = _nobody_asked  # for a subscription, see api/graphql/guard.py
        self.language = language
        self.correlation = correlation
        self.traceparent = traceparent
        # For telemetry (api/telemetry.py): kind and root field, codes of refusals, position.
        self.operation = UNKNOWN, UNKNOWN
        self.refusals: list[str] = []
        self.written: int | None = None
        self.cost = 0  # of the operation
        self.freshness: dict[str, Freshness] = {}  # of the read models used so far, for the answer's extensions
        self._streams_read = 0
        self._loads: DataLoader[StreamName, Any] | None = None
        self._positions: DataLoader[tuple[StreamName, int], int | None] | None = None
        self.links: DataLoader[Any, Any] | None = None  # objects that other objects link to, see api/graphql/links.py
        self._shown_at: int | None = None  # the position of this command: its payload shows streams as they were then
        self.looks_anew = False
        self.person_found = ""  # the actor's own subject id, once a rule has asked for it
        # For a subscription: the stream that it follows and what it sends, see api/http/updates.py.
        self.following: Following | None = None
        self.snapshot: Snapshot | None = None
        self.show: Callable[[Change], Any] | None = None  # makes the field's value for a change
        self.after_variable: str | None = None
        self.resumes_after: Position | None = (
            None  # overrides `after`: the last position sent before the connection broke
        )

    def for_subscription(self) -> "Context":
        """A context like this one, for one subscription of a connection."""
        return Context(
            self.services,
            actor=self.actor,
            language=self.language,
            correlation=new_correlation(),
            traceparent=self.traceparent,
            address=self.address,
        )

    def charge(self, requests: int = 1) -> None:
        """Charge requests to the actor's rate limit. Raises RequestRejected."""
        try:
            self.services.rates.charge(self.actor.subject, self.address, requests)
        except TooManyRequests as refusal:
            again = {"retry-after": str(refusal.seconds)}
            raise RequestRejected(TOO_MANY, refusal, self.language, **again) from None

    def extensions(self) -> dict[str, Any]:
        """The cost of the answer, and the freshness of the read models that it used."""
        extensions: dict[str, Any] = {"cost": self.cost} if self.cost else {}
        if self.freshness:
            extensions["freshness"] = {name: freshness_to_json(found) for name, found in self.freshness.items()}
        return extensions

    def forget_reads(self) -> None:
        """Reset the count of streams read and the linked objects, before the next answer of a subscription."""
        self._streams_read = 0
        self.links = None

    def look_anew(self) -> None:
        """Before a command, forget what was read: the actor's number may belong to somebody else by now."""
        self.looks_anew, self.person_found = True, ""
        self.links, self._shown_at = None, None

    def _key(self, grant: Grant, name: str) -> Key:
        return Key(grant.actor.account, name, by=grant.recorded_as)

    async def state(self, stream: Stream[F]) -> F:
        """The state of a stream now. Raises a GraphQLError with code "unavailable" if the database does not answer."""
        state: F = (await self.states([stream]))[stream]
        return state

    async def states_at(self, streams: Sequence[StreamName], position: int | None) -> dict[str, Any]:
        """The states of these streams at a position of the log; None for now. Raises like `states`."""
        if position is None:
            return await self.states(streams)
        self._count(len(streams))
        async with self.available():
            loaded = await self.services.core.log.load(streams, until=position)
        return {name: one.state for name, one in loaded.items()}

    async def states(self, streams: Sequence[StreamName]) -> dict[str, Any]:
        """The states of these streams at one moment, in one statement with others that are asked for at the same time.

        After a command, its payload shows them as they were at its position. The callers must not change a state.

        Raises like `state`, and with code "query_too_large" if the request reads too many streams in all.
        """
        if self._loads is None:
            self._loads = DataLoader(load_fn=self._load, cache=False)
        async with self.available():
            return dict(zip(streams, await self._loads.load_many(streams), strict=True))

    async def _load(self, streams: Sequence[StreamName]) -> list[Any]:
        wanted = dict.fromkeys(streams)
        self._count(len(wanted))
        known = [stream for stream in wanted if _can_be_stored(stream)]
        loaded = await self.services.core.log.load(known, until=self._shown_at)
        found = {stream: loaded[stream].state if stream in loaded else fold(stream, ()) for stream in wanted}
        return [found[stream] for stream in streams]

    def _count(self, streams: int) -> None:
        """Count streams that are read. Raises a GraphQLError if there are too many."""
        self._streams_read += streams
        if self._streams_read > STREAMS_PER_REQUEST_MAX:
            raise as_graphql_error(QueryTooLarge(limit=STREAMS_PER_REQUEST_MAX), self.language)

    async def position_of(self, stream: StreamName, version: int) -> Position | None:
        """The position of an event in the log, in one statement with others that are asked for at the same time.

        Raises like `state`.
        """
        if self._positions is None:
            self._positions = DataLoader(load_fn=self.services.core.log.positions)
        async with self.available():
            found = await self._positions.load((stream, version))
        return None if found is None else Position(found)

    async def perform(
        self,
        grant: Grant,
        key: str,
        content: dict[str, Any],
        kind: type[C],
        make: Callable[[str], C],
    ) -> tuple[C, Outcome]:
        """Make a command and submit it. Returns the command with its outcome.

        `content` is what the client sent; a repetition must have the same. `make` gets a new opaque id that depends on
        actor, key and content only. Parties whom the command requires must be registered, unless the request is
        a repetition. Raises Rejected.
        """
        if not re.fullmatch(rf"[!-~]{{1,{IDEMPOTENCY_KEY_LENGTH_MAX}}}", key):
            raise InvalidInput(path="idempotency_key", hint=IdempotencyKeyHint(limit=IDEMPOTENCY_KEY_LENGTH_MAX))
        core = self.services.core
        try:
            command = make(core.secret.new_id(kind.__name__, self.actor.account, key, content))
        except UnicodeEncodeError:  # an unpaired surrogate, which no stored text can hold
            raise InvalidInput(hint=TextHint()) from None
        outcome = await core.committer.submit(
            command,
            self._key(grant, key),
            content=content,
            correlation=self.correlation,
            required_parties=required_parties(command),
        )
        self.written = outcome.position
        if outcome.recorded and not outcome.replayed:
            self._shown_at = outcome.position
        self.actor.known_person.forget()  # the command may have registered or erased the actor's person
        return command, outcome

    async def recorded(self, grant: Grant, key: str, outcome: Outcome) -> bool:
        """Whether the request with this key recorded an event, now or at first. Raises like `state`."""
        if not outcome.replayed:
            return bool(outcome.recorded)
        core = self.services.core
        async with self.available():
            return await core.log.written(core.committer.kept(self._key(grant, key)), outcome.position)

    async def ask(self, question: Question[T], *, at_least: int | None) -> list[T]:
        """The answer of read models, once they have reached `at_least`.

        Raises a GraphQLError with code "not_reached_yet" if that takes too long, "invalid_input" if the log has no such
        position, "unavailable" if there is no answer.
        """
        try:
            async with self.available():
                rows, freshness = await self.services.views.ask(question, at_least=at_least or 0)
        except NotReached as error:
            late = NotReachedYet(path="at_least", position=error.freshness.position)
            raise as_graphql_error(late, self.language) from None
        except BeyondLog:
            unknown = InvalidInput(path="at_least", hint=PositionHint())
            raise as_graphql_error(unknown, self.language) from None
        except NeverBuilt:
            raise as_graphql_error(ServiceUnavailable(), self.language) from None
        for name in question.projections:  # of several answers from one read model, the oldest counts
            known = self.freshness.get(name, freshness)
            self.freshness[name] = min(known, freshness, key=lambda one: one.position)
        return rows

    @asynccontextmanager
    async def available(self) -> AsyncIterator[None]:
        """Translate Unavailable into a GraphQLError with code "unavailable"."""
        try:
            yield
        except Unavailable:
            raise as_graphql_error(ServiceUnavailable(), self.language) from None


async def _nobody_asked() -> bool:
    return True


def _can_be_stored(name: str) -> bool:
    """Whether a stream can have this name: PostgreSQL's text can hold neither NUL nor surrogates."""
    return name.isprintable()


TOO_MANY = 429


class RequestRejected(Exception):
    """A request is rejected before it is executed, with an HTTP status, a refusal and extra headers."""

    def __init__(self, status: int, refusal: Rejected, language: Language, **headers: str) -> None:
        super().__init__(refusal.code)
        self.status = status
        self.outcome = "limited" if status == TOO_MANY else "error"  # for the metrics
        self.error = as_graphql_error(refusal, language).formatted
        self.headers = headers


def freshness_to_json(freshness: Freshness) -> dict[str, Any]:
    """How fresh a read model is, as clients see it."""
    return {
        "position": str(freshness.position),
        "lagEvents": freshness.lag_events,
        "lagSeconds": freshness.lag_s,
    }
