"""The log: streams of events in one order of positions without gaps. Reading, and the append of a whole batch."""

import asyncio
import uuid
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import msgspec
import psycopg
from psycopg import sql
from psycopg_pool import AsyncConnectionPool, PoolTimeout

from domain.decider import Event, StreamName, fold_of
from infra.codec import Codec, subject_of
from infra.secret import Secret

READ_CONNECTIONS_MAX = 4
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

# One parameter a column, in the order of the function in infra/migrations/0001_log.sql.
APPEND_TYPES = (*("text",) * 12, "text[]", "bytea[]", "text[]")
NULL = "\\N"
NO_COLUMNS: tuple[tuple[Any, ...], ...] = ((),) * 5
END_FORMER = (
    "SELECT pg_terminate_backend(pid, %s) FROM pg_stat_activity WHERE application_name = %s AND pid <> pg_backend_pid()"
    " AND usename = current_user AND datname = current_database()"
)


def column(values: Sequence[str]) -> str:
    """A column as the append takes it: a line a row. Raises ValueError if a value has a line break of its own."""
    text = "\n".join(values)
    if text.count("\n") >= max(len(values), 1):
        raise ValueError("a value of a batch has a line break")
    return text


def append_statement(schema: str) -> bytes:
    """The call of the append, each parameter cast to its type."""
    parameters = sql.SQL(", ").join(sql.SQL("%b::" + kind) for kind in APPEND_TYPES)
    return sql.SQL("SELECT * FROM {}({})").format(sql.Identifier(schema, "append"), parameters).as_bytes()


class Unavailable(Exception):
    """The database does not answer, or the connection broke: it is not known whether what was sent was done."""


class LogGap(Exception):
    """A position or version that should follow another does not: by construction it can't happen."""


class Entry(msgspec.Struct, frozen=True, gc=False):
    """An event as it stands in the log; `Log.event` reads it."""

    position: int
    stream: StreamName
    version: int
    name: str
    state: bytes


class Key(msgspec.Struct, frozen=True, gc=False):
    """An idempotency key, in its actor's own space. `by`: what the log keeps of the actor, if that is not it."""

    actor: str
    name: str
    by: str = ""


class Batch:
    """What one append takes, in the columns in which it travels: see `append` in infra/migrations/0001_log.sql.

    `read` has the version of each stream that was looked at (0 = no event yet). Events are encoded as they are added,
    so that little is left to do when the batch may be sent; those with personal fields wait for their subject's key.
    """

    def __init__(self, codec: Codec) -> None:
        self.read: dict[StreamName, int] = {}
        self.commands: list[tuple[str, str, str, str, str]] = []  # key, digest, actor, correlation, events until here
        self.events: list[tuple[StreamName, str, str, bytes, str]] = []  # stream, version, name, state, its command
        self.begun: set[StreamName] = set()
        self.personal: list[tuple[int, Event]] = []  # with their place in `events`
        self.erased: list[str] = []
        self._codec = codec

    def accept(
        self, key: Key, digest: bytes, correlation: str, entries: Iterable[tuple[StreamName, int, Event]]
    ) -> int:
        """Add an accepted command with its events, each with its version; how many events the batch has until here.

        Versions count from 1 in each stream.
        """
        events = self.events
        place = str(len(self.commands) + 1)
        for stream, version, event in entries:
            if version == 1:
                self.begun.add(stream)
            if event.personal_fields:
                self.personal.append((len(events), event))
                state = b""
            else:
                state = self._codec.encode(event)
            if event.erases_subject:
                self.erased.append(subject_of(event))
            events.append((stream, str(version), event.event_name, state, place))
        self.commands.append((key.name, digest.hex(), key.by or key.actor, correlation or NULL, str(len(events))))
        return len(events)

    def refuse(self, key: Key) -> None:
        """Add a refused command: its key is looked up, and nothing is kept of it."""
        self.commands.append((key.name, "", key.by or key.actor, NULL, NULL))


class Appended(msgspec.Struct, frozen=True):
    """The batch is on disk: entry n (from 1) has position `base` + n."""

    base: int


class Conflict(msgspec.Struct, frozen=True):
    """Nothing was written: streams that moved on, with what was missed, and names of keys that have their outcome."""

    stale: dict[StreamName, int]
    missed: dict[StreamName, list[Event]]
    missed_bytes: dict[StreamName, int]
    known: dict[str, tuple[bytes, int]]


class Loaded(msgspec.Struct, gc=False):
    """A stream as it was at `version` (0 = no event yet).

    `weight_bytes` is what its events take in the log; `sealed` tells that personal data are in it.
    """

    version: int
    state: Any
    weight_bytes: int = 0
    sealed: bool = False


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
        self._writer: psycopg.AsyncConnection[Any] | None = None
        self._broken = False
        self._readers = Readers(conninfo)
        self._rows = self._readers.rows
        self._name = f"igob {uuid.uuid4()}"  # by which our former writer is found
        self._append = append_statement(schema)
        table = sql.Identifier(schema, "events")
        # All as bytes: psycopg would put composed ones together, and look for their parameters, each time anew.
        self._lock = sql.SQL("BEGIN; SELECT {}()").format(sql.Identifier(schema, "lock_log")).as_bytes()
        self._select_since = (
            sql.SQL(
                # One index scan a stream, whatever the statistics say; a wide ANY() may scan the whole table.
                "SELECT e.* FROM unnest(string_to_array(%s, chr(10)), string_to_array(%s, chr(10))::bigint[])"
                " AS s (name, seen) CROSS JOIN LATERAL ("
                "SELECT originator_id, originator_version, topic, state FROM {}"
                " WHERE originator_id = s.name AND originator_version > s.seen"
                " ORDER BY originator_version OFFSET 0) AS e"
            )
            .format(table)
            .as_bytes()
        )
        entry = sql.SQL("SELECT notification_id, originator_id, originator_version, topic, state FROM {}").format(table)
        self._select_page = (
            sql.SQL("{} WHERE notification_id > %s ORDER BY notification_id LIMIT %s").format(entry).as_bytes()
        )
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
        self._select_known = (
            sql.SQL("SELECT digest, position FROM {} WHERE key = %s::uuid AND recorded_at > clock_timestamp() - {}()")
            .format(sql.Identifier(schema, "commands"), sql.Identifier(schema, "kept_for"))
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

    async def close(self) -> None:
        await self._drop_writer()
        await self._readers.close()

    async def head(self) -> int:
        """The position of the last event; 0 for an empty log. Raises Unavailable."""
        ((position,),) = await self._rows(self._select_head)
        return int(position)

    async def load(self, streams: Iterable[StreamName], *, personal: bool = True) -> dict[StreamName, Loaded]:
        """The states of these streams at one moment; each has an entry, also if nothing was ever written to it.

        Without `personal` no key is asked for: personal fields are None, as if erased. Raises Unavailable.
        """
        loaded = {name: Loaded(version=0, state=fold_of(name).initial()) for name in streams}
        await self.catch_up(loaded, personal=personal)
        return loaded

    async def catch_up(self, loaded: Mapping[StreamName, Loaded], *, personal: bool = True) -> None:
        """Bring these streams up to date, all to one moment; `personal` as in `load`. Raises Unavailable."""
        if not loaded:
            return
        seen = column([str(stream.version) for stream in loaded.values()])
        rows = await self._rows(self._select_since, (column(list(loaded)), seen))
        subjects: set[str] = set()
        sealed: set[StreamName] = set()  # a guardian's stream has personal data of several subjects
        for name, _, topic, state in rows:
            if subject := self._codec.sealed_subject(topic, state):
                subjects.add(subject)
                sealed.add(name)
        keys = await self._keys_of(subjects) if personal else {}
        for name, version, topic, state in rows:
            stream = loaded[name]
            stream.state = fold_of(name).evolve(stream.state, self._codec.decode(topic, state, keys))
            stream.version = version
            stream.weight_bytes += len(state)
            stream.sealed |= name in sealed

    async def state(self, stream: StreamName) -> Any:
        """The state of one stream now."""
        return (await self.load([stream]))[stream].state

    async def since(self, position: int) -> list[Entry]:
        """What follows this position, in order; PAGE_EVENTS_MAX at most. Raises Unavailable, LogGap."""
        page = [Entry(*row) for row in await self._rows(self._select_page, (position, PAGE_EVENTS_MAX))]
        for expected, entry in enumerate(page, start=position + 1):
            if entry.position != expected:
                raise LogGap(f"position {entry.position} follows {expected - 1}")
        return page

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

    async def known(self, key: Key) -> tuple[bytes, int] | None:
        """Digest and position of an accepted command, if its key is still kept. Raises Unavailable."""
        rows = await self._rows(self._select_known, (key.name,))
        return (rows[0][0], rows[0][1]) if rows else None

    async def written(self, key: Key, position: int) -> bool:
        """Whether the event there was written by the command of that key. Raises Unavailable."""
        return bool(await self._rows(self._select_written, (position, key.name)))

    def batch(self) -> Batch:
        """A batch for `append`, empty."""
        return Batch(self._codec)

    async def append(self, batch: Batch) -> Appended | Conflict:
        """Write the whole batch, or nothing and say why. One round trip; when it returns Appended, it is on disk.

        One at a time per Log. Raises Unavailable: send the batch again, its keys settle whether it was written.
        """
        parameters = await self._parameters(batch)
        with self._writing():
            async with asyncio.timeout(APPEND_TIMEOUT_S):
                cursor = await (await self._connected()).execute(self._append, parameters, prepare=True, binary=True)
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
                connection = await self._connected()
                await connection.execute(self._lock)
            try:
                yield
            except BaseException:
                await self._drop_writer()  # its transaction and its lock end with it
                raise
            async with asyncio.timeout(APPEND_TIMEOUT_S):
                await connection.execute("COMMIT")

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

    async def _connected(self) -> "psycopg.AsyncConnection[Any]":
        if self._writer and self._broken:
            await self._drop_writer()
        if self._writer is None:
            writer = await psycopg.AsyncConnection.connect(self._conninfo, application_name=self._name, **CONNECTION)
            try:
                # What a connection that we gave up may still hold must not be done after what we answer next. A frozen
                # backend gets the signal when it goes on, before it has the lock; one that has it is waited for.
                await writer.execute(END_FORMER, [int(END_FORMER_S * 1_000), self._name])
            except BaseException:
                await writer.close()
                raise
            self._writer, self._broken = writer, False
        return self._writer

    async def _drop_writer(self) -> None:
        writer, self._writer = self._writer, None
        if writer is not None:
            await writer.close()

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

    async def _parameters(self, batch: Batch) -> Sequence[Any]:
        new_keys = await self._seal(batch) if batch.personal else {}
        # A stream that was empty when read and is begun here needs no look: a first event can't be there twice.
        checked = {stream: seen for stream, seen in batch.read.items() if seen or stream not in batch.begun}
        keys, digests, actors, correlations, written = (
            zip(*batch.commands, strict=True) if batch.commands else NO_COLUMNS
        )
        streams, versions, names, states, commands = zip(*batch.events, strict=True) if batch.events else NO_COLUMNS
        return (
            column(tuple(checked)),
            column([str(seen) for seen in checked.values()]),
            column(keys),
            column(digests),
            column(actors),
            column(correlations),
            column(written),
            column(streams),
            column(versions),
            column(names),
            b"\n".join(states).decode(),
            column(commands),
            list(new_keys),
            [self._secret.wrap(key) for key in new_keys.values()],
            batch.erased,
        )

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
