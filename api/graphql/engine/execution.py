"""Executes operations: checks their documents and limits, runs them, and words errors for clients."""

from collections.abc import AsyncGenerator, Collection
from contextlib import suppress
from types import MappingProxyType
from typing import Any, NamedTuple

import msgspec
from graphql import ExecutionResult, FieldNode, GraphQLError, OperationType, execute, subscribe
from graphql.pyutils import is_awaitable
from strawberry import Schema
from strawberry.execution.is_awaitable import optimized_is_awaitable

from api.graphql.engine.deadlines import Deadlines
from api.graphql.engine.document_errors import translate
from api.graphql.engine.documents import DOCUMENT_CHARACTERS_MAX, Document, Documents, WrongDocument
from api.graphql.engine.introspection import Translations, translating
from api.graphql.engine.limits import COST_MAX, QueryTooLarge
from api.graphql.engine.plans.fields import Unplannable
from api.graphql.engine.plans.plan import FollowedPlan
from api.graphql.engine.request import Request
from api.graphql.engine.request_errors import as_graphql_error
from api.graphql.engine.trusted import Trusted
from api.graphql.engine.values import translate_wrong_values
from domain.errors import Rejected
from infra.log.submission import ServiceUnavailable
from infra.running.logging import log_failure

OPERATION_TIMEOUT_S = 30  # after parsing; a worker that stops waits longer, see infra/running/serve.py
CHARACTERS_CHARGED = 200  # of an uncached document: each such part costs one more request

# It recognises most values faster. Only `execute` takes it, `subscribe` does not.
_QUICK: dict[str, Any] = {"is_awaitable": optimized_is_awaitable}


class Asked(NamedTuple):
    """A request: a document, the id of a trusted one or its digest, variables, and the name of the operation."""

    query: str | None
    variables: dict[str, Any]
    operation_name: str | None
    document_id: str | None = None
    digest: str | None = None


class Answer(msgspec.Struct):
    """The answer for a client. If not `executed`, the body has no `data`, not even null."""

    executed: bool
    data: dict[str, Any] | None = None
    errors: list[GraphQLError] = []
    extensions: dict[str, Any] = {}

    def body(self) -> dict[str, Any]:
        """The body to send, errors first."""
        body: dict[str, Any] = {}
        if self.errors:
            body["errors"] = [error.formatted for error in self.errors]
        if self.executed:
            body["data"] = self.data
        if self.extensions:
            body["extensions"] = self.extensions
        return body


class NotHere(Exception):
    """The operation is of a kind that is not served this way."""

    def __init__(self, kind: OperationType) -> None:
        super().__init__(kind.value)
        self.kind = kind


class Engine:
    """Executes operations of one schema: each document is parsed, validated and planned once.

    `introspection`: whether clients may query the schema; `translations` has its descriptions in other languages.
    """

    def __init__(
        self,
        schema: Schema,
        *,
        introspection: bool = True,
        trusted: Trusted | None = None,
        translations: Translations = MappingProxyType({}),
    ) -> None:
        self.schema = schema
        self.trusted = Trusted() if trusted is None else trusted
        self.documents = Documents(schema._schema, introspection=introspection)
        self._core = schema._schema
        self._deadlines = Deadlines()
        # The arguments for each call of the library; Strawberry finds its own fields through the executor.
        self._options: dict[str, Any] = {"hide_suggestions": not introspection, "operation_extensions": None}
        plain = schema.execution_context_class
        self._executors = {language: translating(plain, one) for language, one in translations.items()}
        self._plain_executor = plain

    async def answer(self, asked: Asked, context: Request, kinds: Collection[OperationType]) -> Answer:
        """Execute a query or a mutation. Raises NotHere for kinds other than these, and what `charge` raises."""
        try:
            document = self._allowed(asked, context, kinds)
        except WrongDocument as wrong:
            return self.refused(wrong.errors, asked, context)
        try:
            with self._deadlines.limit(OPERATION_TIMEOUT_S):
                result = await self._executed(document, asked, context)
        except TimeoutError:
            return _cut_off(context)
        return self._answer_of(result, asked, context)

    async def followed(self, asked: Asked, context: Request) -> AsyncGenerator[Answer, None]:
        """Execute a subscription: yield an answer for each change, or one answer that is not executed if it is refused.

        Raises NotHere for other operations.
        """
        try:
            document = self._allowed(asked, context, (OperationType.SUBSCRIPTION,))
        except WrongDocument as wrong:
            yield self.refused(wrong.errors, asked, context)
            return
        stream: Any = subscribe(
            self._core,
            document.node,
            variable_values=asked.variables,
            operation_name=asked.operation_name,
            context_value=context,
            executor_class=self._plain_executor,
            **self._options,
        )
        if is_awaitable(stream):
            stream = await stream
        if isinstance(stream, ExecutionResult):
            yield self.refused(stream.errors or [], asked, context)
            return
        try:
            async for result in stream:
                yield self._answer_of(result, asked, context)
        except GraphQLError as error:
            yield self.refused([error], asked, context)
        except Exception as error:
            yield self.refused([GraphQLError("", original_error=error)], asked, context)
        finally:
            await stream.aclose()

    def followed_plan(self, asked: Asked) -> FollowedPlan | None:
        """The plan for later answers of a subscription; None if its document is not kept or has no plan."""
        text = self.trusted.text(asked.query, asked.document_id, asked.digest)
        document = self.trusted.understood.get(text) or self.documents.known.get(text)
        return document.followed_plan(self._core, asked.operation_name) if document else None

    def refused(self, errors: list[GraphQLError], asked: Asked, context: Request) -> Answer:
        """The answer to a request that is not executed."""
        return Answer(executed=False, errors=self._translated(errors, asked, context), extensions=context.extensions())

    def _allowed(self, asked: Asked, context: Request, kinds: Collection[OperationType]) -> Document:
        """The document, if its operation is one of these kinds and costs no more than allowed.

        Raises NotHere, what `charge` raises, and WrongDocument, also with code "query_too_large" or those of
        `Trusted.text`.
        """
        trusted = self.trusted
        try:
            text = trusted.text(asked.query, asked.document_id, asked.digest)
        except Rejected as refusal:
            raise WrongDocument([as_graphql_error(refusal, context.language)]) from None
        known = trusted.understood.get(text)
        if known is None and (beyond := len(text) - DOCUMENT_CHARACTERS_MAX) > 0:
            context.charge(1 + beyond // CHARACTERS_CHARGED)  # it is parsed each time
        document = known or self.documents.understand(text)
        operation = document.the_operation(asked.operation_name)
        context.operation = operation.label
        if operation.node.operation not in kinds:
            raise NotHere(operation.node.operation)
        context.cost = document.cost(asked.operation_name, asked.variables)
        if context.cost > COST_MAX:
            raise WrongDocument([as_graphql_error(QueryTooLarge(limit=COST_MAX), context.language)])
        if operation.commands > 1:
            context.charge(operation.commands - 1)  # the first command is covered by the request itself
        return document

    async def _executed(self, document: Document, asked: Asked, context: Request) -> ExecutionResult:
        """Execute it by its plan, or by the library."""
        if plan := document.plan(self._core, asked.operation_name):
            with suppress(Unplannable):
                return await plan.execute(asked.variables, context)
        result: Any = execute(
            self._core,
            document.node,
            variable_values=asked.variables,
            operation_name=asked.operation_name,
            context_value=context,
            executor_class=self._executors.get(context.language, self._plain_executor),
            **self._options,
            **_QUICK,
        )
        if is_awaitable(result):
            result = await result
        assert isinstance(result, ExecutionResult)
        return result

    def _answer_of(self, result: ExecutionResult, asked: Asked, context: Request) -> Answer:
        errors = self._translated(result.errors, asked, context) if result.errors else []
        # The library also gives null for data if nothing was executed. Then no error has a path.
        executed = result.data is not None or any(error.path for error in errors)
        return Answer(executed=executed, data=result.data, errors=errors, extensions=context.extensions())

    def _translated(self, errors: list[GraphQLError], asked: Asked, context: Request) -> list[GraphQLError]:
        """The errors in the client's language. Internal errors are logged, and the client gets their number."""
        translate_wrong_values(errors, self._core, asked.variables, context.language)
        for error in errors:
            translate(error, context.language)
        return [_masked(error, context) if _is_ours(error) else error for error in errors]


class TookTooLong(
    Rejected,
    es="La consulta tardó más de {seconds} s y se interrumpió: pida menos datos a la vez o repítala.",
    en="The query took longer than {seconds} s and was stopped: ask for less data at once, or repeat it.",
):
    seconds: float


def _cut_off(context: Request) -> Answer:
    """The answer to a request that took too long. Its commands may still be executed: repeat them with their keys."""
    late = TookTooLong(seconds=OPERATION_TIMEOUT_S)
    refusal = ServiceUnavailable() if context.operation[0] == OperationType.MUTATION.value else late
    error = as_graphql_error(refusal, context.language)
    return Answer(executed=True, errors=[error], extensions=context.extensions())


def _is_ours(error: GraphQLError) -> bool:
    """Whether the error is in the program, not in the request."""
    return error.original_error is not None and not isinstance(error.original_error, GraphQLError)


class InternalError(
    Rejected,
    es="Ocurrió un error en el sistema. Si se repite, indíquenos este número: {id}.",
    en="Something went wrong on our side. If it happens again, tell us this number: {id}.",
):
    id: str


def _masked(error: GraphQLError, context: Request) -> GraphQLError:
    assert error.original_error
    # Not error.path: it has aliases, which are the client's text.
    field = error.nodes[0] if error.nodes else None
    name = field.name.value if isinstance(field, FieldNode) else None
    log_failure("a resolver failed", error.original_error, field=name, id=context.correlation)
    shown = as_graphql_error(InternalError(id=context.correlation), context.language)
    return GraphQLError(shown.message, nodes=error.nodes, path=error.path, extensions=shown.extensions)
