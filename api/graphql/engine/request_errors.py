"""Refusals as errors of the request, which is the form that queries have for them."""

import re

from graphql import GraphQLError

from domain.errors import Language, Rejected


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
