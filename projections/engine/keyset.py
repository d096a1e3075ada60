"""Pages of lists by key: the rows after a row, or before one, which an index finds without reading those skipped.

The order of a list is declared once. SQL, and the cursors that clients get, follow from it:

    BY_START = ColumnOrder(AppointmentRow, "start", "appointment")

    page = BY_START.keyset(part)
    f"SELECT * FROM {{visits}} WHERE patient = %(patient)s{page.where()} ORDER BY {page.order()} LIMIT %(limit)s"
"""

from collections.abc import Callable
from typing import Any, Generic, NamedTuple, TypeVar, get_type_hints

import msgspec

T = TypeVar("T")
Key = tuple[Any, ...]


class Range(msgspec.Struct, frozen=True):
    """A part of a list: its first `limit` items, or its last, `backward`, between two keys that are not in it.

    A query returns the rows of a `backward` part in reverse order: the last of the list first.
    """

    limit: int
    after: Key | None = None
    before: Key | None = None
    backward: bool = False


class Order(Generic[T]):
    """The order of a list: the key of an item, by which items are sorted and which no two have.

    `form` is the key's type, such as `tuple[int]`.
    """

    def __init__(self, form: Any, key: Callable[[T], Key]) -> None:
        self.key = key
        self.decoder: msgspec.json.Decoder[Key] = msgspec.json.Decoder(form)


class ColumnOrder(Order[T]):
    """The order by these columns, which no two rows share; `descending`: from the highest to the lowest."""

    def __init__(self, row: type[T], *columns: str, descending: bool = False) -> None:
        types = get_type_hints(row)
        form = tuple.__class_getitem__(tuple(types[column] for column in columns))
        super().__init__(form, lambda one: tuple([getattr(one, column) for column in columns]))
        self._columns = columns
        self._descending = descending

    def keyset(self, part: Range) -> "Keyset":
        """The SQL for a part of the list."""
        bounds = {"after": part.after, "before": part.before}
        parameters = {f"{name}_{n}": value for name, key in bounds.items() for n, value in enumerate(key or ())}
        return Keyset(self._columns, self._descending, part, parameters | {"limit": part.limit})


class Keyset(NamedTuple):
    """The SQL for a part of a list. `parameters` has those of the condition, and `limit`."""

    columns: tuple[str, ...]
    descending: bool
    part: Range
    parameters: dict[str, Any]

    def where(self, table: str = "") -> str:
        """The condition, with " AND" before it; "" if there is none. `table`: its name before each column: "t."."""
        columns = ", ".join(f"{table}{column}" for column in self.columns)
        after, before = ("<", ">") if self.descending else (">", "<")
        return "".join(
            f" AND ({columns}) {sign} ({', '.join(f'%({name}_{n})s' for n in range(len(key)))})"
            for name, sign, key in (("after", after, self.part.after), ("before", before, self.part.before))
            if key is not None
        )

    def order(self, table: str = "") -> str:
        """The columns for ORDER BY."""
        direction = " DESC" if self.descending != self.part.backward else ""
        return ", ".join(f"{table}{column}{direction}" for column in self.columns)
