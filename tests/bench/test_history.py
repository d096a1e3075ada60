"""The checker: what it accepts and rejects, compared with trying every order."""

from collections import Counter
from collections.abc import Hashable
from concurrent.futures import ThreadPoolExecutor
from itertools import combinations, permutations
from typing import Any, NamedTuple

import msgspec
import pytest
from hypothesis import event, given, settings
from hypothesis import strategies as st

from bench.history import Accepted, Answer, Operation, Recorder, Refused, Step, check, timeline
from tests.examples import examples


class Shelf(NamedTuple):
    """Things taken so far, and the keys used."""

    taken: frozenset[int] = frozenset()
    keys: frozenset[tuple[str, Hashable]] = frozenset()


class Shelves:
    """A minimal model: ("take", n) if n is free, ("give", n) by its holder; each writes one event."""

    def initial(self) -> Shelf:
        return Shelf()

    def fingerprint(self, state: Shelf) -> Hashable:
        return state

    def step(self, state: Shelf, operation: Operation) -> list[Step[Shelf]] | str:
        what, thing = operation.command
        known = dict(state.keys)
        if operation.key in known:
            same = known[operation.key] == operation.content
            wanted = isinstance(operation.answer, Accepted) if same else operation.answer == Refused("key")
            return [Step(state, repeated=True)] if wanted or operation.answer is None else "the key is known"
        if what == "take" and thing in state.taken:
            return [Step(state)] if operation.answer == Refused("taken") else "it is taken"
        if isinstance(operation.answer, Refused):
            return "it is there"
        taken = state.taken | {thing} if what == "take" else state.taken - {thing}
        keys = state.keys | {(operation.key, operation.content)} if operation.key else state.keys
        return [Step(Shelf(taken, keys), written=int(taken != state.taken))]


def take(
    thing: int, called: int, returned: int, answer: Answer | None, *, key: str = "", number: int = -1
) -> Operation:
    return Operation(
        number=called if number < 0 else number,
        command=("take", thing),
        called=called,
        returned=returned if answer else None,
        answer=answer,
        key=key,
        content=thing,
    )


def test_lost_answers_are_placed_by_their_keys() -> None:
    """As after a kill: some had happened, as repetitions show, and most had not."""
    lost = [take(thing, 0, 0, None, key=f"k{thing}", number=thing) for thing in range(60)]
    happened = range(40, 60, 2)
    again = [
        take(thing, 100 + thing, 101 + thing, Accepted(place + 1), key=f"k{thing}", number=100 + thing)
        for place, thing in enumerate(happened)
    ]
    others = [take(thing, 10, 300, Accepted(20 + thing), number=1_000 + thing) for thing in range(40)]
    refused = [take(thing, 20, 90, Refused("taken"), number=2_000 + thing) for thing in happened]
    verdict = check(Shelves(), [*lost, *again, *others, *refused], steps_max=20_000)
    assert (verdict.kind, verdict.reasons) == ("accepted", [])
    assert [number for number in verdict.order if number < 60] == list(happened)


IMPOSSIBLE = take(0, 500, 510, Refused("taken"), number=9_000)  # nobody ever took it


def test_lost_and_repeated_requests_hide_no_fault() -> None:
    """Each may have happened at its first request or at its repetition: it is one operation, not two."""
    lost = [take(thing, 0, 0, None, key=f"k{thing}", number=thing) for thing in range(1, 41)]
    again = [
        take(thing, 100 + thing, 200 + thing, Accepted(thing), key=f"k{thing}", number=100 + thing)
        for thing in range(1, 41)
    ]
    assert check(Shelves(), [*lost, *again], steps_max=2_000).kind == "accepted"
    verdict = check(Shelves(), [*lost, *again, IMPOSSIBLE], steps_max=2_000)
    assert (verdict.kind, verdict.reasons) == (
        "rejected",
        ["#9000 ('take', 0), refused with taken: it is there, and never otherwise until here"],
    )


def test_lost_and_then_refused_requests_hide_no_fault() -> None:
    """A request refused under a key can't have happened before, so it need not be tried."""
    lost = [take(thing, 0, 0, None, key=f"k{thing}", number=thing) for thing in range(1, 41)]
    others = [take(thing, 10, 90, Accepted(2 * thing), number=1_000 + thing) for thing in range(1, 41)]
    again = [
        take(thing, 100 + thing, 200 + thing, Refused("taken"), key=f"k{thing}", number=100 + thing)
        for thing in range(1, 41)
    ]
    assert check(Shelves(), [*lost, *others, *again], steps_max=10_000).kind == "accepted"
    verdict = check(Shelves(), [*lost, *others, *again, IMPOSSIBLE], steps_max=10_000)
    assert (verdict.kind, verdict.reasons[0].split(",")[0]) == ("rejected", "#9000 ('take'")


def test_lost_requests_are_not_tried_at_known_positions() -> None:
    things = range(1, 41)
    lost = [take(thing, 0, 0, None, number=thing) for thing in things]
    others = [take(thing, 10, 1_000, Accepted(thing), number=1_000 + thing) for thing in things]
    refused = [take(thing, 10, 1_000, Refused("taken"), number=2_000 + thing) for thing in things]
    assert check(Shelves(), [*lost, *others, *refused], steps_max=10_000).kind == "accepted"
    verdict = check(Shelves(), [*lost, *others, *refused, IMPOSSIBLE], steps_max=10_000)
    assert (verdict.kind, len(verdict.reasons)) == ("rejected", 1)
    assert "#9000 ('take', 0), refused with taken: it is there" in verdict.reasons[0]


def test_a_lost_request_may_take_effect_after_a_refused_repetition() -> None:
    """The first request arrives after the refusal of the second, when the thing has been given back."""
    taken, given = take(1, 0, 10, Accepted(1)), take(1, 40, 50, Accepted(2), number=40)
    given = msgspec.structs.replace(given, command=("give", 1))
    late, refused = take(1, 15, 0, None, key="k"), take(1, 20, 30, Refused("taken"), key="k")
    because = take(1, 60, 70, Refused("taken"))
    assert check(Shelves(), [taken, given, late, refused, because]).order == [0, 20, 40, 15, 60]
    assert check(Shelves(), [taken, given, refused, because]).kind == "rejected"


def test_a_double_booking_names_both_operations() -> None:
    verdict = check(Shelves(), [take(1, 0, 10, Accepted(1)), take(1, 5, 15, Accepted(2))])
    assert verdict.kind == "rejected"
    (reason,) = verdict.reasons
    assert reason == (
        "#5 ('take', 1), accepted at position 2: it is taken, since #0 ('take', 1), accepted at position 1"
    )


def test_positions_that_contradict_time_are_rejected() -> None:
    history = [take(1, 0, 10, Accepted(2)), take(2, 20, 30, Accepted(1))]
    verdict = check(Shelves(), history)
    assert verdict.kind == "rejected"
    assert "was called after another had returned" in verdict.reasons[0]
    assert check(Shelves(), [take(1, 0, 20, Accepted(2)), take(2, 20, 30, Accepted(1))]).order == [20, 0]


def test_a_refusal_needs_a_moment_within_its_call() -> None:
    taken, refused = take(1, 20, 30, Accepted(1)), Refused("taken")
    assert check(Shelves(), [take(1, 0, 20, refused), taken]).kind == "accepted"
    verdict = check(Shelves(), [take(1, 0, 19, refused), taken])
    assert (verdict.kind, verdict.reasons) == (
        "rejected",
        ["#0 ('take', 1), refused with taken: it is there, and never otherwise until here"],
    )


def test_an_unanswered_operation_explains_others_only_after_its_call() -> None:
    lost = take(1, 10, 0, None)
    assert check(Shelves(), [lost, take(1, 30, 40, Refused("taken"))]).order == [10, 30]
    assert check(Shelves(), [lost, take(1, 30, 40, Accepted(1))]).order == [30]
    assert check(Shelves(), [take(1, 0, 9, Refused("taken")), lost]).kind == "rejected"


def test_an_unanswered_operation_needs_free_positions() -> None:
    lost, refused = take(1, 0, 0, None), take(1, 30, 40, Refused("taken"))
    around = [take(2, 10, 20, Accepted(1)), take(3, 50, 60, Accepted(2))]
    assert check(Shelves(), [lost, refused, *around]).kind == "rejected"
    around[1] = take(3, 50, 60, Accepted(3))
    assert check(Shelves(), [lost, refused, *around]).order == [10, 0, 30, 50]


def test_a_repetition_has_the_first_answer_and_no_effect() -> None:
    first, again = take(1, 0, 10, Accepted(1), key="k"), take(1, 20, 30, Accepted(1), key="k")
    assert check(Shelves(), [first, again]).kind == "accepted"
    other = take(1, 20, 30, Accepted(2), key="k")
    assert "one key, two answers" in check(Shelves(), [first, other]).reasons[0]
    differs = take(2, 20, 30, Accepted(1), key="k")
    assert "one key, two answers" in check(Shelves(), [first, differs]).reasons[0]
    assert check(Shelves(), [first, take(2, 20, 30, Refused("key"), key="k")]).kind == "accepted"


def test_a_lost_call_with_an_accepted_key_may_have_taken_effect() -> None:
    lost, refused = take(1, 0, 0, None, key="k"), take(1, 5, 8, Refused("taken"))
    later = take(1, 20, 30, Accepted(1), key="k")
    assert check(Shelves(), [lost, refused, later]).order == [0, 5, 20]
    assert check(Shelves(), [refused, later]).kind == "rejected"


def test_a_repeated_operation_happened_before_its_first_answer() -> None:
    lost, later = take(1, 0, 0, None, key="k"), take(1, 50, 60, Accepted(1), key="k")
    first = take(1, 10, 20, Accepted(1), key="k", number=1_000)
    between, refused = take(2, 21, 40, Accepted(2)), take(1, 21, 40, Refused("taken"), number=22)
    assert check(Shelves(), [lost, first, later, between, refused]).order == [0, 1_000, 22, 21, 50]
    early = take(1, 5, 9, Refused("taken"))
    assert check(Shelves(), [lost, first, later, early]).order == [0, 5, 1_000, 50]
    assert check(Shelves(), [first, later, early]).kind == "rejected"
    too_early = take(2, 61, 70, Accepted(0), number=61)
    assert check(Shelves(), [lost, first, later, too_early]).kind == "rejected"


def test_events_of_two_commands_need_separate_positions() -> None:
    history = [take(1, 0, 10, Accepted(1)), take(2, 0, 10, Accepted(1), number=7)]
    verdict = check(Shelves(), history)
    assert verdict.kind == "rejected"
    assert "no room after position 1" in verdict.reasons[0]


def test_a_search_beyond_its_limit_is_not_accepted() -> None:
    history = [take(n, 0, 100, Accepted(n + 1), number=n) for n in range(20)]
    assert check(Shelves(), history).kind == "accepted"
    assert check(Shelves(), history, steps_max=10).kind == "undecided"


def test_an_undecided_verdict_reports_the_longest_prefix() -> None:
    lost = [take(n, 0, 0, None, number=n) for n in range(1, 30)]
    verdict = check(Shelves(), [*lost, IMPOSSIBLE], steps_max=1_000)
    assert (verdict.kind, verdict.reasons) == (
        "undecided",
        [
            "not decided in 1000 steps",
            "#9000 ('take', 0), refused with taken: it is there, and never otherwise until here",
        ],
    )


def test_a_timeline_has_a_line_for_each_call_with_its_times_and_key() -> None:
    history = [take(2, 3_000_000, 0, None, key="k"), take(1, 1_000_000, 2_500_000, Accepted(4))]
    assert timeline(history) == (
        "0.000–1.500 #1000000 ('take', 1), accepted at position 4 []\n2.000– #3000000 ('take', 2), never answered [k]"
    )
    assert timeline([]) == ""


def test_operations_without_positions_are_ordered_by_time() -> None:
    first = take(1, 0, 10, Accepted())
    assert check(Shelves(), [first, take(1, 5, 15, Refused("taken"))]).kind == "accepted"
    assert check(Shelves(), [first, take(1, 5, 15, Accepted())]).kind == "rejected"


def test_an_answer_time_without_an_answer_is_an_error() -> None:
    with pytest.raises(ValueError, match="an answer has its time"):
        Operation(number=1, command=None, called=5, returned=6)
    with pytest.raises(ValueError, match="an answer has its time"):
        Operation(number=1, command=None, called=5, returned=4, answer=Accepted())


def test_recording_is_thread_safe() -> None:
    recorder = Recorder()

    def one(thing: int) -> None:
        number = recorder.called(("take", 0), content=thing)
        if thing % 3:
            recorder.answered(number, Accepted(thing), command=("take", thing))

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(one, range(300)))
    history = recorder.history()
    assert [operation.number for operation in history] == list(range(300))
    for operation in history:
        thing = operation.content
        assert operation.command == ("take", thing if operation.answer else 0)
        assert operation.answer == (Accepted(thing) if operation.answer else None)  # type: ignore[arg-type]
    assert Counter(bool(operation.returned) for operation in history) == {True: 200, False: 100}


# Every order tried, on tiny histories of anything: this shares no code with the search.


def followed(order: tuple[Operation, ...], position_of: dict[tuple[str, Hashable], int]) -> bool:
    """Whether the model gives these answers in this order, with these positions."""
    state, last = Shelf(), 0
    for operation in order:
        steps = Shelves().step(state, operation)
        if isinstance(steps, str):
            return False
        (step,) = steps
        known = isinstance(operation.answer, Accepted) and operation.answer.position
        position = known or (operation.answer is None and position_of.get((operation.key, operation.content)))
        state = step.state
        if isinstance(operation.answer, Refused) or step.repeated:
            continue
        if position and position - step.written < last:
            return False
        last = position or last + step.written
    return True


def in_time(order: tuple[Operation, ...]) -> bool:
    """Whether no operation comes before one that had returned when it was called."""
    return not any(
        late.returned is not None and late.returned < early.called
        for place, early in enumerate(order)
        for late in order[place + 1 :]
    )


def positions_told(history: list[Operation]) -> dict[tuple[str, Hashable], int]:
    """The positions of accepted requests by key and content."""
    return {
        (one.key, one.content): one.answer.position
        for one in history
        if one.key and isinstance(one.answer, Accepted) and one.answer.position is not None
    }


def explained(history: list[Operation]) -> bool:
    """Whether any order explains the history."""
    accepted = [operation for operation in history if isinstance(operation.answer, Accepted) and operation.key]
    answers: dict[str, Any] = {}
    for one in accepted:
        if answers.setdefault(one.key, (one.content, one.answer)) != (one.content, one.answer):
            return False
    position_of = positions_told(history)
    texts = [operation for operation in history if operation.answer]
    lost = [operation for operation in history if not operation.answer]
    return any(
        in_time(order) and followed(order, position_of)
        for size in range(len(lost) + 1)
        for happened in combinations(lost, size)
        for order in permutations([*texts, *happened])
    )


answers = st.one_of(
    st.none(), st.integers(1, 5).map(Accepted), st.sampled_from([Refused("taken"), Refused("taken"), Refused("key")])
)


@st.composite
def tiny_histories(draw: st.DrawFn) -> list[Operation]:
    history = []
    for number in range(draw(st.integers(1, 5))):
        called, answer, thing = draw(st.integers(0, 8)), draw(answers), draw(st.integers(0, 1))
        history.append(
            Operation(
                number=number,
                command=(draw(st.sampled_from(["take", "take", "give"])), thing),
                called=called,
                returned=called + draw(st.integers(0, 4)) if answer else None,
                answer=answer,
                key=draw(st.sampled_from(["", "", "k"])),
                content=thing,
            )
        )
    # What is under one key with one content is one command.
    commands = {(operation.key, operation.content): operation.command for operation in history if operation.key}
    return [
        Operation(
            number=o.number, command=commands.get((o.key, o.content), o.command), called=o.called,
            returned=o.returned, answer=o.answer, key=o.key, content=o.content,
        )
        for o in history
    ]  # fmt: skip


@settings(max_examples=examples(300), deadline=None)
@given(tiny_histories())
def test_the_search_agrees_with_trying_every_order(history: list[Operation]) -> None:
    verdict = check(Shelves(), history)
    event(verdict.kind)
    assert verdict.kind == ("accepted" if explained(history) else "rejected")
    assert bool(verdict.reasons) == (verdict.kind == "rejected")
    if verdict.kind == "accepted":
        order = tuple(history[number] for number in verdict.order)
        assert in_time(order)
        assert followed(order, positions_told(history))
        assert {one.number for one in history if one.answer} <= set(verdict.order)
        assert len(order) == len(set(verdict.order))
