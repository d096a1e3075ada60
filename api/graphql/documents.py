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

from api.graphql.plans import NotPlain, Plan
from api.graphql.values import WrongValuesRule
from api.limits import ExpandedSizeRule, cost, depends_on_variables, root_fields
from api.telemetry import SEVERAL, UNKNOWN

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


class Document:
    """A document that is valid."""

    def __init__(self, node: DocumentNode) -> None:
        self.node = node
        self._depends = depends_on_variables(node)
        self._costs: dict[str | None, int] = {}
        self._labels: dict[str | None, tuple[str, str]] = {}
        self._asked: set[int] = set()
        self._plans: dict[int, Plan | None] = {}
        self._planned = 0  # fields
        self._commands: dict[str | None, int] = {}

    def operation(self, name: str | None) -> OperationDefinitionNode | None:
        """The operation of this name, or the only one; None if there is no such."""
        return get_operation_ast(self.node, name)

    def plan(self, schema: GraphQLSchema, name: str | None) -> Plan | None:
        """How to execute the operation of this name; None if the library has to, or it is asked for the first time.

        Most documents that are asked for once are never asked for again.
        """
        operation = self.operation(name)
        if operation is None:
            return None
        place = operation.loc.start if operation.loc else 0  # it may have no name, and be asked for by its name or none
        if place not in self._plans and place in self._asked:
            try:
                plan = self._plans[place] = Plan(schema, self.node, operation, PLANNED_FIELDS_MAX - self._planned)
                self._planned += plan.size
            except NotPlain:
                self._plans[place] = None
        self._asked.add(place)
        return self._plans.get(place)

    def label(self, name: str | None) -> tuple[str, str]:
        """Kind and root field of the operation of this name, in the schema's words; SEVERAL if it has not just one."""
        label = self._labels.get(name)
        if label is None:
            operation = self.operation(name)
            if operation is None:
                return UNKNOWN, UNKNOWN  # not kept: there are as many such names as clients like
            selections = operation.selection_set.selections
            fields = {one.name.value if isinstance(one, FieldNode) else SEVERAL for one in selections}
            label = operation.operation.value, fields.pop() if len(fields) == 1 else SEVERAL
            self._labels[name] = label
        return label

    def commands(self, name: str | None) -> int:
        """How many commands the operation of this name is: the root fields of a mutation; 0 for another kind."""
        if self.label(name)[0] != OperationType.MUTATION.value:
            return 0
        if name not in self._commands:
            self._commands[name] = root_fields(self.node, name)
        return self._commands[name]

    def cost(self, name: str | None, variables: Mapping[str, Any]) -> int:
        """What the operation of this name costs, see `limits.cost`."""
        if self._depends:
            return cost(self.node, name, variables)
        if name not in self._costs and self.operation(name):
            self._costs[name] = cost(self.node, name, variables)
        return self._costs.get(name, 0)


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
