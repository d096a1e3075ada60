"""Refusals as errors of the request: the form in which queries return them."""

import re

from graphql import GraphQLError

from domain.errors import Language, Rejected


def path_names(path: str) -> list[str]:
    """A path with the names of the schema, which spell out units: call_timeout_s is callTimeoutSeconds."""
    parts = [re.sub("_s$", "_seconds", part) for part in path.split(".")] if path else []
    return [re.sub("_([a-z])", lambda match: match[1].upper(), part) for part in parts]


def as_graphql_error(refusal: Rejected, language: Language) -> GraphQLError:
    """The refusal as an error of the request, because queries have no payload with `errors`.

    `extensions` has its `code` and, if an argument caused it, its `path`, both as in UserError.
    """
    path = {"path": path_names(refusal.path)} if refusal.path else {}
    return GraphQLError(refusal.message(language), extensions={"code": refusal.code, **path})
