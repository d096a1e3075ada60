"""Reads the end of the log once for all read models of a process, since nearly always all of them are there."""

import threading
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
from psycopg import sql

from projections.engine.generations import Generation, Places
from projections.engine.pages import Page, Pages

POLL_S = 0.02
FRESH_S = 0.07  # from an event to the read models; 0.1 s are promised, the difference is a reserve
PAUSE_PER_WORK = 9  # pages take a tenth of the time, as far as FRESH_S allows
LATE_S = 0.25  # after this long without a look, followers read the log themselves
LOOK_ANYWAY_S = 1.0  # after this, a waiting thread reads the log itself, even if the reader hangs
KEPT_PAGES_MAX = 100
KEPT_EVENTS_MAX = 5_000
KEPT_BYTES_MAX = 8 * 2**20  # of events; the last page is always kept, however large


class Ended(Exception):
    """`end` was called while a page was read: the page is void."""


class Follower:
    """The position of one generation of a read model, and the events that it wants.

    The thread that folds it changes `position`. While that thread waits, the tail moves the position past pages without
    a wanted event.
    """

    def __init__(self, generation: Generation, topics: frozenset[str]) -> None:
        self.generation = generation
        self.topics = topics
        self.position = generation.position


def look_every_s(work_s: float) -> float:
    """The time from one look at the log to the next. `work_s`: from a look until the last read model has the page.

    A page costs nearly the same for few events as for many, so under load this looks less often and pages get larger.
    An event just after a look waits for this time and for the work on the next page: together at most FRESH_S. If the
    work alone takes longer, the result is POLL_S.
    """
    return max(min((1 + PAUSE_PER_WORK) * work_s, FRESH_S - work_s), POLL_S)


class _Waiter:
    """A thread in `wait`. `since_s`: when it started to wait, or was last moved."""

    def __init__(self, lock: threading.Lock, position: int, follower: Follower | None) -> None:
        self.news = threading.Condition(lock)  # one per thread, so that only the threads concerned wake up
        self.position = position
        self.follower = follower
        self.is_moving = False
        self.since_s = time.monotonic()

    def is_idle_in(self, page: Page) -> bool:
        """Whether it is at the page's start and wants none of its events."""
        return (
            self.follower is not None
            and self.position == page.first - 1
            and page.topics.isdisjoint(self.follower.topics)
        )


class Tail:
    """Recent pages of the log: one thread reads them, and the others take what follows their own position.

    This saves queries. A follower that is behind the kept pages, or finds no reader, reads the log itself. Waiting
    followers that want none of a page's events are moved past it by one statement, and their threads do not wake up.
    """

    def __init__(self, places: Places) -> None:
        self._places = places
        self._pages = Pages(places)
        self._kept: deque[tuple[Page, int]] = deque()  # with the bytes of its events
        self._last = 0
        self._is_read = False
        self._looked_at_s = 0.0
        self._lock = threading.Lock()
        self._waiters: set[_Waiter] = set()
        self._began_s = self._done_s = 0.0  # of the last page: when the look began, when the last read model had it
        self._work_before_s = 0.0  # the time that the previous page took
        self._move = (
            # Skip locked rows: a switch may hold a lock for a second, and the next look must not wait for it.
            sql.SQL(
                'UPDATE {generations} AS g SET "position" = %s FROM (SELECT g.name, g.generation'
                " FROM unnest(%s::text[], %s::int[]) AS w (name, generation)"
                " JOIN {generations} AS g ON g.name = w.name AND g.generation = w.generation"
                ' WHERE g.live AND g."position" = %s FOR UPDATE OF g SKIP LOCKED) AS idle'
                " WHERE g.name = idle.name AND g.generation = idle.generation RETURNING g.name"
            )
            .format(generations=places.generations)
            .as_bytes()
        )

    def begin(self, connection: psycopg.Connection) -> None:
        """Start at the end of the log. From now on `look` is called after every POLL_S and `next_look_in_s`."""
        head = self._places.head(connection)
        with self._lock:
            self._last, self._is_read, self._looked_at_s = head, True, time.monotonic()

    def look(self, connection: psycopg.Connection) -> int:
        """Read a new page, wake the threads that want its events, move the others; return its number of events.

        Raises LogHasGap, psycopg.OperationalError; Ended if `end` was called meanwhile.
        """
        began_s = time.monotonic()
        page = self._pages.read(connection, None, after=self._last)
        with self._lock:
            if not self._is_read:
                raise Ended
            self._looked_at_s = time.monotonic()
            if page is None:
                return 0
            self._work_before_s = self._done_s - self._began_s
            self._began_s, self._done_s = began_s, self._looked_at_s
            self._kept.append((page, sum([len(entry.state) for entry in page.entries])))
            self._last = page.last
            self._trim()
            idle = [waiter for waiter in self._waiters if waiter.is_idle_in(page)]
            for waiter in idle:
                waiter.is_moving = True
            for waiter in self._waiters:
                if not waiter.is_moving:
                    waiter.news.notify()
        if idle:
            self._move_past(page, idle, connection)
        return page.events

    def _move_past(self, page: Page, idle: list[_Waiter], connection: psycopg.Connection) -> None:
        """Move idle followers past a page. A thread whose follower can't be moved wakes up and moves itself."""
        generations = [waiter.follower.generation for waiter in idle if waiter.follower]
        moved: set[str] = set()
        try:
            names, numbers = [one.name for one in generations], [one.generation for one in generations]
            parameters = (page.last, names, numbers, page.first - 1)
            moved = {name for (name,) in connection.execute(self._move, parameters, prepare=True).fetchall()}
        finally:
            with self._lock:
                for waiter in idle:
                    waiter.is_moving = False
                    # A thread that stopped waiting because this took too long will raise Overtaken.
                    if waiter.follower and waiter.follower.generation.name in moved and waiter in self._waiters:
                        waiter.position = waiter.follower.position = page.last
                        waiter.since_s = self._done_s = time.monotonic()
                    else:
                        waiter.news.notify()

    def next_look_in_s(self) -> float:
        """Time until the next look is due. Call it POLL_S after the last look: most pages are done by then."""
        with self._lock:
            work_s = max(self._done_s - self._began_s, self._work_before_s)
            return max(self._began_s + look_every_s(work_s) - time.monotonic(), 0)

    def end(self) -> None:
        """From now on each follower reads the log itself, until `begin` is called again.

        Also called when a connection is lost: the next one may lead to another server, whose log may lack these pages.
        """
        with self._lock:
            self._is_read = False
            self._kept.clear()
            for waiter in self._waiters:
                waiter.news.notify()

    def after(self, position: int) -> Page | None:
        """All kept events after a position; None if there are none, or not all of them are kept."""
        with self._lock:
            kept = [page for page, _ in self._kept if page.last > position]
        if not kept or kept[0].first > position + 1:
            return None
        if len(kept) == 1 and kept[0].first == position + 1:
            return kept[0]
        entries = kept[0].entries[position + 1 - kept[0].first :]
        for page in kept[1:]:
            entries += page.entries
        return Page(position + 1, kept[-1].last, entries, frozenset([one.topic for one in entries]), kept[-1].written)

    def wait(self, position: int, stop: threading.Event, follower: Follower | None = None) -> None:
        """Wait until events follow the position, or until the caller should read the log itself.

        A `follower` is moved past pages without a wanted event while this waits.
        """
        with self._lock:
            if self._is_read and time.monotonic() - self._looked_at_s < LATE_S:
                self._done_s = time.monotonic()  # a lower bound if a new page came meanwhile
                with self._waiter(position, follower) as waiter:
                    self._wait(waiter)
                return
        stop.wait(POLL_S)

    @contextmanager
    def _waiter(self, position: int, follower: Follower | None) -> Iterator[_Waiter]:
        waiter = _Waiter(self._lock, position, follower)
        self._waiters.add(waiter)
        try:
            yield waiter
        finally:
            self._waiters.discard(waiter)

    def _wait(self, waiter: _Waiter) -> None:
        while self._is_read and (waiter.is_moving or waiter.position >= self._last):
            left_s = waiter.since_s + LOOK_ANYWAY_S - time.monotonic()
            if left_s <= 0:
                return
            waiter.news.wait(left_s)

    def _trim(self) -> None:
        events = sum(page.events for page, _ in self._kept)
        size = sum(page_bytes for _, page_bytes in self._kept)
        while len(self._kept) > 1 and (
            len(self._kept) > KEPT_PAGES_MAX or events > KEPT_EVENTS_MAX or size > KEPT_BYTES_MAX
        ):
            page, page_bytes = self._kept.popleft()
            events -= page.events
            size -= page_bytes
