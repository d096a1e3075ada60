"""What the engine knows of a request: a protocol, so that it depends on nothing of the schema that it executes."""

from typing import Any, Protocol

from domain.errors import Language


class Request(Protocol):
    """The context of a request, which resolvers get as `info.context`."""

    language: Language
    correlation: str
    operation: tuple[str, str]  # kind and root field, see `Operation.label`
    cost: int

    def charge(self, requests: int = 1) -> None:
        """Count more requests against what the actor may ask. Raises an exception that ends this one."""

    def extensions(self) -> dict[str, Any]:
        """The `extensions` of the answer."""
