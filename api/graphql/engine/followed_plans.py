"""A plan for subscriptions: it is made once for each document and then shows every change.

The library subscribes, checks and shows the first message. A plan shows later messages as `plans.py` shows the fields
of a query. The library handles rare documents and all errors, and reports what is wrong.
"""

from collections.abc import Mapping
from types import CoroutineType
from typing import Any

from graphql import DocumentNode, FragmentDefinitionNode, GraphQLSchema, OperationDefinitionNode

from api.graphql.context import Context
from api.graphql.engine.plans import DirectiveFinder, NotPlain, Plan, Planner, Run, contains, variable_of


class FollowedPlan(Plan):
    """Shows the values of a subscription's root field."""

    def __init__(
        self, schema: GraphQLSchema, document: DocumentNode, operation: OperationDefinitionNode, fields_max: int
    ) -> None:
        """Raises NotPlain if the plan is not possible, or has more than `fields_max` fields."""
        root = schema.subscription_type
        if root is None or contains(DirectiveFinder(), document):
            raise NotPlain
        self._variables = [variable_of(schema, node) for node in operation.variable_definitions or ()]
        fragments = {node.name.value: node for node in document.definitions if isinstance(node, FragmentDefinitionNode)}
        nullable = {variable.name for variable in self._variables if variable.nullable}
        planner = Planner(schema, fragments, nullable, fields_max)
        fields = planner.fields(root, [operation.selection_set])
        if len(fields) != 1 or fields[0].function is None:
            raise NotPlain
        self._root = fields[0]
        self.size = planner.planned

    async def show(self, source: Any, variables: Mapping[str, Any], context: Context) -> dict[str, Any]:
        """The data of a message. Raises NotPlain if anything in it is wrong."""
        run = Run(context, self._values(variables))
        try:
            shown = self._root.complete(source, (None, self._root.key), run)
            if type(shown) is CoroutineType:
                shown = await shown
        except Exception:
            raise NotPlain from None
        if shown is None or run.errors:
            raise NotPlain
        return {self._root.key: shown}
