"""Work that falls due by time, as read models know it."""

from collections.abc import Callable
from datetime import datetime
from typing import Generic, TypeVar

import msgspec

from domain.due import Job
from projections.engine.query import Query

T = TypeVar("T")


class Due(msgspec.Struct, Generic[T], frozen=True):
    """`question(now, first)` returns at most `first` rows that are due now; `job` makes the command for a row.

    The question is repeated, and returns the same rows until the work is done and the read model has caught up.
    """

    question: Callable[[datetime, int], Query[T]]
    job: Callable[[T], Job]
