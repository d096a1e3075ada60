"""Introspection in the client's language: descriptions and deprecation reasons are translated in the answer."""

from collections.abc import Callable, Mapping
from typing import Any

from graphql import is_introspection_type
from graphql.execution.executor import Executor

from domain.errors import Language

# For each language but English, in which the schema is written: translates a text, or returns it unchanged.
Translations = Mapping[Language, Callable[[str], str]]
TEXTS = ("description", "deprecationReason")


def translating(executor: type[Executor[Any]], translate: Callable[[str], str]) -> type[Executor[Any]]:
    """An executor class like this one that translates the texts of the types `__Type`, `__Field` and so on."""

    class Translating(executor):  # type: ignore[misc, valid-type]
        def execute_field(self, parent_type: Any, source: Any, field_details_list: Any, *more: Any) -> Any:
            value = super().execute_field(parent_type, source, field_details_list, *more)
            if isinstance(value, str) and is_introspection_type(parent_type):
                name = field_details_list[0].node.name.value
                return translate(value) if name in TEXTS else value
            return value

    return Translating
