"""Values of arguments and variables with the wrong type, reported as refusals with code, path and translated text.

The library finds them before it calls any resolver, and words them in English. It finds those in the document during
validation, and those of variables at the start of the execution.
"""

from collections.abc import Iterable, Iterator
from contextlib import suppress
from typing import Any

from graphql import (
    ArgumentNode,
    FieldNode,
    GraphQLEnumType,
    GraphQLError,
    GraphQLInputField,
    GraphQLInputObjectType,
    GraphQLInputType,
    GraphQLSchema,
    ListValueNode,
    NullValueNode,
    ObjectValueNode,
    ProvidedRequiredArgumentsRule,
    ValueNode,
    ValuesOfCorrectTypeRule,
    VariableDefinitionNode,
    VariableNode,
    VisitorAction,
    get_named_type,
    is_list_type,
    is_non_null_type,
    is_required_argument,
    is_required_input_field,
    type_from_ast,
    validate_input_literal,
    validate_input_value,
)
from graphql.language import SKIP
from graphql.pyutils import Undefined

from api.graphql.engine.document_errors import LibraryError, RefusedDocument
from api.graphql.engine.request_errors import as_graphql_error
from domain.errors import Hint, InvalidInput, Language, OneOfHint, Rejected

WHOLE_NUMBER_MAX = 2**31 - 1  # GraphQL's Int has 32 bits
WRONG_VALUES_MAX = 50  # in variables: the library reports no more


class WholeNumberHint(
    Hint,
    es="debe ser un número entero, de -{limit} a {limit}",
    en="it must be a whole number, from -{limit} to {limit}",
):
    limit: int


class MissingHint(Hint, es="falta `{name}`, de tipo `{type}`", en="`{name}`, of type `{type}`, is missing"):
    """`name`: a field with its place in the value, such as "slots.1.start"; "$first" for a variable."""

    name: str
    type: str


class UnknownFieldHint(Hint, es="no existe el campo `{name}`", en="there is no field `{name}`"):
    name: str


class ExpectedTypeHint(Hint, es="`{name}` debe ser de tipo `{type}`", en="`{name}` must be of type `{type}`"):
    name: str
    type: str


HINT = "hint"  # in the extensions of a scalar type: the hint for clients
WHOLE_NUMBER = WholeNumberHint(limit=WHOLE_NUMBER_MAX)


class WrongValuesRule(ValuesOfCorrectTypeRule):
    """Like the library's rule, but it also finds the place within the value."""

    name = ""

    def enter_argument(self, node: ArgumentNode, *_: Any) -> None:
        self.name = node.name.value

    def enter_variable_definition(self, node: VariableDefinitionNode, *_: Any) -> None:
        self.name = node.variable.name.value

    def is_valid_value_node(self, node: ValueNode, input_type: GraphQLInputType | None) -> VisitorAction:
        if input_type:
            value = _Value(self.name, input_type, node)

            def report(found: GraphQLError, path: list[str | int]) -> None:
                self.report_error(RefusedDocument(value.refusal(path), found.nodes or [node]))

            validate_input_literal(node, input_type, report)
        return SKIP


class MissingArgumentsRule(ProvidedRequiredArgumentsRule):
    """Like the library's rule, but it reports missing arguments of fields as refusals."""

    def leave_field(self, field_node: FieldNode, *_: Any) -> None:
        field = self.context.get_field_def()
        given = {argument.name.value for argument in field_node.arguments or ()}
        for name, argument in field.args.items() if field else ():
            if is_required_argument(argument) and name not in given:
                refusal = InvalidInput(path=name, hint=MissingHint(name=name, type=str(argument.type)))
                self.report_error(RefusedDocument(refusal, [field_node]))


class NullHint(Hint, es="`{name}` no puede ser nulo en este lugar", en="`{name}` can't be null here"):
    name: str


class VariablesNotChecked(
    Rejected,
    es="Las variables tienen demasiados errores o niveles: no se revisó el resto.",
    en="The variables have too many errors or are nested too deeply: the rest was not checked.",
): ...


def translate_wrong_values(
    errors: Iterable[GraphQLError], schema: GraphQLSchema, variables: dict[str, Any], language: Language
) -> None:
    """Translate those of these errors that are about a variable's value.

    The library finds them when it executes a valid document.
    """
    of_variables: dict[str, Iterator[Rejected]] = {}
    for error in errors:
        if isinstance(error, RefusedDocument | LibraryError) or error.extensions:
            continue
        refusal = None
        node = error.nodes[0] if error.nodes else None
        if isinstance(node, VariableDefinitionNode) and isinstance(error.original_error, GraphQLError):
            name = node.variable.name.value
            if name not in of_variables:
                of_variables[name] = iter(_wrong_in_variable(node, schema, variables.get(name, Undefined)))
            refusal = next(of_variables[name], None)
        elif isinstance(node, VariableNode):  # null, in a place that a default value allows for
            refusal = InvalidInput(path=node.name.value, hint=NullHint(name=f"${node.name.value}"))
        elif node is None and error.original_error is None:
            refusal = VariablesNotChecked()
        if refusal:
            shown = as_graphql_error(refusal, language)
            error.message, error.extensions = shown.message, shown.extensions


class _Enough(Exception):
    """Further errors are not reported."""


def _wrong_in_variable(node: VariableDefinitionNode, schema: GraphQLSchema, value: Any) -> list[Rejected]:
    """The errors in a variable's value, in the order in which the library reports them.

    At most WRONG_VALUES_MAX.
    """
    found: list[Rejected] = []
    kind: Any = type_from_ast(schema, node.type)
    wrong = _Value(node.variable.name.value, kind, value, prefix="$")

    def report(_: GraphQLError, path: list[str | int]) -> None:
        found.append(wrong.refusal(path))
        if len(found) == WRONG_VALUES_MAX:
            raise _Enough

    with suppress(_Enough):
        validate_input_value(value, kind, report, hide_suggestions=True)
    return found


class _Value:
    """A value of an argument or a variable that has errors, from JSON or from the document.

    `prefix` precedes the name where a message names the value as a whole.
    """

    def __init__(self, name: str, kind: GraphQLInputType, value: Any, *, prefix: str = "") -> None:
        self._name = name
        self._kind = kind
        self._value = value
        self._prefix = prefix
        self._fields: dict[tuple[str | int, ...], Iterator[str]] = {}  # wrong ones of an object, not yet reported

    def refusal(self, path: list[str | int]) -> Rejected:
        """The refusal for a place that the library reports. Call it once for each report, in order.

        The path of the refusal starts within the value, as in UserError. It is the name if the whole value is wrong.
        """
        kind, value = _at(path, self._kind, self._value)
        steps = [str(step) for step in path]
        leaf = get_named_type(kind)
        if isinstance(leaf, GraphQLInputObjectType):
            # For a missing or unknown field, the library reports only the object, and names the field in its text.
            field = next(self._fields.setdefault((*path,), _wrong_fields(leaf, value)), None)
            if field is not None:
                return _wrong_field(".".join([*steps, field]), leaf.fields.get(field))
        where = ".".join(steps)
        name = where or f"{self._prefix}{self._name}"
        return InvalidInput(path=where or self._name, hint=_hint(name, kind, value))


def _wrong_field(where: str, field: GraphQLInputField | None) -> Rejected:
    """The refusal for a field that is missing, or unknown if `field` is None."""
    if field is None:
        return InvalidInput(path=where, hint=UnknownFieldHint(name=where))
    return InvalidInput(path=where, hint=MissingHint(name=where, type=str(field.type)))


def _hint(name: str, kind: GraphQLInputType, value: Any) -> Hint:
    """Describes a valid value of this type, in place of a wrong one."""
    if value is None or value is Undefined or isinstance(value, NullValueNode):
        return MissingHint(name=name, type=str(kind))
    leaf = get_named_type(kind)
    if isinstance(leaf, GraphQLEnumType):
        return OneOfHint(values=", ".join(leaf.values))
    if leaf.name == "Int":
        return WHOLE_NUMBER
    hint: Hint | None = leaf.extensions.get(HINT)
    return hint or ExpectedTypeHint(name=name, type=str(kind))


def _wrong_fields(kind: GraphQLInputObjectType, value: Any) -> Iterator[str]:
    """The missing fields of an object, then its unknown ones: the order in which they are reported."""
    if isinstance(value, ObjectValueNode):
        given = [field.name.value for field in value.fields]
    elif isinstance(value, dict):
        given = [*value]
    else:
        return
    yield from (name for name, field in kind.fields.items() if is_required_input_field(field) and name not in given)
    yield from (name for name in given if name not in kind.fields)


def _at(path: list[str | int], kind: Any, value: Any) -> tuple[Any, Any]:
    """The type and the value at a place within a value."""
    for step in path:
        while is_non_null_type(kind) or (is_list_type(kind) and isinstance(step, str)):
            kind = kind.of_type  # also for a list type: a single value counts as a list of one
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
