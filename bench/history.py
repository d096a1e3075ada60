"""Checks whether a history of concurrent clients is linearizable.

A `Recorder` records requests and answers with their times. `check` searches for an order of these operations in which
a sequential model gives each answer, and an operation that had returned before another was called comes before it.
The search is that of Wing and Gong with Lowe's cache of visited states. Requests repeated under one key are one
operation: it happened after the first call and before the first answer, and repetitions change nothing.
The log is part of the claim:

- accepted operations are in the order of their positions, and the events of one fit between its neighbours;
- a key has one content and one answer, however often it was sent;
- for a refusal there is a moment within its call at which the model refuses with that code;
- an operation without an answer happened once after its call, or never.
"""

import threading
import time
from bisect import bisect_right
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from typing import Any, Generic, Literal, Protocol, TypeVar

import msgspec

STEPS_MAX = 1_000_000  # of the model, before a history is left undecided
REASONS_MAX = 5

S = TypeVar("S")


class Accepted(msgspec.Struct, frozen=True):
    """`position`: of its last event in the log, None without a log; `details`: other fields of the answer."""

    position: int | None = None
    details: Mapping[str, Any] = {}


class Refused(msgspec.Struct, frozen=True):
    """The operation did not happen. The model must refuse it with the same code."""

    code: str


Answer = Accepted | Refused


class Operation(msgspec.Struct, frozen=True, kw_only=True):
    """One call. `called` and `returned` are nanoseconds of one monotonic clock.

    `answer` and `returned` are None if the outcome is unknown. A repetition has the same `key` and the same `content`
    (the client's request); "" is no key.
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
                outcome = "accepted"
            case Accepted(position=position):
                outcome = f"accepted at position {position}"
            case Refused(code=code):
                outcome = f"refused with {code}"
            case _:
                outcome = "never answered"
        return f"#{self.number} {self.command}, {outcome}"


class Recorder:
    """Records a history; from any thread or task."""

    def __init__(self, clock: Callable[[], int] = time.monotonic_ns) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._operations: list[Operation] = []

    def called(self, command: Any, *, key: str = "", content: Hashable = None) -> int:
        """Record a call just before it. Returns the operation's number. Without an answer its outcome is unknown."""
        at = self._clock()
        with self._lock:
            number = len(self._operations)
            self._operations.append(Operation(number=number, command=command, called=at, key=key, content=content))
        return number

    def answered(self, number: int, answer: Answer, *, command: Any = None) -> Operation:
        """Record an answer just after it. `command`: with fields known from the answer only, such as a new id."""
        at = self._clock()
        with self._lock:
            operation = self._operations[number]
            known = operation.command if command is None else command
            completed = msgspec.structs.replace(operation, returned=at, answer=answer, command=known)
            self._operations[number] = completed
        return completed

    def history(self) -> list[Operation]:
        """All operations so far, in the order of their calls."""
        with self._lock:
            return list(self._operations)


class Step(msgspec.Struct, Generic[S], frozen=True):
    """One way in which the model gives an operation's answer: the state after it, the same object if it is unchanged.

    `written` is the number of events. `repeated`: the key was known, so the position is that of the first request.
    """

    state: S
    written: int = 0
    repeated: bool = False


class Model(Protocol[S]):
    """A sequential model. Steps return new states and never change one."""

    def initial(self) -> S: ...

    def step(self, state: S, operation: Operation) -> list[Step[S]] | str:
        """The ways in which the model gives this answer, or any if it is unknown; otherwise what it does, in words.

        Once a key is known, a request that conflicts with it always will. A step without events changes only the keys.
        """

    def fingerprint(self, state: S) -> Hashable:
        """Equal for states that no later operation can distinguish."""


class Verdict(msgspec.Struct, frozen=True):
    """`order`: numbers of the operations in a possible order. `reasons`: why there is no such order, in words.

    An undecided history is not accepted: the search reached its limit of steps; the reasons are those at its longest
    prefix.
    """

    kind: Literal["accepted", "rejected", "undecided"]
    order: list[int] = []
    reasons: list[str] = []
    steps: int = 0


def check(model: Model[S], operations: Iterable[Operation], *, steps_max: int = STEPS_MAX) -> Verdict:
    """Check whether the model explains this history. Numbers must be different; at most `steps_max` model steps."""
    operations = list(operations)
    first: dict[str, Operation] = {}
    reasons = []
    for operation in operations:
        if operation.key and isinstance(operation.answer, Accepted):
            one = first.setdefault(operation.key, operation)
            if (one.content, one.answer) != (operation.content, operation.answer):
                reasons.append(f"one key, two answers: {one}, {one.answer}; {operation}, {operation.answer}")
    if reasons:
        return Verdict(kind="rejected", reasons=reasons[:REASONS_MAX])
    return _Search(model, _called_once(operations, first), steps_max).run()


def timeline(operations: Sequence[Operation]) -> str:
    """A line per operation, in the order of their calls: when it was called and returned, in ms since the first."""
    ordered = sorted(operations, key=lambda operation: operation.called)
    return "\n".join(
        f"{(one.called - ordered[0].called) / 1e6:.3f}–"
        f"{'' if one.returned is None else f'{(one.returned - ordered[0].called) / 1e6:.3f}'} {one} [{one.key}]"
        for one in ordered
    )


class _Calls(msgspec.Struct, frozen=True):
    """All calls of one operation, combined into `operation`; `asked` has them in the order of their calls."""

    operation: Operation
    asked: list[Operation]


def _called_once(operations: Iterable[Operation], first: Mapping[str, Operation]) -> list[_Calls]:
    """Combine calls with the same key and content, except refused ones, which are decided again each time.

    `first`: for each key that was accepted, an operation with that answer.
    """
    together: dict[Hashable, list[Operation]] = {}
    for one in operations:
        alone = not one.key or isinstance(one.answer, Refused)
        together.setdefault(one.number if alone else (one.key, one.content), []).append(one)
    return [_as_one(sorted(asked, key=lambda one: one.called), first) for asked in together.values()]


def _as_one(asked: list[Operation], first: Mapping[str, Operation]) -> _Calls:
    """One operation from the first call until the first answer, with the command as accepted."""
    answered = min(
        (one for one in asked if one.returned is not None), key=lambda one: one.returned or 0, default=asked[0]
    )
    accepted = first.get(answered.key)
    known = accepted.command if accepted and accepted.content == answered.content else answered.command
    return _Calls(operation=msgspec.structs.replace(answered, called=asked[0].called, command=known), asked=asked)


class _Node(msgspec.Struct, Generic[S]):
    """A prefix of an order: the operations done (a bit each), the state, the last position used."""

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
            stack += reversed(ways)  # the first is popped first
        return Verdict(kind="rejected", reasons=self._reasons(deepest), steps=self.steps)

    def _order(self, path: list[int]) -> list[int]:
        """The numbers of all calls: the first call took effect, and repetitions follow as early as they may."""
        placed, now = [], self.calls[0] if self.calls else 0
        for place, index in enumerate(path):
            first, *again = self.asked[index].asked
            now = max(now, first.called)
            placed.append((now, 0, place, first.number))
            placed += [(max(now, one.called), 1, place, one.number) for one in again if one.answer]
        return [number for *_, number in sorted(placed)]

    def _first_return(self, node: _Node[S]) -> int | None:
        """The earliest return among the remaining operations: none called later may precede it.

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
        """The operations that may come next by their times and positions, in the order in which to try them."""
        bound = self._first_return(node)
        returned = None if bound is None else self.operations[bound].returned
        called = len(self.operations) if returned is None else bisect_right(self.calls, returned)
        position = self._next_position(node)
        found = []
        for index in range(called):
            own = self.positions[index]
            if not node.done >> index & 1 and (own is None or own <= node.last or own == position):
                found.append(index)
        # An unanswered operation is tried last, because it may never have happened.
        return sorted(found, key=lambda i: (self.operations[i].answer is None, self.positions[i] is None))

    def _settled(self, node: _Node[S]) -> tuple[_Node[S], list[_Node[S]]]:
        """The node after all refusals and repetitions that fit here, and the ways to continue from it.

        They never change anything, so placing one at once excludes no order, and they never branch the search. An
        accepted operation may change nothing here, but something elsewhere.
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
        """Whether the last operation leaves the others possible, as far as a simple check can tell."""
        if node.before is None or node.state is node.before.state:
            return True
        lost = self.operations[node.index].answer is None
        return self._keeps_its_key(node) and not (lost and self._leaves_behind(node))

    def _leaves_behind(self, node: _Node[S]) -> bool:
        """Whether an operation at the log's next position does not fit: it never will then.

        So unanswered operations are tried only where no other operation is known to have written.
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
        """Whether all other answers under the key of the last operation still fit: they never will if not now.

        So an unanswered operation is not tried before a refusal of its repetition.
        """
        others = [i for i in self.of_key.get(self.operations[node.index].key, []) if not node.done >> i & 1]
        self.steps += len(others)
        return all(not isinstance(self.model.step(node.state, self.operations[i]), str) for i in others)

    def _placed(self, node: _Node[S], index: int, state: S, last: int) -> _Node[S]:
        return _Node(state=state, done=node.done | 1 << index, last=last, before=node, index=index)

    def _fitting(self, node: _Node[S], index: int) -> list[tuple[Step[S], int]]:
        """The ways in which this operation may come next, each with the last position used then."""
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
        """Why the search can't continue from here, the most informative reason first."""
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
        outcome = self.model.step(node.state, operation)
        if not isinstance(outcome, str):
            return f"{operation}: what it wrote has no room after position {node.last}"
        at: _Node[S] | None = node
        while at and at.before:
            if at.state is not at.before.state and not isinstance(self.model.step(at.before.state, operation), str):
                return f"{operation}: {outcome}, since {self.operations[at.index]}"
            at = at.before
        return f"{operation}: {outcome}, and never otherwise until here"


def _last_position(position: int | None, step: Step[Any], last: int) -> int | None:
    """The last position used after this step; None if its known position does not fit."""
    if position is None:
        return last + step.written
    if step.repeated:
        return last
    return position if position - step.written >= last else None
