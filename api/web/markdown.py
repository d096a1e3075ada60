"""Pages of the documentation as HTML."""

import re
from collections.abc import Set as AbstractSet
from html import escape
from itertools import pairwise
from posixpath import dirname, join, normpath

from markdown_it import MarkdownIt
from markdown_it.token import Token

PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title} · iGob Core</title>
<link rel="icon" href="data:,">
<link rel="stylesheet" href="/theme.css">
<link rel="stylesheet" href="/docs.css">
</head>
<body>
<header><nav aria-label="iGob Core"><a href="/">Explorer</a> <a href="/docs/index.md">Documentation</a></nav></header>
<main>
{content}</main>
</body>
</html>
"""
MARKDOWN = MarkdownIt("commonmark", {"html": False}).enable("table")


def page(text: str, path: str, served: AbstractSet[str]) -> str:
    """The HTML page of a document in Markdown. Links lead to documents that are `served`; others become plain text."""
    tokens = MARKDOWN.parse(text)
    title = "iGob Core"
    for token, following in pairwise(tokens):
        if token.type == "heading_open":
            token.attrSet("id", anchor(following.content))
            if token.tag == "h1":
                title = following.content.replace("`", "")
        for child in token.children or ():
            if child.type == "link_open":
                _point(child, path, served)
    content = MARKDOWN.renderer.render(tokens, MARKDOWN.options, {})
    content = content.replace("<table>", '<div class="table" tabindex="0"><table>')
    return PAGE.format(title=escape(title), content=content.replace("</table>", "</table></div>"))


def anchor(heading: str) -> str:
    """The anchor that GitHub gives a heading."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


def _point(link: Token, path: str, served: AbstractSet[str]) -> None:
    target, mark, fragment = str(link.attrGet("href")).partition("#")
    if not target or "://" in target:
        return
    there = normpath(join(dirname(path), target))
    if there in served:
        link.attrSet("href", f"/{there}{mark}{fragment}")
    else:
        del link.attrs["href"]  # an <a> without it is text
