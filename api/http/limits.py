"""Limits of HTTP requests: where they may come from, how large they may be, and the form of their bodies."""

import asyncio
import json
import re
from collections.abc import Mapping
from functools import lru_cache
from ipaddress import IPv6Address, ip_address
from math import isfinite
from typing import Any, NoReturn

import msgspec
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from api.graphql.engine.request_errors import as_graphql_error
from api.http.refusals import OnlyThisMachine
from api.messages import LANGUAGE_LENGTH_MAX, language_of
from domain.errors import Language

BODY_BYTES_MAX = 2 * 1024 * 1024
BODY_READ_TIMEOUT_S = 30
VALUES_MAX = 20_000  # in variables, including lists and objects; an agenda of 5,000 slots has 15,008
VALUE_BYTES_MIN = 2  # a list item is at least a digit and a comma
ADDRESSES_MAX = 1_000  # of clients, cached
OWN_NAME = r"(localhost|127\.0\.0\.1|\[::1\]|::1)(:[0-9]{1,5})?"  # of this machine, with a port or without


class LoopbackOnly:
    """Serves this machine only, while the development key is in use: that key can make anybody's token.

    The listening address is no protection, because any server can serve the application on any address. It answers only
    to the machine's own names, so that a foreign page can't reach it through a name of its own (DNS rebinding).
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
            language = language_of(headers_of(scope).get(b"accept-language", b"")[:LANGUAGE_LENGTH_MAX])
            error = as_graphql_error(OnlyThisMachine(), language).formatted
            await JSONResponse({"errors": [error]}, status_code=400 if local else 403)(scope, receive, send)


def _host_of(scope: Scope) -> bytes:
    return next((bytes(value) for name, value in scope["headers"] if name.lower() == b"host"), b"")


@lru_cache(ADDRESSES_MAX)
def _is_own_name(host: bytes) -> bool:
    """Whether a `Host` is one of this machine's own names, with a port or without."""
    return re.fullmatch(OWN_NAME.encode(), host, re.IGNORECASE) is not None


class TooLarge(Exception):
    """The body is larger than BODY_BYTES_MAX."""


class Malformed(Exception):
    """The request is malformed; the texts tell the client why. As a string it is the text in English."""

    def __init__(self, *, en: str, es: str) -> None:
        super().__init__(en)
        self.texts: dict[Language, str] = {"en": en, "es": es}


IN_SPANISH = {"body": "El cuerpo", "message": "El mensaje"}  # parts of a request; others are names of fields


class Gone(Exception):
    """The client disconnected before its body was complete."""


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
    """The headers by lower-case name; repeated ones are joined as in RFC 9110 §5.3."""
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
        raise _wrong(what, en="is nested too deeply", es="tiene demasiados niveles") from None
    except ValueError:  # msgspec.DecodeError, UnicodeDecodeError
        return _parse_with_json(text, what)


def _parse_with_json(text: bytes | str, what: str) -> Any:
    try:
        return _DECODER.decode(text.decode() if isinstance(text, bytes) else text)  # otherwise it would guess UTF-16
    except RecursionError:
        raise _wrong(what, en="is nested too deeply", es="tiene demasiados niveles") from None
    except ValueError:  # no JSON, no UTF-8, or a number of thousands of digits
        raise _wrong(what, en="is not JSON in UTF-8", es="no es JSON en UTF-8") from None


def _wrong(what: str, *, en: str, es: str) -> Malformed:
    return Malformed(en=f"The {what} {en}.", es=f"{IN_SPANISH.get(what, f'`{what}`')} {es}.")


def _finite(text: str) -> float:
    number = float(text)
    if not isfinite(number):
        raise ValueError("a number that is too large")
    return number


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


_decode_with_msgspec = msgspec.json.Decoder().decode
_DECODER = json.JSONDecoder(parse_constant=_refuse_constant, parse_float=_finite)


def check_request(request: Any, *, length_bytes: int | None = None) -> None:
    """Raise Malformed unless this is `{query or documentId, variables?, operationName?, extensions?}`.

    A persisted query needs neither of the two, see `persisted_digest`.

    `length_bytes`: length of the text, if known. The values of a short text need not be counted.
    """
    if not isinstance(request, dict):
        form = '{"query": …, "variables": …, "operationName": …}'
        raise Malformed(en=f"The body must be an object: {form}.", es=f"El cuerpo debe ser un objeto: {form}.")
    for name in ("operationName", "documentId"):
        if not isinstance(request.get(name), str | None):
            raise _wrong_field(name, en="a string, null or absent", es="un texto, null o no estar")
    for name in ("variables", "extensions"):
        if not isinstance(request.get(name), dict | None):
            raise _wrong_field(name, en="an object, null or absent", es="un objeto, null o no estar")
    query = request.get("query")
    named = query is None and (request.get("documentId") is not None or persisted_digest(request) is not None)
    if not named and not isinstance(query, str):
        raise _wrong_field("query", en="a string", es="un texto")
    may_be_too_many = length_bytes is None or length_bytes >= VALUES_MAX * VALUE_BYTES_MIN
    if may_be_too_many and _has_more_values(request.get("variables"), VALUES_MAX):
        raise Malformed(
            en=f"`variables` has more than {VALUES_MAX} values.", es=f"`variables` tiene más de {VALUES_MAX} valores."
        )


def _wrong_field(name: str, *, en: str, es: str) -> Malformed:
    return Malformed(en=f"`{name}` must be {en}.", es=f"`{name}` debe ser {es}.")


def persisted_digest(request: Mapping[str, Any]) -> str | None:
    """The digest of a request by Apollo's protocol for automatic persisted queries; None if it has a document or an id.

    The digest is `extensions.persistedQuery.sha256Hash`. Whatever its version or form, the answer makes the client
    send the document.
    """
    if request.get("query") is not None or request.get("documentId") is not None:
        return None
    persisted = (request.get("extensions") or {}).get("persistedQuery")
    return str(persisted.get("sha256Hash", "")) if isinstance(persisted, dict) else None


def _has_more_values(value: Any, most: int) -> bool:
    """Whether a JSON value has more than `most` values, itself included. Its depth is limited by the parser."""
    count, waiting = 1, [value]
    while waiting and count <= most:
        part = waiting.pop()
        if isinstance(part, dict | list):
            count += len(part)
            waiting += part.values() if isinstance(part, dict) else part
    return count > most


def peer_of(scope: Scope) -> str:
    """The address at the other end of the connection; "" if unknown."""
    return str((scope.get("client") or ("",))[0])


def is_local(peer: str) -> bool:
    """Whether the address is this machine's; False if unknown."""
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
