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
from contextlib import suppress
from typing import Any

import psycopg
from psycopg import pq
from psycopg.adapt import PyFormat, Transformer
from psycopg.errors import error_from_result
from psycopg_pool import AsyncConnectionPool, PoolTimeout

from infra.log import CONNECT_TIMEOUT_S, CONNECTION, NO_ANSWER, READ_TIMEOUT_S, RECONNECT_TIMEOUT_S, Unavailable

STATEMENTS_MAX = 100  # prepared on a connection, as psycopg has it
LIFETIME_S = 3_600.0  # of a connection, as the pool has it
CANCEL_TIMEOUT_S = 5.0
DONE = (pq.ExecStatus.TUPLES_OK, pq.ExecStatus.COMMAND_OK)

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
    """A connection that asks one prepared statement at a time."""

    def __init__(self, connection: psycopg.AsyncConnection[Any], loop: asyncio.AbstractEventLoop) -> None:
        self.connection = connection
        self.ends_s = time.monotonic() + LIFETIME_S
        self._pg = connection.pgconn
        self._loop = loop
        self._known: dict[tuple[Statement, Sequence[int]], bytes] = {}
        self._answer: asyncio.Future[pq.abc.PGresult] | None = None
        self._result: pq.abc.PGresult | None = None
        self._watched = -1  # the socket, while an answer is waited for

    async def ask(self, statement: Statement, parameters: Mapping[str, Any]) -> pq.abc.PGresult:
        """The result in binary format. Raises psycopg.Error; whoever is cancelled leaves the connection closed."""
        dumped = Transformer(self.connection)
        values = dumped.dump_sequence([parameters[name] for name in statement.names], statement.formats)
        types = dumped.types or ()
        try:
            name = self._known.get((statement, types)) or await self._prepare(statement, types)
            self._pg.send_query_prepared(name, values, dumped.formats, result_format=pq.Format.BINARY)
            return await self._answered()
        except BaseException as error:
            self._look_away()
            if self._pg.transaction_status == pq.TransactionStatus.ACTIVE:
                await self._abandon()
            elif isinstance(error, psycopg.OperationalError):  # the server may be about to close it
                self._pg.finish()
            raise

    async def _prepare(self, statement: Statement, types: Sequence[int]) -> bytes:
        """Its name. `types` are part of it: psycopg sends a number as the smallest type that has room for it."""
        if len(self._known) >= STATEMENTS_MAX:
            self._known.clear()
            self._pg.send_query(b"DEALLOCATE ALL")
            await self._answered()
        name = b"q%d" % len(self._known)
        self._pg.send_prepare(name, statement.text, types)
        await self._answered()
        self._known[statement, types] = name
        return name

    def _answered(self) -> "asyncio.Future[pq.abc.PGresult]":
        """The result of what was sent."""
        loop = self._loop
        self._result, self._answer = None, loop.create_future()
        self._watched = self._pg.socket
        loop.add_reader(self._watched, self._readable)
        if self._pg.flush():
            loop.add_writer(self._watched, self._writable)
        return self._answer

    def _writable(self) -> None:
        try:
            if not self._pg.flush():
                self._loop.remove_writer(self._watched)
        except psycopg.Error as error:
            self._end(error)

    def _readable(self) -> None:
        try:
            self._pg.consume_input()
            while not self._pg.is_busy():
                result = self._pg.get_result()
                if result is None:
                    self._end(None)
                    return
                self._result = result
        except psycopg.Error as error:
            self._end(error)

    def _end(self, error: psycopg.Error | None) -> None:
        self._look_away()
        answer, result = self._answer, self._result
        self._answer = self._result = None
        if answer is None or answer.done():
            return
        if error is None and result is not None and result.status in DONE:
            answer.set_result(result)
        elif error is None and result is not None:
            answer.set_exception(error_from_result(result))
        else:
            answer.set_exception(error or psycopg.OperationalError("the connection gave no result"))

    def _look_away(self) -> None:
        """The number is kept here: libpq may have closed the socket, and the next one may get the same number."""
        if self._watched >= 0:
            self._loop.remove_reader(self._watched)
            self._loop.remove_writer(self._watched)
            self._watched = -1

    async def _abandon(self) -> None:
        """Have the server stop, and close: what it still sends would be taken for the next answer."""
        try:
            with suppress(psycopg.Error):
                await self.connection.cancel_safe(timeout=CANCEL_TIMEOUT_S)
        finally:
            self._pg.finish()


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
            await self._pool.putconn(self._idle.pop().connection)
        await self._pool.close()

    async def ask(self, statement: Statement, parameters: Mapping[str, Any]) -> pq.abc.PGresult:
        """What a statement gives, in binary format. Raises Unavailable, and psycopg.Error if it is wrong."""
        try:
            async with asyncio.timeout(READ_TIMEOUT_S), self._room:
                line = self._idle.pop() if self._idle else await self._opened()
                try:
                    return await line.ask(statement, parameters)
                finally:
                    await self._give_back(line)
        except (*NO_ANSWER, PoolTimeout) as error:
            raise Unavailable(str(error)) from error

    async def _opened(self) -> _Line:
        return _Line(await self._pool.getconn(), asyncio.get_running_loop())

    async def _give_back(self, line: _Line) -> None:
        if line.connection.closed or self._pool.closed or time.monotonic() > line.ends_s:
            line.connection.pgconn.finish()
            await self._pool.putconn(line.connection)  # it opens another
        else:
            self._idle.append(line)
