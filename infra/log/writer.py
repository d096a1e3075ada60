"""The one connection of a process that appends to the log, and the log's lock."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from functools import partial
from typing import Any

import psycopg

from infra.log.batch import Appended, Batch, Conflict
from infra.log.codec import Codec, subject_of
from infra.log.statements import Statements
from infra.postgres import connections
from infra.postgres.connections import NO_ANSWER, Connector, Unavailable
from infra.postgres.libpq import LibpqConnection, Result, as_number, as_text
from infra.running.secret import Secret

APPEND = b"igob_append"  # name of the prepared statement


def _conflict_rows(found: Result) -> list[tuple[Any, ...]]:
    """The rows of the append's answer, decoded from binary format."""
    value = found.get_value
    return [
        (
            as_text(value(n, 0)), as_text(value(n, 1)), value(n, 2), as_number(value(n, 3)), as_number(value(n, 4)),
            as_text(value(n, 5)), value(n, 6),
        )
        for n in range(found.ntuples)
    ]  # fmt: skip


class Writer:
    """Appends batches, one at a time. `keys_of` returns the keys of those subjects that have one."""

    def __init__(
        self,
        connector: Connector,
        statements: Statements,
        *,
        codec: Codec,
        secret: Secret,
        keys_of: Callable[[set[str]], Awaitable[dict[str, bytes]]],
    ) -> None:
        self._connector = connector
        self._statements = statements
        self._codec = codec
        self._secret = secret
        self._keys_of = keys_of
        self._connection: LibpqConnection | None = None
        self._broken = False

    def append(self, batch: Batch) -> "asyncio.Future[Appended | Conflict]":
        """Write the whole batch, or nothing, in one round trip. After Appended, the batch is on disk.

        One at a time. Raises Unavailable: send the batch again; its keys tell whether it was written.
        """
        connection = self._connection
        if connection is None or self._broken or not connection.idle or not batch.plain:
            return asyncio.ensure_future(self._append_anew(batch))
        answer: asyncio.Future[Appended | Conflict] = asyncio.get_running_loop().create_future()
        self._send(batch, connection, answer)  # directly, without a task
        return answer

    def _send(self, batch: Batch, connection: LibpqConnection, answer: "asyncio.Future[Appended | Conflict]") -> None:
        done = partial(self._answered, answer)
        try:
            connection.send(APPEND, [text.encode() for text in batch.columns()], connections.APPEND_TIMEOUT_S, done)
        except Exception as error:
            done(error)

    def _answered(self, answer: "asyncio.Future[Appended | Conflict]", found: Result | Exception) -> None:
        try:
            with self._writing():
                if isinstance(found, Exception):
                    raise found
            appended = found.get_value(0, 0) == b"appended"
            outcome = Appended(as_number(found.get_value(0, 3))) if appended else self._conflict(_conflict_rows(found))
        except Exception as error:
            if not answer.done():
                answer.set_exception(error)
        else:
            if not answer.done():
                answer.set_result(outcome)

    async def _append_anew(self, batch: Batch) -> Appended | Conflict:
        """Append on a new connection, or a batch with personal data."""
        if not batch.plain:
            return await self._append_sealed(batch)
        with self._writing():
            connection = await self._connected()
        answer: asyncio.Future[Appended | Conflict] = asyncio.get_running_loop().create_future()
        self._send(batch, connection, answer)
        return await answer

    async def _append_sealed(self, batch: Batch) -> Appended | Conflict:
        """Append a batch with personal data, with psycopg."""
        new_keys = await self._seal(batch) if batch.personal else {}
        wrapped = [self._secret.wrap(key) for key in new_keys.values()]
        parameters = (*batch.columns(), list(new_keys), wrapped, batch.erased)
        with self._writing():
            async with asyncio.timeout(connections.APPEND_TIMEOUT_S):
                connection = (await self._connected()).release()
                cursor = await connection.execute(self._statements.append, parameters, prepare=True, binary=True)
                rows = await cursor.fetchall()
        if rows[0][0] == "appended":
            return Appended(base=rows[0][3])
        return self._conflict(rows)

    @asynccontextmanager
    async def locked(self) -> AsyncIterator[None]:
        """Hold the log's lock during the block: streams that are loaded in it can't change before the append.

        The append is on disk when the block has ended. Other processes wait, in order of arrival. Raises Unavailable.
        """
        with self._writing():
            async with asyncio.timeout(connections.APPEND_TIMEOUT_S):
                connection = await self._connected()
                await connection.release().execute(self._statements.lock)
            try:
                yield
            except BaseException:
                await self.drop()  # closing it ends its transaction and its lock
                raise
            async with asyncio.timeout(connections.APPEND_TIMEOUT_S):
                await connection.release().execute("COMMIT")

    @contextmanager
    def _writing(self) -> Iterator[None]:
        try:
            yield
        except NO_ANSWER as error:
            self._broken = True
            raise Unavailable(str(error)) from error
        except psycopg.Error:
            self._broken = True  # whatever the error, the next user gets a fresh session
            raise

    async def _connected(self) -> LibpqConnection:
        """The connection, ready for a statement."""
        if self._connection and (self._broken or not self._connection.idle):
            await self.drop()
        if self._connection is None:
            # A statement of an abandoned connection must not be executed after our next answer. A frozen backend gets
            # the signal when it continues, before it has the lock; we wait for one that has it.
            async with asyncio.timeout(connections.APPEND_TIMEOUT_S):
                self._connection = await self._connector.open(
                    "", APPEND, self._statements.append_plain, connections.END_FORMER_S
                )
            self._broken = False
        return self._connection

    async def drop(self) -> None:
        """Close the connection; the next append opens another."""
        connection, self._connection = self._connection, None
        if connection is not None:
            await connection.close()

    def _conflict(self, rows: list[Any]) -> Conflict:
        conflict = Conflict(stale={}, missed={}, missed_bytes={}, known={})
        for answer, name, digest, position, version, topic, state in rows:
            if answer == "known":
                conflict.known[name] = (digest, position)
            elif answer == "stale":
                conflict.stale[name] = version
            elif self._codec.is_plain(topic):
                conflict.missed.setdefault(name, []).append(self._codec.decode(topic, state, {}))
                conflict.missed_bytes[name] = conflict.missed_bytes.get(name, 0) + len(state)
        return conflict

    async def _seal(self, batch: Batch) -> dict[str, bytes]:
        """Encode events with personal data under their subjects' keys. Returns the new keys, by subject."""
        subjects = {subject_of(event) for _, event in batch.personal}
        keys = await self._keys_of(subjects)
        new_keys = {subject: self._secret.new_subject_key() for subject in subjects - keys.keys()}
        keys |= new_keys
        for place, event in batch.personal:
            stream, version, name, _, command = batch.events[place]
            batch.events[place] = (stream, version, name, self._codec.encode(event, keys[subject_of(event)]), command)
        return new_keys
