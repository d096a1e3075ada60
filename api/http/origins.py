"""Pages of other origins: which of them may send requests, and the CORS headers for browsers (Fetch standard)."""

import re
from urllib.parse import urlsplit

from starlette.middleware.cors import CORSMiddleware
from starlette.types import ASGIApp, Receive, Scope, Send

from api.http.limits import OWN_NAME
from api.telemetry import CORRELATION, Headers
from infra.running.settings import EVERY_ORIGIN, Settings

ASKED_AGAIN_AFTER_S = 3_600  # how long browsers cache the permission
# Besides those that every page may send.
HEADERS_SAID = ("Authorization", "Last-Event-ID", "Traceparent", "Tracestate", CORRELATION.decode())
HEADERS_READ = ("Retry-After", "WWW-Authenticate", CORRELATION.decode())
NONE = r"(?!)"


class Origins:
    """The origins whose pages may send requests, besides the host itself. Other programs send no origin.

    There are no cookies, so a page gets only what its token allows. Without an identity provider only this machine is
    served, so all its pages may send requests, from whatever port a front end in development uses.
    """

    def __init__(self, settings: Settings) -> None:
        self._listed = settings.origins
        self._local = re.compile(NONE if settings.oidc_issuer else f"https?://{OWN_NAME}")

    def is_foreign(self, headers: Headers) -> bool:
        """Whether the request comes from a page that may not send it."""
        origin = headers.get(b"origin", b"").decode("latin-1").lower()
        if not origin or EVERY_ORIGIN in self._listed or origin in self._listed or self._local.fullmatch(origin):
            return False
        try:
            scheme, host = urlsplit(origin)[:2]
        except ValueError:
            return True
        return scheme not in ("http", "https") or host != headers.get(b"host", b"").decode("latin-1").lower()

    def with_cors(self, app: ASGIApp) -> ASGIApp:
        """The application, whose responses say which pages may read them."""
        for_pages = CORSMiddleware(
            app,
            allow_origins=self._listed,
            allow_origin_regex=self._local.pattern,
            allow_methods=("GET", "POST"),
            allow_headers=HEADERS_SAID,
            expose_headers=HEADERS_READ,
            max_age=ASKED_AGAIN_AFTER_S,
        )

        async def serve(scope: Scope, receive: Receive, send: Send) -> None:
            # A request without an origin is not from a page, and no answer may be cached for others (no-store). The
            # middleware would copy its headers, only to add that the answer depends on the origin.
            from_page = any(name == b"origin" for name, _ in scope["headers"])
            await (for_pages if from_page else app)(scope, receive, send)

        return serve
