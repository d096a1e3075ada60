"""Connections of the application's role: their settings, timeouts and pools."""

import asyncio
import select
from collections.abc import Mapping, Sequence
from typing import Any

import psycopg
from psycopg_pool import AsyncConnectionPool, PoolTimeout

from infra.postgres.libpq import LibpqConnection

RECONNECT_TIMEOUT_S = 2  # the maximum pause of the pool, so that pauses do not grow with the length of an outage
END_FORMER_S = 1.0  # how long to wait for the end of a former connection
CONNECT_TIMEOUT_S = 10
READ_TIMEOUT_S = 10
APPEND_TIMEOUT_S = 10
LOCK_HELD_IDLE_S = 5  # a process that froze while holding the log's lock must not block the others

CONNECTION: dict[str, Any] = {
    "autocommit": True,
    "client_encoding": "UTF8",  # encoding of the parameters that libpq connections send
    "connect_timeout": CONNECT_TIMEOUT_S,
    "tcp_user_timeout": APPEND_TIMEOUT_S * 1_000,
    # The guarantees of an answer depend on the first two, so settings of a role or a server must not change them.
    # The third: each statement has one good plan, and planning takes longer than executing it.
    "options": r"-c synchronous_commit=on -c default_transaction_isolation=read\ committed"
    f" -c plan_cache_mode=force_generic_plan -c idle_in_transaction_session_timeout={LOCK_HELD_IDLE_S}s",
}

NO_ANSWER = (
    psycopg.OperationalError,
    psycopg.InterfaceError,
    psycopg.errors.IdleInTransactionSessionTimeout,
    psycopg.errors.ReadOnlySqlTransaction,  # a standby, or a server that is being moved
    TimeoutError,
)

END_FORMER = (
    "SELECT pg_terminate_backend(pid, %s) FROM pg_stat_activity WHERE application_name = %s AND pid <> pg_backend_pid()"
    " AND usename = current_user AND datname = current_database()"
)


class Unavailable(Exception):
    """The database does not answer, or the connection broke. It is unknown whether a statement was executed."""


def new_pool(conninfo: str, *, connections_max: int) -> AsyncConnectionPool:
    """A pool that is not open yet."""
    return AsyncConnectionPool(
        conninfo,
        min_size=1,
        max_size=connections_max,
        open=False,
        timeout=CONNECT_TIMEOUT_S,
        reconnect_timeout=RECONNECT_TIMEOUT_S,
        kwargs=CONNECTION,
    )


async def open_pool(pool: AsyncConnectionPool) -> None:
    """Connect. Raises Unavailable."""
    try:
        await pool.open(wait=True, timeout=CONNECT_TIMEOUT_S)
    except PoolTimeout as error:
        raise Unavailable(str(error)) from error


async def take(pool: AsyncConnectionPool) -> psycopg.AsyncConnection[Any]:
    """A connection of the pool that the server has not ended, for `putconn` afterwards. Raises PoolTimeout.

    psycopg_pool loses the cancellation of a task that gets a connection at the same moment (psycopg issue 1345), and
    the statement of a request that was cut off would run on.
    """
    task = asyncio.current_task()
    assert task
    cancellations = task.cancelling()
    while True:
        connection = await pool.getconn()
        ended = has_ended(connection)
        if ended:
            await connection.close()
        if ended or task.cancelling() > cancellations:
            await pool.putconn(connection)  # the pool replaces one that is closed
        if task.cancelling() > cancellations:
            raise asyncio.CancelledError
        if not ended:
            return connection


def has_ended(connection: psycopg.AsyncConnection[Any]) -> bool:
    """Whether the server has ended this idle connection: nothing else makes its socket readable.

    A change of the server's settings does, too, for which a new connection is no loss.
    """
    poll = select.poll()
    poll.register(connection.fileno(), select.POLLIN)
    return bool(poll.poll(0))


class Readers:
    """A pool of a few connections, each query with a timeout. Open it in the event loop that uses it."""

    def __init__(self, conninfo: str, *, connections_max: int) -> None:
        self._pool = new_pool(conninfo, connections_max=connections_max)

    async def open(self) -> None:
        """Connect. Raises Unavailable."""
        await open_pool(self._pool)

    async def close(self) -> None:
        await self._pool.close()

    async def rows(
        self, statement: bytes, parameters: Sequence[Any] | Mapping[str, Any] = (), *, prepare: bool | None = None
    ) -> list[Any]:
        """The rows of a statement. Raises Unavailable."""
        try:
            async with asyncio.timeout(READ_TIMEOUT_S):
                connection = await take(self._pool)
                try:
                    found = await connection.execute(statement, parameters, prepare=prepare, binary=True)
                    return await found.fetchall()
                finally:
                    await self._pool.putconn(connection)
        except (*NO_ANSWER, PoolTimeout) as error:
            raise Unavailable(str(error)) from error


class Connector:
    """Opens connections with one prepared statement each, until it is closed.

    `name` is their application_name, with a suffix for all but one. A new connection ends former ones with its name.
    """

    def __init__(self, conninfo: str, name: str) -> None:
        self.name = name
        self.closed = False
        self._conninfo = conninfo

    async def open(self, suffix: str, prepared: bytes, statement: bytes, end_former_s: float) -> LibpqConnection:
        """Connect, and wait at most `end_former_s` for the end of former ones. Raises psycopg.Error, TimeoutError."""
        if self.closed:
            raise psycopg.InterfaceError("the log was closed")
        name = f"{self.name} {suffix}".rstrip()
        connection = LibpqConnection(
            await psycopg.AsyncConnection.connect(self._conninfo, application_name=name, **CONNECTION)
        )
        try:
            await connection.release().execute(END_FORMER, [int(end_former_s * 1_000), name])
            await connection.prepare(prepared, statement, timeout_s=CONNECT_TIMEOUT_S)
        except BaseException:
            await connection.close()  # unwatch the socket: its file descriptor may be reused
            raise
        return connection
