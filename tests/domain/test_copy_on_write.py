"""A copy-on-write dict behaves like a dict, and its copies are independent."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.copy_on_write import CopyOnWriteDict
from domain.decider import State, copied

KEYS = st.integers(0, 12)
# Which copy, which operation, which key.
STEPS = st.lists(st.tuples(st.integers(0, 30), st.sampled_from(["set", "set", "delete", "pop", "copy"]), KEYS))


def same(mapping: CopyOnWriteDict[int, int], plain: dict[int, int]) -> None:
    assert list(mapping) == list(plain)
    assert list(mapping.items()) == list(plain.items())
    assert list(mapping.values()) == list(plain.values())
    assert len(mapping) == len(plain)
    assert bool(mapping) == bool(plain)
    assert mapping == plain
    assert plain == mapping
    for key in range(13):
        assert (key in mapping) == (key in plain)
        assert mapping.get(key) == plain.get(key)
        assert mapping.get(key, -1) == plain.get(key, -1)


@given(st.dictionaries(KEYS, st.integers()), STEPS)
def test_each_copy_equals_a_dict_with_the_same_history(
    begin: dict[int, int], steps: list[tuple[int, str, int]]
) -> None:
    copies = [(CopyOnWriteDict(begin), dict(begin))]
    for number, (which, what, key) in enumerate(steps):
        mapping, plain = copies[which % len(copies)]
        if what == "set":
            mapping[key] = plain[key] = number
        elif what == "copy":
            copies.append((mapping.copy(), plain.copy()))
        elif what == "pop":
            assert mapping.pop(key, None) == plain.pop(key, None)
        else:
            refused = [fails_to_delete(mapping, key), fails_to_delete(plain, key)]
            assert refused[0] == refused[1]
    for mapping, plain in copies:
        same(mapping, plain)


def fails_to_delete(mapping: CopyOnWriteDict[int, int] | dict[int, int], key: int) -> bool:
    try:
        del mapping[key]
    except KeyError:
        return True
    return False


def test_a_missing_key_raises_key_error() -> None:
    mapping = CopyOnWriteDict({1: 1, 2: 2}).copy()
    del mapping[1]
    for key in (1, 3):
        assert key not in mapping
        with pytest.raises(KeyError):
            mapping[key]


def test_repr_shows_the_entries() -> None:
    mapping = CopyOnWriteDict({1: 1, 2: 2}).copy()
    mapping[3] = 3
    del mapping[1]
    assert repr(mapping) == "CopyOnWriteDict({2: 2, 3: 3})"


def test_copies_with_few_changes_rarely_copy_all_entries() -> None:
    """The cost of a batch of commands must not grow with the number of turns in the line."""
    held, batch, batches = 20_000, 16, 200
    mapping = CopyOnWriteDict((key, key) for key in range(held)).copy()
    copied_entries = 0
    for number in range(batches):
        twin = mapping.copy()
        shared = twin._base is mapping._base
        copied_entries += len(twin._changes) if shared else len(twin._base)
        mapping = twin
        for key in range(batch):
            mapping[held + number * batch + key] = key
    assert copied_entries < 0.1 * held * batches


class Counted(State):
    counts: CopyOnWriteDict[str, int]


def test_a_copied_state_has_an_independent_dict() -> None:
    state = Counted(CopyOnWriteDict({"a": 1}))
    twin = copied(state)
    twin.counts["a"] = 2
    assert state.counts == {"a": 1}
    assert twin.counts == {"a": 2}
