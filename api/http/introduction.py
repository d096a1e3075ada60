"""The function by which HTTP and WebSockets make the context of a request."""

from collections.abc import Awaitable, Callable

from api.graphql.context import Context
from api.telemetry import Headers

# Makes the context, and charges the request to the peer's address unless that is None. Raises RequestRejected.
Introduce = Callable[[Headers, str | None], Awaitable[Context]]
