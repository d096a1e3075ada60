"""For processes that `igob serve` starts: whether it still runs, and what to do when they are stopped."""

import asyncio
import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

PARENT_POLL_S = 0.25
SERVED_BY = "IGOB_SERVED_BY"  # process id of `igob serve`, for its parts


def is_part_of_server() -> bool:
    """Whether `igob serve` started this process, and runs the database."""
    return SERVED_BY in os.environ


def server_is_gone() -> bool:
    """In a process that `igob serve` started: whether `igob serve` ended without stopping it."""
    return is_part_of_server() and os.getppid() != int(os.environ[SERVED_BY])


async def end_with_server() -> None:
    """In a worker: stop when `igob serve` is gone, so that port and database become free."""
    while is_part_of_server():
        if server_is_gone():
            os.kill(os.getpid(), signal.SIGTERM)
            return
        await asyncio.sleep(PARENT_POLL_S)


@contextmanager
def when_told_to_stop(act: Callable[[], None]) -> Iterator[None]:
    """During the block, call `act` in the event loop as soon as a signal to stop comes, then the usual handler.

    Servers wait for open answers before they end the application, and some answers end only with the application.
    """
    loop = asyncio.get_running_loop()
    former: dict[int, Callable[[int, FrameType | None], Any]] = {}

    def handle(number: int, frame: FrameType | None) -> None:
        loop.call_soon_threadsafe(act)
        former[number](number, frame)

    for number in (signal.SIGINT, signal.SIGTERM):
        found = signal.getsignal(number)
        if callable(found) and threading.current_thread() is threading.main_thread():
            former[number] = found
            signal.signal(number, handle)
    try:
        yield
    finally:
        for known, before in former.items():
            signal.signal(known, before)
