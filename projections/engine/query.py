"""A question to read models, to be asked by whoever has a connection."""

from collections.abc import Mapping
from typing import Any, Generic, TypeVar

import msgspec

T = TypeVar("T")


class Query(msgspec.Struct, Generic[T], frozen=True):
    """`select` gives rows that become `row` by their columns' names; its tables are {named}, its parameters %(so)s.

    `projections` are those that it reads.
    """

    projections: tuple[str, ...]
    select: str
    parameters: Mapping[str, Any]
    row: type[T]
