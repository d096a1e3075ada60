"""The definition of a read model: its table, the events that it wants, and how they change its rows."""

from collections.abc import Callable, Collection
from typing import Any

import msgspec

from domain.decider import UPCASTERS, Event, StreamName
from projections.engine.columns import Columns, columns_of

Decode = Callable[[str, bytes], Event]  # stable name and stored JSON → the event


class Row(msgspec.Struct, gc=False):
    """A row of a read model. Its first field is the key, a text. Folds may change it in place."""


class Entry(msgspec.Struct, frozen=True, gc=False):
    """An event with its position in the log."""

    position: int
    stream: StreamName
    event: Event


class Projection(msgspec.Struct, frozen=True):
    """A read model.

    Attributes:
        name: its name for people.
        version: raise it whenever rows would come out differently: the table is then rebuilt.
        row: its row; its fields are the columns, see columns.py.
        indexes: the columns of each index besides the key's, as SQL.
        events: the events that it wants.
        keys: the keys of the rows that an event changes.
        evolve: returns a row after an event; the row is None if there is none. It is called for each key.
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
            # A read model would keep personal data after an erasure.
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
        """The names under which the wanted events are stored, including their old versions."""
        wanted = {event.event_name for event in self.events}
        return sorted(wanted | {old for old in UPCASTERS if _newest(old) in wanted})


def _newest(name: str) -> str:
    while name in UPCASTERS:
        name = UPCASTERS[name].to
    return name
