"""What a read model is: a table, the events that count, and how they change its rows."""

from collections.abc import Callable, Collection
from typing import Any

import msgspec

from domain.decider import UPCASTERS, Event, StreamName
from projections.engine.columns import Columns, columns_of

Decode = Callable[[str, bytes], Event]  # stable name and stored JSON → the event


class Row(msgspec.Struct, gc=False):
    """A row of a read model; its first field is the key, a text. It belongs to the runner, and folds may change it."""


class Entry(msgspec.Struct, frozen=True, gc=False):
    """An event where it stands in the log."""

    position: int
    stream: StreamName
    event: Event


class Projection(msgspec.Struct, frozen=True):
    """A read model.

    Attributes:
        name: by which people call it.
        version: raise it whenever rows would come out otherwise: the table is made anew then.
        row: its row; its fields are the columns, see columns.py.
        indexes: columns of each index, as SQL, beside that of the key.
        events: which events count.
        keys: which rows an event changes.
        evolve: what becomes of a row that the event changes; None where there is none. It gets each key in turn.
        created_by: those of `events` that create a row. They set all columns and seldom find an existing row, so it is
            not looked up first.
    """

    name: str
    version: int
    row: type[Row]
    indexes: tuple[str, ...]
    events: Collection[type[Event]]
    keys: Callable[[Entry], tuple[str, ...]]
    evolve: Callable[[Any, Entry, str], Row | None]
    created_by: Collection[type[Event]] = ()

    def __post_init__(self) -> None:
        columns_of(self.row)  # raises if a field has no column type
        for event in self.events:
            # A view would outlive an erasure, and nothing else says when that has to be undone.
            assert not event.personal_fields, f"{self.name}: {event.event_name} has personal fields"
        assert set(self.created_by) <= set(self.events), f"{self.name}: created_by has events that are not in `events`"

    @property
    def columns(self) -> Columns:
        return columns_of(self.row)

    @property
    def key(self) -> str:
        """The name of the key's column."""
        return self.row.__struct_fields__[0]

    def topics(self) -> list[str]:
        """Names under which the events that count are stored, in their old versions too."""
        wanted = {event.event_name for event in self.events}
        return sorted(wanted | {old for old in UPCASTERS if _newest(old) in wanted})


def _newest(name: str) -> str:
    while name in UPCASTERS:
        name = UPCASTERS[name].to
    return name
