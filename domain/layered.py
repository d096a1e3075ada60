"""A mapping that is cheap to copy when little of it changed since the last copies."""

from collections.abc import Iterable, Iterator, Mapping, MutableMapping
from typing import Any, TypeVar, overload

K = TypeVar("K")
V = TypeVar("V")
D = TypeVar("D")


class Layered(MutableMapping[K, V]):
    """Behaves as a dict, order included. A copy costs what changed since the last merge, not what the mapping holds.

    Copies share `_base`, which none of them changes. `_changes` has what was set since, `_hidden` the keys of the base
    that were removed since; a hidden key that is set again stands in `_changes`, so it comes last, as in a dict.
    A copy merges the layers into a new base once the copies since the last merge (`_copied_entries`) have cost as much
    as that does. So n copies with few changes each cost about sqrt(n) merges.
    """

    __slots__ = ("_base", "_changes", "_copied_entries", "_hidden", "_size")

    def __init__(self, entries: Mapping[K, V] | Iterable[tuple[K, V]] = ()) -> None:
        self._base: dict[K, V] = {}
        self._changes: dict[K, V] = dict(entries)
        self._hidden: set[K] = set()
        self._size = len(self._changes)
        self._copied_entries = 0

    def copy(self) -> "Layered[K, V]":
        """An equal mapping of its own."""
        twin: Layered[K, V] = Layered.__new__(Layered)
        twin._size = self._size
        copied = self._copied_entries + len(self._changes) + len(self._hidden)
        if copied < self._size:
            twin._base, twin._changes, twin._hidden = self._base, self._changes.copy(), self._hidden.copy()
            twin._copied_entries = copied
        else:
            twin._base, twin._changes, twin._hidden = self._merged(), {}, set()
            twin._copied_entries = 0
        return twin

    def _merged(self) -> dict[K, V]:
        if not self._base:
            return self._changes.copy()
        merged = self._base.copy()
        for key in self._hidden:
            del merged[key]
        merged.update(self._changes)
        return merged

    def __getitem__(self, key: K) -> V:
        changes = self._changes
        if key in changes:
            return changes[key]
        if key in self._hidden:
            raise KeyError(key)
        return self._base[key]

    @overload
    def get(self, key: K, /) -> V | None: ...
    @overload
    def get(self, key: K, /, default: D) -> V | D: ...
    def get(self, key: K, /, default: Any = None) -> Any:
        changes = self._changes
        if key in changes:
            return changes[key]
        return default if key in self._hidden else self._base.get(key, default)

    def __contains__(self, key: object) -> bool:
        return key in self._changes or (key in self._base and key not in self._hidden)

    def __setitem__(self, key: K, value: V) -> None:
        changes = self._changes
        if key not in changes and (key not in self._base or key in self._hidden):
            self._size += 1
        changes[key] = value

    def __delitem__(self, key: K) -> None:
        if key not in self:
            raise KeyError(key)
        self._changes.pop(key, None)
        if key in self._base:
            self._hidden.add(key)
        self._size -= 1

    def __len__(self) -> int:
        return self._size

    def __iter__(self) -> Iterator[K]:
        base, hidden = self._base, self._hidden
        yield from (key for key in base if key not in hidden) if hidden else base
        yield from (key for key in self._changes if key not in base or key in hidden)

    def __repr__(self) -> str:
        return f"Layered({self._merged()!r})"
