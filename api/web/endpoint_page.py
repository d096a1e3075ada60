"""The page for a browser that opens the endpoint's path: a pointer to the explorer."""

from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from api.http.limits import headers_of
from api.messages import LANGUAGE_LENGTH_MAX, language_of
from api.web.pages import HEADERS, HTML
from domain.errors import Language
from infra.running.settings import Settings

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
        pages[language] = Response(page, media_type=HTML, headers=headers)

    async def serve(scope: Scope, receive: Receive, send: Send) -> None:
        accept_language = headers_of(scope).get(b"accept-language", b"")[:LANGUAGE_LENGTH_MAX]
        await pages[language_of(accept_language)](scope, receive, send)

    return serve
