"""States of streams that were used lately, as they were when last seen: bounded, and never trusted without a check."""

from collections import OrderedDict

from domain.decider import StreamName
from infra.log import Loaded

CACHE_BYTES_MAX = 32 * 1024 * 1024  # of events in the log; the states made of them take some times that in memory
STREAM_BYTES = 500  # what a stream weighs beside its events, so that empty ones count too


class StateCache:
    """The least recently used go first. The append checks each version, so an old state costs a retry, never a lie."""

    def __init__(self, bytes_max: int = CACHE_BYTES_MAX) -> None:
        self._bytes_max = bytes_max
        self._bytes = 0
        self._streams: OrderedDict[StreamName, Loaded] = OrderedDict()

    def __len__(self) -> int:
        return len(self._streams)

    @property
    def weight_bytes(self) -> int:
        return self._bytes

    def get(self, stream: StreamName) -> Loaded | None:
        found = self._streams.get(stream)
        if found is not None:
            self._streams.move_to_end(stream)
        return found

    def put(self, stream: StreamName, loaded: Loaded) -> None:
        """Keep it, unless personal data are in it: those are read when they are needed and not kept."""
        self.drop(stream)
        if loaded.sealed:
            return
        self._streams[stream] = loaded
        self._bytes += loaded.weight_bytes + STREAM_BYTES
        loaded.kept = True

    def grew(self, loaded: Loaded, weight_bytes: int) -> None:
        """Account for events that were folded into a state, kept here or not."""
        loaded.weight_bytes += weight_bytes
        if loaded.kept:
            self._bytes += weight_bytes

    def drop(self, stream: StreamName) -> None:
        loaded = self._streams.pop(stream, None)
        if loaded is not None:
            self._let_go(loaded)

    def _let_go(self, loaded: Loaded) -> None:
        self._bytes -= loaded.weight_bytes + STREAM_BYTES
        loaded.kept = False

    def trim(self) -> None:
        """Let go of what is over the bound."""
        while self._bytes > self._bytes_max and self._streams:
            _, loaded = self._streams.popitem(last=False)
            self._let_go(loaded)
