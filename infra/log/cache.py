"""A bounded cache of states of streams. A state may be old: the append checks its version."""

from collections import OrderedDict

from domain.decider import StreamName
from infra.log.log import Loaded

CACHE_BYTES_MAX = 128 * 2**20  # of events in the log, by default; states take a few times as much memory
ONCE_SHARE = 0.25  # the part for streams that were used once
ONCE, AGAIN = 1, 2  # values of Loaded.segment
STREAM_BYTES = 500  # the weight of a stream besides its events, so that empty ones count


class _Segment:
    """Streams in the order of their last use, and their total weight."""

    def __init__(self, number: int) -> None:
        self._number = number
        self.streams: OrderedDict[StreamName, Loaded] = OrderedDict()
        self.weight_bytes = 0

    def put(self, stream: StreamName, loaded: Loaded) -> None:
        self.streams[stream] = loaded
        loaded.segment = self._number
        self.weight_bytes += loaded.weight_bytes + STREAM_BYTES

    def take(self, stream: StreamName) -> Loaded | None:
        loaded = self.streams.pop(stream, None)
        if loaded is not None:
            loaded.segment = 0
            self.weight_bytes -= loaded.weight_bytes + STREAM_BYTES
        return loaded

    def take_oldest(self) -> None:
        self.take(next(iter(self.streams)))


class StateCache:
    """Evicts the least recently used states. An old state costs a retry, never a wrong decision.

    Most of the room is for streams that were used more than once: thousands of patients who come once must not push out
    the agendas that all of them use.
    """

    def __init__(self, bytes_max: int = CACHE_BYTES_MAX) -> None:
        self._bytes_max = bytes_max
        self._once = _Segment(ONCE)
        self._again = _Segment(AGAIN)

    def __len__(self) -> int:
        return len(self._once.streams) + len(self._again.streams)

    @property
    def weight_bytes(self) -> int:
        return self._once.weight_bytes + self._again.weight_bytes

    def get(self, stream: StreamName) -> Loaded | None:
        found = self._again.streams.get(stream)
        if found is not None:
            self._again.streams.move_to_end(stream)
            return found
        found = self._once.take(stream)
        if found is not None:
            self._again.put(stream, found)
        return found

    def put(self, stream: StreamName, loaded: Loaded) -> None:
        """Keep a state, unless it has personal data, which are read whenever they are needed."""
        self.drop(stream)
        if not loaded.sealed:
            self._once.put(stream, loaded)

    def grew(self, loaded: Loaded, weight_bytes: int) -> None:
        """Account for events that were folded into a state, kept here or not."""
        loaded.weight_bytes += weight_bytes
        if loaded.segment:
            (self._again if loaded.segment == AGAIN else self._once).weight_bytes += weight_bytes

    def drop(self, stream: StreamName) -> None:
        if self._again.take(stream) is None:
            self._once.take(stream)

    def trim(self) -> None:
        """Evict states until the cache is within its bound."""
        once, again = self._once, self._again
        while self.weight_bytes > self._bytes_max:
            over = once.streams and (once.weight_bytes > self._bytes_max * ONCE_SHARE or not again.streams)
            (once if over else again).take_oldest()
