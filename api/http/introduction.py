"""How HTTP and WebSockets learn for whom they serve: a function that makes the context of a request."""

from collections.abc import Awaitable, Callable

from api.graphql.context import Context
from api.telemetry import Headers

# Makes the context of a request, and counts the request by its peer's address unless that is None. Raises TurnedAway.
Introduce = Callable[[Headers, str | None], Awaitable[Context]]
