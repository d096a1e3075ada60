"""The rules that each document must follow, with errors that can be shown in Spanish.

Validity depends on the text alone: the rules look neither at variables nor at the actor.
"""

from collections.abc import Mapping, Sequence
from copy import copy
from functools import partial
from typing import Any

from graphql import (
    ASTValidationRule,
    GraphQLError,
    NoSchemaIntrospectionCustomRule,
    ProvidedRequiredArgumentsRule,
    ValidationContext,
    ValuesOfCorrectTypeRule,
    specified_rules,
)

from api.graphql.engine.document_errors import LibraryError, RefusedDocument
from api.graphql.engine.limits import ExpandedSizeRule
from api.graphql.engine.validation.spanish import SPANISH, Words
from api.graphql.engine.values import MissingArgumentsRule, WrongValuesRule

OWN_RULES: Mapping[type[ASTValidationRule], type[ASTValidationRule]] = {
    ValuesOfCorrectTypeRule: WrongValuesRule,
    ProvidedRequiredArgumentsRule: MissingArgumentsRule,
}


def in_both_languages(rule: type[ASTValidationRule]) -> type[ASTValidationRule]:
    """A rule like this one whose errors are LibraryError or RefusedDocument.

    Raises KeyError for a rule of the library that has no words in Spanish.
    """
    own: Any = OWN_RULES.get(rule, rule)
    if own is WrongValuesRule:
        return WrongValuesRule
    words = SPANISH[rule]

    class Worded(own):  # type: ignore[misc]
        def __init__(self, context: Any) -> None:
            reporting = copy(context)
            reporting.on_error = partial(_report, context, words)
            super().__init__(reporting)

    return Worded


def _report(context: ValidationContext, words: Words, error: GraphQLError) -> None:
    """Report an error with its text in Spanish, which depends on the place that the validation has reached."""
    if not isinstance(error, RefusedDocument):
        text = words(context, error.nodes or [])
        error = LibraryError(error, lambda: text)
    context.report_error(error)


RULES: Sequence[type[ASTValidationRule]] = (*map(in_both_languages, specified_rules), ExpandedSizeRule)
RULES_WITHOUT_INTROSPECTION = (*RULES, in_both_languages(NoSchemaIntrospectionCustomRule))
