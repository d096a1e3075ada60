"""Turns the selections of a document into planned fields."""

from collections.abc import Callable, Iterable, Mapping
from operator import attrgetter
from typing import Any

from graphql import (
    FieldNode,
    FragmentDefinitionNode,
    FragmentSpreadNode,
    GraphQLEnumType,
    GraphQLField,
    GraphQLInterfaceType,
    GraphQLList,
    GraphQLNonNull,
    GraphQLObjectType,
    GraphQLScalarType,
    GraphQLSchema,
    GraphQLUnionType,
    InlineFragmentNode,
    Node,
    SelectionSetNode,
    ValueNode,
    VariableNode,
    Visitor,
    VisitorAction,
    visit,
)
from graphql.language import BREAK
from graphql.pyutils import Undefined
from graphql.utilities.coerce_input_value import coerce_default_value, coerce_input_literal

from api.graphql.engine.plans.fields import Arguments, Complete, FastComplete, Field, Unplannable
from api.graphql.engine.plans.showing import (
    fast_list,
    fast_object,
    fast_one_of,
    show_list,
    show_object,
    show_one_of,
    shower,
    with_fast_path,
)


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


class Planner:
    """Analyses the selections of a document."""

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

    def fields(self, kind: GraphQLObjectType, selections: Iterable[SelectionSetNode]) -> list[Field]:
        """The selected fields of an object of this type, in order."""
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

    def _field(self, kind: GraphQLObjectType, key: str, nodes: list[FieldNode]) -> Field:
        self.planned += 1
        if self.planned > self._fields_max:
            raise Unplannable
        name = nodes[0].name.value
        if name == "__typename":
            field = Field(key, nodes, f"{kind.name}.{name}", None)
            field.get = field.leaf = field.fast = _always(kind.name)
            field.complete = lambda value, _path, _run: value
            return field
        definition = kind.fields.get(name)
        if definition is None:  # what the schema is
            raise Unplannable
        field = Field(key, nodes, f"{kind.name}.{name}", definition.type)
        if "attribute" in definition.extensions:
            field.get = attrgetter(definition.extensions["attribute"])
        else:
            field.function = definition.resolve
            field.arguments = self._arguments(definition, nodes[0])
        self._show(field, definition.type, nodes)
        return field

    def _arguments(self, definition: GraphQLField, node: FieldNode) -> Arguments:
        given = {argument.name.value: argument.value for argument in node.arguments or ()}
        constant: dict[str, Any] = {}
        variable: dict[str, tuple[str, Any]] = {}
        for name, argument in definition.args.items():
            out_name = argument.out_name or name
            default = coerce_default_value(argument)
            value: ValueNode | None = given.get(name)
            if isinstance(value, VariableNode):
                if value.name.value in self._nullable and isinstance(argument.type, GraphQLNonNull):
                    raise Unplannable  # a nullable variable in a place that can't be null
                variable[out_name] = value.name.value, default
            elif value is not None:
                if contains(_Variables(), value):
                    raise Unplannable
                constant[out_name] = coerce_input_literal(value, argument.type)
            elif default is not Undefined:
                constant[out_name] = default
        return Arguments(constant, variable)

    def _show(self, field: Field, kind: Any, nodes: list[FieldNode]) -> None:
        inner = kind.of_type if isinstance(kind, GraphQLNonNull) else kind
        field.complete, field.fast = self._completer(inner, field, nodes)
        if isinstance(inner, GraphQLScalarType | GraphQLEnumType):
            field.plain = str if inner.name in ("String", "ID") else None
            if field.get is not None:
                field.leaf = field.fast

    def _completer(self, kind: Any, field: Field, nodes: list[FieldNode]) -> tuple[Complete, FastComplete | None]:
        """How to show values of a type that are not null; the caller handles null."""
        if isinstance(kind, GraphQLScalarType | GraphQLEnumType):
            shows = shower(kind)
            return lambda value, _path, _run: shows(value), shows
        if isinstance(kind, GraphQLList):
            item = kind.of_type
            required = isinstance(item, GraphQLNonNull)
            complete, fast = self._completer(item.of_type if required else item, field, nodes)
            return with_fast_path(show_list(complete, field, required=required), fast_list(fast, required=required))
        selections = [node.selection_set for node in nodes if node.selection_set]
        if isinstance(kind, GraphQLObjectType):
            return self._object(kind, selections)
        possible = {one.name: self._object(one, selections) for one in self._schema.get_possible_types(kind)}
        slow = {name: complete for name, (complete, _) in possible.items()}
        fast_ones = {name: one for name, (_, one) in possible.items() if one}
        by_type = fast_one_of(fast_ones) if len(fast_ones) == len(slow) else None
        return with_fast_path(show_one_of(slow), by_type)

    def _object(
        self, kind: GraphQLObjectType, selections: list[SelectionSetNode]
    ) -> tuple[Complete, FastComplete | None]:
        fields = self.fields(kind, selections)
        return with_fast_path(show_object(fields), fast_object(fields))


def _always(value: Any) -> Callable[[Any], Any]:
    return lambda _: value
