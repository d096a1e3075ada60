"""Live fields: followed streams are folded once per process, by one poller, from the log itself.

While any stream is followed, the poller reads new events from the log every POLL_S, once for all followers. Each
followed stream has one state, and all its followers get the same immutable snapshot. A slow follower finds the newest
snapshot when it comes back: no others are kept for it.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Hashable, Iterable
from contextlib import asynccontextmanager
from itertools import islice
from typing import Any

import msgspec

from domain.copy_on_write import CopyOnWriteDict
from domain.decider import Event, StreamName, copied, fold_of
from domain.errors import Rejected
from domain.identifiers import category_of
from infra.log.log import PAGE_EVENTS_MAX, Entry, Log, LogGap
from infra.log.submission import Overloaded
from infra.postgres.connections import Unavailable
from infra.running.logging import log_failure

POLL_S = 0.02
RETRY_S = 0.2  # while the database does not answer
LOADED_AT_ONCE_MAX = 20  # streams, between two pages of the log
LOAD_TIMEOUT_S = 10  # how long a new follower waits for the first state; later ones may take any time
FOLLOWERS_MAX = 5_000  # in this process
FOLLOWED_BYTES_MAX = 64 * 1024 * 1024  # of events of all followed streams; their states take a few times as much
SHARED_ANSWERS_MAX = 16  # different answers kept for a snapshot
SHARED_FOR_S = 0.2  # answers depend on the time, so they are shared no longer than this


class Answer:
    """The answer for all followers with the same question and position: one of them makes it for all."""

    def __init__(self) -> None:
        self.ready = asyncio.Event()
        self.text: str | None = None  # stays None if its maker was cancelled
        self._made_at_s = 0.0

    def give(self, text: str | None) -> None:
        self.text = text
        self._made_at_s = time.monotonic()
        self.ready.set()

    @property
    def is_over(self) -> bool:
        """Whether the answer must be made again."""
        return self.ready.is_set() and (self.text is None or time.monotonic() - self._made_at_s > SHARED_FOR_S)


class Snapshot(msgspec.Struct, eq=False):
    """A stream at `position`, the position of its last event; 0 if it has none yet.

    `touched` has the position of the last event that touches each entity that the fold names. `answers` has the answers
    made from the snapshot, keyed by question and `previous`; `computed` is shared by all answers.
    """

    position: int
    version: int
    state: Any
    touched: CopyOnWriteDict[str, int]
    answers: dict[Hashable, Answer] = {}
    computed: Any = None

    def then(self, stream: StreamName, news: Iterable[tuple[Entry, Event]]) -> "Snapshot":
        """The stream after these further events. Raises LogGap if a version is missing."""
        state, touched = copied(self.state), self.touched.copy()
        position, version, fold = self.position, self.version, fold_of(stream)
        evolve, touches = fold.evolve, fold.touches
        for entry, event in news:
            if entry.version != version + 1:
                raise LogGap(f"version {entry.version} of a stream follows {version}")
            state = evolve(state, event)
            position, version = entry.position, entry.version
            if touches:
                for entity in touches(event):
                    touched[entity] = position
        return Snapshot(position=position, version=version, state=state, touched=touched)


class Change(msgspec.Struct, frozen=True):
    """A change for a follower: the newest state, and the position of the previous one sent."""

    position: int
    previous: int | None
    snapshot: Snapshot


class _Followed:
    """A stream with its followers. `changed` is set when there is a new snapshot, or following has ended."""

    def __init__(self) -> None:
        self.snapshot: Snapshot | None = None
        self.changed = asyncio.Event()
        self.failure: Exception | None = None
        self.followers = 0
        self.weight_bytes = 0

    def publish(self, snapshot: Snapshot) -> None:
        self.snapshot = snapshot
        self._wake()

    def fail(self, error: Exception) -> None:
        self.failure = error
        self._wake()

    def _wake(self) -> None:
        changed, self.changed = self.changed, asyncio.Event()
        changed.set()


# Returns the position of the last change that concerns a follower.
Concerns = Callable[[Snapshot], int]


def whole_stream(snapshot: Snapshot) -> int:
    """Every event concerns the follower."""
    return snapshot.position


def one_entity(stream: StreamName, entity: str, *, any_while: Callable[[Any], bool] | None = None) -> Concerns:
    """Only events that touch one entity of the stream concern the follower.

    While `any_while(state)` is true, every event does, because other events then change how the entity is shown.
    Raises TypeError if the fold of the stream does not say which entities its events touch.
    """
    if fold_of(stream).touches is None:
        category = category_of(stream)
        raise TypeError(f'no entity of "{stream}" can be followed: @evolves("{category}", …) declares no `touches`')

    def concerns(snapshot: Snapshot) -> int:
        if any_while is not None and any_while(snapshot.state):
            return snapshot.position
        return snapshot.touched.get(entity, 0)

    return concerns


class Following:
    """One client that follows a stream, or the part of it that `concerns` them."""

    def __init__(self, followed: _Followed, *, after: int | None, concerns: Concerns) -> None:
        self._followed = followed
        self._seen = after
        self._concerns = concerns
        self._making: tuple[Snapshot, Answer] | None = None

    @property
    def position(self) -> int:
        """The position of the last change that was sent; 0 if there was none."""
        return self._seen or 0

    async def snapshot(self, having: Callable[[Any], bool] = lambda state: True) -> Snapshot:
        """The newest snapshot, once its state satisfies `having`. Raises Unavailable if that takes too long."""
        try:
            async with asyncio.timeout(LOAD_TIMEOUT_S):
                while (snapshot := self._now()) is None or not having(snapshot.state):
                    await self._followed.changed.wait()
        except TimeoutError:
            raise Unavailable("no state yet") from None
        return snapshot

    async def change(self) -> Change:
        """The next change, as soon as there is one. It counts as sent from now on."""
        change = await self._awaited()
        self._seen = change.position
        return change

    def take_back(self, change: Change) -> None:
        """Undo `change()` for a change that was not sent: the next call returns it again, or a later state."""
        self._seen = change.previous

    async def answer(self, question: Hashable) -> str | None:
        """Wait for a change and return the shared answer for this question and position. It counts as sent.

        None if this follower has to make the answer: get the `change`, then call `made`.
        """
        while True:
            snapshot = (await self._awaited()).snapshot
            key = question, self._seen
            found = snapshot.answers.get(key)
            if found is None or found.is_over:
                if found or len(snapshot.answers) < SHARED_ANSWERS_MAX:
                    self._making = snapshot, Answer()
                    snapshot.answers[key] = self._making[1]
                return None
            await found.ready.wait()
            if found.text is not None and (change := self._news()) and change.snapshot is snapshot:
                self._seen = change.position
                return found.text

    def made(self, of: Snapshot | None, text: str | None) -> None:
        """Share an answer with the others. If it is None, or its snapshot is not the expected one, another makes it."""
        if self._making:
            snapshot, answer = self._making
            self._making = None
            answer.give(text if snapshot is of else None)

    async def _awaited(self) -> Change:
        while (change := self._news()) is None:
            await self._followed.changed.wait()
        return change

    def _now(self) -> Snapshot | None:
        if self._followed.failure:
            raise self._followed.failure
        return self._followed.snapshot

    def _news(self) -> Change | None:
        snapshot = self._now()
        if snapshot is None:
            return None
        position = self._concerns(snapshot)
        if self._seen is not None and position <= self._seen:
            return None
        return Change(position=position, previous=self._seen, snapshot=snapshot)


class PositionUnknown(
    Rejected,
    es="El registro todavía no llegó a esa posición.",
    en="The log has not reached that position yet.",
): ...


class Live:
    """All followed streams of this process, and the poller."""

    def __init__(self, log: Log) -> None:
        self._log = log
        self._followed: dict[StreamName, _Followed] = {}
        self._new: dict[StreamName, _Followed] = {}  # streams without a state; spares a scan of all followed streams
        self._followers = 0
        self._weight_bytes = 0
        self._poller: asyncio.Task[None] | None = None
        self._position = 0  # the position up to which the log was read

    @property
    def followers(self) -> int:
        return self._followers

    @property
    def streams(self) -> int:
        """The number of followed streams."""
        return len(self._followed)

    @asynccontextmanager
    async def follow(
        self, stream: StreamName, *, after: int | None, concerns: Concerns = whole_stream
    ) -> AsyncIterator[Following]:
        """Follow a stream from now on, or from `after` on, until the block ends.

        Raises Rejected: "position_unknown" if the log has not reached `after`, "overloaded" if too many streams are
        followed. Raises Unavailable.
        """
        if after is not None and after > self._position and after > await self._log.head():
            raise PositionUnknown(path="after")
        if self._followers >= FOLLOWERS_MAX or self._weight_bytes > FOLLOWED_BYTES_MAX:
            raise Overloaded()
        followed = self._followed.get(stream)
        if followed is None:
            followed = self._followed[stream] = self._new[stream] = _Followed()
        following = Following(followed, after=after, concerns=concerns)
        followed.followers += 1
        self._followers += 1
        if self._poller is None or self._poller.done():
            self._poller = asyncio.create_task(self._poll())
        try:
            yield following
        finally:
            following.made(None, "")
            self._followers -= 1
            followed.followers -= 1
            if not followed.followers and self._followed.get(stream) is followed:
                self._let_go(stream)

    async def stop(self) -> None:
        """Stop the poller. Followers get no more changes."""
        if self._poller:
            self._poller.cancel()
            await asyncio.wait({self._poller})

    async def _poll(self) -> None:
        """Read the log while any stream is followed, and survive failures of the database."""
        begun = False
        while self._followed:
            pause_s = POLL_S
            try:
                if not begun:
                    self._position, begun = await self._log.head(), True
                await self._load_new()
                if await self._read_page() == PAGE_EVENTS_MAX:
                    pause_s = 0
            except Unavailable:
                pause_s = RETRY_S
            except Exception as error:
                # What was sent may be wrong: end all followers, so that they start again.
                log_failure("following the log failed", error)
                self._fail_all(error)
                begun = False
            await asyncio.sleep(pause_s)

    async def _load_new(self) -> None:
        """Load the states of newly followed streams. They may be ahead of the position read so far."""
        for stream, followed in list(islice(self._new.items(), LOADED_AT_ONCE_MAX)):
            entries = await self._log.history(stream)
            if self._followed.get(stream) is not followed:
                continue  # its followers have left meanwhile
            self._new.pop(stream, None)
            empty = Snapshot(position=0, version=0, state=fold_of(stream).initial(), touched=CopyOnWriteDict())
            self._fold(stream, followed, empty, entries)

    async def _read_page(self) -> int:
        """Fold the next page of the log into the followed streams; return its number of events."""
        page = await self._log.since(self._position)
        news: dict[StreamName, list[Entry]] = {}
        for entry in page:
            followed = self._followed.get(entry.stream)
            if followed and followed.snapshot and entry.version > followed.snapshot.version:
                news.setdefault(entry.stream, []).append(entry)
        if page:
            self._position = page[-1].position
        for stream, entries in news.items():
            followed = self._followed[stream]
            assert followed.snapshot
            self._fold(stream, followed, followed.snapshot, entries)
        return len(page)

    def _fold(self, stream: StreamName, followed: _Followed, before: Snapshot, entries: list[Entry]) -> None:
        try:
            snapshot = before.then(stream, [(entry, self._log.event(entry)) for entry in entries])
        except Exception as error:  # an unknown event, for example: other streams go on
            log_failure("a stream can't be followed", error)
            followed.fail(error)
            if self._followed.get(stream) is followed:
                self._let_go(stream)
            return
        weight_bytes = sum(len(entry.state) for entry in entries)
        followed.weight_bytes += weight_bytes
        self._weight_bytes += weight_bytes
        followed.publish(snapshot)

    def _fail_all(self, error: Exception) -> None:
        for stream, followed in list(self._followed.items()):
            followed.fail(error)
            self._let_go(stream)

    def _let_go(self, stream: StreamName) -> None:
        self._weight_bytes -= self._followed.pop(stream).weight_bytes
        self._new.pop(stream, None)
