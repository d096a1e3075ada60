"""Values of arguments and variables that are not of their type: said as every refusal is, translated, code and path.

The library finds them before any resolver is asked, and words them in English. It finds those written in the document
while validating, and those of variables when it begins to execute.
"""

import re
from collections.abc import Iterable, Iterator
from contextlib import suppress
from typing import Any

from graphql import (
    ArgumentNode,
    GraphQLEnumType,
    GraphQLError,
    GraphQLInputObjectType,
    GraphQLInputType,
    GraphQLSchema,
    ValueNode,
    ValuesOfCorrectTypeRule,
    VariableDefinitionNode,
    VisitorAction,
    get_named_type,
    is_list_type,
    is_non_null_type,
    type_from_ast,
    validate_input_literal,
    validate_input_value,
)
from graphql.language import SKIP
from graphql.pyutils import Undefined

from api.graphql.errors import as_graphql_error
from api.graphql.scalars import DateHint, InstantHint, PositionHint
from domain.errors import Hint, InvalidInput, Language, OneOfHint, Rejected, WrongTypeHint

WHOLE_NUMBER_MAX = 2**31 - 1  # GraphQL's Int has 32 bits
WRONG_VALUES_MAX = 50  # that are looked for in variables: the library tells of no more


class WholeNumberHint(
    Hint,
    es="debe ser un número entero, de -{limit} a {limit}",
    en="it must be a whole number, from -{limit} to {limit}",
):
    limit: int


HINTS: dict[str, Hint] = {
    "Date": DateHint(),
    "Instant": InstantHint(),
    "Position": PositionHint(),
    "Int": WholeNumberHint(limit=WHOLE_NUMBER_MAX),
}

# A field that is missing or unknown stands only in the library's words, which begin so.
_FIELD = re.compile(r"^Expected value of type '\w+' (?:to include required|not to include unknown) field '(\w+)'")


class WrongValue(GraphQLError):
    """A value in the document that is not of its type; `refusal` says so without a language."""

    def __init__(self, said: GraphQLError, node: ValueNode, refusal: Rejected) -> None:
        super().__init__(said.message, said.nodes or node)
        self.refusal = refusal


class WrongValuesRule(ValuesOfCorrectTypeRule):
    """Finds what the rule of the library finds, and where in the value, which that one keeps to itself."""

    name = ""

    def enter_argument(self, node: ArgumentNode, *_: Any) -> None:
        self.name = node.name.value

    def enter_variable_definition(self, node: VariableDefinitionNode, *_: Any) -> None:
        self.name = node.variable.name.value

    def is_valid_value_node(self, node: ValueNode, input_type: GraphQLInputType | None) -> VisitorAction:
        if input_type:
            of = input_type  # for the function below, to which it is never None

            def report(said: GraphQLError, path: list[str | int]) -> None:
                self.report_error(WrongValue(said, node, _refusal(self.name, of, said, path)))

            validate_input_literal(node, of, report)
        return SKIP


def translate_wrong_values(
    errors: Iterable[GraphQLError], schema: GraphQLSchema, variables: dict[str, Any], language: Language
) -> None:
    """Say it in the client's language wherever one of these errors is about a value of the client's."""
    of_variables: dict[str, Iterator[Rejected]] = {}
    for error in errors:
        refusal = error.refusal if isinstance(error, WrongValue) else None
        node = error.nodes[0] if error.nodes else None
        if isinstance(node, VariableDefinitionNode) and isinstance(error.original_error, GraphQLError):
            name = node.variable.name.value
            if name not in of_variables:
                of_variables[name] = iter(_wrong_in_variable(node, schema, variables.get(name, Undefined)))
            refusal = next(of_variables[name], None)
        if refusal:
            said = as_graphql_error(refusal, language)
            error.message, error.extensions = said.message, said.extensions


class _Enough(Exception):
    """Nobody is told of what is wrong beyond this."""


def _wrong_in_variable(node: VariableDefinitionNode, schema: GraphQLSchema, value: Any) -> list[Rejected]:
    """What is wrong with a variable's value, in the library's order: it tells where in English words alone.

    No more than WRONG_VALUES_MAX, however much there is.
    """
    found: list[Rejected] = []
    kind: Any = type_from_ast(schema, node.type)
    name = node.variable.name.value

    def report(said: GraphQLError, path: list[str | int]) -> None:
        found.append(_refusal(name, kind, said, path))
        if len(found) == WRONG_VALUES_MAX:
            raise _Enough

    with suppress(_Enough):
        validate_input_value(value, kind, report, hide_suggestions=True)
    return found


def _refusal(name: str, kind: GraphQLInputType, said: GraphQLError, path: list[str | int]) -> Rejected:
    """What is wrong at a place in the value of an argument or a variable.

    The path begins in the value, as in UserError; with the name, if the value as a whole is wrong.
    """
    field = _FIELD.match(said.message)
    steps = [str(step) for step in path] + ([field[1]] if field else [])
    where = ".".join(steps) or name
    leaf = get_named_type(_type_at(kind, path))
    if isinstance(leaf, GraphQLEnumType):
        return InvalidInput(path=where, hint=OneOfHint(values=", ".join(leaf.values)))
    return InvalidInput(path=where, hint=HINTS.get(leaf.name, WrongTypeHint()))


def _type_at(kind: Any, path: list[str | int]) -> Any:
    """The type of the value at this place."""
    for step in path:
        while is_non_null_type(kind) or (is_list_type(kind) and isinstance(step, str)):
            kind = kind.of_type
        if isinstance(step, int):
            kind = kind.of_type
        elif isinstance(kind, GraphQLInputObjectType):
            kind = kind.fields[step].type
    return kind
