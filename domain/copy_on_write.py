"""A dict whose copies share unchanged entries."""

from collections.abc import Iterable, Iterator, Mapping, MutableMapping
from typing import Any, TypeVar, overload

K = TypeVar("K")
V = TypeVar("V")
D = TypeVar("D")


class CopyOnWriteDict(MutableMapping[K, V]):
    """Behaves like a dict, including its order. A copy costs time for the changes since the last merge only.

    Copies share `_base`, and none changes it. `_changes` has the entries set since, and `_hidden` the keys of `_base`
    deleted since. A hidden key that is set again is in `_changes`, so it comes last, as in a dict. A copy merges all
    three into a new base once the copies since the last merge (`_copied_entries`) have cost as much as a merge. So n
    copies with few changes each cost about sqrt(n) merges.
    """

    __slots__ = ("_base", "_changes", "_copied_entries", "_hidden", "_size")

    def __init__(self, entries: Mapping[K, V] | Iterable[tuple[K, V]] = ()) -> None:
        self._base: dict[K, V] = {}
        self._changes: dict[K, V] = dict(entries)
        self._hidden: set[K] = set()
        self._size = len(self._changes)
        self._copied_entries = 0

    def copy(self) -> "CopyOnWriteDict[K, V]":
        """An independent copy."""
        twin: CopyOnWriteDict[K, V] = CopyOnWriteDict.__new__(CopyOnWriteDict)
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
        return f"CopyOnWriteDict({self._merged()!r})"
