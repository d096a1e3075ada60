"""A batch for the log: its columns, the SQL calls that append it, and the results."""

from collections.abc import Sequence
from typing import Any

import msgspec

from domain.decider import Event, StreamName
from infra.log.codec import Codec, subject_of
from infra.log.submission import Key

# One parameter per column, in the order of the function in infra/postgres/migrations/0003_append.sql.
PLAIN_PARAMETERS = 12
NULL = "\\N"
NO_COLUMNS: tuple[tuple[Any, ...], ...] = ((),) * 5


def column(values: Sequence[str]) -> str:
    """A column in the form that the append takes: one line per row. Raises ValueError if a value has a line break."""
    text = "\n".join(values)
    if text.count("\n") >= max(len(values), 1):
        raise ValueError("a value of a batch has a line break")
    return text


class Batch:
    """The content of one append, as columns: see infra/postgres/migrations/0003_append.sql.

    `read` has the version of each stream that was read (0 = no event yet). Events are encoded as they are added, so
    that little is left to do before sending; those with personal fields wait for their subject's key.
    """

    def __init__(self, codec: Codec) -> None:
        self.read: dict[StreamName, int] = {}
        self.commands: list[tuple[str, str, str, str, str]] = []  # key, digest, actor, correlation, events until here
        self.events: list[tuple[StreamName, str, str, bytes, str]] = []  # stream, version, name, state, its command
        self.begun: set[StreamName] = set()
        self.personal: list[tuple[int, Event]] = []  # with their place in `events`
        self.erased: list[str] = []
        self._codec = codec

    def add(self, stream: StreamName, version: int, event: Event) -> int:
        """Add an event of the command that is accepted next. Returns the size of its state; 0 if it is sealed later.

        Versions count from 1 in each stream.
        """
        if version == 1:
            self.begun.add(stream)
        if event.personal_fields:
            self.personal.append((len(self.events), event))
            state = b""
        else:
            state = self._codec.encode(event)
        if event.erases_subject:
            self.erased.append(subject_of(event))
        self.events.append((stream, str(version), event.event_name, state, str(len(self.commands) + 1)))
        return len(state)

    def accept(self, key: Key, digest: bytes, correlation: str) -> int:
        """Accept a command with the events added since the last one. Returns the number of events so far."""
        number = len(self.events)
        self.commands.append((key.name, digest.hex(), key.by or key.actor, correlation or NULL, str(number)))
        return number

    def refuse(self, key: Key) -> None:
        """Add a refused command: its key is looked up, and nothing of it is stored."""
        self.commands.append((key.name, "", key.by or key.actor, NULL, NULL))

    @property
    def plain(self) -> bool:
        """Whether the batch needs no subject key: it has no personal data and no erasure."""
        return not (self.personal or self.erased)

    def columns(self) -> tuple[str, ...]:
        """The first PLAIN_PARAMETERS parameters of the append. Raises ValueError if a value has a line break."""
        # A stream that was empty and begins here needs no version check: its first event can't be inserted twice.
        checked = {stream: seen for stream, seen in self.read.items() if seen or stream not in self.begun}
        keys, digests, actors, correlations, written = zip(*self.commands, strict=True) if self.commands else NO_COLUMNS
        streams, versions, names, states, commands = zip(*self.events, strict=True) if self.events else NO_COLUMNS
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
        )


class Appended(msgspec.Struct, frozen=True):
    """The batch is on disk: entry n (from 1) has position `base` + n."""

    base: int


class Conflict(msgspec.Struct, frozen=True):
    """Nothing was written. Has the streams that have new events, with these events, and the keys already used."""

    stale: dict[StreamName, int]
    missed: dict[StreamName, list[Event]]
    missed_bytes: dict[StreamName, int]
    known: dict[str, tuple[bytes, int]]
