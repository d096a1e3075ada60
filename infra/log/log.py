"""The log: streams of events in one order of positions without gaps. Reading, and the append of a whole batch."""

import asyncio
import uuid
from collections.abc import AsyncIterator, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from functools import partial
from typing import Any

import msgspec
import psycopg
from psycopg import sql
from psycopg_pool import AsyncConnectionPool, PoolTimeout

from domain.decider import Event, StreamName, fold_of
from infra.log.batch import Appended, Batch, Conflict, Key, append_statement, column, plain_append_statement
from infra.log.codec import Codec, subject_of
from infra.log.secret import Secret
from infra.postgres.libpq import LibpqConnection, Result, StatementConnection

__all__ = ["Appended", "Batch", "Conflict", "Key"]  # re-exported

READ_CONNECTIONS_MAX = 3  # beside the libpq connections that load streams, read the tail and append
RECONNECT_TIMEOUT_S = 2  # the pool doubles its pauses until then: they must not grow with the length of an outage
END_FORMER_S = 1.0  # how long its end is waited for
CONNECT_TIMEOUT_S = 10
READ_TIMEOUT_S = 10
APPEND_TIMEOUT_S = 10
LOCK_HELD_IDLE_S = 5  # a process that froze while it held the log's lock must not stop the others
STREAMS_PER_PAGE_MAX = 101  # a page of 100, and one more to see whether it goes on
PAGE_EVENTS_MAX = 500

CONNECTION: dict[str, Any] = {
    "autocommit": True,
    "client_encoding": "UTF8",  # encoding of the parameters that libpq connections send
    "connect_timeout": CONNECT_TIMEOUT_S,
    "tcp_user_timeout": APPEND_TIMEOUT_S * 1_000,
    # What an answer means rests on the first two: a role's or a server's own settings do not change them.
    # The third: our statements have one good plan each, and making it anew takes longer than running it.
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

APPEND, SINCE, PAGE = b"igob_append", b"igob_since", b"igob_page"  # names of prepared statements

END_FORMER = (
    "SELECT pg_terminate_backend(pid, %s) FROM pg_stat_activity WHERE application_name = %s AND pid <> pg_backend_pid()"
    " AND usename = current_user AND datname = current_database()"
)


class Unavailable(Exception):
    """The database does not answer, or the connection broke: it is not known whether what was sent was done."""


def _text(value: bytes | None) -> str:
    return "" if value is None else value.decode()


def _number(value: bytes | None) -> int:
    return 0 if value is None else int.from_bytes(value, "big")


def _conflict_rows(found: Result) -> list[tuple[Any, ...]]:
    """The rows of the append's answer, decoded from binary format."""
    value = found.get_value
    return [
        (
            _text(value(n, 0)), _text(value(n, 1)), value(n, 2), _number(value(n, 3)), _number(value(n, 4)),
            _text(value(n, 5)), value(n, 6),
        )
        for n in range(found.ntuples)
    ]  # fmt: skip


class LogGap(Exception):
    """A position or version that should follow another does not: by construction it can't happen."""


class Entry(msgspec.Struct, frozen=True, gc=False):
    """An event as it stands in the log; `Log.event` reads it."""

    position: int
    stream: StreamName
    version: int
    name: str
    state: bytes


class Loaded(msgspec.Struct, gc=False):
    """A stream as it was at `version` (0 = no event yet).

    `weight_bytes` is the size of its events in the log; `sealed`: it has personal data. `segment` is the part of a
    cache that has it, 0 for none. Searching the segments for each event would take longer than folding it.
    """

    version: int
    state: Any
    weight_bytes: int = 0
    sealed: bool = False
    segment: int = 0


class Readers:
    """A few connections for questions, each with a bounded wait. Open them in the event loop that uses them."""

    def __init__(self, conninfo: str, *, connections_max: int = READ_CONNECTIONS_MAX) -> None:
        self._pool = AsyncConnectionPool(
            conninfo,
            min_size=1,
            max_size=connections_max,
            open=False,
            timeout=CONNECT_TIMEOUT_S,
            reconnect_timeout=RECONNECT_TIMEOUT_S,
            kwargs=CONNECTION,
        )

    async def open(self) -> None:
        """Connect. Raises Unavailable."""
        try:
            await self._pool.open(wait=True, timeout=CONNECT_TIMEOUT_S)
        except PoolTimeout as error:
            raise Unavailable(str(error)) from error

    async def close(self) -> None:
        await self._pool.close()

    async def rows(
        self, statement: bytes, parameters: Sequence[Any] | Mapping[str, Any] = (), *, prepare: bool | None = None
    ) -> list[Any]:
        """What a statement gives. Raises Unavailable."""
        try:
            async with asyncio.timeout(READ_TIMEOUT_S), self._pool.connection() as connection:
                return await (await connection.execute(statement, parameters, prepare=prepare, binary=True)).fetchall()
        except (*NO_ANSWER, PoolTimeout) as error:
            raise Unavailable(str(error)) from error


class Log:
    """One municipality's log, for the application's role. Open it in the event loop that uses it."""

    def __init__(self, conninfo: str, *, schema: str, secret: Secret) -> None:
        self._conninfo = conninfo
        self._schema = schema
        self._secret = secret
        self._codec = Codec()
        self._writer: LibpqConnection | None = None
        self._broken = False
        self._closed = False
        self._readers = Readers(conninfo)
        self._rows = self._readers.rows
        self._name = f"igob {uuid.uuid4()}"  # application_name of the writer; other connections add a suffix
        self._append = append_statement(schema)
        self._append_plain = plain_append_statement(schema)
        table = sql.Identifier(schema, "events")
        # All as bytes: psycopg would put composed ones together, and look for their parameters, each time anew.
        self._lock = sql.SQL("BEGIN; SELECT {}()").format(sql.Identifier(schema, "lock_log")).as_bytes()
        since = sql.SQL(
            # One index scan a stream, whatever the statistics say; a wide ANY() may scan the whole table.
            "SELECT e.* FROM unnest(string_to_array({}, chr(10)), string_to_array({}, chr(10))::bigint[])"
            " AS s (name, seen) CROSS JOIN LATERAL ("
            "SELECT originator_id, originator_version, topic, state FROM {}"
            " WHERE originator_id = s.name AND originator_version > s.seen"
            " ORDER BY originator_version OFFSET 0) AS e"
        )
        self._select_since = since.format(sql.SQL("%s"), sql.SQL("%s"), table).as_bytes()
        self._libpq_since = since.format(sql.SQL("$1::text"), sql.SQL("$2::text"), table).as_bytes()
        entry = sql.SQL("SELECT notification_id, originator_id, originator_version, topic, state FROM {}").format(table)
        self._select_page = (
            sql.SQL("{} WHERE notification_id > %s ORDER BY notification_id LIMIT %s").format(entry).as_bytes()
        )
        self._libpq_page = (
            sql.SQL("{} WHERE notification_id > $1::bigint ORDER BY notification_id LIMIT $2::int")
            .format(entry)
            .as_bytes()
        )
        self._reader = self._statement_connection("reads", SINCE, self._libpq_since)
        self._tail = self._statement_connection("tail", PAGE, self._libpq_page)
        self._select_history = (
            sql.SQL("{} WHERE originator_id = %s ORDER BY originator_version").format(entry).as_bytes()
        )
        self._select_head = sql.SQL("SELECT coalesce(max(notification_id), 0) FROM {}").format(table).as_bytes()
        self._select_names = (
            sql.SQL(
                "SELECT originator_id FROM {} WHERE originator_id > %s AND originator_id < %s"
                " AND originator_version = 1 ORDER BY originator_id LIMIT %s"
            )
            .format(table)
            .as_bytes()
        )
        self._select_written = (
            sql.SQL("SELECT 1 FROM {} WHERE notification_id = %s::bigint AND command_id = %s::text")
            .format(sql.Identifier(schema, "events"))
            .as_bytes()
        )
        self._select_keys = (
            sql.SQL("SELECT subject, wrapped_key FROM {} WHERE subject = ANY(%s)")
            .format(sql.Identifier(schema, "subject_keys"))
            .as_bytes()
        )

    async def open(self) -> None:
        """Connect. Raises Unavailable."""
        await self._readers.open()
        with suppress(*NO_ANSWER):  # the first load tries again
            await self._reader.open()

    async def close(self) -> None:
        self._closed = True
        await self._drop_writer()
        await self._reader.close()
        await self._tail.close()
        await self._readers.close()

    async def head(self) -> int:
        """The position of the last event; 0 for an empty log. Raises Unavailable."""
        ((position,),) = await self._rows(self._select_head)
        return int(position)

    async def load(
        self, streams: Iterable[StreamName], *, redacted: Collection[StreamName] = ()
    ) -> dict[StreamName, Loaded]:
        """The states of these streams at one moment; each has an entry, also if nothing was ever written to it.

        For streams in `redacted` no key is asked for: personal fields are None, as if erased. Raises Unavailable.
        """
        loaded = {name: Loaded(version=0, state=fold_of(name).initial()) for name in streams}
        await self.catch_up(loaded, redacted=redacted)
        return loaded

    async def catch_up(self, loaded: Mapping[StreamName, Loaded], *, redacted: Collection[StreamName] = ()) -> None:
        """Bring these streams up to date, all to one moment; `redacted` as in `load`. Raises Unavailable."""
        if not loaded:
            return
        seen = column([str(stream.version) for stream in loaded.values()])
        rows = await self._since(column(list(loaded)), seen)
        subjects: set[str] = set()
        sealed: set[StreamName] = set()  # a guardian's stream has personal data of several subjects
        for name, _, topic, state in rows:
            if name not in redacted and (subject := self._codec.sealed_subject(topic, state)):
                subjects.add(subject)
                sealed.add(name)
        keys = await self._keys_of(subjects)
        for name, version, topic, state in rows:
            stream = loaded[name]
            event = self._codec.decode(topic, state, {} if name in redacted else keys)
            stream.state = fold_of(name).evolve(stream.state, event)
            stream.version = version
            stream.weight_bytes += len(state)
            stream.sealed |= name in sealed

    async def _since(self, names: str, seen: str) -> list[tuple[StreamName, int, str, bytes]]:
        """The events after these versions: through libpq, or through the pool while that connection is in use."""
        found = await self._execute_read(self._reader, (names.encode(), seen.encode()))
        if found is None:
            return await self._rows(self._select_since, (names, seen))
        value = found.get_value
        return [
            (_text(value(n, 0)), _number(value(n, 1)), _text(value(n, 2)), value(n, 3) or b"")
            for n in range(found.ntuples)
        ]

    async def state(self, stream: StreamName) -> Any:
        """The state of one stream now."""
        return (await self.load([stream]))[stream].state

    async def since(self, position: int) -> list[Entry]:
        """What follows this position, in order; PAGE_EVENTS_MAX at most. Raises Unavailable, LogGap."""
        page = await self._page(position)
        for expected, entry in enumerate(page, start=position + 1):
            if entry.position != expected:
                raise LogGap(f"position {entry.position} follows {expected - 1}")
        return page

    async def _page(self, position: int) -> list[Entry]:
        """The next page. Live fields read it fifty times a second, so it has its own libpq connection."""
        found = await self._execute_read(self._tail, (position.to_bytes(8, "big"), PAGE_EVENTS_MAX.to_bytes(4, "big")))
        if found is None:
            return [Entry(*row) for row in await self._rows(self._select_page, (position, PAGE_EVENTS_MAX))]
        value = found.get_value
        return [
            Entry(
                _number(value(n, 0)), _text(value(n, 1)), _number(value(n, 2)), _text(value(n, 3)), value(n, 4) or b""
            )
            for n in range(found.ntuples)
        ]

    async def history(self, stream: StreamName) -> list[Entry]:
        """All of a stream at one moment, in order. Raises Unavailable."""
        return [Entry(*row) for row in await self._rows(self._select_history, (stream,))]

    def event(self, entry: Entry) -> Event:
        """The event of an entry; personal fields are None as if erased: no key is asked for. Raises UnknownEvent."""
        return self._codec.decode(entry.name, entry.state, {})

    async def stream_names(self, prefix: str, *, after: str = "", first: int) -> list[StreamName]:
        """Names of streams that begin with `prefix`, in order, from the one after `after`; at most `first` (≤ 101)."""
        if first > STREAMS_PER_PAGE_MAX:
            raise ValueError(f"at most {STREAMS_PER_PAGE_MAX} names at a time")
        end = prefix[:-1] + chr(ord(prefix[-1]) + 1)
        parameters = (max(prefix, after), end, first)
        return [row[0] for row in await self._rows(self._select_names, parameters)]

    async def written(self, key: Key, position: int) -> bool:
        """Whether the event there was written by the command of that key. Raises Unavailable."""
        return bool(await self._rows(self._select_written, (position, key.name)))

    def batch(self) -> Batch:
        """A batch for `append`, empty."""
        return Batch(self._codec)

    def append(self, batch: Batch) -> "asyncio.Future[Appended | Conflict]":
        """Write the whole batch, or nothing and say why. One round trip. After Appended, the batch is on disk.

        One at a time per Log. Raises Unavailable: send the batch again, its keys settle whether it was written.
        """
        writer = self._writer
        if writer is None or self._broken or not writer.idle or not batch.plain:
            return asyncio.ensure_future(self._append_anew(batch))
        answer: asyncio.Future[Appended | Conflict] = asyncio.get_running_loop().create_future()
        self._send(batch, writer, answer)  # directly, without a task
        return answer

    def _send(self, batch: Batch, writer: LibpqConnection, answer: "asyncio.Future[Appended | Conflict]") -> None:
        done = partial(self._answered, answer)
        try:
            writer.send(APPEND, [text.encode() for text in batch.columns()], APPEND_TIMEOUT_S, done)
        except Exception as error:
            done(error)

    def _answered(self, answer: "asyncio.Future[Appended | Conflict]", found: Result | Exception) -> None:
        try:
            with self._writing():
                if isinstance(found, Exception):
                    raise found
            appended = found.get_value(0, 0) == b"appended"
            said = Appended(_number(found.get_value(0, 3))) if appended else self._conflict(_conflict_rows(found))
        except Exception as error:
            if not answer.done():
                answer.set_exception(error)
        else:
            if not answer.done():
                answer.set_result(said)

    async def _append_anew(self, batch: Batch) -> Appended | Conflict:
        """Append on a new connection, or a batch with personal data."""
        if not batch.plain:
            return await self._append_sealed(batch)
        with self._writing():
            writer = await self._connected()
        answer: asyncio.Future[Appended | Conflict] = asyncio.get_running_loop().create_future()
        self._send(batch, writer, answer)
        return await answer

    async def _append_sealed(self, batch: Batch) -> Appended | Conflict:
        """Append a batch with personal data, with psycopg."""
        new_keys = await self._seal(batch) if batch.personal else {}
        wrapped = [self._secret.wrap(key) for key in new_keys.values()]
        parameters = (*batch.columns(), list(new_keys), wrapped, batch.erased)
        with self._writing():
            async with asyncio.timeout(APPEND_TIMEOUT_S):
                connection = (await self._connected()).release()
                cursor = await connection.execute(self._append, parameters, prepare=True, binary=True)
                rows = await cursor.fetchall()
        if rows[0][0] == "appended":
            return Appended(base=rows[0][3])
        return self._conflict(rows)

    @asynccontextmanager
    async def locked(self) -> AsyncIterator[None]:
        """Hold the log's lock while the block runs: what is loaded in it can't be stale when it is appended.

        The append is on disk when the block has ended. Others wait meanwhile, in order of arrival. Raises Unavailable.
        """
        with self._writing():
            async with asyncio.timeout(APPEND_TIMEOUT_S):
                writer = await self._connected()
                await writer.release().execute(self._lock)
            try:
                yield
            except BaseException:
                await self._drop_writer()  # its transaction and its lock end with it
                raise
            async with asyncio.timeout(APPEND_TIMEOUT_S):
                await writer.release().execute("COMMIT")

    @contextmanager
    def _writing(self) -> Iterator[None]:
        try:
            yield
        except NO_ANSWER as error:
            self._broken = True
            raise Unavailable(str(error)) from error
        except psycopg.Error:
            self._broken = True  # whatever it is, the next one begins with a session like new
            raise

    async def _connected(self) -> LibpqConnection:
        """The writer, ready for a statement."""
        if self._writer and (self._broken or not self._writer.idle):
            await self._drop_writer()
        if self._writer is None:
            # What a connection that we gave up may still hold must not be done after what we answer next. A frozen
            # backend gets the signal when it goes on, before it has the lock; one that has it is waited for.
            async with asyncio.timeout(APPEND_TIMEOUT_S):
                self._writer = await self._open_connection(self._name, APPEND, self._append_plain, END_FORMER_S)
            self._broken = False
        return self._writer

    async def _drop_writer(self) -> None:
        writer, self._writer = self._writer, None
        if writer is not None:
            await writer.close()

    def _statement_connection(self, name: str, prepared: bytes, statement: bytes) -> StatementConnection:
        """A connection for this statement alone. It first ends an abandoned predecessor, see END_FORMER."""

        async def connect() -> LibpqConnection:
            async with asyncio.timeout(READ_TIMEOUT_S):
                return await self._open_connection(f"{self._name} {name}", prepared, statement, 0)

        return StatementConnection(prepared, connect)

    async def _execute_read(self, connection: StatementConnection, parameters: Sequence[bytes]) -> Result | None:
        """The result of its statement; None if the connection is in use. Raises Unavailable."""
        try:
            return await connection.execute(parameters, timeout_s=READ_TIMEOUT_S)
        except NO_ANSWER as error:
            raise Unavailable(str(error)) from error

    async def _open_connection(
        self, name: str, prepared: bytes, statement: bytes, end_former_s: float
    ) -> LibpqConnection:
        """A connection with one prepared statement. Ends former connections of that name first."""
        if self._closed:
            raise psycopg.InterfaceError("the log was closed")
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
        """Encode what is personal, under the keys of its subjects; the keys that are new, by subject."""
        subjects = {subject_of(event) for _, event in batch.personal}
        keys = await self._keys_of(subjects)
        new_keys = {subject: self._secret.new_subject_key() for subject in subjects - keys.keys()}
        keys |= new_keys
        for place, event in batch.personal:
            stream, version, name, _, command = batch.events[place]
            batch.events[place] = (stream, version, name, self._codec.encode(event, keys[subject_of(event)]), command)
        return new_keys

    async def _keys_of(self, subjects: set[str]) -> dict[str, bytes]:
        """Keys are asked for each time: after an erasure no process goes on reading with a key that it remembers."""
        if not subjects:
            return {}
        rows = await self._rows(self._select_keys, (sorted(subjects),))
        return {subject: self._secret.unwrap(wrapped) for subject, wrapped in rows}
