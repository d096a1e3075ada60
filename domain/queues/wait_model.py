"""What was learned about the waits for one service at one service point: counts of facts.

Counts are whole numbers in tuples of bounded length. They are halved when they grow large, so that the last months
weigh most. The same facts in the same order give the same model. `wait` computes expected waits from it.
"""

from bisect import bisect_right
from datetime import date, datetime

import msgspec

from domain.calendar import TIME_ZONE, local_date
from domain.decider import Value
from domain.queues.policy import Priority

PRIORITIES: dict[Priority, int] = {"PREFERENTIAL": 0, "APPOINTMENT": 1, "NORMAL": 2}  # in the usual order of calls
SLOT_S = 600
SLOTS = 144  # in a day
WATCHED_MAX_S = 60 * SLOT_S  # then the slot's figures are halved
# The least number of turns ahead in each bucket after the first. In the first, a counter was free for the turn.
AHEAD_AT_LEAST = (0, 1, 2, 3, 5, 8, 12, 18, 27, 40, 60, 90)
BUCKETS = 1 + len(AHEAD_AT_LEAST)
# Busy times are counted in logarithmic classes, to estimate how much longer a turn lasts that has lasted so long.
BUSY_EDGES_S = tuple(round(5 * 1.3**step) for step in range(32))
CALLS_MAX = 4096  # then the counts are halved
ASSUMED_S = 300


class Tally(Value):
    """A count and its total time in seconds."""

    count: int = 0
    seconds: int = 0

    def plus(self, seconds: float) -> "Tally":
        """One more of `seconds`; both figures are halved when there are many."""
        count, total = self.count + 1, self.seconds + round(seconds)
        return Tally(count=count // 2, seconds=total // 2) if count >= CALLS_MAX else Tally(count=count, seconds=total)


class WaitModel(Value):
    """What was learned about one service at one service point. Start with `WaitModel(assumed_s=…)`.

    assumed_s: the assumed time for which a counter is busy with a turn, used until enough calls are known.
    served: busy times of turns that came, by hour of the day in La Paz. absent: busy times of unanswered calls.
    busy: the number of calls by busy time, in the classes of BUSY_EDGES_S. called, left: how many waits ended so.
    staffed_s, watched_s: by slot of the day, seconds of open counters, and seconds in which they were counted.
    taken: the number of turns taken, by class and slot. days, last_day: the days on which turns were taken.
    ratios: a cell for each class and bucket, with BINS counts each; empty until something is known.
    """

    assumed_s: int = ASSUMED_S
    served: tuple[Tally, ...] = (Tally(),) * 24
    absent: Tally = Tally()
    busy: tuple[int, ...] = (0,) * (len(BUSY_EDGES_S) + 1)
    called: int = 0
    left: int = 0
    staffed_s: tuple[int, ...] = (0,) * SLOTS
    watched_s: tuple[int, ...] = (0,) * SLOTS
    taken: tuple[int, ...] = (0,) * (len(PRIORITIES) * SLOTS)
    days: int = 0
    last_day: date | None = None
    ratios: tuple[tuple[int, ...], ...] = ((),) * (len(PRIORITIES) * BUCKETS)


def served(model: WaitModel, *, at: datetime, busy_s: float) -> WaitModel:
    """A counter was busy for `busy_s` with a turn called at `at`: until its next call, or until nobody was waiting."""
    hour = at.astimezone(TIME_ZONE).hour
    tallies = model.served
    return msgspec.structs.replace(
        model,
        served=(*tallies[:hour], tallies[hour].plus(busy_s), *tallies[hour + 1 :]),
        busy=count_up(model.busy, bisect_right(BUSY_EDGES_S, busy_s), CALLS_MAX),
    )


def absent(model: WaitModel, *, busy_s: float) -> WaitModel:
    """A counter was busy for `busy_s` with a turn that was called and did not come."""
    return msgspec.structs.replace(
        model,
        absent=model.absent.plus(busy_s),
        busy=count_up(model.busy, bisect_right(BUSY_EDGES_S, busy_s), CALLS_MAX),
    )


def taken(model: WaitModel, *, at: datetime, priority: Priority) -> WaitModel:
    """Somebody of this class joined the line."""
    place, day = PRIORITIES[priority] * SLOTS + second_of_day(at) // SLOT_S, local_date(at)
    return msgspec.structs.replace(
        model,
        taken=_one_more(model.taken, place),
        days=model.days + (day != model.last_day),
        last_day=day,
    )


def second_of_day(at: datetime) -> int:
    """The second of the day in La Paz."""
    local = at.astimezone(TIME_ZONE)
    return local.hour * 3600 + local.minute * 60 + local.second


def left(model: WaitModel) -> WaitModel:
    """A turn left the line, or was moved to another, before it was called."""
    return _ended(model, called=0, left=1)


def called(model: WaitModel) -> WaitModel:
    """A turn was called for the first time."""
    return _ended(model, called=1, left=0)


def _ended(model: WaitModel, *, called: int, left: int) -> WaitModel:
    called, left = model.called + called, model.left + left
    half = called + left >= CALLS_MAX
    return msgspec.structs.replace(model, called=called // 2 if half else called, left=left // 2 if half else left)


def staffed(model: WaitModel, *, since: datetime, until: datetime, counters: int) -> WaitModel:
    """`counters` counters were open (0 is possible) from `since` to `until`, while the line was open: a day at most."""
    second = second_of_day(since)
    rest = min(round((until - since).total_seconds()), SLOTS * SLOT_S)
    open_s, seen_s, came = list(model.staffed_s), list(model.watched_s), list(model.taken)
    while rest > 0:
        slot = second // SLOT_S % SLOTS
        part = min(rest, SLOT_S - second % SLOT_S)
        open_s[slot] += part * counters
        seen_s[slot] += part
        if seen_s[slot] >= WATCHED_MAX_S:
            open_s[slot], seen_s[slot] = open_s[slot] // 2, seen_s[slot] // 2
            came[slot::SLOTS] = [count // 2 for count in came[slot::SLOTS]]
        second, rest = second + part, rest - part
    return msgspec.structs.replace(model, staffed_s=tuple(open_s), watched_s=tuple(seen_s), taken=tuple(came))


def _one_more(counts: tuple[int, ...], index: int) -> tuple[int, ...]:
    return (*counts[:index], counts[index] + 1, *counts[index + 1 :])


def count_up(counts: tuple[int, ...], index: int, most: int) -> tuple[int, ...]:
    """Add one at `index`; all counts are halved once they have `most` in all."""
    more = _one_more(counts, index)
    return tuple(count // 2 for count in more) if sum(more) >= most else more
