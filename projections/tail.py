"""The log's end, looked at once for all read models of a process: nearly always they are all there."""

import threading
from collections import deque

import psycopg

from projections.generations import Places
from projections.pages import Page, Pages

POLL_S = 0.02
LOOK_ANYWAY_S = 1.0  # whoever waits looks for himself then, whatever became of the one who reads
KEPT_EVENTS_MAX = 5_000
KEPT_BYTES_MAX = 8 * 2**20  # of events; the last page is always kept, however large


class Tail:
    """What was written lately: one thread reads it, the others are told and take what follows their own position.

    It spares them questions, and nothing rests on it: who is behind what is kept here, or finds nobody reading, asks
    the log.
    """

    def __init__(self, places: Places) -> None:
        self._places = places
        self._pages = Pages(places)
        self._kept: deque[tuple[Page, int]] = deque()  # with the bytes of its events
        self._last = 0
        self._is_read = False
        self._news = threading.Condition()

    def begin(self, connection: psycopg.Connection) -> None:
        """From now on `look` is called, every POLL_S; what is there already is not read."""
        head = self._places.head(connection)
        with self._news:
            self._last, self._is_read = head, True

    def look(self, connection: psycopg.Connection) -> None:
        """Read all that is new, and tell those who wait. Raises LogHasGap, psycopg.OperationalError."""
        while page := self._pages.read(connection, None, after=self._last):
            with self._news:
                self._kept.append((page, sum(len(entry.state) for entry in page.entries)))
                self._last = page.last
                self._trim()
                self._news.notify_all()

    def end(self) -> None:
        """Nobody reads any more: each has to look for himself."""
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
            if self._is_read:
                self._news.wait_for(lambda: self._last > position or not self._is_read, LOOK_ANYWAY_S)
                return
        stop.wait(POLL_S)

    def _trim(self) -> None:
        events = sum(page.events for page, _ in self._kept)
        size = sum(page_bytes for _, page_bytes in self._kept)
        while len(self._kept) > 1 and (events > KEPT_EVENTS_MAX or size > KEPT_BYTES_MAX):
            page, page_bytes = self._kept.popleft()
            events -= page.events
            size -= page_bytes
