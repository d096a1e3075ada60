"""An operation as a plan: what a document says to do is found out once, and each request only does it.

graphql-core finds it out for each request: which fields, of which types, with which arguments. That is Python, too,
and took most of a booking's time. A plan does the same (tests/api/engine/test_plans.py compares the two on documents
made at random) and leaves to the library whatever is rare: directives, introspection, variables within a value, values
that are not of their type, subscriptions.
"""

import asyncio
from collections.abc import Callable, Coroutine, Iterable, Mapping
from operator import attrgetter
from types import CoroutineType
from typing import Any, NamedTuple

from graphql import (
    DocumentNode,
    ExecutionResult,
    FieldNode,
    FragmentDefinitionNode,
    FragmentSpreadNode,
    GraphQLEnumType,
    GraphQLError,
    GraphQLField,
    GraphQLInputObjectType,
    GraphQLInterfaceType,
    GraphQLList,
    GraphQLNonNull,
    GraphQLObjectType,
    GraphQLScalarType,
    GraphQLSchema,
    GraphQLUnionType,
    InlineFragmentNode,
    Node,
    OperationDefinitionNode,
    OperationType,
    SelectionSetNode,
    ValueNode,
    VariableDefinitionNode,
    VariableNode,
    Visitor,
    VisitorAction,
    located_error,
    type_from_ast,
    visit,
)
from graphql.language import BREAK
from graphql.pyutils import Undefined
from graphql.utilities.coerce_input_value import coerce_default_value, coerce_input_literal, coerce_input_value

from api.graphql.context import Context

INT_MAX = 2**31 - 1
NO_LISTS = (str, bytes, dict)  # though they can be gone through

Path = tuple[Any, Any] | None  # of the place above, and the key or the index there
Coerce = Callable[[Any], Any]


class NotPlain(Exception):
    """The library has to execute it."""


class Asking:
    """What resolvers take for their `info`: all of it that they need."""

    def __init__(self, context: Context) -> None:
        self.context = context


class Run:
    """One execution of a plan."""

    def __init__(self, context: Context, values: dict[str, Any]) -> None:
        self.info = Asking(context)
        self.values = values  # of the variables
        self.errors: list[GraphQLError] = []

    def failed(self, error: Exception, nodes: list[FieldNode], path: Path, *, required: bool) -> None:
        """Tell why there is null at this place; where there can't be, raise it: what it is in is null then."""
        located = error if isinstance(error, GraphQLError) and error.path else None
        located = located or located_error(error, nodes, _steps(path))
        if required:
            raise located
        self.errors.append(located)


def _steps(path: Path) -> list[str | int]:
    steps = []
    while path is not None:
        path, step = path
        steps.append(step)
    return steps[::-1]


Complete = Callable[[Any, Path, Run], Any]  # what is shown of a value, or a coroutine that gives it
FastComplete = Callable[[Any], Any]  # the fast path: attributes only, raises any exception


class _FastPathFailed(Exception):
    """The slow path has to show this value."""


class _Field:
    """A field of a selection: how to ask for it, and how to show what comes."""

    __slots__ = (
        "arguments",
        "complete",
        "fast",
        "function",
        "get",
        "key",
        "leaf",
        "name",
        "nodes",
        "plain",
        "required",
    )

    arguments: "_Arguments"
    complete: "Complete"

    def __init__(self, key: str, nodes: list[FieldNode], name: str, kind: Any) -> None:
        self.key = key
        self.nodes = nodes
        self.name = name  # Type.field
        self.required = isinstance(kind, GraphQLNonNull)
        self.get: Callable[[Any], Any] | None = None  # an attribute
        self.function: Callable[..., Any] | None = None
        self.leaf: Coerce | None = None
        self.fast: FastComplete | None = None  # for values that are not null; None if a part is not a plain attribute
        self.plain: type | None = None  # values of exactly this type are shown unchanged

    def ask(self, source: Any, path: Path, run: Run) -> Any:
        """Its value as it is shown, or a coroutine that gives it. Raises a GraphQLError if it can't be null and is."""
        try:
            if self.get is not None:
                found = self.get(source)
            else:
                assert self.function
                found = self.function(source, run.info, **self.arguments.of(run.values))
                if type(found) is CoroutineType:
                    return self._awaited(found, path, run)
            shown = None if found is None else self.complete(found, (path, self.key), run)
            if type(shown) is CoroutineType:
                return self._awaited(shown, path, run, completed=True)
            return self._checked(shown)
        except Exception as error:
            run.failed(error, self.nodes, (path, self.key), required=self.required)
            return None

    async def _awaited(self, found: Coroutine[Any, Any, Any], path: Path, run: Run, *, completed: bool = False) -> Any:
        try:
            shown = await found
            if not completed and shown is not None:
                shown = self.complete(shown, (path, self.key), run)
                if type(shown) is CoroutineType:
                    shown = await shown
            return self._checked(shown)
        except Exception as error:
            run.failed(error, self.nodes, (path, self.key), required=self.required)
            return None

    def _checked(self, shown: Any) -> Any:
        if shown is None and self.required:
            raise TypeError(f"Cannot return null for non-nullable field {self.name}.")
        return shown


class _Arguments:
    """What a field is asked with: what the document says, and what variables say."""

    def __init__(self, constant: dict[str, Any], variable: dict[str, tuple[str, Any]]) -> None:
        self._constant = constant
        self._variable = variable  # name of the argument → name of the variable, and what it is without; or Undefined

    def of(self, values: Mapping[str, Any]) -> dict[str, Any]:
        if not self._variable:
            return self._constant
        arguments = dict(self._constant)
        for name, (variable, default) in self._variable.items():
            value = values.get(variable, default)
            if value is not Undefined:
                arguments[name] = value
        return arguments


class _Variable(NamedTuple):
    name: str
    coerce: Coerce
    default: Any  # Undefined: none
    nullable: bool


class Plan:
    """How to execute an operation of a valid document."""

    def __init__(
        self, schema: GraphQLSchema, document: DocumentNode, operation: OperationDefinitionNode, fields_max: int
    ) -> None:
        """Raises NotPlain, also if it would have more fields than that."""
        root = schema.get_root_type(operation.operation)
        if root is None or operation.operation is OperationType.SUBSCRIPTION or contains(DirectiveFinder(), document):
            raise NotPlain
        self._serial = operation.operation is OperationType.MUTATION
        self._variables = [variable_of(schema, node) for node in operation.variable_definitions or ()]
        fragments = {node.name.value: node for node in document.definitions if isinstance(node, FragmentDefinitionNode)}
        nullable = {variable.name for variable in self._variables if variable.nullable}
        planner = Planner(schema, fragments, nullable, fields_max)
        self._fields = planner.fields(root, [operation.selection_set])
        self.size = planner.planned  # fields, once for each type that they may be of
        self._show = _show_object(self._fields)

    async def execute(self, variables: Mapping[str, Any], context: Context) -> ExecutionResult:
        """Execute it. Raises NotPlain, before anything is done, if a variable is not of its type."""
        run = Run(context, self._values(variables))
        data: dict[str, Any] = {}
        try:
            if self._serial:
                for field in self._fields:
                    shown = field.ask(None, None, run)
                    data[field.key] = await shown if type(shown) is CoroutineType else shown
            else:
                shown = self._show(None, None, run)
                data = await shown if type(shown) is CoroutineType else shown
        except GraphQLError as error:
            return ExecutionResult(None, [*run.errors, error])
        return ExecutionResult(data, run.errors or None)

    def _values(self, variables: Mapping[str, Any]) -> dict[str, Any]:
        values = {}
        for name, coerce, default, nullable in self._variables:
            value = variables.get(name, Undefined)
            if value is not Undefined:
                try:
                    values[name] = coerce(value)
                except Exception:
                    raise NotPlain from None
            elif default is not Undefined:
                values[name] = default
            elif not nullable:
                raise NotPlain
        return values


class _Finder(Visitor):
    found = False

    def _find(self, *_: Any) -> VisitorAction:
        self.found = True
        return BREAK


class DirectiveFinder(_Finder):
    enter_directive = _Finder._find


class _Variables(_Finder):
    enter_variable = _Finder._find


def contains(finder: _Finder, node: Node) -> bool:
    visit(node, finder)
    return finder.found


def variable_of(schema: GraphQLSchema, node: VariableDefinitionNode) -> _Variable:
    kind: Any = type_from_ast(schema, node.type)
    default = Undefined if node.default_value is None else coerce_input_literal(node.default_value, kind)
    return _Variable(node.variable.name.value, _coercer(kind), default, not isinstance(kind, GraphQLNonNull))


class Planner:
    """Finds out what a document selects."""

    def __init__(
        self,
        schema: GraphQLSchema,
        fragments: Mapping[str, FragmentDefinitionNode],
        nullable: set[str],
        fields_max: int,
    ) -> None:
        self.planned = 0
        self._fields_max = fields_max
        self._schema = schema
        self._fragments = fragments
        self._nullable = nullable

    def fields(self, kind: GraphQLObjectType, selections: Iterable[SelectionSetNode]) -> list[_Field]:
        """What is selected of an object of this type, in order."""
        found: dict[str, list[FieldNode]] = {}
        seen: set[str] = set()
        for selection in selections:
            self._collect(kind, selection, found, seen)
        return [self._field(kind, key, nodes) for key, nodes in found.items()]

    def _collect(
        self, kind: GraphQLObjectType, selected: SelectionSetNode, found: dict[str, list[FieldNode]], seen: set[str]
    ) -> None:
        for node in selected.selections:
            if isinstance(node, FieldNode):
                key = node.alias.value if node.alias else node.name.value
                found.setdefault(key, []).append(node)
            elif isinstance(node, InlineFragmentNode):
                if node.type_condition is None or self._is(kind, node.type_condition.name.value):
                    self._collect(kind, node.selection_set, found, seen)
            elif isinstance(node, FragmentSpreadNode) and node.name.value not in seen:
                seen.add(node.name.value)
                fragment = self._fragments[node.name.value]
                if self._is(kind, fragment.type_condition.name.value):
                    self._collect(kind, fragment.selection_set, found, seen)

    def _is(self, kind: GraphQLObjectType, name: str) -> bool:
        other = self._schema.get_type(name)
        if isinstance(other, GraphQLInterfaceType | GraphQLUnionType):
            return self._schema.is_sub_type(other, kind)
        return other is kind

    def _field(self, kind: GraphQLObjectType, key: str, nodes: list[FieldNode]) -> _Field:
        self.planned += 1
        if self.planned > self._fields_max:
            raise NotPlain
        name = nodes[0].name.value
        if name == "__typename":
            field = _Field(key, nodes, f"{kind.name}.{name}", None)
            field.get = field.leaf = field.fast = _always(kind.name)
            field.complete = lambda value, _path, _run: value
            return field
        said = kind.fields.get(name)
        if said is None:  # what the schema is
            raise NotPlain
        field = _Field(key, nodes, f"{kind.name}.{name}", said.type)
        if "attribute" in said.extensions:
            field.get = attrgetter(said.extensions["attribute"])
        else:
            field.function = said.resolve
            field.arguments = self._arguments(said, nodes[0])
        self._show(field, said.type, nodes)
        return field

    def _arguments(self, said: GraphQLField, node: FieldNode) -> _Arguments:
        given = {argument.name.value: argument.value for argument in node.arguments or ()}
        constant: dict[str, Any] = {}
        variable: dict[str, tuple[str, Any]] = {}
        for name, argument in said.args.items():
            out_name = argument.out_name or name
            default = coerce_default_value(argument)
            value: ValueNode | None = given.get(name)
            if isinstance(value, VariableNode):
                if value.name.value in self._nullable and isinstance(argument.type, GraphQLNonNull):
                    raise NotPlain  # it may be null where nothing may be
                variable[out_name] = value.name.value, default
            elif value is not None:
                if contains(_Variables(), value):
                    raise NotPlain
                constant[out_name] = coerce_input_literal(value, argument.type)
            elif default is not Undefined:
                constant[out_name] = default
        return _Arguments(constant, variable)

    def _show(self, field: _Field, kind: Any, nodes: list[FieldNode]) -> None:
        inner = kind.of_type if isinstance(kind, GraphQLNonNull) else kind
        field.complete, field.fast = self._completer(inner, field, nodes)
        if isinstance(inner, GraphQLScalarType | GraphQLEnumType):
            field.plain = str if inner.name in ("String", "ID") else None
            if field.get is not None:
                field.leaf = field.fast

    def _completer(self, kind: Any, field: _Field, nodes: list[FieldNode]) -> tuple[Complete, FastComplete | None]:
        """For a type that may be null; whoever asks looks at null."""
        if isinstance(kind, GraphQLScalarType | GraphQLEnumType):
            shows = _shower(kind)
            return lambda value, _path, _run: shows(value), shows
        if isinstance(kind, GraphQLList):
            item = kind.of_type
            required = isinstance(item, GraphQLNonNull)
            complete, fast = self._completer(item.of_type if required else item, field, nodes)
            return _with_fast_path(_show_list(complete, field, required=required), _fast_list(fast, required=required))
        selections = [node.selection_set for node in nodes if node.selection_set]
        if isinstance(kind, GraphQLObjectType):
            return self._object(kind, selections)
        possible = {one.name: self._object(one, selections) for one in self._schema.get_possible_types(kind)}
        slow = {name: complete for name, (complete, _) in possible.items()}
        fast_ones = {name: one for name, (_, one) in possible.items() if one}
        by_type = _fast_one_of(fast_ones) if len(fast_ones) == len(slow) else None
        return _with_fast_path(_show_one_of(slow), by_type)

    def _object(
        self, kind: GraphQLObjectType, selections: list[SelectionSetNode]
    ) -> tuple[Complete, FastComplete | None]:
        fields = self.fields(kind, selections)
        return _with_fast_path(_show_object(fields), _fast_object(fields))


def _always(value: Any) -> Callable[[Any], Any]:
    return lambda _: value


def _show_object(fields: list[_Field]) -> Complete:
    each = [(field.key, field.get, field.leaf, field) for field in fields]

    def show(source: Any, path: Path, run: Run) -> Any:
        shown: dict[str, Any] = {}
        waiting: list[tuple[str, Coroutine[Any, Any, Any]]] = []
        try:
            for key, get, leaf, field in each:
                if leaf is None or get is None:
                    value = shown[key] = field.ask(source, path, run)
                    if type(value) is CoroutineType:
                        waiting.append((key, value))
                    continue
                try:
                    value = get(source)
                    shown[key] = field._checked(None) if value is None else leaf(value)
                except Exception as error:
                    shown[key] = None
                    run.failed(error, field.nodes, (path, key), required=field.required)
        except Exception as error:
            if waiting:
                return _fail_after(waiting, error)
            raise
        return _all_of(shown, waiting) if waiting else shown

    return show


def _with_fast_path(slow: Complete, fast: FastComplete | None) -> tuple[Complete, FastComplete | None]:
    """Use `fast`. If it raises an exception, use `slow`, which reports what is null and why."""
    if fast is None:
        return slow, None

    def complete(value: Any, path: Path, run: Run) -> Any:
        try:
            return fast(value)
        except Exception:
            return slow(value, path, run)

    return complete, fast


def _show_one_of(possible: Mapping[str, Complete]) -> Complete:
    return lambda value, path, run: possible[value.__strawberry_definition__.name](value, path, run)


def _fast_one_of(possible: Mapping[str, FastComplete]) -> FastComplete:
    return lambda value: possible[value.__strawberry_definition__.name](value)


def _fast_object(fields: list[_Field]) -> FastComplete | None:
    """None if a field is not a plain attribute."""
    each = [
        (field.key, field.get, field.plain, field.fast, field.required)
        for field in fields
        if field.get is not None and field.fast is not None
    ]
    if len(each) < len(fields):
        return None

    def show(source: Any) -> dict[str, Any]:
        shown: dict[str, Any] = {}
        for key, get, plain, fast, required in each:
            value = get(source)
            if type(value) is plain:
                shown[key] = value
            elif value is not None:
                shown[key] = fast(value)
            elif required:
                raise _FastPathFailed
            else:
                shown[key] = None
        return shown

    return show


def _fast_list(item: FastComplete | None, *, required: bool) -> FastComplete | None:
    if item is None:
        return None
    on_null = _refuse_null if required else _show_null

    def show(values: Any) -> list[Any]:
        if type(values) is not list:  # other iterables may allow only one pass
            raise _FastPathFailed
        return [on_null() if value is None else item(value) for value in values]

    return show


def _show_null() -> None:
    """The value of a nullable item that is null."""


def _refuse_null() -> None:
    raise _FastPathFailed


def _show_list(item: Complete, field: _Field, *, required: bool) -> Complete:
    def show(values: Iterable[Any], path: Path, run: Run) -> Any:
        if type(values) in NO_LISTS:
            raise GraphQLError(f"Expected Iterable, but did not find one for field '{field.name}'.")
        shown: list[Any] = []
        waiting: list[tuple[int, Coroutine[Any, Any, Any]]] = []
        try:
            for place, value in enumerate(values):
                one = _show_item(item, field, value, (path, place), run, required=required)
                if type(one) is CoroutineType:
                    waiting.append((place, one))
                shown.append(one)
        except Exception as error:
            if waiting:
                return _fail_after(waiting, error)
            raise
        return _all_of(shown, waiting) if waiting else shown

    return show


def _show_item(item: Complete, field: _Field, value: Any, path: Path, run: Run, *, required: bool) -> Any:
    try:
        if value is None and required:
            raise TypeError(f"Cannot return null for non-nullable field {field.name}.")
        shown = None if value is None else item(value, path, run)
    except Exception as error:
        run.failed(error, field.nodes, path, required=required)
        return None
    return _item_awaited(shown, field, path, run, required=required) if type(shown) is CoroutineType else shown


async def _item_awaited(shown: Coroutine[Any, Any, Any], field: _Field, path: Path, run: Run, *, required: bool) -> Any:
    try:
        return await shown
    except Exception as error:
        run.failed(error, field.nodes, path, required=required)


async def _fail_after(waiting: list[tuple[Any, Coroutine[Any, Any, Any]]], error: Exception) -> None:
    """Raise it once the others, which have been asked already, have ended."""
    await asyncio.gather(*(coroutine for _, coroutine in waiting), return_exceptions=True)
    raise error


async def _all_of(shown: Any, waiting: list[tuple[Any, Coroutine[Any, Any, Any]]]) -> Any:
    """`shown`, once it has what is waited for, all at the same time. Raises what any of them raises, at the end."""
    if len(waiting) == 1:
        place, coroutine = waiting[0]
        shown[place] = await coroutine
        return shown
    found = await asyncio.gather(*(coroutine for _, coroutine in waiting), return_exceptions=True)
    for (place, _), value in zip(waiting, found, strict=True):
        if isinstance(value, BaseException):
            raise value
        shown[place] = value
    return shown


def _shower(kind: GraphQLScalarType | GraphQLEnumType) -> Coerce:
    """How a value that is not null is shown."""
    show: Coerce = kind.coerce_output_value
    if kind.name in ("String", "ID"):
        return lambda value: value if type(value) is str else show(value)
    if kind.name == "Int":
        return lambda value: value if type(value) is int and -INT_MAX <= value <= INT_MAX else show(value)
    if isinstance(kind, GraphQLEnumType):
        # Look members up by id: their own hash is computed in Python each time.
        names = {id(member): show(member) for member in getattr(kind, "wrapped_cls", ())}
        return lambda value: names.get(id(value)) or show(value)
    return show


class _Unfit(Exception):
    """A value that is not of its type."""


def _coercer(kind: Any, *above: GraphQLInputObjectType) -> Coerce:
    """What a variable's value becomes. It raises any exception for what is not of the type."""
    if isinstance(kind, GraphQLNonNull):
        return _never_null(_coercer_of(kind.of_type, *above))
    coerce = _coercer_of(kind, *above)
    return lambda value: None if value is None else coerce(value)


def _never_null(coerce: Coerce) -> Coerce:
    def coerced(value: Any) -> Any:
        if value is None:
            raise _Unfit
        return coerce(value)

    return coerced


def _coercer_of(kind: Any, *above: GraphQLInputObjectType) -> Coerce:
    """For values that are not null. What may be within itself is the library's from there on."""
    if isinstance(kind, GraphQLInputObjectType) and not kind.is_one_of and kind not in above:
        return _object_coercer(kind, *above)
    if isinstance(kind, GraphQLEnumType):
        members = {name: kind.coerce_input_value(name) for name in kind.values}
        return lambda value: members[value]
    if isinstance(kind, GraphQLScalarType):
        coerce: Coerce = kind.coerce_input_value
        if kind.name in ("String", "ID"):
            return lambda value: value if type(value) is str else coerce(value)
        return coerce

    def as_the_library(value: Any) -> Any:
        coerced = coerce_input_value(value, kind)
        if coerced is Undefined:
            raise _Unfit
        return coerced

    return as_the_library


def _object_coercer(kind: GraphQLInputObjectType, *above: GraphQLInputObjectType) -> Coerce:
    make = kind.out_type
    defaults = {}
    required = set()
    for name, field in kind.fields.items():
        default = coerce_default_value(field)
        if default is not Undefined:
            defaults[field.out_name or name] = default
        elif isinstance(field.type, GraphQLNonNull):
            required.add(name)
    known = {name: (field.out_name or name, _coercer(field.type, *above, kind)) for name, field in kind.fields.items()}

    def coerced(value: Any) -> Any:
        if type(value) is not dict or not required <= value.keys():
            raise _Unfit
        found = dict(defaults)
        for name, said in value.items():
            out_name, coerce = known[name]
            found[out_name] = coerce(said)
        return make(found)

    return coerced
