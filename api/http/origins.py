"""Pages of other origins: which may ask, and the headers that tell browsers so (CORS, by the Fetch standard)."""

import re
from urllib.parse import urlsplit

from starlette.middleware.cors import CORSMiddleware
from starlette.types import ASGIApp, Receive, Scope, Send

from api.http.limits import OWN_NAME
from api.telemetry import CORRELATION, Headers
from infra.running.settings import EVERY_ORIGIN, Settings

ASKED_AGAIN_AFTER_S = 3_600  # for so long a browser remembers that its page may ask
# Beside those that every page may say.
HEADERS_SAID = ("Authorization", "Last-Event-ID", "Traceparent", "Tracestate", CORRELATION.decode())
HEADERS_READ = ("Retry-After", "WWW-Authenticate", CORRELATION.decode())
NONE = r"(?!)"


class Origins:
    """Whose pages are let in, beside those of the very host that is asked. Programs other than browsers have no origin.

    Nobody is known by a cookie, so a page gets what it has a token for, and no more. Without an identity provider only
    this machine is served, so its own pages, on whatever port a front end is being developed, may all ask.
    """

    def __init__(self, settings: Settings) -> None:
        self._listed = settings.origins
        self._local = re.compile(NONE if settings.oidc_issuer else f"https?://{OWN_NAME}")

    def is_foreign(self, headers: Headers) -> bool:
        """Whether a page asks that may not."""
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
            # Whoever has no origin is no page, and nothing that is answered here may be kept for others (no-store): the
            # middleware would copy his headers, to add that the answer hangs on an origin.
            from_page = any(name == b"origin" for name, _ in scope["headers"])
            await (for_pages if from_page else app)(scope, receive, send)

        return serve
