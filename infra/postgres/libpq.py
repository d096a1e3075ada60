"""A connection that executes prepared statements through libpq, one at a time.

psycopg needs a coroutine, a cursor and a transformer for each statement. Here a statement costs one future and two
callbacks of the event loop, asyncio's or uvloop's.
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


def as_text(value: bytes | None) -> str:
    """Decode a text of a result; "" for NULL."""
    return "" if value is None else value.decode()


def as_number(value: bytes | None) -> int:
    """Decode a non-negative integer of a result; 0 for NULL."""
    return 0 if value is None else int.from_bytes(value, "big")


class LibpqConnection:
    """Executes prepared statements on a psycopg connection. Create it in the event loop that uses it.

    Between statements psycopg's own methods may be used as well, see `release`.
    """

    def __init__(self, connection: "psycopg.AsyncConnection[Any]") -> None:
        self.broken = False  # nothing can be sent; the outcome of a statement in flight is unknown
        self._connection = connection
        self._pg = connection.pgconn
        self._fd = self._pg.socket
        self._loop = asyncio.get_running_loop()
        self._watching = False  # whether the loop watches the socket; also between statements, which is cheaper
        self._flushing = False  # part of the statement waits for space in the socket's buffer
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
        """Prepare a statement with parameters $1, $2, … under a name of this connection. Raises like `execute`.

        `types` are the OIDs of the parameter types; the server infers those that are 0 or missing.
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

    def execute(
        self,
        name: bytes,
        parameters: Sequence[bytes | None],
        *,
        formats: Sequence[pq.Format] | None = None,
        timeout_s: float,
    ) -> "asyncio.Future[Result]":
        """Execute a prepared statement, as `send` does; the future gives the result, or raises the error.

        If the future is cancelled, the statement still runs to its end. The connection is idle again after that.
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
        """Execute a prepared statement. The result is in binary format, and so are parameters without `formats`.

        The event loop calls `done` with the result or the error; it must not raise. The error is a psycopg.Error, or
        TimeoutError after `timeout_s`, which leaves the connection broken. Raises psycopg.Error if nothing was sent.
        """
        self._refuse_unless_idle()
        try:
            # libpq cuts a text parameter at a zero byte. In binary format the server refuses that byte.
            self._pg.send_query_prepared(
                name, parameters, formats or [pq.Format.BINARY] * len(parameters), pq.Format.BINARY
            )
        except psycopg.Error as error:
            self._break(error)
            raise
        self._sent(timeout_s, done)

    def release(self) -> "psycopg.AsyncConnection[Any]":
        """The psycopg connection, for use until the next statement is sent here."""
        self._refuse_unless_idle()
        self._unwatch()
        return self._connection

    async def close(self) -> None:
        """Close the connection. A statement in flight fails here; the server may still execute it."""
        self._break(psycopg.OperationalError("the connection was closed"))
        await self._connection.close()

    def _refuse_unless_idle(self) -> None:
        if not self.idle:
            raise psycopg.InterfaceError("the connection is broken, or a statement is in flight")

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
        """Send as much as the socket's buffer takes, and the rest when it has space."""
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
            if self._flushing:  # the server may stop reading until we read
                self._flush()
            while self._done is not None and not pg.is_busy():
                result = pg.get_result()
                if result is None:
                    self._end()
                else:
                    self._result = result
        except psycopg.Error as error:  # also if the server disconnects between statements
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
        """Stop watching the socket, before psycopg uses or closes it."""
        if self._watching:
            self._loop.remove_reader(self._fd)
            self._watching = False
        if self._flushing:
            self._loop.remove_writer(self._fd)
            self._flushing = False

    def _set_timer(self) -> None:
        """Keep one timer across statements: to set and cancel one for each would cost as much as sending it."""
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._loop.call_at(self._deadline_s, self._check_deadline)

    def _check_deadline(self) -> None:
        self._timer = None
        if self._done is None:
            return
        if self._loop.time() < self._deadline_s:
            self._set_timer()
        else:
            self._break(TimeoutError("the database did not respond in time"))


class StatementConnection:
    """A connection for one prepared statement. It opens at first use, and again after it broke."""

    def __init__(self, name: bytes, connect: Callable[[], Awaitable[LibpqConnection]]) -> None:
        self._name = name
        self._connect = connect
        self._connection: LibpqConnection | None = None
        self._opening = False

    async def execute(self, parameters: Sequence[bytes], *, timeout_s: float) -> Result | None:
        """The result; None without waiting if the connection is in use. Raises like `LibpqConnection.execute`."""
        connection = self._connection
        if self._opening or (connection is not None and not connection.broken and not connection.idle):
            return None
        try:
            if connection is None or connection.broken:
                connection = await self.open()
            return await connection.execute(self._name, parameters, timeout_s=timeout_s)
        except (psycopg.Error, TimeoutError):
            if self._connection is connection:
                await self.close()
            raise

    async def open(self) -> LibpqConnection:
        """Reconnect. Raises like `connect`."""
        await self.close()
        self._opening = True
        try:
            self._connection = await self._connect()
        finally:
            self._opening = False
        return self._connection

    async def close(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            await connection.close()


def _settle(answer: "asyncio.Future[Result]", found: Result | Exception) -> None:
    if answer.done():  # the caller was cancelled
        return
    if isinstance(found, Exception):
        answer.set_exception(found)
    else:
        answer.set_result(found)
