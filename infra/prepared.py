"""Queries that come again and again: each is prepared once a connection, and goes straight through libpq.

A cursor of psycopg costs a query of the read models twice as much CPU as libpq itself: it looks for parameters in the
text, asks the pool for a connection and waits through several layers. Where a statement is fixed and its result has a
known shape, none of that is needed. What does not go well is left to psycopg and its pool: they cancel, close and
connect.
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
from psycopg_pool import AsyncConnectionPool, PoolTimeout

from infra.log import CONNECT_TIMEOUT_S, CONNECTION, NO_ANSWER, READ_TIMEOUT_S, RECONNECT_TIMEOUT_S, Unavailable
from infra.wire import Result, Wire

STATEMENTS_MAX = 100  # prepared on a connection, as psycopg has it
LIFETIME_S = 3_600.0  # of a connection, as the pool has it
CANCEL_TIMEOUT_S = 5.0

_PARAMETER = re.compile(r"%(?:\((\w+)\)s|%)")


class Statement:
    """A statement whose parameters are written `%(name)s`, and each `%` of its own `%%`."""

    def __init__(self, text: str) -> None:
        numbers: dict[str, int] = {}

        def number(found: re.Match[str]) -> str:
            if found[1] is None:
                return "%"
            return f"${numbers.setdefault(found[1], len(numbers) + 1)}"

        self.text = _PARAMETER.sub(number, text).encode()
        self.names = tuple(numbers)
        self.formats = [PyFormat.AUTO] * len(numbers)


class _Line:
    """A connection that asks one statement at a time, each prepared when it is asked for the first time."""

    def __init__(self, connection: psycopg.AsyncConnection[Any]) -> None:
        self.connection = connection
        self.ends_s = time.monotonic() + LIFETIME_S
        self._wire = Wire(connection)
        self._known: dict[tuple[Statement, Sequence[int]], bytes] = {}
        self._names = count()  # no name comes twice: a caller who goes may leave one that is not in `_known`

    async def ask(self, statement: Statement, parameters: Mapping[str, Any]) -> Result:
        """The result in binary format. Raises psycopg.Error, TimeoutError; the connection is closed if it is of no use
        afterwards, also if the caller is cancelled.
        """
        dumped = Transformer(self.connection)
        values = dumped.dump_sequence([parameters[name] for name in statement.names], statement.formats)
        types = dumped.types or ()
        sent = [None if value is None else bytes(value) for value in values]
        try:
            name = self._known.get((statement, types)) or await self._prepare(statement, types)
            return await self._wire.ask(name, sent, formats=dumped.formats, timeout_s=READ_TIMEOUT_S)
        except BaseException as error:
            if not self._wire.idle or isinstance(error, psycopg.OperationalError):
                await self._abandon()
            raise

    async def close(self) -> None:
        await self._wire.close()

    async def _prepare(self, statement: Statement, types: Sequence[int]) -> bytes:
        """Its name. `types` are part of it: psycopg sends a number as the smallest type that has room for it."""
        if len(self._known) >= STATEMENTS_MAX:
            self._known.clear()
            await self._wire.release().execute("DEALLOCATE ALL", prepare=False)
        name = b"q%d" % next(self._names)
        await self._wire.prepare(name, statement.text, types=types, timeout_s=READ_TIMEOUT_S)
        self._known[statement, types] = name
        return name

    async def _abandon(self) -> None:
        """Have the server stop, and close: what it still sends would be taken for the next answer."""
        try:
            if self.connection.pgconn.transaction_status == pq.TransactionStatus.ACTIVE:
                with suppress(psycopg.Error):
                    await self.connection.cancel_safe(timeout=CANCEL_TIMEOUT_S)
        finally:
            await self._wire.close()


class Prepared:
    """A few connections for prepared statements, each with a bounded wait. Open it in the event loop that uses it."""

    def __init__(self, conninfo: str, *, connections_max: int) -> None:
        self._pool = AsyncConnectionPool(
            conninfo,
            min_size=1,
            max_size=connections_max,
            open=False,
            timeout=CONNECT_TIMEOUT_S,
            reconnect_timeout=RECONNECT_TIMEOUT_S,
            kwargs=CONNECTION,
        )
        self._room = asyncio.Semaphore(connections_max)
        self._idle: list[_Line] = []  # leased from the pool, which takes longer to give one for each query

    async def open(self) -> None:
        """Connect. Raises Unavailable."""
        try:
            await self._pool.open(wait=True, timeout=CONNECT_TIMEOUT_S)
        except PoolTimeout as error:
            raise Unavailable(str(error)) from error

    async def close(self) -> None:
        while self._idle:
            line = self._idle.pop()
            await line.close()
            await self._pool.putconn(line.connection)
        await self._pool.close()

    async def ask(self, statement: Statement, parameters: Mapping[str, Any]) -> Result:
        """What a statement gives, in binary format. Raises Unavailable, and psycopg.Error if it is wrong."""
        try:
            # A statement has its own bound; a timer for waiting costs more than most do.
            waits = self._room.locked() or not self._idle
            async with asyncio.timeout(READ_TIMEOUT_S) if waits else nullcontext(), self._room:
                line = self._idle.pop() if self._idle else await self._opened()
                try:
                    return await line.ask(statement, parameters)
                finally:
                    await self._give_back(line)
        except (*NO_ANSWER, PoolTimeout) as error:
            raise Unavailable(str(error)) from error

    async def _opened(self) -> _Line:
        return _Line(await self._pool.getconn())

    async def _give_back(self, line: _Line) -> None:
        if line.connection.closed or self._pool.closed or time.monotonic() > line.ends_s:
            await line.close()
            await self._pool.putconn(line.connection)  # it opens another
        else:
            self._idle.append(line)
