"""Limits of operations: the size of the document once expanded, and the number of values in the answer."""

from collections.abc import Mapping
from graphlib import CycleError, TopologicalSorter
from typing import Any, NamedTuple

from graphql import (
    ArgumentNode,
    DocumentNode,
    FieldNode,
    FragmentDefinitionNode,
    FragmentSpreadNode,
    InlineFragmentNode,
    IntValueNode,
    OperationDefinitionNode,
    SelectionSetNode,
    ValidationContext,
    ValidationRule,
    ValueNode,
    VariableNode,
    Visitor,
    VisitorAction,
    get_operation_ast,
    visit,
)
from graphql.language import BREAK

from api.graphql.engine.document_errors import DocumentTooLarge, EmptySelection, RefusedDocument
from domain.errors import Rejected

FIELDS_MAX = 2_000  # of a document, each fragment counted as often as it is spread
ALIASES_MAX = 15  # likewise
DEPTH_MAX = 20  # of nested fields, likewise; tools that read the schema need 15
ROOT_FIELDS_MAX = 16  # of an operation, likewise: each is a query or a command of its own
COST_MAX = 5_000  # values in the answer, if every page is full
PAGE_SIZE_MAX = 100  # of a list
SIZES = ("first", "last")  # the arguments of a list that say how many items it has at most
ITEMS = ("nodes", "edges")  # the fields of a list that have its items


class QueryTooLarge(
    Rejected,
    es="La consulta pide demasiados datos a la vez (el límite es {limit}): pida páginas más pequeñas o divídala.",
    en="The query asks for too much data at once (the limit is {limit}): ask for smaller pages or split it.",
):
    limit: int


class ExpandedSizeRule(ValidationRule):
    """Refuses documents that are larger than allowed once fragments are expanded: fields, aliases, depth, root fields.

    A chain of fragments that each spread the next one twice doubles at every step, so nothing is expanded. Each
    fragment is counted once, after those that it spreads. Counts stop growing just above their limit.
    """

    def __init__(self, context: ValidationContext) -> None:
        super().__init__(context)
        self.here = _Part()
        self.depth = 0
        self.operations: list[_Part] = []
        self.fragments: dict[str, _Part] = {}

    def enter_operation_definition(self, *_: Any) -> None:
        self.here = _Part()
        self.operations.append(self.here)

    def enter_fragment_definition(self, node: FragmentDefinitionNode, *_: Any) -> None:
        self.here = self.fragments[node.name.value] = _Part()

    def enter_selection_set(self, node: SelectionSetNode, *_: Any) -> None:
        if not node.selections:  # the library accepts it, but it would count as nothing
            self.report_error(RefusedDocument(EmptySelection(), [node]))

    def enter_field(self, node: FieldNode, *_: Any) -> None:
        self.here.fields += 1
        self.here.aliases += node.alias is not None
        if self.depth == 0:
            self.here.roots.add(node.alias.value if node.alias else node.name.value)
        self.depth += 1
        self.here.depth = max(self.here.depth, self.depth)

    def leave_field(self, *_: Any) -> None:
        self.depth -= 1

    def enter_fragment_spread(self, node: FragmentSpreadNode, *_: Any) -> None:
        self.here.spreads.append((node.name.value, self.depth))

    def leave_document(self, *_: Any) -> None:
        try:
            spreads = {name: [spread for spread, _ in part.spreads] for name, part in self.fragments.items()}
            order = [*TopologicalSorter(spreads).static_order()]
        except CycleError:
            return  # NoFragmentCyclesRule refuses it
        for part in [self.fragments[name] for name in order if name in self.fragments] + self.operations:
            part.expand(self.fragments)
        if sum(operation.fields for operation in self.operations) > FIELDS_MAX:
            self._report("fields", FIELDS_MAX)
        if sum(operation.aliases for operation in self.operations) > ALIASES_MAX:
            self._report("aliases", ALIASES_MAX)
        if any(operation.depth > DEPTH_MAX for operation in self.operations):
            self._report("levels", DEPTH_MAX)
        if any(len(operation.roots) > ROOT_FIELDS_MAX for operation in self.operations):
            self._report("root fields", ROOT_FIELDS_MAX)

    def _report(self, what: str, most: int) -> None:
        self.report_error(RefusedDocument(DocumentTooLarge(limit=most, what=what)))


class _Part:
    """An operation or a fragment: the counts of its own selections, later including those of its spreads."""

    def __init__(self) -> None:
        self.fields = 0
        self.aliases = 0
        self.depth = 0
        self.roots: set[str] = set()  # names in the answer: fields of the same name are answered once
        self.spreads: list[tuple[str, int]] = []  # each with the number of fields around it

    def expand(self, fragments: dict[str, "_Part"]) -> None:
        """Add the counts of the spread fragments, which are already expanded."""
        for name, depth in self.spreads:
            if spread := fragments.get(name):  # KnownFragmentNamesRule refuses unknown ones
                self.fields = min(self.fields + spread.fields, FIELDS_MAX + 1)
                self.aliases = min(self.aliases + spread.aliases, ALIASES_MAX + 1)
                self.depth = max(self.depth, depth + spread.depth)
                if depth == 0:
                    self.roots |= spread.roots


def cost(document: DocumentNode, operation_name: str | None, variables: Mapping[str, Any]) -> int:
    """The maximum number of values in the answer: each field counts once, in the items of a list once for each item.

    The items of a list are what `nodes` and `edges` have, each of them as often as `first` or `last` says. The document
    must be valid: its fragments form no cycles. Each is counted once, however often it is spread.
    """
    operation = get_operation_ast(document, operation_name)
    return _Cost(document, operation, variables).of(operation.selection_set).times(1) if operation else 0


def root_fields(document: DocumentNode, operation_name: str | None) -> int:
    """The number of root fields of the operation, with fragments expanded. The document must be valid."""
    fragments = {node.name.value: node for node in document.definitions if isinstance(node, FragmentDefinitionNode)}
    operation = get_operation_ast(document, operation_name)
    left, names, spread = [operation.selection_set] if operation else [], set(), set()
    while left:
        for node in left.pop().selections:
            if isinstance(node, FieldNode):
                names.add(node.alias.value if node.alias else node.name.value)
            elif isinstance(node, FragmentSpreadNode):
                if node.name.value not in spread:  # each may spread the next one twice
                    spread.add(node.name.value)
                    left.append(fragments[node.name.value].selection_set)
            elif isinstance(node, InlineFragmentNode):
                left.append(node.selection_set)
    return len(names)


class _Values(NamedTuple):
    """The values of a selection: those that it has once, and those for each item, if it is made on a list."""

    once: int
    for_each: int

    def times(self, items: int) -> int:
        return self.once + items * self.for_each


class _Cost:
    """The cost of an operation's parts.

    A class, because nested functions form cycles, which would keep the variables alive until the garbage collector
    runs, and that is rare here.
    """

    def __init__(
        self, document: DocumentNode, operation: OperationDefinitionNode, variables: Mapping[str, Any]
    ) -> None:
        self._operation = operation
        self._variables = variables
        self._fragments = {
            node.name.value: node for node in document.definitions if isinstance(node, FragmentDefinitionNode)
        }
        self._known: dict[str, _Values] = {}

    def of(self, selected: SelectionSetNode | None) -> _Values:
        once = for_each = 0
        for node in selected.selections if selected else ():
            if isinstance(node, FieldNode):
                values = 1 + self.of(node.selection_set).times(_items(node, self._operation, self._variables))
                part = _Values(0, values) if node.name.value in ITEMS else _Values(values, 0)
            elif isinstance(node, FragmentSpreadNode):
                part = self._of_fragment(node.name.value)
            else:
                assert isinstance(node, InlineFragmentNode)
                part = self.of(node.selection_set)
            once, for_each = once + part.once, for_each + part.for_each
        return _Values(once, for_each)

    def _of_fragment(self, name: str) -> _Values:
        if name not in self._known:
            self._known[name] = self.of(self._fragments[name].selection_set)
        return self._known[name]


def depends_on_variables(document: DocumentNode) -> bool:
    """Whether the cost of the document depends on its variables: whether one of them gives the size of a list."""
    found = _VariablePages()
    visit(document, found)
    return found.any


class _VariablePages(Visitor):
    any = False

    def enter_argument(self, node: ArgumentNode, *_: Any) -> VisitorAction:
        if node.name.value in SIZES and isinstance(node.value, VariableNode):
            self.any = True
            return BREAK
        return None


def _items(field: FieldNode, operation: OperationDefinitionNode, variables: Mapping[str, Any]) -> int:
    """The maximum number of items of the field: its argument `first` or `last`, or 1 without them."""
    sizes = [argument for argument in field.arguments or () if argument.name.value in SIZES]
    return max([1, *(_number(argument, operation, variables) for argument in sizes)])


def _number(argument: ArgumentNode, operation: OperationDefinitionNode, variables: Mapping[str, Any]) -> int:
    """A whole number from the document or a variable, at most PAGE_SIZE_MAX.

    1 for other values: these, like larger numbers, are refused when the argument is read.
    """
    node: ValueNode | None = argument.value
    value: Any = None
    if isinstance(node, VariableNode):
        name = node.name.value
        known = operation.variable_definitions or ()
        node = next((variable.default_value for variable in known if variable.variable.name.value == name), None)
        value = variables.get(name)
    if value is None and isinstance(node, IntValueNode):
        value = int(node.value)
    return int(min(value, PAGE_SIZE_MAX)) if isinstance(value, int | float) else 1
