"""JSON from clients is read as the standard library reads it, whichever parser does it."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.http.limits import Malformed, _parse_with_json, parse_json

texts = st.text() | st.text(st.characters(categories=["Cs"]), max_size=1)  # unpaired surrogates too
leaves = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | texts
values = st.recursive(leaves, lambda inner: st.lists(inner) | st.dictionaries(texts, inner), max_leaves=20)


def verdict(parse: Any, text: bytes) -> Any:
    """A parser's result: the value with the types of its numbers, or the error."""
    try:
        return repr(parse(text, "body"))
    except Malformed as fault:
        return str(fault)


@given(value=values, compact=st.booleans())
def test_valid_json_is_read_as_by_the_standard_library(value: Any, compact: bool) -> None:
    text = json.dumps(value, separators=(",", ":") if compact else None).encode()
    assert verdict(parse_json, text) == verdict(_parse_with_json, text) == repr(value)


@given(text=st.binary(max_size=40) | st.text('[]{},:"\\ue+-.0123456789ntfasl \n', max_size=40).map(str.encode))
def test_invalid_json_is_refused_as_by_the_standard_library(text: bytes) -> None:
    assert verdict(parse_json, text) == verdict(_parse_with_json, text)


@pytest.mark.parametrize(
    "text",
    [b"NaN", b"-Infinity", b"1e400", b"1" * 5_000, b'{"a": 1, "a": 2}', b"18446744073709551616",
     b"-9223372036854775809", b"\xff\xfe1\x00", b"\xef\xbb\xbf1", b'"\\ud800"',
     b'"\xed\xa0\x80"', b"[" * 100_000, b"", b"1 2", b"01", b"1.0"],
)  # fmt: skip
def test_known_differences_between_parsers_are_removed(text: bytes) -> None:
    assert verdict(parse_json, text) == verdict(_parse_with_json, text)
