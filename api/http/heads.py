"""Heads of requests that can take the fast path, see api/http/protocol.py."""

from collections.abc import Mapping
from functools import lru_cache

import httptools

HEADERS_MAX = 100
CACHED_HEADS_MAX = 2_000  # parsed heads
CACHED_HEAD_BYTES_MAX = 2_000
FAST_BODY_BYTES_MAX = 64 * 1024  # of a request on the fast path

# Requests with one of these headers take the ASGI path: they change the framing, or who may read the response.
ASGI_HEADERS = frozenset({b"connection", b"upgrade", b"transfer-encoding", b"expect", b"origin"})


class Head:
    """A request's head as httptools reads it."""

    __slots__ = ("complete", "headers", "plain", "target")

    def __init__(self) -> None:
        self.target = b""
        self.headers: dict[bytes, bytes] = {}
        self.plain = True  # no repeated header, and no byte of a body
        self.complete = False

    def on_url(self, url: bytes) -> None:
        self.target += url

    def on_header(self, name: bytes, value: bytes) -> None:
        name = name.lower()
        if name in self.headers:
            self.plain = False
        self.headers[name] = value

    def on_headers_complete(self) -> None:
        self.complete = True

    def on_body(self, body: bytes) -> None:
        self.plain = False  # the blank line is not the end of this head


def parse_head(head: bytes) -> Head | None:
    """The head of an HTTP/1.1 POST that can take the fast path; None for any other. Callers must not change it."""
    found = Head()
    parser = httptools.HttpRequestParser(found)
    try:
        parser.feed_data(head)
    except httptools.HttpParserError:
        return None
    if not found.complete or not found.plain or parser.get_method() != b"POST" or parser.get_http_version() != "1.1":
        return None
    return found if len(found.headers) <= HEADERS_MAX and found.headers.keys().isdisjoint(ASGI_HEADERS) else None


# A client repeats the same head. A lookup takes a tenth of the time that parsing takes.
parse_head_cached = lru_cache(CACHED_HEADS_MAX)(parse_head)


def body_length(headers: Mapping[bytes, bytes]) -> int:
    """The value of Content-Length; -1 if it is not a number or exceeds FAST_BODY_BYTES_MAX."""
    text = headers.get(b"content-length", b"")
    length = int(text) if text.isdigit() and len(text) < 10 else -1
    return length if length <= FAST_BODY_BYTES_MAX else -1
