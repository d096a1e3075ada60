"""An operation as a plan: the document is analysed once, and each request only executes the plan.

graphql-core analyses it for each request: which fields, of which types, with which arguments. It is Python code too,
and took most of a booking's time. A plan does the same (tests/api/engine/test_plans.py compares the two on documents
made at random). It leaves rare features to the library: directives, introspection, variables within a value, values
of the wrong type, subscriptions.
"""

from collections.abc import Mapping
from types import CoroutineType
from typing import Any

from graphql import (
    DocumentNode,
    ExecutionResult,
    FragmentDefinitionNode,
    GraphQLError,
    GraphQLObjectType,
    GraphQLSchema,
    OperationDefinitionNode,
    OperationType,
)
from graphql.pyutils import Undefined

from api.graphql.engine.plans.coercion import variable_of
from api.graphql.engine.plans.fields import Run, Unplannable
from api.graphql.engine.plans.planner import DirectiveFinder, Planner, contains
from api.graphql.engine.plans.showing import show_object


class _Planned:
    """The common part of all plans: the fields below the root, and the variables."""

    def __init__(
        self,
        schema: GraphQLSchema,
        root: GraphQLObjectType | None,
        document: DocumentNode,
        operation: OperationDefinitionNode,
        fields_max: int,
    ) -> None:
        if root is None or contains(DirectiveFinder(), document):
            raise Unplannable
        self._variables = [variable_of(schema, node) for node in operation.variable_definitions or ()]
        fragments = {node.name.value: node for node in document.definitions if isinstance(node, FragmentDefinitionNode)}
        nullable = {variable.name for variable in self._variables if variable.nullable}
        planner = Planner(schema, fragments, nullable, fields_max)
        self._fields = planner.fields(root, [operation.selection_set])
        self.size = planner.planned  # fields, counted once for each possible type

    def _values(self, variables: Mapping[str, Any]) -> dict[str, Any]:
        values = {}
        for name, coerce, default, nullable in self._variables:
            value = variables.get(name, Undefined)
            if value is not Undefined:
                try:
                    values[name] = coerce(value)
                except Exception:
                    raise Unplannable from None
            elif default is not Undefined:
                values[name] = default
            elif not nullable:
                raise Unplannable
        return values


class Plan(_Planned):
    """How to execute a query or a mutation of a valid document."""

    def __init__(
        self, schema: GraphQLSchema, document: DocumentNode, operation: OperationDefinitionNode, fields_max: int
    ) -> None:
        """Raises Unplannable if the library has to execute it, or the plan would have more fields than that."""
        if operation.operation is OperationType.SUBSCRIPTION:
            raise Unplannable
        super().__init__(schema, schema.get_root_type(operation.operation), document, operation, fields_max)
        self._serial = operation.operation is OperationType.MUTATION
        self._show = show_object(self._fields)

    async def execute(self, variables: Mapping[str, Any], context: object) -> ExecutionResult:
        """Execute the plan. Raises Unplannable, before anything is executed, if a variable has the wrong type."""
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


class FollowedPlan(_Planned):
    """How to show the changes of a subscription.

    The library subscribes, checks and shows the first message. The plan shows later ones, as the fields of a query are
    shown. The library handles rare documents and all errors, and reports what is wrong.
    """

    def __init__(
        self, schema: GraphQLSchema, document: DocumentNode, operation: OperationDefinitionNode, fields_max: int
    ) -> None:
        """Raises Unplannable if the library has to show it, or the plan would have more fields than that."""
        super().__init__(schema, schema.subscription_type, document, operation, fields_max)
        if len(self._fields) != 1 or self._fields[0].function is None:
            raise Unplannable
        self._root = self._fields[0]

    async def show(self, source: Any, variables: Mapping[str, Any], context: object) -> dict[str, Any]:
        """The data of a message. Raises Unplannable if anything in it is wrong."""
        run = Run(context, self._values(variables))
        try:
            shown = self._root.complete(source, (None, self._root.key), run)
            if type(shown) is CoroutineType:
                shown = await shown
        except Exception:
            raise Unplannable from None
        if shown is None or run.errors:
            raise Unplannable
        return {self._root.key: shown}
