"""What WebSockets and event streams share: the number of open connections, the end of tokens, and timeouts."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Generator, Iterator
from contextlib import contextmanager
from functools import partial
from types import CoroutineType, coroutine
from typing import Any

from api.graphql.context import Context
from api.http.timers import SharedTimers, Timer

CONNECTIONS_MAX = 2_000  # in this process
SEND_TIMEOUT_S = 10  # a client that does not read for this long is disconnected
CLOSE_TIMEOUT_S = 1
PING_EVERY_S = 30
TOKEN_CHECKED_EVERY_S = 10.0

SLOW_READER = "you do not read what you are sent"


class Places:
    """Limits the number of open connections, of both kinds together."""

    def __init__(self) -> None:
        self.taken = 0
        self.timers = SharedTimers()  # of all open connections

    @property
    def full(self) -> bool:
        return self.taken >= CONNECTIONS_MAX

    @contextmanager
    def take(self) -> Iterator[None]:
        """Take one place until the block ends."""
        self.taken += 1
        try:
            yield
        finally:
            self.taken -= 1


def when_token_ends(context: Context, timers: SharedTimers, act: Callable[[], None]) -> Timer | None:
    """Call `act` once the client's token is no longer valid; None if the client has no token."""
    if not context.actor.subject:
        return None

    def look() -> float | None:
        if context.services.identities.still_good(context.actor):
            return TOKEN_CHECKED_EVERY_S
        act()
        return None

    again_s = look()
    return None if again_s is None else timers.start(look, after_s=again_s)


async def with_timeout(timeout_s: float, sending: Awaitable[None]) -> None:
    """Wait for a send. Raises TimeoutError after `timeout_s`.

    Nearly every send completes at once, and sets no timer then.
    """
    if not isinstance(sending, CoroutineType):
        async with asyncio.timeout(timeout_s):
            await sending
        return
    try:
        waits_for = sending.send(None)
    except StopIteration:
        return
    async with asyncio.timeout(timeout_s):
        await _resume(sending, waits_for)


@coroutine
def _resume(begun: Coroutine[Any, Any, None], waits_for: Any) -> Generator[Any, Any, None]:
    """Resume a started coroutine that is suspended on `waits_for`."""
    while True:
        try:
            sent = yield waits_for
        except BaseException as error:  # such as a timeout or a cancellation: pass it to the coroutine
            step = partial(begun.throw, error)
        else:
            step = partial(begun.send, sent)
        try:
            waits_for = step()
        except StopIteration:
            return
