"""`igob scheduler`, and what falls due by time."""

import signal
from typing import TYPE_CHECKING

from infra.cli.console import DataDir, plain_errors, say, settings_of

if TYPE_CHECKING:
    from infra.log.log import Log
    from infra.postgres.views import Views
    from infra.reactions.scheduler import Source


def scheduler(*, data_dir: DataDir = None) -> None:
    """Do what falls due by time, and send webhooks, until told to stop. `igob serve` starts it by itself."""
    import asyncio
    from contextlib import nullcontext

    from infra.postgres.database import running
    from infra.reactions.scheduler import schedule
    from infra.reactions.webhooks import Outbox
    from infra.running.serve import is_part_of_server
    from projections.webhooks.deliveries import due_deliveries, stretch

    async def work() -> None:
        told, loop = asyncio.Event(), asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, told.set)
        await schedule(settings, sources=due_by_time, outbox=Outbox(stretch, due_deliveries), told=told)

    with plain_errors():
        settings = settings_of(data_dir)
        with nullcontext() if is_part_of_server() else running(settings, "igob scheduler", say):
            asyncio.run(work())


def due_by_time(views: "Views", log: "Log") -> list["Source"]:
    """Everything that falls due by time alone: whatever does so from now on is added here."""
    from domain.queues.calling import MarkAbsent
    from domain.queues.opening import CloseLine
    from infra.reactions.scheduler import Job, Wishes, asked
    from projections.queues.due import AbsentTurn, LineToClose, absent_turns, lines_to_close, lines_with_wishes

    def absent(row: AbsentTurn) -> Job:
        # With the time, since who comes back is called anew.
        return Job(MarkAbsent(turn=row.turn), f"absent:{row.turn}:{row.absent_from.isoformat()}")

    def over(row: LineToClose) -> Job:
        return Job(CloseLine(line=row.line), f"close:{row.line}")

    wishes = Wishes(views, log, lines_with_wishes)
    return [asked(views, absent_turns, absent), asked(views, lines_to_close, over), wishes.source]
