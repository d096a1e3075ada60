"""A connection for statements that come again and again: prepared once, one at a time, straight through libpq.

psycopg's own way makes a coroutine, a cursor and a transformer for each statement. Here a statement costs one future
and two callbacks of the event loop, which may be asyncio's or uvloop's.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Any

import psycopg
from psycopg import pq
from psycopg.errors import error_from_result

DONE = (pq.ExecStatus.TUPLES_OK, pq.ExecStatus.COMMAND_OK)

Result = pq.abc.PGresult
Done = Callable[[Result | Exception], None]


class Wire:
    """Executes prepared statements on a psycopg connection. Make it in the event loop that uses it.

    Between statements the connection may be used in psycopg's own way as well, see `release`.
    """

    def __init__(self, connection: "psycopg.AsyncConnection[Any]") -> None:
        self.broken = False  # nothing more can be sent; whether what was in flight was done is not known
        self._connection = connection
        self._pg = connection.pgconn
        self._fd = self._pg.socket
        self._loop = asyncio.get_running_loop()
        self._watching = False  # of the socket; it stays so between statements, which is cheaper
        self._flushing = False  # a part of the statement waits for room in the socket
        self._done: Done | None = None  # of the statement in flight
        self._result: Result | None = None
        self._deadline_s = 0.0
        self._timer: asyncio.TimerHandle | None = None

    @property
    def idle(self) -> bool:
        """Whether a statement can be sent now."""
        return self._done is None and not self.broken and self._pg.status == pq.ConnStatus.OK

    def prepare(
        self, name: bytes, statement: bytes, *, types: Sequence[int] = (), timeout_s: float
    ) -> "asyncio.Future[Result]":
        """Prepare a statement with parameters $1, $2, … under a name of this connection. Raises like `ask`.

        `types` are the oids of the parameters' types; the server finds out those that are 0 or missing.
        """
        self._refuse_unless_idle()
        try:
            self._pg.send_prepare(name, statement, types)
        except psycopg.Error as error:
            self._break(error)
            raise
        answer = self._loop.create_future()
        self._sent(timeout_s, partial(_settle, answer))
        return answer

    def ask(
        self,
        name: bytes,
        parameters: Sequence[bytes | None],
        *,
        formats: Sequence[pq.Format] | None = None,
        timeout_s: float,
    ) -> "asyncio.Future[Result]":
        """Execute a prepared statement, as `send` does; the future gives the result, or raises the error.

        If the future is cancelled, the statement still runs to its end, and the wire is idle again only then.
        """
        answer = self._loop.create_future()
        self.send(name, parameters, timeout_s, partial(_settle, answer), formats)
        return answer

    def send(
        self,
        name: bytes,
        parameters: Sequence[bytes | None],
        timeout_s: float,
        done: Done,
        formats: Sequence[pq.Format] | None = None,
    ) -> None:
        """Execute a prepared statement. Columns of the result are in PostgreSQL's binary form, and so are parameters
        unless their `formats` are given.

        `done` gets the result or the error, at once and in the event loop: it must not raise. The error is a
        psycopg.Error, or TimeoutError after so long: the wire is broken then. Raises psycopg.Error if nothing was sent.
        """
        self._refuse_unless_idle()
        try:
            # As text, a parameter would end at its first zero byte; in binary form the server refuses that byte.
            self._pg.send_query_prepared(
                name, parameters, formats or [pq.Format.BINARY] * len(parameters), pq.Format.BINARY
            )
        except psycopg.Error as error:
            self._break(error)
            raise
        self._sent(timeout_s, done)

    def release(self) -> "psycopg.AsyncConnection[Any]":
        """The connection, to be used in psycopg's own way until the next statement is sent here."""
        self._refuse_unless_idle()
        self._unwatch()
        return self._connection

    async def close(self) -> None:
        """Close the connection. What is in flight fails here; the server may still do it."""
        self._break(psycopg.OperationalError("the connection was closed"))
        await self._connection.close()

    def _refuse_unless_idle(self) -> None:
        if not self.idle:
            raise psycopg.InterfaceError("the wire is broken, or a statement is in flight")

    def _sent(self, timeout_s: float, done: Done) -> None:
        self._done, self._result = done, None
        if not self._watching:
            self._loop.add_reader(self._fd, self._read)
            self._watching = True
        self._flush()
        self._deadline_s = self._loop.time() + timeout_s
        if self._done is not None and (self._timer is None or self._timer.when() > self._deadline_s):
            self._set_timer()

    def _flush(self) -> None:
        """Hand the kernel what it takes; the rest when there is room again."""
        try:
            waits = self._pg.flush() == 1
        except psycopg.Error as error:
            self._break(error)
            return
        if waits and not self._flushing:
            self._loop.add_writer(self._fd, self._flush)
        elif self._flushing and not waits:
            self._loop.remove_writer(self._fd)
        self._flushing = waits

    def _read(self) -> None:
        pg = self._pg
        try:
            pg.consume_input()
            if self._flushing:  # the server may have waited for us to read before it reads on
                self._flush()
            while self._done is not None and not pg.is_busy():
                result = pg.get_result()
                if result is None:
                    self._end()
                else:
                    self._result = result
        except psycopg.Error as error:  # also when the server ends while nothing is in flight
            self._break(error)

    def _end(self) -> None:
        """The server is ready for the next statement."""
        result, done = self._result, self._done
        if self._pg.status != pq.ConnStatus.OK or result is None or done is None:
            self._break(psycopg.OperationalError(self._pg.get_error_message() or "the connection broke"))
            return
        self._done = self._result = None
        done(result if result.status in DONE else error_from_result(result))

    def _break(self, error: Exception) -> None:
        self.broken = True
        self._unwatch()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        done, self._done, self._result = self._done, None, None
        if done is not None:
            done(error)

    def _unwatch(self) -> None:
        """Watch the socket no more: psycopg is to use it, or it is about to be closed."""
        if self._watching:
            self._loop.remove_reader(self._fd)
            self._watching = False
        if self._flushing:
            self._loop.remove_writer(self._fd)
            self._flushing = False

    def _set_timer(self) -> None:
        """One timer outlives many statements: to set and cancel one for each would cost as much as sending it."""
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._loop.call_at(self._deadline_s, self._look_at_deadline)

    def _look_at_deadline(self) -> None:
        self._timer = None
        if self._done is None:
            return
        if self._loop.time() < self._deadline_s:
            self._set_timer()
        else:
            self._break(TimeoutError("the database did not answer in time"))


class SingleStatement:
    """A connection for one prepared statement, opened when it is asked first and again after it broke."""

    def __init__(self, name: bytes, connect: Callable[[], Awaitable[Wire]]) -> None:
        self._name = name
        self._connect = connect
        self._wire: Wire | None = None
        self._opening = False

    async def ask(self, parameters: Sequence[bytes], *, timeout_s: float) -> Result | None:
        """The result; None at once while it is in use, so that the caller asks elsewhere. Raises like `Wire.ask`."""
        wire = self._wire
        if self._opening or (wire is not None and not wire.broken and not wire.idle):
            return None
        try:
            if wire is None or wire.broken:
                wire = await self.open()
            return await wire.ask(self._name, parameters, timeout_s=timeout_s)
        except (psycopg.Error, TimeoutError):
            if self._wire is wire:
                await self.close()
            raise

    async def open(self) -> Wire:
        """Connect anew. Raises what connecting does."""
        await self.close()
        self._opening = True
        try:
            self._wire = await self._connect()
        finally:
            self._opening = False
        return self._wire

    async def close(self) -> None:
        wire, self._wire = self._wire, None
        if wire is not None:
            await wire.close()


def _settle(answer: "asyncio.Future[Result]", found: Result | Exception) -> None:
    if answer.done():  # its caller has gone
        return
    if isinstance(found, Exception):
        answer.set_exception(found)
    else:
        answer.set_result(found)
