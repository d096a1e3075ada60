"""The log's end, looked at once for all read models of a process: nearly always they are all there."""

import threading
import time
from collections import deque

import psycopg

from projections.generations import Places
from projections.pages import Page, Pages

POLL_S = 0.02
LATE_S = 0.25  # after so long without a look nobody counts on the next
LOOK_ANYWAY_S = 1.0  # whoever waits looks for himself then, whatever became of the one who reads
KEPT_PAGES_MAX = 100
KEPT_EVENTS_MAX = 5_000
KEPT_BYTES_MAX = 8 * 2**20  # of events; the last page is always kept, however large


class Ended(Exception):
    """Somebody said meanwhile that what is read here counts no more."""


class Tail:
    """What was written lately: one thread reads it, the others are told and take what follows their own position.

    It spares them questions. Who is behind what is kept here, or finds nobody reading, asks the log.
    """

    def __init__(self, places: Places) -> None:
        self._places = places
        self._pages = Pages(places)
        self._kept: deque[tuple[Page, int]] = deque()  # with the bytes of its events
        self._last = 0
        self._is_read = False
        self._looked_at_s = 0.0
        self._news = threading.Condition()

    def begin(self, connection: psycopg.Connection) -> None:
        """From now on `look` is called, every POLL_S; what is there already is not read."""
        head = self._places.head(connection)
        with self._news:
            self._last, self._is_read, self._looked_at_s = head, True, time.monotonic()

    def look(self, connection: psycopg.Connection) -> int:
        """Read a page of what is new, and tell those who wait: how many events it had.

        Raises LogHasGap, psycopg.OperationalError; Ended if `end` was called meanwhile.
        """
        page = self._pages.read(connection, None, after=self._last)
        with self._news:
            if not self._is_read:
                raise Ended
            self._looked_at_s = time.monotonic()
            if page is None:
                return 0
            self._kept.append((page, sum(len(entry.state) for entry in page.entries)))
            self._last = page.last
            self._trim()
            self._news.notify_all()
        return page.events

    def end(self) -> None:
        """Each has to look for himself until somebody begins again.

        Also for who lost his connection: behind the next one there may be another server, which has not all of this.
        """
        with self._news:
            self._is_read = False
            self._kept.clear()
            self._news.notify_all()

    def after(self, position: int) -> Page | None:
        """All that follows a position and was read; None if that is nothing, or not the whole of it is kept."""
        with self._news:
            kept = [page for page, _ in self._kept if page.last > position]
        if not kept or kept[0].first > position + 1:
            return None
        entries = kept[0].entries[position + 1 - kept[0].first :]
        for page in kept[1:]:
            entries += page.entries
        return Page(position + 1, kept[-1].last, entries)

    def wait(self, position: int, stop: threading.Event) -> None:
        """Wait until something follows the position, or for as long as it takes until one should look for oneself."""
        with self._news:
            if self._is_read and time.monotonic() - self._looked_at_s < LATE_S:
                self._news.wait_for(lambda: self._last > position or not self._is_read, LOOK_ANYWAY_S)
                return
        stop.wait(POLL_S)

    def _trim(self) -> None:
        events = sum(page.events for page, _ in self._kept)
        size = sum(page_bytes for _, page_bytes in self._kept)
        while len(self._kept) > 1 and (
            len(self._kept) > KEPT_PAGES_MAX or events > KEPT_EVENTS_MAX or size > KEPT_BYTES_MAX
        ):
            page, page_bytes = self._kept.popleft()
            events -= page.events
            size -= page_bytes
