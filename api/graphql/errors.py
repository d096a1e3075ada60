"""Refusals as typed errors in the payload of a mutation."""

from collections.abc import Callable
from typing import Any, TypeVar

import strawberry

from api.access.grant import Grant
from api.graphql.engine.request_errors import path_names
from domain import errors
from domain.errors import Language, Rejected
from infra.log.submission import Overloaded, ServiceUnavailable


@strawberry.interface(description="Why a command was refused. Nothing was written.")
class UserError:
    code: str = strawberry.field(description="A stable code for programs. Its meaning never changes.")
    message: str = strawberry.field(description="A text for people, in Spanish or English by Accept-Language.")
    path: list[str] = strawberry.field(
        description="The path of the input field that caused the refusal; empty if none did."
    )


@strawberry.type(description="A rule refuses the command: see `code`.")
class Refused(UserError):
    pass


@strawberry.type(description="A field of the input has an invalid value.")
class InvalidInput(UserError):
    pass


@strawberry.type(description="A temporary failure on the server: repeat the request with the same key in a moment.")
class TryAgainLater(UserError):
    pass


# Makes the error for a refusal and a grant, given the fields that every UserError has. None: use Refused.
Make = Callable[..., UserError | None]
_MAKERS: dict[type[Rejected], Make] = {}
F = TypeVar("F", bound=Make)


def error_of(*refusals: type[Rejected]) -> Callable[[F], F]:
    """Declare the error type for refusals on which clients act: `make(refusal, grant, code=…, message=…, path=…)`."""

    def register(make: F) -> F:
        for refusal in refusals:
            if _MAKERS.setdefault(refusal, make) is not make:
                raise TypeError(f"two error types for {refusal.__name__}")
        return make

    return register


def maker_of(refusal: type[Rejected]) -> Make | None:
    """The function that makes the error for a refusal; None if it is a plain Refused."""
    return _MAKERS.get(refusal)


@error_of(errors.InvalidInput)
def _invalid_input(_refusal: Rejected, _grant: Grant | None, **common: Any) -> UserError:
    return InvalidInput(**common)


@error_of(Overloaded, ServiceUnavailable)
def _try_again(_refusal: Rejected, _grant: Grant | None, **common: Any) -> UserError:
    return TryAgainLater(**common)


def user_error(refusal: Rejected, language: Language, grant: Grant | None) -> UserError:
    """A refusal as an error in a payload: typed, and in the client's language."""
    common: dict[str, Any] = {
        "code": refusal.code,
        "message": refusal.message(language),
        "path": path_names(refusal.path),
    }
    make = maker_of(type(refusal))
    return (make(refusal, grant, **common) if make else None) or Refused(**common)
