"""The scheduler. `igob serve` starts this module instead of a subcommand: the command line is slow to import."""

import asyncio
import signal

from api.contexts import load_domain, open_reactions
from infra.cli.messages import plain_errors
from infra.reactions.scheduler import schedule
from infra.running.settings import Settings, from_environment


def keep_schedule(settings: Settings) -> None:
    """Do what is due until SIGTERM or SIGINT, or `igob serve` is gone. The database must run."""
    load_domain()
    asyncio.run(_scheduling(settings))


async def _scheduling(settings: Settings) -> None:
    stopping, loop = asyncio.Event(), asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopping.set)
    await schedule(settings, open_reactions=open_reactions, stopping=stopping)


def main() -> None:
    """Entry point of the process."""
    with plain_errors():
        keep_schedule(from_environment())
