"""Refusals as clients see them: typed errors of payloads, and errors of the request."""

import re
from collections.abc import Callable

import strawberry
from graphql import GraphQLError

from domain.errors import Language, Rejected


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


def path_names(path: str) -> list[str]:
    """A path in the names of the schema, which spells a unit out: call_timeout_s is callTimeoutSeconds."""
    parts = [re.sub("_s$", "_seconds", part) for part in path.split(".")] if path else []
    return [re.sub("_([a-z])", lambda match: match[1].upper(), part) for part in parts]


def as_graphql_error(refusal: Rejected, language: Language) -> GraphQLError:
    """A query can't return `errors` of its own: the same refusal as an error of the request.

    In `extensions` its `code` and, if an argument is to blame, its `path`, both as in UserError.
    """
    path = {"path": path_names(refusal.path)} if refusal.path else {}
    return GraphQLError(refusal.message(language), extensions={"code": refusal.code, **path})
