"""Reactions of lines: notices by the expected wait. Work that a read model knows to be due is in projections/queues."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Protocol

from domain.identifiers import LineId
from infra.postgres.views import Question
from infra.reactions.queues.notices import LineWithWishes, Notices
from infra.reactions.reaction import Jobs, Reaction, Resources


class ReadModels(Protocol):
    """The part of projections/queues that is needed here."""

    def lines_with_wishes(self, after: LineId, first: int, /) -> Question[LineWithWishes]: ...


@asynccontextmanager
async def open_reactions(resources: Resources, read_models: ReadModels) -> AsyncIterator[Sequence[Reaction]]:
    notices = Notices(resources.views, resources.core.log, read_models.lines_with_wishes)
    try:
        yield [Jobs(resources, notices.source)]
    finally:
        notices.stop()
