"""Translates msgspec's validation errors into InvalidInput.

msgspec reports errors as English sentences only. They are parsed in this module and nowhere else.
tests/domain/test_msgspec_words.py fails when their wording changes.
"""

import re

import msgspec

from domain.errors import InvalidInput, LengthHint, NumberHint, WrongTypeHint
from domain.identifiers import HINTS

_WHERE = re.compile(r" - at (?:`key` in )?`\$(?P<path>[^`]*)`$")
_FIELD = re.compile(r"(?:missing required|unknown) field `(?P<field>\w+)`")
_PATTERN = re.compile(r"matching regex (?P<regex>'.*')$")
_LENGTH = re.compile(r"^Expected `\w+` of length (?P<bound>.+)$")
_NUMBER = re.compile(r"^Expected `(?:int|float)` (?P<bound>[<>]=? .+)$")


def refusal_of(error: msgspec.ValidationError) -> InvalidInput:
    """The refusal that names the wrong field and describes a valid value."""
    text = str(error)
    where = _WHERE.search(text)
    what = text[: where.start()] if where else text
    steps = re.findall(r"\w+", where["path"]) if where else []
    field = _FIELD.search(what)
    path = ".".join([*steps, field["field"]] if field else steps)
    for rule, hint in ((_LENGTH, LengthHint), (_NUMBER, NumberHint)):
        broken = rule.search(what)
        if broken:
            return InvalidInput(path=path, hint=hint(bound=broken["bound"]))
    form = _PATTERN.search(what)
    hints = (hint for regex, hint in HINTS.items() if form and repr(regex) == form["regex"])
    return InvalidInput(path=path, hint=next(hints, WrongTypeHint()))
