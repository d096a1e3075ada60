"""Figures that a context adds to the page of metrics, from its read models."""

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any, NamedTuple

import msgspec

from projections.engine.query import Query


class Figure(NamedTuple):
    """A gauge of the whole city, as Prometheus names it."""

    name: str
    help: str
    value: float


class Figures(msgspec.Struct, frozen=True):
    """Figures that come of one query: `shown` makes them of its rows, at the moment for which it was asked."""

    query: Callable[[datetime], Query[Any]]
    shown: Callable[[Sequence[Any], datetime], list[Figure]]
