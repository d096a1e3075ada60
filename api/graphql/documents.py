"""Documents that were found right are remembered: most requests say what somebody said before."""

from collections import OrderedDict
from collections.abc import Iterator

from graphql import DocumentNode
from strawberry.extensions import SchemaExtension

DOCUMENTS_MAX = 500
DOCUMENT_CHARACTERS_MAX = 2_000  # longer ones are looked at each time: parsed, they take seventy times as much


class KnownDocuments(SchemaExtension):
    """Parses and validates a document once. Only right ones are kept, so nobody's mistakes push out others' documents.

    What makes a document right hangs on its text alone: our rules look neither at variables nor at who asks.
    """

    known: OrderedDict[str, DocumentNode] = OrderedDict()

    def on_parse(self) -> Iterator[None]:
        asked = self.execution_context
        document = self.known.get(asked.query or "")
        if document is not None:
            self.known.move_to_end(asked.query or "")
            asked.graphql_document = document
        yield

    def on_validate(self) -> Iterator[None]:
        asked = self.execution_context
        text, document = asked.query or "", asked.graphql_document
        if document is not None and self.known.get(text) is document:
            asked.pre_execution_errors = []
            yield
            return
        yield
        if document is not None and not asked.pre_execution_errors and len(text) <= DOCUMENT_CHARACTERS_MAX:
            self.known[text] = document
            if len(self.known) > DOCUMENTS_MAX:
                self.known.popitem(last=False)
