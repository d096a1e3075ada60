"""`igob scheduler`."""

import signal

from infra.cli.console import DataDir, plain_errors, say, settings_of


def scheduler(*, data_dir: DataDir = None) -> None:
    """Do work that falls due by time, and send webhooks, until stopped. `igob serve` starts this process."""
    import asyncio
    from contextlib import nullcontext

    from api.contexts import load_domain, open_reactions
    from infra.postgres.database import running
    from infra.reactions.scheduler import schedule
    from infra.running.serve import is_part_of_server

    async def work() -> None:
        stopping, loop = asyncio.Event(), asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, stopping.set)
        await schedule(settings, open_reactions=open_reactions, told=stopping)

    load_domain()
    with plain_errors():
        settings = settings_of(data_dir)
        with nullcontext() if is_part_of_server() else running(settings, "igob scheduler", say):
            asyncio.run(work())
