"""JSON from clients means what the standard library says that it means, whichever parser reads it."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.limits import Malformed, _parse_slowly, parse_json

texts = st.text() | st.text(st.characters(categories=["Cs"]), max_size=1)  # half a character too
leaves = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | texts
values = st.recursive(leaves, lambda inner: st.lists(inner) | st.dictionaries(texts, inner), max_leaves=20)


def verdict(parse: Any, text: bytes) -> Any:
    """What a parser makes of it: the value with the types of numbers, or what is wrong."""
    try:
        return repr(parse(text, "body"))
    except Malformed as fault:
        return str(fault)


@given(value=values, compact=st.booleans())
def test_what_is_json_is_read_as_the_standard_library_reads_it(value: Any, compact: bool) -> None:
    text = json.dumps(value, separators=(",", ":") if compact else None).encode()
    assert verdict(parse_json, text) == verdict(_parse_slowly, text) == repr(value)


@given(text=st.binary(max_size=40) | st.text('[]{},:"\\ue+-.0123456789ntfasl \n', max_size=40).map(str.encode))
def test_what_is_none_is_refused_as_the_standard_library_refuses_it(text: bytes) -> None:
    assert verdict(parse_json, text) == verdict(_parse_slowly, text)


@pytest.mark.parametrize(
    "text",
    [b"NaN", b"-Infinity", b"1e400", b"1" * 5_000, b'{"a": 1, "a": 2}', b"18446744073709551616",
     b"-9223372036854775809", b"\xff\xfe1\x00", b"\xef\xbb\xbf1", b'"\\ud800"',
     b'"\xed\xa0\x80"', b"[" * 100_000, b"", b"1 2", b"01", b"1.0"],
)  # fmt: skip
def test_what_parsers_differ_in_elsewhere_is_the_same_here(text: bytes) -> None:
    assert verdict(parse_json, text) == verdict(_parse_slowly, text)
