"""Ending by SIGTERM, for programs that work with a committer."""

import signal
from collections.abc import Coroutine
from typing import Any, TypeVar

TERMINATED = 128 + signal.SIGTERM  # the exit status, as in a shell

R = TypeVar("R")


def run_until_terminated(work: Coroutine[Any, Any, R]) -> R:
    """Run work in a new event loop. SIGTERM cancels it, as SIGINT does in asyncio, and raises SystemExit.

    An exception raised by a signal handler could hit the committer instead, and all would then wait for its end.
    """
    import asyncio  # noqa: PLC0415 (it is slow to import, and the command line needs the status alone)

    former = signal.getsignal(signal.SIGTERM)
    try:
        return asyncio.run(_until_terminated(work))
    finally:
        signal.signal(signal.SIGTERM, former)


async def _until_terminated(work: Coroutine[Any, Any, R]) -> R:
    import asyncio  # noqa: PLC0415

    loop, task = asyncio.get_running_loop(), asyncio.current_task()
    signals: list[bool] = []

    def end() -> None:
        if task and not signals:  # ignore further signals while ending
            task.cancel()
        signals.append(True)

    loop.add_signal_handler(signal.SIGTERM, end)
    try:
        return await work
    except asyncio.CancelledError:
        if signals:
            raise SystemExit(TERMINATED) from None
        raise
    finally:
        loop.remove_signal_handler(signal.SIGTERM)
