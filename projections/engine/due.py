"""What a read model knows to fall due by time."""

from collections.abc import Callable
from datetime import datetime
from typing import Generic, TypeVar

import msgspec

from domain.due import Job
from projections.engine.query import Query

T = TypeVar("T")


class Due(msgspec.Struct, Generic[T], frozen=True):
    """`question(now, first)` finds at most `first` rows that are due by now, `job` what is to be done about one.

    It may be asked again and again, and gives the same rows until that is done and the read model has it.
    """

    question: Callable[[datetime, int], Query[T]]
    job: Callable[[T], Job]
