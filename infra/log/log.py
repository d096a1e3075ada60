"""The log: streams of events in one order of positions without gaps. Reading, and the append of a whole batch."""

import asyncio
import uuid
from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, suppress
from typing import Any

import msgspec

from domain.decider import Event, StreamName, fold_of
from infra.log.batch import Appended, Batch, Conflict, column
from infra.log.codec import Codec
from infra.log.statements import Statements
from infra.log.submission import Key
from infra.log.writer import Writer
from infra.postgres import connections
from infra.postgres.connections import NO_ANSWER, Connector, Readers, Unavailable
from infra.postgres.libpq import LibpqConnection, Result, StatementConnection, as_number, as_text
from infra.running.secret import Secret

READ_CONNECTIONS_MAX = 3  # besides the libpq connections that load streams, read the tail and append
STREAMS_PER_PAGE_MAX = 101  # a page of 100, and one more to see whether there is another page
PAGE_EVENTS_MAX = 500
POSITION_MAX = 2**63 - 1
FOLDED_AT_ONCE_BYTES = 256 * 1024  # of events; folding blocks the event loop, so others run in between

SINCE, PAGE = b"igob_since", b"igob_page"  # names of prepared statements


class LogGap(Exception):
    """A position or version is missing. By construction this can't happen."""


class Entry(msgspec.Struct, frozen=True, gc=False):
    """An event as stored in the log; `Log.event` decodes it."""

    position: int
    stream: StreamName
    version: int
    name: str
    state: bytes


class Loaded(msgspec.Struct, gc=False):
    """A stream as it was at `version` (0 = no event yet).

    `weight_bytes` is the size of its events in the log; `sealed`: it has personal data. `segment` is the part of a
    cache that holds it, 0 for none. Searching the segments for each event would take longer than folding it.
    """

    version: int
    state: Any
    weight_bytes: int = 0
    sealed: bool = False
    segment: int = 0


class Log:
    """One municipality's log, for the application's role. Open it in the event loop that uses it."""

    def __init__(self, conninfo: str, *, schema: str, secret: Secret) -> None:
        self._secret = secret
        self._codec = Codec()
        self._statements = Statements(schema)
        self._readers = Readers(conninfo, connections_max=READ_CONNECTIONS_MAX)
        self._rows = self._readers.rows
        self._connector = Connector(conninfo, f"igob {uuid.uuid4()}")
        self._writer = Writer(
            self._connector, self._statements, codec=self._codec, secret=secret, keys_of=self._keys_of
        )
        self._reader = self._statement_connection("reads", SINCE, self._statements.since_libpq)
        self._tail = self._statement_connection("tail", PAGE, self._statements.page_libpq)

    async def open(self) -> None:
        """Connect. Raises Unavailable."""
        await self._readers.open()
        with suppress(*NO_ANSWER):  # the first load tries again
            await self._reader.open()

    async def close(self) -> None:
        self._connector.closed = True
        await self._writer.drop()
        await self._reader.close()
        await self._tail.close()
        await self._readers.close()

    async def head(self) -> int:
        """The position of the last event; 0 for an empty log. Raises Unavailable."""
        ((position,),) = await self._rows(self._statements.head)
        return int(position)

    async def load(
        self, streams: Iterable[StreamName], *, redacted: Collection[StreamName] = (), until: int | None = None
    ) -> dict[StreamName, Loaded]:
        """The states of these streams at one moment: now, or at the position `until`.

        Each has an entry, even if it has no events. For streams in `redacted` no keys are loaded: personal fields are
        None, as if erased. Raises Unavailable.
        """
        loaded = {name: Loaded(version=0, state=fold_of(name).initial()) for name in streams}
        await self._read(loaded, redacted, until, pauses=True)
        return loaded

    async def catch_up(self, loaded: Mapping[StreamName, Loaded]) -> None:
        """Bring these streams up to date, all to one moment. Raises Unavailable."""
        await self._read(loaded, (), None, pauses=False)

    async def _read(
        self, loaded: Mapping[StreamName, Loaded], redacted: Collection[StreamName], until: int | None, *, pauses: bool
    ) -> None:
        """Fold the events that these streams do not have yet. With `pauses`, others run in between: nobody else may
        have these streams.
        """
        if not loaded:
            return
        seen = column([str(stream.version) for stream in loaded.values()])
        rows = await self._since(column(list(loaded)), seen, POSITION_MAX if until is None else until)
        subjects: set[str] = set()
        sealed: set[StreamName] = set()  # a guardian's stream has personal data of several subjects
        for name, _, topic, state in rows:
            if name not in redacted and (subject := self._codec.sealed_subject(topic, state)):
                subjects.add(subject)
                sealed.add(name)
        keys = await self._keys_of(subjects)
        folded_bytes = 0
        for name, version, topic, state in rows:
            folded_bytes += len(state)
            if pauses and folded_bytes > FOLDED_AT_ONCE_BYTES:
                await asyncio.sleep(0)
                folded_bytes = 0
            stream = loaded[name]
            event = self._codec.decode(topic, state, {} if name in redacted else keys)
            stream.state = fold_of(name).evolve(stream.state, event)
            stream.version = version
            stream.weight_bytes += len(state)
            stream.sealed |= name in sealed

    async def _since(self, names: str, seen: str, until: int) -> list[tuple[StreamName, int, str, bytes]]:
        """The events after these versions, up to a position.

        They are read through libpq, or through the pool while that connection is in use.
        """
        found = await self._execute_read(self._reader, (names.encode(), seen.encode(), until.to_bytes(8, "big")))
        if found is None:
            return await self._rows(self._statements.since, (names, seen, until))
        value = found.get_value
        return [
            (as_text(value(n, 0)), as_number(value(n, 1)), as_text(value(n, 2)), value(n, 3) or b"")
            for n in range(found.ntuples)
        ]

    async def state(self, stream: StreamName) -> Any:
        """The state of one stream now."""
        return (await self.load([stream]))[stream].state

    async def since(self, position: int) -> list[Entry]:
        """The events after this position, in order, at most PAGE_EVENTS_MAX. Raises Unavailable, LogGap."""
        page = await self._page(position)
        for expected, entry in enumerate(page, start=position + 1):
            if entry.position != expected:
                raise LogGap(f"position {entry.position} follows {expected - 1}")
        return page

    async def _page(self, position: int) -> list[Entry]:
        """The next page. Live fields read it fifty times a second, so it has its own libpq connection."""
        found = await self._execute_read(self._tail, (position.to_bytes(8, "big"), PAGE_EVENTS_MAX.to_bytes(4, "big")))
        if found is None:
            return [Entry(*row) for row in await self._rows(self._statements.page, (position, PAGE_EVENTS_MAX))]
        value = found.get_value
        return [
            Entry(
                as_number(value(n, 0)),
                as_text(value(n, 1)),
                as_number(value(n, 2)),
                as_text(value(n, 3)),
                value(n, 4) or b"",
            )
            for n in range(found.ntuples)
        ]

    async def history(self, stream: StreamName) -> list[Entry]:
        """All events of a stream at one moment, in order. Raises Unavailable."""
        return [Entry(*row) for row in await self._rows(self._statements.history, (stream,))]

    def event(self, entry: Entry) -> Event:
        """The event of an entry; no keys are loaded, so personal fields are None. Raises UnknownEvent."""
        return self._codec.decode(entry.name, entry.state, {})

    async def stream_names(self, prefix: str, *, after: str = "", first: int) -> list[StreamName]:
        """Names of streams that begin with `prefix`, in order, from the one after `after`; at most `first` (≤ 101)."""
        if first > STREAMS_PER_PAGE_MAX:
            raise ValueError(f"at most {STREAMS_PER_PAGE_MAX} names at a time")
        end = prefix[:-1] + chr(ord(prefix[-1]) + 1)
        parameters = (max(prefix, after), end, first)
        return [row[0] for row in await self._rows(self._statements.names, parameters)]

    async def positions(self, events: Sequence[tuple[StreamName, int]]) -> list[int | None]:
        """The positions of events by stream and version, in this order; None if there is none. Raises Unavailable."""
        names, versions = [name for name, _ in events], [version for _, version in events]
        return [row[0] for row in await self._rows(self._statements.positions, (names, versions))]

    async def written(self, key: Key, position: int) -> bool:
        """Whether the event at this position was written by the command with this key. Raises Unavailable."""
        return bool(await self._rows(self._statements.written, (position, key.name)))

    def batch(self) -> Batch:
        """A batch for `append`, empty."""
        return Batch(self._codec)

    def append(self, batch: Batch) -> "asyncio.Future[Appended | Conflict]":
        """Write the whole batch, or nothing, in one round trip. After Appended, the batch is on disk.

        One at a time per Log. Raises Unavailable: send the batch again; its keys tell whether it was written.
        """
        return self._writer.append(batch)

    def locked(self) -> AbstractAsyncContextManager[None]:
        """Hold the log's lock during the block: streams that are loaded in it can't change before the append.

        The append is on disk when the block has ended. Other processes wait, in order of arrival. Raises Unavailable.
        """
        return self._writer.locked()

    def _statement_connection(self, name: str, prepared: bytes, statement: bytes) -> StatementConnection:
        """A connection for this statement alone. It first ends an abandoned predecessor, see END_FORMER."""

        async def connect() -> LibpqConnection:
            async with asyncio.timeout(connections.READ_TIMEOUT_S):
                return await self._connector.open(name, prepared, statement, 0)

        return StatementConnection(prepared, connect)

    async def _execute_read(self, connection: StatementConnection, parameters: Sequence[bytes]) -> Result | None:
        """The result of its statement; None if the connection is in use. Raises Unavailable."""
        try:
            return await connection.execute(parameters, timeout_s=connections.READ_TIMEOUT_S)
        except NO_ANSWER as error:
            raise Unavailable(str(error)) from error

    async def _keys_of(self, subjects: set[str]) -> dict[str, bytes]:
        """Keys are loaded each time, so that no process can use a cached key after an erasure."""
        if not subjects:
            return {}
        rows = await self._rows(self._statements.keys, (sorted(subjects),))
        return {subject: self._secret.unwrap(wrapped) for subject, wrapped in rows}
