"""The order in which a line's turns are called by its policy, and the notices that fall due."""

from collections.abc import Iterator
from datetime import datetime
from itertools import islice

from domain.decider import Event, copied
from domain.identifiers import TurnId
from domain.queues.line import Line, NoticeAsked, NoticeGiven, Turn, evolve


def calls_to_come(line: Line) -> Iterator[TurnId]:
    """The waiting turns in the order of their calls, if nobody else comes and nobody leaves. This is the policy."""
    if line.opened is None:
        return
    policy, passed = line.opened.policy, line.passed
    queues = {priority: line.queue(priority) for priority in policy.order}
    at = dict.fromkeys(queues, 0)
    shared = policy.at_least
    left = line.waiting
    while left:
        waits = [priority for priority in policy.order if at[priority] < len(queues[priority])]
        due = shared in waits and passed >= policy.one_in - 1
        priority = shared if due and shared else waits[0]
        yield queues[priority][at[priority]]
        at[priority] += 1
        left -= 1
        if shared is not None:
            passed = passed + 1 if priority != shared and at[shared] < len(queues[shared]) else 0


def next_turn(line: Line) -> TurnId | None:
    """The turn to be called now; None if nobody is waiting."""
    return next(calls_to_come(line), None)


def ahead_of(line: Line, turn: TurnId) -> int:
    """How many turns are called before a waiting one if nobody else comes; for other turns, how many wait."""
    found = line.turns.get(turn)
    if found is None or found.state != "WAITING" or line.opened is None:
        return line.waiting
    return ahead_at(line, found.priority, line.queue(found.priority).index(turn))


def ahead_of_new(line: Line, priority: str) -> int:
    """How many turns would be called before a new one of this class, if nobody else came.

    It is computed from counts, without walking through the line: thousands may come in one second.
    """
    if line.opened is None:
        return 0
    return ahead_at(line, priority, len(line.queue(priority)))


def ahead_at(line: Line, priority: str, own: int) -> int:
    """How many turns are called before the one at place `own` (from 0) of this class.

    Later turns of the class make no difference, so the lengths of the queues are enough to compute it.
    """
    assert line.opened
    policy = line.opened.policy
    shared, first, shared_is_earlier = policy.at_least, 0, False
    for other in policy.order:
        if other == priority:
            break
        first += len(line.queue(other))
        shared_is_earlier |= other == shared
    if shared is None or shared_is_earlier:
        return first + own
    others_between = policy.one_in - 1
    passed = min(line.passed, others_between)
    if shared == priority:
        return own + min(first, others_between * (own + 1) - passed)
    return first + own + min((passed + first + own) // others_between, len(line.queue(shared)))


def with_due_notices(line: Line, recorded: list[Event], now: datetime) -> Iterator[Event]:
    """These events, followed by the notices that they make due, in the same commit, so that no notice is late."""
    yield from recorded
    if not line.notices and not any(isinstance(event, NoticeAsked) for event in recorded):
        return
    after = copied(line)
    for event in recorded:
        after = evolve(after, event)
    farthest = max((wish.ahead for wish in after.notices.values() if wish.ahead is not None), default=-1)
    for place, turn in enumerate(islice(calls_to_come(after), farthest + 1)):
        notice = after.notices.get(turn)
        if notice and notice.ahead is not None and place <= notice.ahead:
            yield notice_of(after.turns[turn], place, now)


def notice_of(turn: Turn, ahead: int, now: datetime, minutes: int | None = None) -> NoticeGiven:
    return NoticeGiven(
        turn=turn.turn,
        number=turn.number,
        priority=turn.priority,
        ahead=ahead,
        given_at=now,
        person=turn.person,
        minutes=minutes,
    )
