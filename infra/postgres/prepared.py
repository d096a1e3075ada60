"""A connection pool for repeated queries: each is prepared once per connection and executed through libpq.

A query of the read models takes twice as much CPU time through a psycopg cursor, which parses the text for parameters,
takes a connection from the pool and awaits several layers. A fixed statement with a known result needs none of that.
psycopg and its pool still connect, cancel and close.
"""

import asyncio
import re
import time
from collections.abc import Mapping, Sequence
from contextlib import nullcontext, suppress
from itertools import count
from typing import Any

import psycopg
from psycopg import pq
from psycopg.adapt import PyFormat, Transformer
from psycopg_pool import PoolTimeout

from infra.postgres.connections import NO_ANSWER, READ_TIMEOUT_S, Unavailable, new_pool, open_pool, take
from infra.postgres.libpq import LibpqConnection, Result

STATEMENTS_MAX = 100  # prepared per connection, as in psycopg
LIFETIME_S = 3_600.0  # of a connection, as in psycopg_pool
CANCEL_TIMEOUT_S = 5.0

_PARAMETER = re.compile(r"%(?:\((\w+)\)s|%)")


class Statement:
    """A statement with parameters written as `%(name)s`. A literal `%` is written `%%`."""

    def __init__(self, text: str) -> None:
        numbers: dict[str, int] = {}

        def number(found: re.Match[str]) -> str:
            if found[1] is None:
                return "%"
            return f"${numbers.setdefault(found[1], len(numbers) + 1)}"

        self.text = _PARAMETER.sub(number, text).encode()
        self.names = tuple(numbers)
        self.formats = [PyFormat.AUTO] * len(numbers)


class _PooledConnection:
    """A connection that executes one statement at a time, and prepares each at its first execution."""

    def __init__(self, connection: psycopg.AsyncConnection[Any]) -> None:
        self.connection = connection
        self.ends_s = time.monotonic() + LIFETIME_S
        self._libpq = LibpqConnection(connection)
        self._names: dict[tuple[Statement, Sequence[int]], bytes] = {}
        self._numbers = count()  # a cancelled caller may leave a prepared name that is not in `_names`

    async def execute(self, statement: Statement, parameters: Mapping[str, Any]) -> Result:
        """The result in binary format. Raises psycopg.Error, TimeoutError.

        Closes the connection if it can't be used again, also when the caller is cancelled.
        """
        dumped = Transformer(self.connection)
        values = dumped.dump_sequence([parameters[name] for name in statement.names], statement.formats)
        types = dumped.types or ()
        sent = [None if value is None else bytes(value) for value in values]
        try:
            name = self._names.get((statement, types)) or await self._prepare(statement, types)
            return await self._libpq.execute(name, sent, formats=dumped.formats, timeout_s=READ_TIMEOUT_S)
        except BaseException as error:
            if not self._libpq.idle or isinstance(error, psycopg.OperationalError):
                await self._abandon()
            raise

    @property
    def usable(self) -> bool:
        """Whether a statement can be sent; not if the server has ended the connection."""
        return self._libpq.idle

    async def close(self) -> None:
        await self._libpq.close()

    async def _prepare(self, statement: Statement, types: Sequence[int]) -> bytes:
        """Prepare the statement and return its name. psycopg sends a number as the smallest type that fits, so the same
        statement may be prepared with several `types`.
        """
        if len(self._names) >= STATEMENTS_MAX:
            self._names.clear()
            await self._libpq.release().execute("DEALLOCATE ALL", prepare=False)
        name = b"q%d" % next(self._numbers)
        await self._libpq.prepare(name, statement.text, types=types, timeout_s=READ_TIMEOUT_S)
        self._names[statement, types] = name
        return name

    async def _abandon(self) -> None:
        """Cancel the statement and close: a late result would be taken for the next statement's."""
        try:
            if self.connection.pgconn.transaction_status == pq.TransactionStatus.ACTIVE:
                with suppress(psycopg.Error):
                    await self.connection.cancel_safe(timeout=CANCEL_TIMEOUT_S)
        finally:
            await self._libpq.close()


class PreparedPool:
    """A pool of connections for prepared statements. Open it in the event loop that uses it."""

    def __init__(self, conninfo: str, *, connections_max: int) -> None:
        self._pool = new_pool(conninfo, connections_max=connections_max)
        self._room = asyncio.Semaphore(connections_max)
        self._idle: list[_PooledConnection] = []  # kept out of psycopg's pool, which is slower per query

    async def open(self) -> None:
        """Connect. Raises Unavailable."""
        await open_pool(self._pool)

    async def close(self) -> None:
        while self._idle:
            pooled = self._idle.pop()
            await pooled.close()
            await self._pool.putconn(pooled.connection)
        await self._pool.close()

    async def execute(self, statement: Statement, parameters: Mapping[str, Any]) -> Result:
        """The result in binary format. Raises Unavailable; psycopg.Error if the statement fails."""
        try:
            # Each statement has its own timeout. Set a timer only if this has to wait for a connection.
            waits = self._room.locked() or not self._idle
            async with asyncio.timeout(READ_TIMEOUT_S) if waits else nullcontext(), self._room:
                pooled = await self._idle_or_opened()
                try:
                    return await pooled.execute(statement, parameters)
                finally:
                    await self._give_back(pooled)
        except (*NO_ANSWER, PoolTimeout) as error:
            raise Unavailable(str(error)) from error

    async def _idle_or_opened(self) -> _PooledConnection:
        while self._idle:
            pooled = self._idle.pop()
            if pooled.usable:
                return pooled
            await self._give_back(pooled)
        return _PooledConnection(await take(self._pool))

    async def _give_back(self, pooled: _PooledConnection) -> None:
        if not pooled.usable or self._pool.closed or time.monotonic() > pooled.ends_s:
            await pooled.close()
            await self._pool.putconn(pooled.connection)  # the pool opens another
        else:
            self._idle.append(pooled)
