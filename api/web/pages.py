"""The page at `/`, on which anybody can read the schema and try it out, without access to the internet."""

from pathlib import Path

from fastapi import FastAPI, Response
from starlette.routing import Route

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
