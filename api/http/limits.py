"""What no honest client sends is refused before it costs much: strangers, broken or large bodies, exploding queries."""

import asyncio
import json
import re
from collections.abc import Mapping
from functools import lru_cache
from graphlib import CycleError, TopologicalSorter
from ipaddress import IPv6Address, ip_address
from math import isfinite
from typing import Any, NoReturn

import msgspec
from graphql import (
    ArgumentNode,
    DocumentNode,
    FieldNode,
    FragmentDefinitionNode,
    FragmentSpreadNode,
    GraphQLError,
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
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Receive, Scope, Send

BODY_BYTES_MAX = 2 * 1024 * 1024
BODY_READ_TIMEOUT_S = 30
FIELDS_MAX = 2_000  # of a document, each fragment counted as often as it is spread
ALIASES_MAX = 15  # likewise
DEPTH_MAX = 20  # of fields within fields, likewise; tools that read the schema need 15
ROOT_FIELDS_MAX = 16  # of an operation, likewise: each is a question or a command of its own
COST_MAX = 5_000  # values in the answer, if every page is full
OPERATION_TIMEOUT_S = (
    30  # from when it is understood; a worker that is told to stop has longer, see infra/running/serve.py
)
PAGE_SIZE_MAX = 100  # of a list
VALUES_MAX = 20_000  # in variables, lists and objects counted too; an agenda of 5,000 slots has 15,008
VALUE_BYTES_MIN = 2  # a list item is at least a digit and a comma
ADDRESSES_MAX = 1_000  # of clients, remembered
OWN_NAME = r"(localhost|127\.0\.0\.1|\[::1\]|::1)(:[0-9]{1,5})?"  # of this machine, with a port or without


class LoopbackOnly:
    """Refuses everybody but this machine, where the development key is good: it can make anybody's token.

    The address of the listening socket can't tell: any server can be told to serve the application anywhere. A page
    elsewhere must not reach it through a name of its own either, so it answers to the machine's own names alone.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
            return
        local = is_local(peer_of(scope))
        if local and _is_own_name(_host_of(scope)):
            await self.app(scope, receive, send)
        elif scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008})  # before it is accepted: the handshake gets a 403
        else:
            message = "Without an identity provider (IGOB_OIDC_ISSUER) only clients on the same machine are served,"
            message += " by its name localhost or its address."
            refusal = JSONResponse({"errors": [{"message": message}]}, status_code=400 if local else 403)
            await refusal(scope, receive, send)


def _host_of(scope: Scope) -> bytes:
    return next((bytes(value) for name, value in scope["headers"] if name.lower() == b"host"), b"")


@lru_cache(ADDRESSES_MAX)
def _is_own_name(host: bytes) -> bool:
    """Whether a `Host` is one of this machine's own names, with a port or without."""
    return re.fullmatch(OWN_NAME.encode(), host, re.IGNORECASE) is not None


class TooLarge(Exception):
    """The body is larger than BODY_BYTES_MAX."""


class Malformed(Exception):
    """What is wrong with the request, for the client."""


class Gone(Exception):
    """The client left before its body was complete."""


async def read_body(headers: Mapping[bytes, bytes], receive: Receive) -> bytes:
    """The whole body. Raises TooLarge as soon as that is known, TimeoutError after BODY_READ_TIMEOUT_S, Gone."""
    declared = headers.get(b"content-length", b"")
    if declared.isdigit() and (len(declared) > 18 or int(declared) > BODY_BYTES_MAX):
        raise TooLarge
    body = bytearray()
    async with asyncio.timeout(BODY_READ_TIMEOUT_S):
        while True:
            message = await receive()
            if message["type"] == "http.disconnect":
                raise Gone
            body += message.get("body", b"")
            if len(body) > BODY_BYTES_MAX:
                raise TooLarge
            if not message.get("more_body", False):
                return bytes(body)


def headers_of(scope: Scope) -> dict[bytes, bytes]:
    """The headers by name in small letters; one that is said several times as RFC 9110 §5.3 joins it."""
    headers: dict[bytes, bytes] = {}
    for name, value in scope["headers"]:
        key = name.lower()
        headers[key] = b", ".join((headers[key], value)) if key in headers else bytes(value)
    return headers


def parse_json(text: bytes | str, what: str) -> Any:
    """The value of a JSON text, by the parser that the endpoint uses too. Raises Malformed.

    msgspec takes a third of the time of `json`. `json` then tries what msgspec refuses, such as unpaired surrogates.
    orjson is not used: it turns integers beyond 64 bits into floats without an error.
    """
    try:
        return _decode_with_msgspec(text)
    except RecursionError:
        raise Malformed(f"The {what} is nested too deeply.") from None
    except ValueError:  # msgspec.DecodeError, UnicodeDecodeError
        return _parse_with_json(text, what)


def _parse_with_json(text: bytes | str, what: str) -> Any:
    try:
        return _DECODER.decode(text.decode() if isinstance(text, bytes) else text)  # it would guess at UTF-16 else
    except RecursionError:
        raise Malformed(f"The {what} is nested too deeply.") from None
    except ValueError:  # no JSON, no UTF-8, or a number of thousands of digits
        raise Malformed(f"The {what} is not JSON in UTF-8.") from None


def _finite(text: str) -> float:
    number = float(text)
    if not isfinite(number):
        raise ValueError("a number that is too large")
    return number


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


_decode_with_msgspec = msgspec.json.Decoder().decode
_DECODER = json.JSONDecoder(parse_constant=_refuse_constant, parse_float=_finite)


def check_request(said: Any, *, length_bytes: int | None = None) -> None:
    """Raise Malformed unless this is `{query or documentId, variables?, operationName?, extensions?}`.

    `length_bytes`: length of the text, if known. The values of a short text need not be counted.
    """
    if not isinstance(said, dict):
        raise Malformed('The body must be an object: {"query": …, "variables": …, "operationName": …}.')
    if not isinstance(said.get("query"), str) and (said.get("query") is not None or said.get("documentId") is None):
        raise Malformed("`query` must be a string.")
    for name in ("operationName", "documentId"):
        if not isinstance(said.get(name), str | None):
            raise Malformed(f"`{name}` must be a string, null or absent.")
    for name in ("variables", "extensions"):
        if not isinstance(said.get(name), dict | None):
            raise Malformed(f"`{name}` must be an object, null or absent.")
    may_be_too_many = length_bytes is None or length_bytes >= VALUES_MAX * VALUE_BYTES_MIN
    if may_be_too_many and _has_more_values(said.get("variables"), VALUES_MAX):
        raise Malformed(f"`variables` has more than {VALUES_MAX} values.")


def _has_more_values(value: Any, most: int) -> bool:
    """Whether there are more than so many values in a JSON value, itself counted. It is no deeper than JSON is read."""
    count, waiting = 1, [value]
    while waiting and count <= most:
        part = waiting.pop()
        if isinstance(part, dict | list):
            count += len(part)
            waiting += part.values() if isinstance(part, dict) else part
    return count > most


def peer_of(scope: Scope) -> str:
    """The address at the other end of the connection; "" if it is not known."""
    return str((scope.get("client") or ("",))[0])


def is_local(peer: str) -> bool:
    """Whether this machine asks; not so if that is not known."""
    return _is_loopback(peer)


def is_by_own_name(peer: str, host: bytes) -> bool:
    """Whether this machine sent the request, to one of its own names."""
    return _is_loopback(peer) and _is_own_name(host)


@lru_cache(ADDRESSES_MAX)
def _is_loopback(host: str) -> bool:
    try:
        address = ip_address(host)
    except ValueError:  # unknown, or a socket that has no address
        return False
    if isinstance(address, IPv6Address) and address.ipv4_mapped:
        address = address.ipv4_mapped
    return address.is_loopback


class ExpandedSizeRule(ValidationRule):
    """Refuses documents that are larger than allowed once fragments are expanded: fields, aliases, depth, root fields.

    A chain of fragments that each spread the next one twice doubles at every step, so nothing is expanded here: each
    fragment is counted once, those that it spreads before it. Counts stop growing just above their limit.
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
        if not node.selections:  # the library takes it; what selects nothing would count for nothing
            self.report_error(GraphQLError("A selection can't be empty.", node))

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
            self._report("fields within each other", DEPTH_MAX)
        if any(len(operation.roots) > ROOT_FIELDS_MAX for operation in self.operations):
            self._report("root fields", ROOT_FIELDS_MAX)

    def _report(self, what: str, most: int) -> None:
        self.report_error(GraphQLError(f"The document has more than {most} {what}, fragments expanded."))


class _Part:
    """An operation or a fragment: what it selects itself, later with what it spreads."""

    def __init__(self) -> None:
        self.fields = 0
        self.aliases = 0
        self.depth = 0
        self.roots: set[str] = set()  # names in the answer: those of one name are answered once
        self.spreads: list[tuple[str, int]] = []  # each with how many fields it stands in

    def expand(self, fragments: dict[str, "_Part"]) -> None:
        """Add what the spread fragments select, which are expanded already."""
        for name, depth in self.spreads:
            if spread := fragments.get(name):  # KnownFragmentNamesRule refuses others
                self.fields = min(self.fields + spread.fields, FIELDS_MAX + 1)
                self.aliases = min(self.aliases + spread.aliases, ALIASES_MAX + 1)
                self.depth = max(self.depth, depth + spread.depth)
                if depth == 0:
                    self.roots |= spread.roots


def cost(document: DocumentNode, operation_name: str | None, variables: Mapping[str, Any]) -> int:
    """How many values the answer can have: each field counts once, within lists as often as their `first` says.

    The document must be valid: its fragments form no cycles. Each is counted once, however often it is spread.
    """
    operation = get_operation_ast(document, operation_name)
    return _Cost(document, operation, variables).of(operation.selection_set) if operation else 0


def root_fields(document: DocumentNode, operation_name: str | None) -> int:
    """How many fields the operation has at its root, fragments expanded. The document must be valid."""
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


class _Cost:
    """The cost of an operation's parts.

    Not functions within each other: those form cycles, which keep the variables until the collector comes, and it comes
    rarely here.
    """

    def __init__(
        self, document: DocumentNode, operation: OperationDefinitionNode, variables: Mapping[str, Any]
    ) -> None:
        self._operation = operation
        self._variables = variables
        self._fragments = {
            node.name.value: node for node in document.definitions if isinstance(node, FragmentDefinitionNode)
        }
        self._known: dict[str, int] = {}

    def of(self, selected: SelectionSetNode | None) -> int:
        total = 0
        for node in selected.selections if selected else ():
            if isinstance(node, FieldNode):
                total += 1 + _items(node, self._operation, self._variables) * self.of(node.selection_set)
            elif isinstance(node, FragmentSpreadNode):
                total += self._of_fragment(node.name.value)
            elif isinstance(node, InlineFragmentNode):
                total += self.of(node.selection_set)
        return total

    def _of_fragment(self, name: str) -> int:
        if name not in self._known:
            self._known[name] = self.of(self._fragments[name].selection_set)
        return self._known[name]


def depends_on_variables(document: DocumentNode) -> bool:
    """Whether what the document costs hangs on its variables: whether one of them says how long a list may be."""
    found = _VariablePages()
    visit(document, found)
    return found.any


class _VariablePages(Visitor):
    any = False

    def enter_argument(self, node: ArgumentNode, *_: Any) -> VisitorAction:
        if node.name.value == "first" and isinstance(node.value, VariableNode):
            self.any = True
            return BREAK
        return None


def _items(field: FieldNode, operation: OperationDefinitionNode, variables: Mapping[str, Any]) -> int:
    """How many items the field has at most: what its argument `first` says, 1 without it."""
    for argument in field.arguments or ():
        if argument.name.value == "first":
            return max(1, _number(argument, operation, variables))
    return 1


def _number(argument: ArgumentNode, operation: OperationDefinitionNode, variables: Mapping[str, Any]) -> int:
    """A whole number that is written here or in a variable, PAGE_SIZE_MAX at most.

    1 for what is none: that is refused when it is read, as larger ones are.
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
