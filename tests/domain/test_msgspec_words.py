"""Parsing msgspec's error messages: a test fails if the library changes them."""

from typing import Annotated, Any, Literal

import msgspec
import pytest

from domain.identifiers import SLUG
from domain.msgspec_words import refusal_of


class Item(msgspec.Struct, forbid_unknown_fields=True):
    name: Annotated[str, SLUG]


class Form(msgspec.Struct, forbid_unknown_fields=True):
    count: Annotated[int, msgspec.Meta(ge=1, le=9)] = 1
    share: Annotated[float, msgspec.Meta(gt=0)] = 1.0
    text: Annotated[str, msgspec.Meta(min_length=2)] = "ab"
    items: Annotated[list[Item], msgspec.Meta(max_length=2)] = []
    quotas: dict[Literal["WEB"], int] = {}
    letters: Annotated[str, msgspec.Meta(pattern="^[a-z]+$")] = "a"


@pytest.mark.parametrize(
    ("fields", "sentence", "path", "details"),
    [
        ({"items": [{}]}, "Object missing required field `name`", "items.0.name", {"hint": "type"}),
        ({"lamp": 1}, "Object contains unknown field `lamp`", "lamp", {"hint": "type"}),
        (
            {"items": [{"name": 1}]},
            "Expected `str`, got `int` - at `$.items[0].name`",
            "items.0.name",
            {"hint": "type"},
        ),
        ({"items": [{"name": "Ñ"}]}, "Expected `str` matching regex", "items.0.name", {"hint": "slug"}),
        ({"letters": "1"}, "Expected `str` matching regex '^[a-z]+$'", "letters", {"hint": "type"}),
        ({"count": 10}, "Expected `int` <= 9", "count", {"hint": "number", "bound": "<= 9"}),
        ({"count": 0}, "Expected `int` >= 1", "count", {"hint": "number", "bound": ">= 1"}),
        ({"share": 0.0}, "Expected `float` > 0.0", "share", {"hint": "number", "bound": "> 0.0"}),
        ({"text": "a"}, "Expected `str` of length >= 2", "text", {"hint": "length", "bound": ">= 2"}),
        ({"items": [1, 2, 3]}, "Expected `array` of length <= 2", "items", {"hint": "length", "bound": "<= 2"}),
        ({"quotas": {"FAX": 1}}, "Invalid enum value 'FAX' - at `key` in `$.quotas`", "quotas", {"hint": "type"}),
        ({"quotas": {"WEB": "x"}}, "Expected `int`, got `str` - at `$.quotas[...]`", "quotas", {"hint": "type"}),
    ],
)
def test_a_sentence_becomes_a_refusal(fields: Any, sentence: str, path: str, details: dict[str, str]) -> None:
    with pytest.raises(msgspec.ValidationError) as wrong:
        msgspec.convert(fields, Form)
    assert str(wrong.value).startswith(sentence)
    refusal = refusal_of(wrong.value)
    assert (refusal.path, refusal.details) == (path, details)
