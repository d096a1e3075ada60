"""Errors of a document. Their text depends on the client's language, which is not known while it is checked."""

from collections.abc import Callable, Collection
from typing import Any

from graphql import GraphQLError, Node

from api.graphql.engine.request_errors import as_graphql_error
from domain.errors import Language, Rejected


class RefusedDocument(GraphQLError):
    """The error is a refusal of ours."""

    def __init__(self, refusal: Rejected, nodes: Collection[Node] = ()) -> None:
        super().__init__(refusal.message("en"), nodes or None)
        self.refusal = refusal


class LibraryError(GraphQLError):
    """The library found the error and words it in English. `in_spanish` makes its text in Spanish."""

    def __init__(self, error: GraphQLError, in_spanish: Callable[[], str]) -> None:
        super().__init__(error.message, error.nodes, error.source, error.positions)
        self.in_spanish = in_spanish


def translate(error: GraphQLError, language: Language) -> None:
    """Give an error of a document its text in this language; other errors stay as they are."""
    if isinstance(error, RefusedDocument):
        shown = as_graphql_error(error.refusal, language)
        error.message, error.extensions = shown.message, shown.extensions
    elif isinstance(error, LibraryError) and language == "es":
        error.message = error.in_spanish()


class DocumentTooLong(
    Rejected, es="El documento tiene más de {limit} caracteres.", en="The document is longer than {limit} characters."
):
    limit: int


class DocumentTooDeep(
    Rejected, es="El documento tiene demasiados niveles.", en="The document is nested too deeply."
): ...


MEASURES: dict[str, dict[Language, str]] = {
    "fields": {"es": "campos", "en": "fields"},
    "aliases": {"es": "alias", "en": "aliases"},
    "levels": {"es": "niveles de campos", "en": "fields within each other"},
    "root fields": {"es": "campos en el primer nivel", "en": "root fields"},
}


class DocumentTooLarge(
    Rejected,
    es="El documento tiene más de {limit} {what}, contando cada fragmento donde se usa.",
    en="The document has more than {limit} {what}, fragments expanded.",
):
    limit: int
    what: str  # one of MEASURES

    def blanks(self, language: Language) -> dict[str, Any]:
        return super().blanks(language) | {"what": MEASURES[self.what][language]}


class EmptySelection(Rejected, es="Una selección no puede estar vacía.", en="A selection can't be empty."): ...


class ValidationStopped(
    Rejected,
    es="El documento tiene demasiados errores o es demasiado complejo: no se revisó el resto.",
    en="The document has too many errors or is too complex: the rest was not checked.",
): ...


class OperationUnknown(
    Rejected,
    es="El documento no tiene la operación `{name}`.",
    en="The document has no operation `{name}`.",
):
    name: str


class OperationNotNamed(
    Rejected,
    es="El documento tiene varias operaciones: indique una en `operationName`.",
    en="The document has several operations: name one in `operationName`.",
): ...
