"""What the engine needs of a request: a protocol, so that the engine does not depend on the schema."""

from typing import Any, Protocol

from domain.errors import Language


class Request(Protocol):
    """The context of a request, which resolvers get as `info.context`."""

    language: Language
    correlation: str
    operation: tuple[str, str]  # kind and root field, see `Operation.label`
    cost: int

    def charge(self, requests: int = 1) -> None:
        """Charge requests to the actor's rate limit. Raises an exception that ends the request."""

    def extensions(self) -> dict[str, Any]:
        """The `extensions` of the answer."""
