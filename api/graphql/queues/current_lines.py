"""Lines as they are now, with their expected waits. Both are cached in this process."""

from collections.abc import Callable
from datetime import datetime
from typing import TypeVar

from api.graphql.context import Context, ProcessService
from domain.identifiers import LINE_NAME, LineId, fits
from domain.queues.line import Line
from domain.queues.line_now import LineNow
from domain.queues.wait_model import WaitModel
from infra.log.core import Core
from infra.reactions.queues.lines import LineCache, WaitModels

T = TypeVar("T")


class CurrentLines(ProcessService):
    """The lines that were asked for recently, and what was learned about their waits."""

    def __init__(self, core: Core, now: Callable[[], datetime]) -> None:
        super().__init__(core, now)
        self.models = WaitModels(core.log, now)
        self._lines = LineCache(core.log)

    def stop(self) -> None:
        self.models.stop()

    async def shown(self, line: LineId, show: Callable[[LineNow], T]) -> T:
        """The result of `show` for a line as it is in the log now, see `LineCache.shown`. Raises Unavailable."""
        if not fits(LINE_NAME, line):
            return show(LineNow(Line(), self._now(), WaitModel()))
        return await self._lines.shown(line, lambda state: show(self.now_of(state)))

    def now_of(self, line: Line) -> LineNow:
        """A line at this moment."""
        # For a line that was never opened there is nothing to learn, so its model is not loaded or kept.
        model = self.models.of(line.opened.line) if line.opened else WaitModel()
        return LineNow(line, self._now(), model)


async def current_line(context: Context, line: LineId, show: Callable[[LineNow], T]) -> T:
    """The result of `show` for a line as it is in the log now. Raises like `Context.state`."""
    async with context.available():
        return await context.services.of(CurrentLines).shown(line, show)
