"""The schema's descriptions in Spanish: a gettext catalogue, in which the English text is the key.

The English stands at the fields. `make docs` writes the catalogue anew: it adds texts that are new, removes those that
no description has any more, and keeps translations. `make check` fails while a text has no translation.
"""

from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from functools import cache
from pathlib import Path
from typing import Any

import polib
from graphql import GraphQLSchema

from api.graphql.engine.introspection import Translations

CATALOGUE = Path(__file__).parent / "descriptions.es.po"
LINE_LENGTH = 118
SIMILAR = 0.7  # how much of a text must be as before for its translation to be worth correcting


def in_spanish(text: str) -> str:
    """A description in Spanish; in English if the catalogue lacks it."""
    return _translations().get(text, text)


TRANSLATIONS: Translations = {"es": in_spanish}


@cache
def _translations() -> Mapping[str, str]:
    return {entry.msgid: entry.msgstr for entry in read() if entry.translated()}


def read() -> polib.POFile:
    """The catalogue as it is stored."""
    return polib.pofile(str(CATALOGUE), encoding="utf-8", wrapwidth=LINE_LENGTH)


def updated(catalogue: polib.POFile, texts: Mapping[str, str]) -> polib.POFile:
    """The catalogue for these texts, each with the place of its first use, in their order.

    A text that is new but similar to a removed one gets its translation, marked as fuzzy until somebody corrects it.
    """
    known = {entry.msgid: entry for entry in catalogue if entry.msgstr and not entry.obsolete}
    removed = {text: entry for text, entry in known.items() if text not in texts}
    new = polib.POFile(encoding="utf-8", wrapwidth=LINE_LENGTH)
    new.header, new.metadata = catalogue.header, catalogue.metadata
    for text, place in texts.items():
        entry = polib.POEntry(msgid=text, comment=place)
        before = known.get(text)
        if before:
            entry.flags, entry.previous_msgid = before.flags, before.previous_msgid
        elif similar := get_close_matches(text, removed, n=1, cutoff=SIMILAR):
            before = removed[similar[0]]
            entry.flags, entry.previous_msgid = ["fuzzy"], before.previous_msgid or before.msgid
        entry.msgstr = before.msgstr if before else ""
        new.append(entry)
    return new


def untranslated(catalogue: polib.POFile) -> list[str]:
    """The places of texts that have no translation, or one that must be corrected."""
    return [f"{entry.comment}: {entry.msgid}" for entry in catalogue if not entry.translated()]


def descriptions(schema: GraphQLSchema) -> dict[str, str]:
    """All descriptions and deprecation reasons of a schema, each with the coordinate of the first element with it."""
    found: dict[str, str] = {}
    for place, element in _elements(schema):
        for text in (element.description, getattr(element, "deprecation_reason", None)):
            if text:
                found.setdefault(text, place)
    return found


def _elements(schema: GraphQLSchema) -> Iterator[tuple[str, Any]]:
    """Everything in a schema that can have a description, by its schema coordinate."""
    for name, kind in sorted(schema.type_map.items()):
        yield name, kind
        for value, element in getattr(kind, "values", {}).items():
            yield f"{name}.{value}", element
        for field, element in getattr(kind, "fields", {}).items():
            yield f"{name}.{field}", element
            for argument, one in getattr(element, "args", {}).items():
                yield f"{name}.{field}({argument}:)", one
    for directive in schema.directives:
        yield f"@{directive.name}", directive
        for argument, one in directive.args.items():
            yield f"@{directive.name}({argument}:)", one
