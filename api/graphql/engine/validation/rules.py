"""The rules that each document must follow, with errors that can be shown in Spanish.

Validity depends on the text alone: the rules look neither at variables nor at the actor.
"""

from collections.abc import Mapping, Sequence
from typing import Any, cast

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

SUGGESTED_MAX = 10  # errors of a rule with suggestions
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
            super().__init__(_Reporting(context, words))

    return Worded


class _Reporting:
    """The validation's context for one rule: errors get their text in Spanish, and few get suggestions.

    Not a copy of it: the rules share its caches, and the budget that ends the validation of a document that costs much.
    """

    def __init__(self, context: ValidationContext, words: Words) -> None:
        self._context = context
        self._words = words
        self._reported = 0

    @property
    def hide_suggestions(self) -> bool:
        """Names are suggested for the first errors only: to find similar ones among all takes milliseconds."""
        return self._context.hide_suggestions or self._reported >= SUGGESTED_MAX

    def __getattr__(self, name: str) -> Any:
        return getattr(self._context, name)

    def report_error(self, error: GraphQLError) -> None:
        if not isinstance(error, RefusedDocument):
            # Now, while the validation is at the place of the error.
            text = self._words(cast("ValidationContext", self), error.nodes or [])
            error = LibraryError(error, lambda: text)
        self._reported += 1
        self._context.report_error(error)


RULES: Sequence[type[ASTValidationRule]] = (*map(in_both_languages, specified_rules), ExpandedSizeRule)
RULES_WITHOUT_INTROSPECTION = (*RULES, in_both_languages(NoSchemaIntrospectionCustomRule))
