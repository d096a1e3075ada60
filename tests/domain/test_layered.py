"""A layered mapping behaves as a dict, and its copies go their own ways."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.decider import State, copied
from domain.layered import Layered

KEYS = st.integers(0, 12)
# Which of the copies, what is done to it, to which key.
STEPS = st.lists(st.tuples(st.integers(0, 30), st.sampled_from(["set", "set", "delete", "pop", "copy"]), KEYS))


def same(layered: Layered[int, int], plain: dict[int, int]) -> None:
    assert list(layered) == list(plain)
    assert list(layered.items()) == list(plain.items())
    assert list(layered.values()) == list(plain.values())
    assert len(layered) == len(plain)
    assert bool(layered) == bool(plain)
    assert layered == plain
    assert plain == layered
    for key in range(13):
        assert (key in layered) == (key in plain)
        assert layered.get(key) == plain.get(key)
        assert layered.get(key, -1) == plain.get(key, -1)


@given(st.dictionaries(KEYS, st.integers()), STEPS)
def test_any_of_many_copies_equals_a_dict_with_the_same_history(
    begin: dict[int, int], steps: list[tuple[int, str, int]]
) -> None:
    copies = [(Layered(begin), dict(begin))]
    for number, (which, what, key) in enumerate(steps):
        layered, plain = copies[which % len(copies)]
        if what == "set":
            layered[key] = plain[key] = number
        elif what == "copy":
            copies.append((layered.copy(), plain.copy()))
        elif what == "pop":
            assert layered.pop(key, None) == plain.pop(key, None)
        else:
            refused = [fails_to_delete(layered, key), fails_to_delete(plain, key)]
            assert refused[0] == refused[1]
    for layered, plain in copies:
        same(layered, plain)


def fails_to_delete(mapping: Layered[int, int] | dict[int, int], key: int) -> bool:
    try:
        del mapping[key]
    except KeyError:
        return True
    return False


def test_a_key_that_is_missing_is_refused_in_every_layer() -> None:
    layered = Layered({1: 1, 2: 2}).copy()
    del layered[1]
    for key in (1, 3):
        assert key not in layered
        with pytest.raises(KeyError):
            layered[key]


def test_it_shows_what_it_holds() -> None:
    layered = Layered({1: 1, 2: 2}).copy()
    layered[3] = 3
    del layered[1]
    assert repr(layered) == "Layered({2: 2, 3: 3})"


def test_copies_of_a_large_mapping_with_few_changes_rarely_copy_all_of_it() -> None:
    """What a batch of commands copies of a line must not grow with the turns of the day."""
    held, batch, batches = 20_000, 16, 200
    layered = Layered((key, key) for key in range(held)).copy()
    copied_entries = 0
    for number in range(batches):
        twin = layered.copy()
        shared = twin._base is layered._base
        copied_entries += len(twin._changes) if shared else len(twin._base)
        layered = twin
        for key in range(batch):
            layered[held + number * batch + key] = key
    assert copied_entries < 0.1 * held * batches


class Counted(State):
    counts: Layered[str, int]


def test_a_copied_state_has_a_mapping_of_its_own() -> None:
    state = Counted(Layered({"a": 1}))
    twin = copied(state)
    twin.counts["a"] = 2
    assert state.counts == {"a": 1}
    assert twin.counts == {"a": 2}
