"""A query of read models, independent of any connection."""

from collections.abc import Mapping
from typing import Any, Generic, TypeVar

import msgspec

T = TypeVar("T")


class Query(msgspec.Struct, Generic[T], frozen=True):
    """`select` is SQL, with tables as {name} and parameters as %(name)s. Its rows become `row` by column names.

    `projections` are the ones that it reads.
    """

    projections: tuple[str, ...]
    select: str
    parameters: Mapping[str, Any]
    row: type[T]
