"""The pages for people: the explorer at `/`, the schema and the documentation. They need no access to the internet."""

from functools import cache
from pathlib import Path

from fastapi import FastAPI
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from infra.running.settings import Settings
from infra.version import VERSION

WEB = Path(__file__).parent
ROOT = WEB.parents[1]
HTML, CSS, SCRIPT, TEXT = (f"text/{name}; charset=utf-8" for name in ("html", "css", "javascript", "plain"))
SCRIPTS = ("dom", "editor", "errors", "explorer", "request", "response", "schema", "sketch", "texts")
FILES = {
    "/": ("explorer.html", HTML),
    **{f"/{name}.css": (f"{name}.css", CSS) for name in ("theme", "explorer", "docs")},
    **{f"/{name}.js": (f"{name}.js", SCRIPT) for name in SCRIPTS},
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
        text = (WEB / name).read_text(encoding="utf-8").replace("{{version}}", VERSION)
        app.router.routes.append(Route(path, Response(text, media_type=media, headers=HEADERS), methods=["GET"]))
    app.router.routes.append(Route("/schema.graphql", _schema, methods=["GET"]))
    app.router.routes.append(Route("/docs/{rest:path}", _documentation, methods=["GET"]))
    app.router.routes.append(Route("/{name}.md", _documentation, methods=["GET"]))


@cache
def documents() -> frozenset[str]:
    """The paths of the documents that are served, from the root of the repository: README.md, docs/api.md."""
    found = [
        *ROOT.glob("*.md"),
        *(path for kind in ("md", "graphql", "txt") for path in (ROOT / "docs").rglob(f"*.{kind}")),
    ]
    return frozenset(path.relative_to(ROOT).as_posix() for path in found)


# These two are no coroutines, so that Starlette runs them in a thread: each takes some milliseconds the first time.
def _schema(_: Request) -> Response:
    return Response(_schema_text(), media_type=TEXT, headers=HEADERS)


def _documentation(request: Request) -> Response:
    text, media = _document(request.url.path.removeprefix("/"))
    return Response(text, media_type=media, headers=HEADERS)


@cache
def _schema_text() -> str:
    from api.graphql.schema import schema  # noqa: PLC0415 (the application has it; other users of this module do not)

    return schema.as_str() + "\n"


@cache
def _document(path: str) -> tuple[str, str]:
    """The document as it is served, and its media type. Raises HTTPException if there is none."""
    if path not in documents():
        raise HTTPException(404)
    text = (ROOT / path).read_text(encoding="utf-8")
    if not path.endswith(".md"):
        return text, TEXT
    from api.web.markdown import page  # noqa: PLC0415 (most servers show no documentation)

    return page(text, path, documents()), HTML
