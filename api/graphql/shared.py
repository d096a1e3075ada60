"""What every context's part of the schema uses: scalars, refusals, connections, and the way a command goes."""

import re
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, date, datetime
from typing import Annotated, Any, Generic, NewType, NoReturn, TypeVar, cast

import msgspec
import strawberry
from graphql import GraphQLError
from strawberry.types import Info as StrawberryInfo
from strawberry.types.scalar import ScalarDefinition

from api.access.acquaintance import Acquaintance
from api.access.identity import Actor, Identities, Role
from api.access.rates import Rates, TooManyRequests
from api.graphql.engine.deadlines import Deadlines
from api.graphql.engine.live import Change, Following, Live, Snapshot
from api.graphql.engine.trusted import Trusted
from api.http.limits import PAGE_SIZE_MAX
from api.telemetry import UNKNOWN, Requests, new_correlation
from domain import errors, people
from domain.decider import Command, fold
from domain.errors import Hint, Language, Rejected
from domain.identifiers import LINE_NAME, TextHint, fits, hospital_of
from domain.people import dependants
from domain.queues.line import Line
from domain.queues.wait import Experience
from infra.gateways.keys import Keys
from infra.log.core import Core
from infra.log.lane import NO_PERSONS, Outcome, ServiceUnavailable
from infra.log.log import Key, Unavailable
from infra.postgres.views import BeyondLog, Freshness, NeverBuilt, NotReached, Question, Views
from infra.reactions.lines import Experiences, LineNow, Lines
from infra.running.settings import Settings

IDEMPOTENCY_KEY_LENGTH_MAX = 128
STREAMS_PER_REQUEST_MAX = 300  # read from the log and folded; a page of agendas takes 101
STREAMS_AT_ONCE_MAX = 10  # folding is work that nobody else gets in between: an agenda may have 5,000 slots

T = TypeVar("T")
C = TypeVar("C", bound=Command)

Position = NewType("Position", int)
Instant = NewType("Instant", datetime)


class DateHint(
    Hint,
    es="una fecha que existe, como año-mes-día: 2027-01-15",
    en="a date that exists, as year-month-day: 2027-01-15",
): ...


class InstantHint(
    Hint,
    es="un instante es ISO 8601 con su diferencia horaria: 2027-01-15T08:00:00-04:00",
    en="an instant is ISO 8601 with its offset: 2027-01-15T08:00:00-04:00",
): ...


class PositionHint(
    Hint,
    es='una posición es un número entero escrito como texto, "1607", que dio este sistema',
    en='a position is a whole number, written as a string, "1607", that this system gave',
): ...


# The client does not see these errors: api/graphql/engine/values.py words them in the client's language.


def _parse_position(value: Any) -> int:
    if not re.fullmatch("[0-9]{1,18}", str(value)) or isinstance(value, bool):
        raise GraphQLError("not a position")
    return int(value)


def _parse_date(value: Any) -> date:
    try:
        if re.fullmatch("[0-9]{4}-[0-9]{2}-[0-9]{2}", value):
            return date.fromisoformat(value)
    except (TypeError, ValueError):
        pass
    raise GraphQLError("not a date")


def _parse_instant(value: Any) -> datetime:
    try:
        instant = datetime.fromisoformat(value)
        if instant.tzinfo:
            return instant.astimezone(UTC)
    except (TypeError, ValueError, OverflowError):
        pass
    raise GraphQLError("not an instant")


def _show_instant(instant: datetime) -> str:
    """ISO 8601 in UTC, like `isoformat`, with Z. msgspec takes a tenth of the time."""
    if instant.tzinfo is not UTC:
        instant = instant.astimezone(UTC)
    shown: str = msgspec.to_builtins(instant)
    return shown


SCALARS: dict[object, ScalarDefinition] = {
    Position: strawberry.scalar(
        name="Position",
        description="A place in the log, counted from 1 without gaps. A string, since it outgrows 32 bits.",
        serialize=str,
        parse_value=_parse_position,
    ),
    date: strawberry.scalar(
        name="Date",
        description="A day of the calendar, ISO 8601: 2027-01-15.",
        specified_by_url="https://www.rfc-editor.org/rfc/rfc3339",
        serialize=date.isoformat,
        parse_value=_parse_date,
    ),
    Instant: strawberry.scalar(
        name="Instant",
        description="A moment, ISO 8601 in UTC with microseconds when it has any: 2027-01-15T12:00:00Z.",
        specified_by_url="https://www.rfc-editor.org/rfc/rfc3339",
        serialize=_show_instant,
        parse_value=_parse_instant,
    ),
}


class Services:
    """What resolvers work with, made once per process by the composition root."""

    def __init__(
        self,
        *,
        core: Core,
        views: Views,
        settings: Settings,
        now: Callable[[], datetime],
        keys: Keys,
        trusted: Trusted | None = None,
        requests: Requests | None = None,
        rates: Rates | None = None,
    ) -> None:
        self.core = core
        self.keys = keys
        self.identities = Identities(keys, settings, core.secret, now)
        self.requests = Requests(core.lane.metrics) if requests is None else requests
        self.rates = Rates(settings) if rates is None else rates
        self.trusted = Trusted() if trusted is None else trusted
        self.views = views
        self.settings = settings
        self.now = now
        self.deadlines = Deadlines()
        self.live = Live(core.log)
        self.acquaintance = Acquaintance(core.log)
        self.lines = Lines(core.log)
        self.experiences = Experiences(core.log, now)


class QueryTooLarge(
    Rejected,
    es="La consulta pide demasiado de una vez (el límite es {limit}): pida páginas más pequeñas o divídala.",
    en="The query asks for too much at once (the limit is {limit}): ask for smaller pages, or in parts.",
):
    limit: int


class NotReachedYet(
    Rejected,
    es="La vista va por la posición {position} del registro y todavía no llega a la pedida; intente de nuevo.",
    en="The read model is at position {position} of the log and not at the one asked for yet; try again.",
):
    position: int


class IdempotencyKeyHint(
    Hint,
    es="la clave de idempotencia es un texto de 1 a {limit} caracteres visibles",
    en="an idempotency key is a text of 1 to {limit} visible characters",
):
    limit: int


class Context:
    """One request: who asks, in which language, and how to have a command decided."""

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
        self.address = address  # of the client, see `address_of`; "" if it is not known
        # In which the root field that runs now may be asked. Queries run side by side: look before anything is awaited.
        self.role: Role = "anonymous"
        self.may_still: Callable[[], Awaitable[bool]] = _nobody_asked  # of a subscription, see api/access/rules.py
        self.language = language
        self.correlation = correlation
        self.traceparent = traceparent
        # What is told of it when it is answered, see api/telemetry.py: kind and root field, codes, position.
        self.operation = UNKNOWN, UNKNOWN
        self.refusals: list[str] = []
        self.written: int | None = None
        self.cost = 0  # of the operation
        self.freshness: dict[str, Freshness] = {}  # of the read models asked so far: the answer tells it
        self._streams_read = 0
        self._anew = False
        self._person = ""  # found in this request
        # Of a subscription: what it follows, and what it tells. See api/http/connections.py.
        self.following: Following | None = None
        self.snapshot: Snapshot | None = None
        self.show: Callable[[Change], Any] | None = None  # makes the field's value of a change
        self.after_variable: str | None = None
        self.resumes_after: Position | None = None  # whatever `after` says: what was told last before a cut

    def for_subscription(self) -> "Context":
        """One like this for one of the subscriptions of a connection."""
        return Context(
            self.services,
            actor=self.actor,
            language=self.language,
            correlation=new_correlation(),
            traceparent=self.traceparent,
            address=self.address,
        )

    def charge(self, requests: int = 1) -> None:
        """Count so many requests against what the actor may ask. Raises TurnedAway."""
        try:
            self.services.rates.charge(self.actor.subject, self.address, requests)
        except TooManyRequests as refusal:
            again = {"retry-after": str(refusal.seconds)}
            raise TurnedAway(TOO_MANY, refusal, self.language, **again) from None

    async def person(self) -> str:
        """The person whom the actor's identity number is; "" if it has none, or nobody was registered with it.

        Raises like `state`.
        """
        known, now = self.actor.known_person, self.services.now()
        if self.actor.identity and (self._anew or known.until is None or now >= known.until):
            async with self._available():
                stream = people.identity_stream(self.actor.identity)
                bearer: people.Identity = await self.services.acquaintance.state(stream)
            known.remember(bearer.person or "", now)
        self._person = known.person
        return known.person

    def forget_reads(self) -> None:
        """Begin to count anew what is read, for the next of many answers."""
        self._streams_read = 0

    def look_anew(self) -> None:
        """Before something is done: by what is only remembered, nobody acts as a person whom they are no longer."""
        self._anew, self._person = True, ""

    async def acts_for(self, person: str) -> bool:
        """Whether a citizen may ask and do what this person may: themselves, or a dependant. Raises like `state`."""
        own = await self.person()
        if not own or person == own:
            return bool(own)
        guardian, dependant = dependants.stream(own), people.stream(person)
        states = await self.states([guardian, dependant])
        return dependants.acts_for(states[guardian], states[dependant], self.services.now())

    @property
    def hospitals_seen(self) -> frozenset[str] | None:
        """Of which hospitals a patient's appointments are shown; None for all."""
        return self.actor.hospitals if self.role == "hospital_clerk" else None

    @property
    def service_points_seen(self) -> frozenset[str] | None:
        """At which service points a person's turns are shown; None for all."""
        return self.actor.service_points if self.role == "counter_clerk" else None

    def _key(self, name: str) -> Key:
        """An idempotency key of the actor's, and what the log keeps of who they are.

        That is the role with the person whose it is, the login (see `Actor.login_as`), and the program they use.
        """
        actor = self.actor
        person = f":{self._person}" if self.role == "citizen" and self._person else ""
        return Key(actor.account, name, by=f"{self.role}{person} {actor.login_as(self.role)} {actor.client}")

    async def state(self, stream: str) -> Any:
        """The state of a stream now. Raises a GraphQLError with code "unavailable" if the database does not answer."""
        return (await self.states([stream]))[stream]

    async def states(self, streams: list[str]) -> dict[str, Any]:
        """The states of these streams at one moment.

        Raises like `state`, and with code "query_too_large" if the request reads too many streams in all.
        """
        self._streams_read += len(streams)
        if self._streams_read > STREAMS_PER_REQUEST_MAX:
            raise as_graphql_error(QueryTooLarge(limit=STREAMS_PER_REQUEST_MAX), self.language)
        known = [stream for stream in streams if _can_be_stored(stream)]
        async with self._available():
            loaded = await self.services.core.log.load(known)
        return {stream: loaded[stream].state if stream in loaded else fold(stream, ()) for stream in streams}

    async def line(self, line: str, show: Callable[[LineNow], T]) -> T:
        """What `show` makes of a line as it is in the log now, see `Lines.shown`. Raises like `state`."""
        services = self.services
        if not fits(LINE_NAME, line):
            return show(LineNow(Line(), services.now(), Experience()))
        async with self._available():
            return await services.lines.shown(line, lambda state: show(self._line_now(line, state)))

    def _line_now(self, line: str, state: Line) -> LineNow:
        # Of a line that was never opened nothing is to be learned, however many ask.
        services = self.services
        experience = services.experiences.of(line) if state.opened else Experience()
        return LineNow(state, services.now(), experience)

    async def stream_names(self, prefix: str, *, after: str, first: int) -> list[str]:
        """Names of streams by prefix, see `Log.stream_names`. Raises like `state`."""
        if not _can_be_stored(prefix + after):
            return []
        async with self._available():
            return await self.services.core.log.stream_names(prefix, after=after, first=first)

    async def perform(
        self, key: str, content: dict[str, Any], kind: type[C], make: Callable[[str], C], *, person: str = ""
    ) -> tuple[C, Outcome]:
        """Make a command and have it decided: the command with its outcome.

        `content` is what the client said; by it, a repetition is known. `make` gets a new opaque id that depends on
        actor, key and content alone. `person` must be known, unless the request is a repetition. Raises Rejected.
        """
        if not re.fullmatch(rf"[!-~]{{1,{IDEMPOTENCY_KEY_LENGTH_MAX}}}", key):
            raise errors.InvalidInput(path="idempotency_key", hint=IdempotencyKeyHint(limit=IDEMPOTENCY_KEY_LENGTH_MAX))
        core = self.services.core
        try:
            command = make(core.secret.new_id(kind.__name__, self.actor.account, key, content))
        except UnicodeEncodeError:  # half a character somewhere: no text of ours can hold it
            raise errors.InvalidInput(hint=TextHint()) from None
        persons = {"patient" if "patient" in content else "person": people.stream(person)} if person else NO_PERSONS
        outcome = await core.lane.submit(
            command, self._key(key), content=content, correlation=self.correlation, required_persons=persons
        )
        self.written = outcome.position
        self.actor.known_person.forget()  # it may have made them somebody, or nobody
        return command, outcome

    async def recorded(self, key: str, outcome: Outcome) -> bool:
        """Whether a request under this key recorded something, now or when it came first. Raises like `state`."""
        if not outcome.replayed:
            return bool(outcome.recorded)
        core = self.services.core
        async with self._available():
            return await core.log.written(core.lane.kept(self._key(key)), outcome.position)

    async def ask(self, question: Question[T], *, at_least: int | None) -> list[T]:
        """What read models answer, once they have got to `at_least`.

        Raises a GraphQLError with code "not_reached_yet" if that takes too long, "invalid_input" if the log has no such
        position, "unavailable" if there is no answer.
        """
        try:
            async with self._available():
                rows, freshness = await self.services.views.ask(question, at_least=at_least or 0)
        except NotReached as error:
            late = NotReachedYet(path="at_least", position=error.freshness.position)
            raise as_graphql_error(late, self.language) from None
        except BeyondLog:
            unknown = errors.InvalidInput(path="at_least", hint=PositionHint())
            raise as_graphql_error(unknown, self.language) from None
        except NeverBuilt:
            raise as_graphql_error(ServiceUnavailable(), self.language) from None
        for name in question.projections:  # of several answers, that of the one furthest behind
            known = self.freshness.get(name, freshness)
            self.freshness[name] = min(known, freshness, key=lambda one: one.position)
        return rows

    @asynccontextmanager
    async def _available(self) -> AsyncIterator[None]:
        """Say it as the API does if the database does not answer."""
        try:
            yield
        except Unavailable:
            raise as_graphql_error(ServiceUnavailable(), self.language) from None


async def _nobody_asked() -> bool:
    return True


def _can_be_stored(name: str) -> bool:
    """Whether a stream can have this name: PostgreSQL's text holds neither NUL nor half characters."""
    return name.isprintable()


Info = StrawberryInfo[Context, None]

# Arguments that come again and again.
First = Annotated[int, strawberry.argument(description=f"How many items at most, 1 to {PAGE_SIZE_MAX}.")]
After = Annotated[
    str | None,
    strawberry.argument(description="The `endCursor` of the page before of this same list; without, the first page."),
]
AtLeast = Annotated[
    Position | None,
    strawberry.argument(
        description="Wait, a few seconds at most, until what stands at this position of the log is in the answer."
    ),
]
Input = Annotated[T, strawberry.argument(description="What is to be done, and the client's name for the request.")]

Headers = Mapping[bytes, bytes]  # by name in small letters
# Makes the context of a request, and counts the request by its peer's address unless that is None. Raises TurnedAway.
Introduce = Callable[[Headers, str | None], Awaitable[Context]]
TOO_MANY = 429


class TurnedAway(Exception):
    """Whoever asks is not listened to: the HTTP status, why, and what else is said in headers."""

    def __init__(self, status: int, refusal: Rejected, language: Language, **headers: str) -> None:
        super().__init__(refusal.code)
        self.status = status
        self.outcome = "limited" if status == TOO_MANY else "error"  # as it is counted
        self.error = as_graphql_error(refusal, language).formatted
        self.headers = headers


@strawberry.interface(description="What has an id of its own, by which `node` finds it again.")
class Node:
    id: strawberry.ID = strawberry.field(description="Never changes, and is no other thing's. Copy it whole.")


@strawberry.interface(description="Why a command was refused. Nothing was written.")
class UserError:
    code: str = strawberry.field(description="Stable: it never changes its meaning. Programs go by it.")
    message: str = strawberry.field(description="For people, in the language of Accept-Language: Spanish or English.")
    path: list[str] = strawberry.field(description="The input field to blame, from the input down; empty if none is.")


@strawberry.type(description="A rule was in the way; see the code.")
class Refused(UserError):
    pass


@strawberry.type(description="A field of the input is not of the right form.")
class InvalidInput(UserError):
    pass


@strawberry.type(description="Not your fault: repeat the request with the same key in a moment.")
class TryAgainLater(UserError):
    pass


# How a code becomes a type of its own, where a client acts on more than code and message. Contexts add theirs.
ERROR_TYPES: dict[str, Callable[..., UserError]] = {
    "invalid_input": lambda details, **said: InvalidInput(**said),
    "overloaded": lambda details, **said: TryAgainLater(**said),
    "unavailable": lambda details, **said: TryAgainLater(**said),
}


def explain(refusal: Rejected, context: Context) -> list[UserError]:
    """The typed, translated form of a refusal, for the `errors` of a payload."""
    context.refusals.append(refusal.code)
    said: dict[str, Any] = {
        "code": refusal.code,
        "message": refusal.message(context.language),
        "path": _names(refusal.path),
    }
    make = None if _is_of_elsewhere(refusal, context) else ERROR_TYPES.get(refusal.code)
    return [make(refusal.details, **said) if make else Refused(**said)]


def _is_of_elsewhere(refusal: Rejected, context: Context) -> bool:
    """Whether it names an appointment at a hospital that is none of the actor's business."""
    seen, appointment = context.hospitals_seen, refusal.details.get("appointment")
    return seen is not None and appointment is not None and hospital_of(appointment) not in seen


def _names(path: str) -> list[str]:
    """A path in the names of the schema, which spells a unit out: call_timeout_s is callTimeoutSeconds."""
    parts = [re.sub("_s$", "_seconds", part) for part in path.split(".")] if path else []
    return [re.sub("_([a-z])", lambda match: match[1].upper(), part) for part in parts]


def as_graphql_error(refusal: Rejected, language: Language) -> GraphQLError:
    """A query can't return `errors` of its own: the same refusal as an error of the request.

    In `extensions` its `code` and, if an argument is to blame, its `path`, both as in UserError.
    """
    path = {"path": _names(refusal.path)} if refusal.path else {}
    return GraphQLError(refusal.message(language), extensions={"code": refusal.code, **path})


def refuse(info: Info, path: str, hint: Hint) -> NoReturn:
    """Raise the GraphQLError for an argument of a query that is not of the right form."""
    raise as_graphql_error(errors.InvalidInput(path=path, hint=hint), info.context.language)


def freshness_shown(freshness: Freshness) -> dict[str, Any]:
    """How fresh a read model is, as clients see it."""
    return {
        "position": str(freshness.position),
        "lagEvents": freshness.lag_events,
        "lagSeconds": freshness.lag_s,
    }


@strawberry.input(description="What every mutation takes.")
class KeyedInput:
    idempotency_key: str = strawberry.field(
        description="The client's name for this request: the same key with the same content gives the first outcome"
        " again, for seven days; with other content it is refused."
    )


@strawberry.type(description="What every mutation answers.")
class Payload:
    position: Position | None = strawberry.field(
        default=None, description="What was done stands in the log at this place or before."
    )
    errors: list[UserError] = strawberry.field(
        default_factory=list, description="Why it was refused; empty if it was done."
    )


@strawberry.type(description="Where a page of a list ends.")
class PageInfo:
    end_cursor: str | None = strawberry.field(description="Pass it as `after` for the next page.")
    has_next_page: bool = strawberry.field(description="Whether there is more after this page.")


@strawberry.type(description="A page of a list.")
class Connection(Generic[T]):
    nodes: list[T] = strawberry.field(description="The items, in the order of the list.")
    page_info: PageInfo = strawberry.field(description="Where the page ends.")


class CursorHint(
    Hint,
    es="un cursor es el `endCursor` que dio la página anterior de esta misma lista",
    en="a cursor is the `endCursor` that the page before of this same list gave",
): ...


class PageSizeHint(Hint, es="se piden de 1 a {limit} elementos por página", en="ask for 1 to {limit} items a page"):
    limit: int


def page_size(first: int, info: Info) -> int:
    """`first` if it is within bounds; raises a GraphQLError otherwise."""
    if not 1 <= first <= PAGE_SIZE_MAX:
        refuse(info, "first", PageSizeHint(limit=PAGE_SIZE_MAX))
    return first


def page(items: Sequence[T], first: int, cursor: Callable[[T], str]) -> Connection[T]:
    """A page of at most `first` of these items, of which one more than that was asked for to see whether it goes on."""
    nodes = list(items[:first])
    end = cursor(nodes[-1]) if nodes else None
    info = PageInfo(end_cursor=end, has_next_page=len(items) > first)
    return cast("Connection[T]", Connection(nodes=nodes, page_info=info))
