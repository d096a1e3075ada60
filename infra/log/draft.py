"""A batch while the committer decides it: the states of its streams, and the results of its commands."""

from collections.abc import Callable
from typing import Any

import msgspec

from domain.decider import Event, Recorded, StreamName, copied
from domain.errors import Rejected
from infra.log.batch import Batch
from infra.log.log import Loaded
from infra.log.submission import Key, Waiting


class Work(msgspec.Struct, gc=False):
    """A stream in a batch: its state as found, and what the batch adds to it.

    `state` belongs to the cache or to the previous batch until it is read after this batch wrote to it; from then on it
    is a copy (`owned`). So events that are not on disk never get into a state that outlives the batch.
    `sealed`: the batch adds personal data.
    """

    remembered: Loaded
    state: Any
    version: int
    evolve: Callable[[Any, Event], Any]
    owned: bool = False
    pending: list[Event] = []
    written_bytes: int = 0
    sealed: bool = False

    def current(self) -> Any:
        """The stream's state with all that the batch added so far."""
        if self.pending:
            if not self.owned:
                self.state, self.owned = copied(self.state), True
            self.fold()
        return self.state

    def fold(self) -> None:
        state, evolve = self.state, self.evolve
        for event in self.pending:
            state = evolve(state, event)
        self.state = state
        self.pending.clear()


class Draft(msgspec.Struct):
    """A batch being decided, on top of the one `before` it, which is being written."""

    batch: Batch
    before: "Draft | None" = None
    fresh: bool = False  # the log is locked: cached states are brought up to date before use
    waiting: dict[Key, Waiting] = {}
    work: dict[StreamName, Work] = {}
    accepted: list[tuple[Waiting, int, list[Recorded]]] = []
    refused: list[tuple[Waiting, Rejected]] = []
    parties_seen: dict[StreamName, tuple[int, bool]] = {}  # stream version, and whether known
    unknown_parties: dict[Key, Rejected] = {}  # refusals, by command
    failed: bool = False
