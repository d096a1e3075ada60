"""Documents are parsed and validated once: most requests say what somebody said before."""

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from typing import Any

from graphql import (
    ASTValidationRule,
    DocumentNode,
    FieldNode,
    GraphQLError,
    GraphQLSchema,
    NoSchemaIntrospectionCustomRule,
    OperationDefinitionNode,
    OperationType,
    ValuesOfCorrectTypeRule,
    get_operation_ast,
    parse,
    specified_rules,
    validate,
)

from api.graphql.engine.limits import ExpandedSizeRule, cost, depends_on_variables, root_fields
from api.graphql.engine.plans.fields import NotPlain
from api.graphql.engine.plans.plan import FollowedPlan, Plan
from api.graphql.engine.values import WrongValuesRule
from api.telemetry import SEVERAL

TOKENS_MAX = 2_000
CHARACTERS_MAX = 64 * 1024  # comments and strings are no tokens, and reading them is slow
DOCUMENTS_MAX = 500
PLANNED_FIELDS_MAX = 200  # of a document: a field takes more than a KiB, and as often as its object has possible types
DOCUMENT_CHARACTERS_MAX = 2_000  # longer ones are looked at each time: parsed, they take seventy times as much

# What makes a document right hangs on its text alone: our rules look neither at variables nor at who asks.
RULES: Sequence[type[ASTValidationRule]] = (
    *(WrongValuesRule if rule is ValuesOfCorrectTypeRule else rule for rule in specified_rules),
    ExpandedSizeRule,
)


class WrongDocument(Exception):
    """A document that can't be executed; `errors` say why."""

    def __init__(self, errors: list[GraphQLError]) -> None:
        super().__init__(f"{len(errors)} errors")
        self.errors = errors


class Operation:
    """One of a document's operations, with what is found out of it once.

    `label`: its kind and root field, in the schema's words; SEVERAL if it has not just one. `commands`: how many it is:
    the root fields of a mutation, 0 for another kind.
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
    """A document that is valid."""

    def __init__(self, node: DocumentNode) -> None:
        self.node = node
        self._operations: dict[str | None, Operation] = {}
        self._planned_fields = 0

    def operation(self, name: str | None) -> Operation | None:
        """The operation of this name, or the only one; None if there is no such."""
        found = self._operations.get(name)
        if found is None and (node := get_operation_ast(self.node, name)):
            own_name = node.name.value if node.name else None  # by which the only one need not be asked for
            found = self._operations.get(own_name) or Operation(self.node, node)
            self._operations[own_name] = self._operations[name] = found
        return found

    def plan(self, schema: GraphQLSchema, name: str | None) -> Plan | None:
        """How to execute the operation of this name; None if the library has to, or it is asked for the first time.

        Most documents that are asked for once are never asked for again.
        """
        operation = self.operation(name)
        if operation is None:
            return None
        if operation.was_asked and operation.plan is None and not operation.is_rare:
            try:
                plan = Plan(schema, self.node, operation.node, PLANNED_FIELDS_MAX - self._planned_fields)
                self._planned_fields += plan.size
                operation.plan = plan
            except NotPlain:
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
            except NotPlain:
                operation.is_rare = True
        return operation.followed_plan

    def cost(self, name: str | None, variables: Mapping[str, Any]) -> int:
        """What the operation of this name costs, see `limits.cost`."""
        operation = self.operation(name)
        if operation and operation.fixed_cost is not None:
            return operation.fixed_cost
        return cost(self.node, name, variables)


class Documents:
    """Those that were found right. Only they are kept, so nobody's mistakes push out others' documents."""

    def __init__(self, schema: GraphQLSchema, *, introspection: bool = True) -> None:
        self.known: OrderedDict[str, Document] = OrderedDict()
        self._schema = schema
        self._introspection = introspection
        self._rules = RULES if introspection else (*RULES, NoSchemaIntrospectionCustomRule)

    def understand(self, text: str) -> Document:
        """Parse and validate, or remember. Raises WrongDocument."""
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
            raise WrongDocument([GraphQLError(f"The document is longer than {CHARACTERS_MAX} characters.")])
        try:
            node = parse(text, max_tokens=TOKENS_MAX)
        except GraphQLError as error:
            # Without the way it came, which holds the text and would be kept with it.
            raise WrongDocument([error.with_traceback(None)]) from None
        except RecursionError:
            raise WrongDocument([GraphQLError("The document is nested too deeply.")]) from None
        try:
            errors = validate(self._schema, node, self._rules, hide_suggestions=not self._introspection)
        except RecursionError:
            raise WrongDocument([GraphQLError("The document is nested too deeply.")]) from None
        if errors:
            raise WrongDocument(errors)
        return node
