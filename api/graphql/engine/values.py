"""Values of arguments and variables that are not of their type: said as every refusal is, translated, code and path.

The library finds them before any resolver is asked, and words them in English. It finds those written in the document
while validating, and those of variables when it begins to execute.
"""

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
    ListValueNode,
    ObjectValueNode,
    ValueNode,
    ValuesOfCorrectTypeRule,
    VariableDefinitionNode,
    VisitorAction,
    get_named_type,
    is_list_type,
    is_non_null_type,
    is_required_input_field,
    type_from_ast,
    validate_input_literal,
    validate_input_value,
)
from graphql.language import SKIP
from graphql.pyutils import Undefined

from api.graphql.engine.request_errors import as_graphql_error
from domain.errors import Hint, InvalidInput, Language, OneOfHint, Rejected, WrongTypeHint

WHOLE_NUMBER_MAX = 2**31 - 1  # GraphQL's Int has 32 bits
WRONG_VALUES_MAX = 50  # that are looked for in variables: the library tells of no more


class WholeNumberHint(
    Hint,
    es="debe ser un número entero, de -{limit} a {limit}",
    en="it must be a whole number, from -{limit} to {limit}",
):
    limit: int


HINT = "hint"  # in the extensions of a scalar type: what a right value looks like, for clients
WHOLE_NUMBER = WholeNumberHint(limit=WHOLE_NUMBER_MAX)


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
            value = _Value(self.name, input_type, node)

            def report(said: GraphQLError, path: list[str | int]) -> None:
                self.report_error(WrongValue(said, node, value.refusal(path)))

            validate_input_literal(node, input_type, report)
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
    """What is wrong with a variable's value, in the order in which the library reports it.

    No more than WRONG_VALUES_MAX, however much there is.
    """
    found: list[Rejected] = []
    kind: Any = type_from_ast(schema, node.type)
    wrong = _Value(node.variable.name.value, kind, value)

    def report(_: GraphQLError, path: list[str | int]) -> None:
        found.append(wrong.refusal(path))
        if len(found) == WRONG_VALUES_MAX:
            raise _Enough

    with suppress(_Enough):
        validate_input_value(value, kind, report, hide_suggestions=True)
    return found


class _Value:
    """A value of an argument or a variable, as JSON or as written in the document, in which something is wrong."""

    def __init__(self, name: str, kind: GraphQLInputType, value: Any) -> None:
        self._name = name
        self._kind = kind
        self._value = value
        self._fields: dict[tuple[str | int, ...], Iterator[str]] = {}  # wrong ones of an object, not yet reported

    def refusal(self, path: list[str | int]) -> Rejected:
        """What is wrong at the place that the library reports, asked once for each report, in order.

        The path of the refusal begins in the value, as in UserError; it is the name if the value as a whole is wrong.
        """
        kind, value = _at(path, self._kind, self._value)
        leaf = get_named_type(kind)
        field = None
        if isinstance(leaf, GraphQLInputObjectType):
            # Of a missing or unknown field the library reports the object, and the field in words only.
            field = next(self._fields.setdefault((*path,), _wrong_fields(leaf, value)), None)
        where = ".".join([str(step) for step in path] + ([field] if field else [])) or self._name
        if isinstance(leaf, GraphQLEnumType):
            return InvalidInput(path=where, hint=OneOfHint(values=", ".join(leaf.values)))
        hint = WHOLE_NUMBER if leaf.name == "Int" else leaf.extensions.get(HINT) or WrongTypeHint()
        return InvalidInput(path=where, hint=hint)


def _wrong_fields(kind: GraphQLInputObjectType, value: Any) -> Iterator[str]:
    """The fields that an object lacks, then those that its type has not: in the order in which they are reported."""
    if isinstance(value, ObjectValueNode):
        given = [field.name.value for field in value.fields]
    elif isinstance(value, dict):
        given = [*value]
    else:
        return
    yield from (name for name, field in kind.fields.items() if is_required_input_field(field) and name not in given)
    yield from (name for name in given if name not in kind.fields)


def _at(path: list[str | int], kind: Any, value: Any) -> tuple[Any, Any]:
    """The type and the value at a place in a value."""
    for step in path:
        while is_non_null_type(kind) or (is_list_type(kind) and isinstance(step, str)):
            kind = kind.of_type  # also of a list: what is none counts as a list of one
        if isinstance(step, int):
            kind = kind.of_type
            value = value.values[step] if isinstance(value, ListValueNode) else value[step]
        elif isinstance(kind, GraphQLInputObjectType):
            kind = kind.fields[step].type
            value = _field_of(value, step)
    return kind, value


def _field_of(value: Any, name: str) -> Any:
    if isinstance(value, ObjectValueNode):
        return next(field.value for field in value.fields if field.name.value == name)
    return value[name]
