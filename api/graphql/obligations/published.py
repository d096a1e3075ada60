"""What laws, regulations and the Central Bank published, kept in the process: every debt follows from it."""

from collections.abc import Callable
from datetime import datetime
from typing import Any

from api.graphql.context import ProcessService
from api.shared_loads import SharedLoads
from domain.decider import StreamName, fold_of
from infra.log.core import Core
from infra.log.log import Loaded

KEPT_MAX = 1_000  # streams; a year of UFV takes 50 kB
AT_ONCE_MAX = 1_000
Streams = frozenset[StreamName]
States = dict[StreamName, Any]


class Published(ProcessService):
    """The states of streams that change seldom and that many requests read.

    Each question first loads new events, in one statement for all that are asked at the same time. So an answer
    includes everything that was recorded before the question.
    """

    def __init__(self, core: Core, now: Callable[[], datetime]) -> None:
        super().__init__(core, now)
        self._kept: dict[StreamName, Loaded] = {}
        self._loads: SharedLoads[Streams, States] = SharedLoads(self._load, at_once_max=AT_ONCE_MAX)

    async def states(self, streams: Streams) -> States:
        """Their states now. The caller must not change them, and use them before it awaits anything else.

        Raises Unavailable.
        """
        return await self._loads.load(streams)

    async def _load(self, questions: list[Streams]) -> list[States]:
        streams = Streams().union(*questions)
        for name in streams:
            # Most recently used last; the least recently used is dropped.
            known = name in self._kept
            self._kept[name] = self._kept.pop(name) if known else Loaded(version=0, state=fold_of(name).initial())
        asked = {name: self._kept[name] for name in streams}
        while len(self._kept) > KEPT_MAX:
            del self._kept[next(iter(self._kept))]
        await self._core.log.catch_up(asked)
        return [{name: asked[name].state for name in question} for question in questions]
