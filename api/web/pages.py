"""The pages for browsers: at `/` the explorer of the schema, and at the endpoint's path a pointer to it.

They need no access to the internet.
"""

from pathlib import Path

from fastapi import FastAPI, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from api.http.limits import headers_of
from api.messages import LANGUAGE_LENGTH_MAX, language_of
from domain.errors import Language
from infra.running.settings import Settings

FILES = {
    "/": ("explorer.html", "text/html; charset=utf-8"),
    "/explorer.css": ("explorer.css", "text/css; charset=utf-8"),
    **{f"/{name}": (name, "text/javascript; charset=utf-8") for name in ("explorer.js", "sketch.js", "texts.js")},
}
HEADERS = {
    # Whatever content a page shows, it runs no foreign script, contacts no other host, and can't be framed.
    "content-security-policy": "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self';"
    " img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cache-control": "no-cache",
}


def add_pages(app: FastAPI, settings: Settings) -> None:
    """Add the pages to the application, if its settings make them useful."""
    if not settings.explorable:
        return
    for path, (name, media) in FILES.items():
        page = Response((Path(__file__).parent / name).read_bytes(), media_type=media, headers=HEADERS)
        app.router.routes.append(Route(path, page, methods=["GET"]))


ENDPOINT_PAGE = """<!doctype html>
<html lang="{language}">
<head>
  <meta charset="utf-8">
  <meta name="viewport" content="width=device-width, initial-scale=1">
  <meta name="color-scheme" content="light dark">
  <title>iGob Core: GraphQL</title>
  <link rel="icon" href="data:,">
</head>
<body>
  <h1>iGob Core</h1>
  <p>{what}</p>{where}
</body>
</html>
"""
WHAT: dict[Language, str] = {
    "es": "Esta es la dirección de la API GraphQL. Los programas envían aquí sus consultas por POST.",
    "en": "This is the address of the GraphQL API. Programs send their queries here by POST.",
}
WHERE: dict[Language, str] = {
    "es": 'Para ver el esquema y probar consultas, abra el <a href="./">explorador</a>.',
    "en": 'To read the schema and try queries, open the <a href="./">explorer</a>.',
}


def endpoint_page(settings: Settings) -> ASGIApp:
    """The page for a browser that opens the endpoint's path. It links to the explorer if there is one."""
    headers = {**HEADERS, "vary": "accept, accept-language"}
    pages: dict[Language, Response] = {}
    for language, what in WHAT.items():
        where = f"\n  <p>{WHERE[language]}</p>" if settings.explorable else ""
        page = ENDPOINT_PAGE.format(language=language, what=what, where=where)
        pages[language] = Response(page, media_type="text/html; charset=utf-8", headers=headers)

    async def serve(scope: Scope, receive: Receive, send: Send) -> None:
        accept_language = headers_of(scope).get(b"accept-language", b"")[:LANGUAGE_LENGTH_MAX]
        await pages[language_of(accept_language)](scope, receive, send)

    return serve
