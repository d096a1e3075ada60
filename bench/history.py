"""Whether some order of single steps explains what concurrent clients were told (linearizability).

A `Recorder` writes down what was asked and answered, and when. `check` looks for an order of these operations in which
each follows on what those before it did, each answer is the one that a sequential model gives, and an operation that
had returned before another was called comes before it. The search is that of Wing and Gong with Lowe's memory of where
it has been. What was asked several times under one key is one operation there: it happened at some moment after the
first call and before the first answer, and as what comes after that changes nothing, each repetition has a place.
What is said about the log is part of the claim:

- accepted operations come in the order of their positions, and what one wrote has room between its neighbours;
- one key has one content and one answer, however often it was asked;
- a refusal is explained by a moment within its call at which the model refuses with that code;
- an operation without an answer happened once at some moment after its call, or never.
"""

import threading
import time
from bisect import bisect_right
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from typing import Any, Generic, Literal, Protocol, TypeVar

import msgspec

STEPS_MAX = 1_000_000  # asked of the model before a history is left undecided
REASONS_MAX = 5

S = TypeVar("S")


class Accepted(msgspec.Struct, frozen=True):
    """It happened. `position`: of its last event in the log, None without a log; `said`: what else the answer tells."""

    position: int | None = None
    said: Mapping[str, Any] = {}


class Refused(msgspec.Struct, frozen=True):
    """It did not happen, for a reason that the model must have too."""

    code: str


Answer = Accepted | Refused


class Operation(msgspec.Struct, frozen=True, kw_only=True):
    """One call. `called` and `returned` are nanoseconds of one monotonic clock.

    `answer` is None, and `returned` too, if nobody knows what came of it. By `content` (what the client said) a
    repetition under the same `key` is known; "" is no key.
    """

    number: int
    command: Any
    called: int
    returned: int | None = None
    answer: Answer | None = None
    key: str = ""
    content: Hashable = None

    def __post_init__(self) -> None:
        if (self.answer is None) != (self.returned is None) or (self.returned or self.called) < self.called:
            raise ValueError(f"an answer has its time, after the call: {self}")

    def __str__(self) -> str:
        match self.answer:
            case Accepted(position=None):
                told = "accepted"
            case Accepted(position=position):
                told = f"accepted at position {position}"
            case Refused(code=code):
                told = f"refused with {code}"
            case _:
                told = "never answered"
        return f"#{self.number} {self.command}, {told}"


class Recorder:
    """Writes a history down; from any thread or task."""

    def __init__(self, clock: Callable[[], int] = time.monotonic_ns) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._operations: list[Operation] = []

    def called(self, command: Any, *, key: str = "", content: Hashable = None) -> int:
        """Say so just before the call. Returns the operation's number; never answered, it counts as lost."""
        at = self._clock()
        with self._lock:
            number = len(self._operations)
            self._operations.append(Operation(number=number, command=command, called=at, key=key, content=content))
        return number

    def answered(self, number: int, answer: Answer, *, command: Any = None) -> Operation:
        """Say so just after the answer. `command`: as the answer tells it, if the client could not know all of it."""
        at = self._clock()
        with self._lock:
            asked = self._operations[number]
            known = asked.command if command is None else command
            told = msgspec.structs.replace(asked, returned=at, answer=answer, command=known)
            self._operations[number] = told
        return told

    def history(self) -> list[Operation]:
        """All so far, in the order of their calls."""
        with self._lock:
            return list(self._operations)


class Step(msgspec.Struct, Generic[S], frozen=True):
    """One way in which the model gives an operation's answer: the state after it, the very same one if it changed none.

    `written`: events. `repeated`: its key was known already, so that its position is that of the first.
    """

    state: S
    written: int = 0
    repeated: bool = False


class Model(Protocol[S]):
    """What one client alone would see. States are never changed, only followed by others."""

    def initial(self) -> S: ...

    def step(self, state: S, operation: Operation) -> list[Step[S]] | str:
        """The ways in which the model gives this answer, any answer if there is none; else, in words, what it does.

        Once a key is known, what doesn't fit under it never will. What writes nothing changes nothing but that.
        """

    def fingerprint(self, state: S) -> Hashable:
        """Equal for states that can't be told apart by anything that comes."""


class Verdict(msgspec.Struct, frozen=True):
    """`order`: numbers of the operations, as they may have happened. `reasons`: why there is no such order, in words.

    Undecided is not accepted: the search ended at its limit of steps, and tells what stood in its way where it came
    furthest.
    """

    kind: Literal["accepted", "rejected", "undecided"]
    order: list[int] = []
    reasons: list[str] = []
    steps: int = 0


def check(model: Model[S], operations: Iterable[Operation], *, steps_max: int = STEPS_MAX) -> Verdict:
    """Decide whether the model explains this history. Numbers must be different; `steps_max` model steps at most."""
    operations = list(operations)
    first: dict[str, Operation] = {}
    reasons = []
    for operation in operations:
        if operation.key and isinstance(operation.answer, Accepted):
            one = first.setdefault(operation.key, operation)
            if (one.content, one.answer) != (operation.content, operation.answer):
                reasons.append(f"one key, two answers: {one}, said {one.answer}; {operation}, said {operation.answer}")
    if reasons:
        return Verdict(kind="rejected", reasons=reasons[:REASONS_MAX])
    return _Search(model, _called_once(operations, first), steps_max).run()


def timeline(operations: Sequence[Operation]) -> str:
    """A line for each, in the order of their calls: when it was called and when it returned, in ms since the first."""
    ordered = sorted(operations, key=lambda operation: operation.called)
    return "\n".join(
        f"{(one.called - ordered[0].called) / 1e6:.3f}–"
        f"{'' if one.returned is None else f'{(one.returned - ordered[0].called) / 1e6:.3f}'} {one} [{one.key}]"
        for one in ordered
    )


class _Calls(msgspec.Struct, frozen=True):
    """All calls of one operation: as if it had been called once, and those who asked, in the order of their calls."""

    operation: Operation
    asked: list[Operation]


def _called_once(operations: Iterable[Operation], first: Mapping[str, Operation]) -> list[_Calls]:
    """Calls of one key and content together, those refused alone: a refusal is not kept, so that each is decided anew.

    `first`: of each key that was accepted, an operation that tells so.
    """
    together: dict[Hashable, list[Operation]] = {}
    for one in operations:
        alone = not one.key or isinstance(one.answer, Refused)
        together.setdefault(one.number if alone else (one.key, one.content), []).append(one)
    return [_as_one(sorted(asked, key=lambda one: one.called), first) for asked in together.values()]


def _as_one(asked: list[Operation], first: Mapping[str, Operation]) -> _Calls:
    """From the first call on, until the first answer; names made by the server are in the command that was accepted."""
    told = min((one for one in asked if one.returned is not None), key=lambda one: one.returned or 0, default=asked[0])
    accepted = first.get(told.key)
    known = accepted.command if accepted and accepted.content == told.content else told.command
    return _Calls(operation=msgspec.structs.replace(told, called=asked[0].called, command=known), asked=asked)


class _Node(msgspec.Struct, Generic[S]):
    """A beginning of an order: the operations done (a bit each), the state, the last position that is taken."""

    state: S
    done: int = 0
    last: int = 0
    before: "_Node[S] | None" = None
    index: int = -1

    def path(self) -> list[int]:
        indexes = []
        node: _Node[S] | None = self
        while node and node.before:
            indexes.append(node.index)
            node = node.before
        return indexes[::-1]


class _Search(Generic[S]):
    def __init__(self, model: Model[S], calls: list[_Calls], steps_max: int) -> None:
        self.model = model
        self.asked = sorted(calls, key=lambda one: one.operation.called)
        self.operations = [one.operation for one in self.asked]
        self.calls = [operation.called for operation in self.operations]
        self.steps_max = steps_max
        self.steps = 0
        self.positions = [o.answer.position if isinstance(o.answer, Accepted) else None for o in self.operations]
        answered = [(o.returned, i) for i, o in enumerate(self.operations) if o.returned is not None]
        self.by_return = [index for _, index in sorted(answered)]
        self.answered = sum(1 << index for index in self.by_return)
        self.by_position = [index for _, index in sorted((p, i) for i, p in enumerate(self.positions) if p is not None)]
        self.of_key: dict[str, list[int]] = {}
        for index in self.by_return:
            if self.operations[index].key:
                self.of_key.setdefault(self.operations[index].key, []).append(index)

    def run(self) -> Verdict:
        root: _Node[S] = _Node(state=self.model.initial())
        stack, seen, deepest = [root], set(), root
        while stack:
            node = stack.pop()
            been = (node.done, node.last, self.model.fingerprint(node.state))
            if been in seen:
                continue
            seen.add(been)
            node, ways = self._settled(node)
            if self._first_return(node) is None:
                return Verdict(kind="accepted", order=self._order(node.path()), steps=self.steps)
            if (node.done & self.answered).bit_count() > (deepest.done & self.answered).bit_count():
                deepest = node
            if self.steps > self.steps_max:
                reasons = [f"not decided in {self.steps_max} steps", *self._reasons(deepest)]
                return Verdict(kind="undecided", reasons=reasons, steps=self.steps)
            stack += reversed(ways)  # the first is tried first
        return Verdict(kind="rejected", reasons=self._reasons(deepest), steps=self.steps)

    def _order(self, path: list[int]) -> list[int]:
        """The numbers of all that were asked: the first call did it, and repetitions come as early as they may."""
        placed, now = [], self.calls[0] if self.calls else 0
        for place, index in enumerate(path):
            first, *again = self.asked[index].asked
            now = max(now, first.called)
            placed.append((now, 0, place, first.number))
            placed += [(max(now, one.called), 1, place, one.number) for one in again if one.answer]
        return [number for *_, number in sorted(placed)]

    def _first_return(self, node: _Node[S]) -> int | None:
        """Of the operations that are still to be placed, the one that returned first: none called later may precede it.

        Those without an answer may be left out.
        """
        return next((index for index in self.by_return if not node.done >> index & 1), None)

    def _next_position(self, node: _Node[S]) -> int | None:
        for index in self.by_position:
            position = self.positions[index]
            assert position is not None
            if position > node.last and not node.done >> index & 1:
                return position
        return None

    def _open(self, node: _Node[S]) -> list[int]:
        """The operations that may come next by their times and positions, in the order in which they are tried."""
        bound = self._first_return(node)
        returned = None if bound is None else self.operations[bound].returned
        called = len(self.operations) if returned is None else bisect_right(self.calls, returned)
        position = self._next_position(node)
        found = []
        for index in range(called):
            own = self.positions[index]
            if not node.done >> index & 1 and (own is None or own <= node.last or own == position):
                found.append(index)
        # What was never answered may be tried in vain.
        return sorted(found, key=lambda i: (self.operations[i].answer is None, self.positions[i] is None))

    def _settled(self, node: _Node[S]) -> tuple[_Node[S], list[_Node[S]]]:
        """The node with all refusals and repetitions done that fit here, and the ways to go on from it.

        They never change anything, so to place one at once keeps no other from its place: they never make the search
        branch. What was accepted may change nothing here, but something elsewhere.
        """
        ways: dict[int, list[tuple[Step[S], int]]] = {}
        while fresh := [index for index in self._open(node) if index not in ways]:
            for index in fresh:
                ways[index] = [] if self.steps > self.steps_max else self._fitting(node, index)
                answer = self.operations[index].answer
                if answer and any(step.repeated or isinstance(answer, Refused) for step, _ in ways[index]):
                    node = self._placed(node, index, node.state, node.last)
        goes_on = [
            self._placed(node, index, step.state, last)
            for index, found in ways.items()
            for step, last in found
            if not node.done >> index & 1 and (self.operations[index].answer or step.state is not node.state)
        ]
        return node, [way for way in goes_on if self._may_go_on(way)]

    def _may_go_on(self, node: _Node[S]) -> bool:
        """Whether what was placed last bars nobody for ever, as far as that is seen at once."""
        if node.before is None or node.state is node.before.state:
            return True
        lost = self.operations[node.index].answer is None
        return self._keeps_its_key(node) and not (lost and self._leaves_behind(node))

    def _leaves_behind(self, node: _Node[S]) -> bool:
        """Whether somebody does not fit whose position the log has reached: they never will, then.

        So what was lost is tried only where nobody else is known to have written.
        """
        for index in self.by_position:
            position = self.positions[index]
            assert position is not None
            if position > node.last:
                return False
            if not node.done >> index & 1 and not self._fitting(node, index):
                return True
        return False

    def _keeps_its_key(self, node: _Node[S]) -> bool:
        """Whether all other answers under the key of what was placed last still fit: they never will if not now.

        So what was lost, and then refused when it was asked again, is not tried before that refusal.
        """
        others = [i for i in self.of_key.get(self.operations[node.index].key, []) if not node.done >> i & 1]
        self.steps += len(others)
        return all(not isinstance(self.model.step(node.state, self.operations[i]), str) for i in others)

    def _placed(self, node: _Node[S], index: int, state: S, last: int) -> _Node[S]:
        return _Node(state=state, done=node.done | 1 << index, last=last, before=node, index=index)

    def _fitting(self, node: _Node[S], index: int) -> list[tuple[Step[S], int]]:
        """The ways in which this operation may be the next, each with the last position that is taken then."""
        self.steps += 1
        answered = self.model.step(node.state, self.operations[index])
        if isinstance(answered, str):
            return []
        rooms = [(step, _last_position(self.positions[index], step, node.last)) for step in answered]
        taken = self._next_position(node) if self.positions[index] is None else None
        return [
            (step, last)
            for step, last in rooms
            if last is not None and (taken is None or not step.written or step.repeated or last <= taken)
        ]

    def _reasons(self, node: _Node[S]) -> list[str]:
        """Why nothing goes on from here, the most telling first."""
        bound = self._first_return(node)
        assert bound is not None
        can_come = [index for index in self._open(node) if self.operations[index].answer]
        writes = [index for index in can_come if isinstance(self.operations[index].answer, Accepted)]
        reasons = [self._misfit(node, index) for index in writes]
        if bound in can_come:
            reasons += [] if bound in writes else [self._misfit(node, bound)]
            return reasons[:REASONS_MAX]
        position = self._next_position(node)  # lower than that of the one which returned first
        late = next(i for i in self.by_position if self.positions[i] == position and not node.done >> i & 1)
        if late not in can_come:
            what = "it has the lower position, but was called after another had returned"
            reasons.append(f"{self.operations[late]}: {what}: {self.operations[bound]}")
        return reasons[:REASONS_MAX]

    def _misfit(self, node: _Node[S], index: int) -> str:
        operation = self.operations[index]
        said = self.model.step(node.state, operation)
        if not isinstance(said, str):
            return f"{operation}: what it wrote has no room after position {node.last}"
        at: _Node[S] | None = node
        while at and at.before:
            if at.state is not at.before.state and not isinstance(self.model.step(at.before.state, operation), str):
                return f"{operation}: {said}, since {self.operations[at.index]}"
            at = at.before
        return f"{operation}: {said}, and never otherwise until here"


def _last_position(position: int | None, step: Step[Any], last: int) -> int | None:
    """The last position taken after this step; None if it has no room, its own position being known."""
    if position is None:
        return last + step.written
    if step.repeated:
        return last
    return position if position - step.written >= last else None
