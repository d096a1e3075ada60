"""Parses and validates each document once: most requests repeat a known document."""

from collections import OrderedDict
from collections.abc import Mapping
from functools import partial
from typing import Any

from graphql import (
    DocumentNode,
    FieldNode,
    GraphQLError,
    GraphQLSchema,
    GraphQLSyntaxError,
    OperationDefinitionNode,
    OperationType,
    get_operation_ast,
    parse,
    validate,
)
from graphql.validation.validate import ValidationAbortedError

from api.graphql.engine.document_errors import (
    DocumentTooDeep,
    DocumentTooLong,
    LibraryError,
    OperationNotNamed,
    OperationUnknown,
    RefusedDocument,
    ValidationStopped,
)
from api.graphql.engine.limits import cost, depends_on_variables, root_fields
from api.graphql.engine.plans.fields import Unplannable
from api.graphql.engine.plans.plan import FollowedPlan, Plan
from api.graphql.engine.validation.rules import RULES, RULES_WITHOUT_INTROSPECTION
from api.graphql.engine.validation.syntax import syntax_error_in_spanish
from api.telemetry import SEVERAL
from domain.errors import Rejected

TOKENS_MAX = 2_000
CHARACTERS_MAX = 64 * 1024  # comments and strings are no tokens, and reading them is slow
DOCUMENTS_MAX = 500
PLANNED_FIELDS_MAX = 200  # of a plan: a field takes more than a KiB for each possible type of its object
DOCUMENT_CHARACTERS_MAX = 2_000  # longer ones are not kept: parsed, they take seventy times as much


class WrongDocument(Exception):
    """A document that can't be executed; `errors` say why."""

    def __init__(self, errors: list[GraphQLError]) -> None:
        super().__init__(f"{len(errors)} errors")
        self.errors = errors


def refused(refusal: Rejected) -> WrongDocument:
    """A document that can't be executed because of a refusal."""
    return WrongDocument([RefusedDocument(refusal)])


class Operation:
    """An operation of a document, with what is computed from it once.

    `label`: its kind and root field, with the schema's names; SEVERAL if it has more than one. `commands`: the number
    of root fields of a mutation; 0 for other kinds.
    """

    def __init__(self, document: DocumentNode, node: OperationDefinitionNode) -> None:
        self.node = node
        selections = node.selection_set.selections
        fields = {one.name.value if isinstance(one, FieldNode) else SEVERAL for one in selections}
        self.label = node.operation.value, fields.pop() if len(fields) == 1 else SEVERAL
        name = node.name.value if node.name else None
        self.commands = root_fields(document, name) if node.operation is OperationType.MUTATION else 0
        self.fixed_cost = None if depends_on_variables(document) else cost(document, name, {})
        self.was_asked = self.is_rare = False
        self.plan: Plan | None = None
        self.followed_plan: FollowedPlan | None = None


class Document:
    """A valid document."""

    def __init__(self, node: DocumentNode) -> None:
        self.node = node
        self._operations: dict[str | None, Operation] = {}
        self._planned_fields = 0

    def operation(self, name: str | None) -> Operation | None:
        """The operation of this name, or the only one; None if there is none."""
        found = self._operations.get(name)
        if found is None and (node := get_operation_ast(self.node, name)):
            own_name = node.name.value if node.name else None  # the name None selects the only operation
            found = self._operations.get(own_name) or Operation(self.node, node)
            self._operations[own_name] = self._operations[name] = found
        return found

    def the_operation(self, name: str | None) -> Operation:
        """Like `operation`. Raises WrongDocument if there is none, or several and no name."""
        if found := self.operation(name):
            return found
        raise refused(OperationNotNamed() if name is None else OperationUnknown(name=name))

    def plan(self, schema: GraphQLSchema, name: str | None) -> Plan | None:
        """The plan for the operation of this name; None if the library has to execute it, or on its first use.

        Most documents that are used once are never used again.
        """
        operation = self.operation(name)
        if operation is None:
            return None
        if operation.was_asked and operation.plan is None and not operation.is_rare:
            try:
                plan = Plan(schema, self.node, operation.node, PLANNED_FIELDS_MAX - self._planned_fields)
                self._planned_fields += plan.size
                operation.plan = plan
            except Unplannable:
                operation.is_rare = True
        operation.was_asked = True
        return operation.plan

    def followed_plan(self, schema: GraphQLSchema, name: str | None) -> FollowedPlan | None:
        """The plan that shows the changes of a subscription of this name; None if the library has to."""
        operation = self.operation(name)
        if operation is None or operation.node.operation is not OperationType.SUBSCRIPTION:
            return None
        if operation.followed_plan is None and not operation.is_rare:
            try:
                plan = FollowedPlan(schema, self.node, operation.node, PLANNED_FIELDS_MAX - self._planned_fields)
                self._planned_fields += plan.size
                operation.followed_plan = plan
            except Unplannable:
                operation.is_rare = True
        return operation.followed_plan

    def cost(self, name: str | None, variables: Mapping[str, Any]) -> int:
        """The cost of the operation of this name, see `limits.cost`."""
        operation = self.operation(name)
        if operation and operation.fixed_cost is not None:
            return operation.fixed_cost
        return cost(self.node, name, variables)


class Documents:
    """A cache of valid documents. Invalid ones are not kept, so they can't push out others."""

    def __init__(self, schema: GraphQLSchema, *, introspection: bool = True) -> None:
        self.known: OrderedDict[str, Document] = OrderedDict()
        self._schema = schema
        self._introspection = introspection
        self._rules = RULES if introspection else RULES_WITHOUT_INTROSPECTION

    def understand(self, text: str) -> Document:
        """Parse and validate a document, or take it from the cache. Raises WrongDocument."""
        document = self.known.get(text)
        if document is not None:
            self.known.move_to_end(text)
            return document
        document = Document(self._validated(text))
        if len(text) <= DOCUMENT_CHARACTERS_MAX:
            self.known[text] = document
            if len(self.known) > DOCUMENTS_MAX:
                self.known.popitem(last=False)
        return document

    def _validated(self, text: str) -> DocumentNode:
        if len(text) > CHARACTERS_MAX:
            raise refused(DocumentTooLong(limit=CHARACTERS_MAX))
        try:
            node = parse(text, max_tokens=TOKENS_MAX)
        except GraphQLSyntaxError as error:
            # Not the error itself: its traceback would keep the text alive.
            position = next(iter(error.positions or ()), 0)
            in_spanish = partial(syntax_error_in_spanish, text, position, tokens_max=TOKENS_MAX)
            raise WrongDocument([LibraryError(error, in_spanish)]) from None
        try:
            errors = validate(self._schema, node, self._rules, hide_suggestions=not self._introspection)
        except RecursionError:
            raise refused(DocumentTooDeep()) from None
        if errors:
            stopped = RefusedDocument(ValidationStopped())
            raise WrongDocument([stopped if isinstance(one, ValidationAbortedError) else one for one in errors])
        return node
