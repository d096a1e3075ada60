"""Figures from read models that a context adds to the page of metrics."""

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any, NamedTuple

import msgspec

from projections.engine.query import Query


class Figure(NamedTuple):
    """A Prometheus gauge for the whole city."""

    name: str
    help: str
    value: float


class Figures(msgspec.Struct, frozen=True):
    """Figures from one query: `shown` makes them from its rows and the moment of the query."""

    query: Callable[[datetime], Query[Any]]
    shown: Callable[[Sequence[Any], datetime], list[Figure]]
