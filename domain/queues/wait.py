"""How long a turn will wait until it is first called: an interval with a known reliability.

An expectation has two parts. The *curve* is worked out: how many calls a line can count on in how many seconds, from
how long calls keep counters busy, which counters are open and for how long they have been busy, how many usually are
open later in the day, and who usually comes and is called first. The *needs* were measured: how many calls of that
curve it took until somebody with so many ahead was called, as ratios to the plain number, counted by class and by
people ahead. Their quantiles make the interval, so that it covers what it says whatever the curve does not know (which
clerk is slow today, who will leave). With little knowledge a wide prior speaks, and few days say little, however many
waits they had: the waits of one day are alike.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from datetime import datetime
from functools import cached_property
from itertools import pairwise
from math import erf, exp, log, sqrt

import msgspec

from domain.calendar import TIME_ZONE
from domain.decider import Instant, Value
from domain.queues.experience import (
    AHEAD_AT_LEAST,
    BUCKETS,
    BUSY_EDGES_S,
    PRIORITIES,
    SLOT_S,
    SLOTS,
    Experience,
    count_up,
    second_of_day,
)
from domain.queues.policy import Priority

QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)
WAIT_MAX_S = 24 * 3600  # nobody is told more

STAFFED_WEIGHT_S = 3600  # so long a slot must have been watched to count as much as the counters of now
STAYS_OPEN_S = 5400  # after so long it matters little how many were open at first
SPEED_MIN, SPEED_MAX = 0.1, 8.0
KEPT_MIN = 0.34  # of the calls at least go to those who are ahead or to the turn, however many come to overtake

AHEAD_AT_MOST = (*(least - 1 for least in AHEAD_AT_LEAST[1:]), 10**6)

# Ratios are counted by their logarithm, a part of a call added to both sides: where none was needed there is one too.
GRACE = 0.1
LOG_LOWEST = -2.5
LOG_STEP = 0.08
BINS = 64
COUNTS_MAX = 8192  # then the cell is halved
PRIOR_WEIGHT = 20  # as many waits as the prior, or all classes together, count for
INDEPENDENT_A_DAY = 4  # a day says as much as so many waits that have nothing to do with each other
WIDER_MAX = 1.5
FAR_MAX = 0.495  # no quantile is asked for that is further from the middle

NEEDS_KEPT_MAX = 300  # EXPERIENCES_MAX services × three classes
ASSUMED_WEIGHT = 8  # as many calls as the assumed busy time counts for
HOUR_WEIGHT = 40  # as many calls as the whole day's mean counts for in one hour
SHARE_WEIGHT = 20  # as many turns as nobody leaving, nobody absent counts for
IDLE_S = 10  # a free counter calls within so long


class Basis(Value):
    """What `waited` needs to know of an expectation once the turn was called.

    cell: of the ratios. calls: the plain number needed. rests_s: how much longer each open counter would be busy.
    """

    at: Instant
    cell: int
    calls: float
    rests_s: tuple[int, ...]


class Wait(Value):
    """Seconds from now until the turn is called: an interval for nine of ten, one for every other, and the middle."""

    low_90_s: int
    low_50_s: int
    middle_s: int
    high_50_s: int
    high_90_s: int
    basis: Basis


def waited(experience: Experience, expected: Basis, actual_s: float) -> Experience:
    """A turn of which this was expected was called after so many seconds more.

    Tell it of what was expected when the turn was taken. And look again whenever somebody else takes a turn: of those
    that wait, tell it also of what is expected once half of those ahead, or all, are gone since last noted, or ten
    minutes later. Right after a call is no good moment to note it: then a service has just begun.
    """
    actual_s = min(max(0.0, actual_s), WAIT_MAX_S)
    rank, bucket = divmod(expected.cell, BUCKETS)
    made = _Curve(experience, expected.at, expected.rests_s, rank).made(actual_s) if bucket else actual_s / IDLE_S
    ratio = log((made + GRACE) / (expected.calls + GRACE))
    bin_ = min(max(int((ratio - LOG_LOWEST) / LOG_STEP), 0), BINS - 1)
    cells = experience.ratios
    counted = count_up(cells[expected.cell] or (0,) * BINS, bin_, COUNTS_MAX)
    return msgspec.structs.replace(experience, ratios=(*cells[: expected.cell], counted, *cells[expected.cell + 1 :]))


class Expectations:
    """What turns of a line have to expect at one moment.

    What is the same for all of them is found out once, when somebody asks: many cost little more than one.
    `counters`: of each that goes on calling, since when it is busy with a turn (called, or in service), None if free.
    """

    def __init__(self, experience: Experience, now: datetime, counters: Sequence[datetime | None]) -> None:
        self._experience = experience
        self._now = now
        self._counters = counters
        self._free = sum(1 for since in counters if since is None)
        self._of_class: dict[Priority, tuple[_Needs, _Curve]] = {}

    @cached_property
    def _rests_s(self) -> tuple[int, ...]:
        return _rests_s(self._experience, self._now, self._counters)

    @cached_property
    def _stay(self) -> float:
        return _stay(self._experience)

    def basis(self, priority: Priority, ahead: int) -> Basis | None:
        """What `waited` needs to know of a turn of this class with so many ahead, at a small part of the cost of `of`.

        None when no counter goes on calling: nobody can say.
        """
        if not self._counters:
            return None
        bucket, calls = (0, 1.0)
        if ahead >= self._free:
            bucket, calls = bisect_right(AHEAD_AT_LEAST, ahead), ahead * self._stay + 1
        return Basis(at=self._now, cell=PRIORITIES[priority] * BUCKETS + bucket, calls=calls, rests_s=self._rests_s)

    def of(self, priority: Priority, ahead: int) -> Wait | None:
        """What such a turn has to expect; None when no counter goes on calling."""
        basis = self.basis(priority, ahead)
        if basis is None:
            return None
        if priority not in self._of_class:
            curve = _Curve(self._experience, self._now, self._rests_s, PRIORITIES[priority])
            self._of_class[priority] = (_needs_of(self._experience, priority), curve)
        need, curve = self._of_class[priority]
        seconds = need.at_once_s
        if ahead >= self._free:  # then it is at least as long as it would be if a counter were free
            pairs = zip(need.calls(ahead), seconds, strict=True)
            seconds = [max(curve.time_s(calls) if calls > 0 else 0.0, least_s) for calls, least_s in pairs]
        return Wait(
            low_90_s=round(seconds[0]),
            low_50_s=round(seconds[1]),
            middle_s=round(seconds[2]),
            high_50_s=round(seconds[3]),
            high_90_s=round(seconds[4]),
            basis=basis,
        )


def _stay(experience: Experience) -> float:
    """The share of those who wait that does not leave."""
    return 1 - experience.left / (experience.called + experience.left + SHARE_WEIGHT)


def busy_mean_s(experience: Experience, hour: int) -> float:
    """How long a call keeps a counter busy at this hour, those that nobody answers among them."""
    count = sum(tally.count for tally in experience.served)
    seconds = sum(tally.seconds for tally in experience.served)
    day_s = (seconds + experience.assumed_s * ASSUMED_WEIGHT) / (count + ASSUMED_WEIGHT)
    here = experience.served[hour]
    served_s = (here.seconds + day_s * HOUR_WEIGHT) / (here.count + HOUR_WEIGHT)
    nobody = experience.absent
    share = nobody.count / (nobody.count + count + SHARE_WEIGHT)
    return max(1.0, served_s if not nobody.count else served_s * (1 - share) + share * nobody.seconds / nobody.count)


class _Curve:
    """How many calls a line can count on in how many seconds, for a class of this rank.

    At first by the counters that are open, the later the more by those that usually are at that time of the day. It is
    made as far as it is asked for.
    """

    def __init__(self, experience: Experience, at: datetime, rests_s: Sequence[int], rank: int) -> None:
        second = second_of_day(at)
        self.experience, self.rank = experience, rank
        self.mean_s = busy_mean_s(experience, second // 3600)
        self.slot, self.slot_ends = second // SLOT_S, float(SLOT_S - second % SLOT_S)
        self.usual = _usually_open(experience, self.slot)
        # Until its rest is over a counter makes one call, evenly likely at any time; then one in every mean_s.
        self.rests = list(rests_s)
        self.rate = sum(1 / rest for rest in rests_s)
        self.worked = 0.0  # seconds of the counters that are open now
        self.speed, self.others, self.overtaking = 1.0, 0.0, self._overtaking()
        self.times, self.calls = [0.0], [0.0]

    def _extend(self) -> None:
        """Go on to where the rate changes next: a rest is over, or a slot of the day."""
        span = max(0.0, self.slot_ends - self.times[-1])
        if self.rests and self.worked + span * self.speed >= self.rests[0]:
            rest = self.rests.pop(0)
            self._go((rest - self.worked) / self.speed)
            self.worked = float(rest)
            self.rate = max(self.rate + 1 / self.mean_s - 1 / rest, 1 / self.mean_s)
            return
        self._go(span)
        self.slot, self.slot_ends = (self.slot + 1) % SLOTS, self.slot_ends + SLOT_S
        usual = _usually_open(self.experience, self.slot)
        self.overtaking = self._overtaking()
        if not self.usual or not usual:
            self.speed, self.others = 1.0, 0.0
            return
        watched_s = self.experience.watched_s[self.slot]
        known = watched_s / (watched_s + STAFFED_WEIGHT_S)
        still = 1 - known * (1 - exp(-self.times[-1] / STAYS_OPEN_S))
        self.speed = still * min(max(1 + known * (usual / self.usual - 1), SPEED_MIN), SPEED_MAX)
        self.others = (1 - still) * usual / self.mean_s

    def _overtaking(self) -> float:
        """How many a second come at this time of the day who are called first."""
        seen = self.experience.watched_s[self.slot]
        return sum(self.experience.taken[self.slot : self.rank * SLOTS : SLOTS]) / (seen + SLOT_S)

    def _go(self, span: float) -> None:
        rate = self.rate * self.speed + self.others
        self.calls.append(self.calls[-1] + span * max(rate - self.overtaking, rate * KEPT_MIN))
        self.times.append(self.times[-1] + span)
        self.worked += span * self.speed

    def time_s(self, calls: float) -> float:
        """When so many calls are made."""
        while self.calls[-1] <= calls:
            if self.times[-1] > WAIT_MAX_S:
                return float(WAIT_MAX_S)
            self._extend()
        return min(_between(self.calls, self.times, calls), float(WAIT_MAX_S))

    def made(self, seconds: float) -> float:
        """How many calls are made by then."""
        while self.times[-1] <= seconds:
            self._extend()
        return _between(self.times, self.calls, seconds)


def _between(known: list[float], wanted: list[float], value: float) -> float:
    after = bisect_right(known, value)
    part = (value - known[after - 1]) / (known[after] - known[after - 1])
    return wanted[after - 1] + part * (wanted[after] - wanted[after - 1])


def _usually_open(experience: Experience, slot: int) -> float:
    seen = experience.watched_s[slot]
    return experience.staffed_s[slot] / seen if seen else 0.0


def _rests_s(experience: Experience, now: datetime, counters: Sequence[datetime | None]) -> tuple[int, ...]:
    """How much longer each counter will be busy, sorted; the mean as long as nothing is known."""
    mean_s = busy_mean_s(experience, now.astimezone(TIME_ZONE).hour)
    rests = (
        IDLE_S if since is None else _rest_s(experience.busy, mean_s, (now - since).total_seconds())
        for since in counters
    )
    return tuple(sorted(rests))


def _rest_s(busy: tuple[int, ...], mean_s: float, elapsed_s: float) -> int:
    first = bisect_right(BUSY_EDGES_S, elapsed_s) + 1
    count, seconds = ASSUMED_WEIGHT, mean_s * ASSUMED_WEIGHT
    for many, edge in zip(busy[first:], BUSY_EDGES_S[first - 1 :], strict=True):
        count += many
        seconds += many * (edge * 1.15 - elapsed_s)
    return max(IDLE_S, round(seconds / count))


class _Needs:
    """How many calls the turns of one class need, at the quantiles. More people ahead never need fewer."""

    def __init__(self, experience: Experience, priority: Priority) -> None:
        self.experience, self.first_cell = experience, PRIORITIES[priority] * BUCKETS
        self.stay = _stay(experience)
        self.at_once_s = [
            max(0.0, factor * (1 + GRACE) - GRACE) * IDLE_S for factor in _factors(experience, self.first_cell, 0)
        ]
        self.factors: list[tuple[float, ...]] = []
        self.floors: list[tuple[float, ...]] = [(0.0,) * len(QUANTILES)]

    def point(self, ahead: int) -> float:
        """The plain number: those ahead who will stay, and the turn itself."""
        return ahead * self.stay + 1

    def _reach(self, bucket: int) -> None:
        while len(self.factors) < bucket:
            number = len(self.factors) + 1
            if self.factors:  # a bucket begins where the one before it ended, at least
                end = self.point(AHEAD_AT_MOST[number - 2]) + GRACE
                pairs = zip(self.factors[-1], self.floors[-1], strict=True)
                self.floors.append(tuple(max(end * factor, floor) for factor, floor in pairs))
            self.factors.append(_factors(self.experience, self.first_cell, number))

    def calls(self, ahead: int) -> list[float]:
        """How many it needs, at the quantiles."""
        bucket = bisect_right(AHEAD_AT_LEAST, ahead)
        if len(self.factors) < bucket:
            self._reach(bucket)
        point = self.point(ahead)
        return [
            max(factor * (point + GRACE), floor) - GRACE
            for factor, floor in zip(self.factors[bucket - 1], self.floors[bucket - 1], strict=True)
        ]


_NEEDS: dict[tuple[int, Priority], _Needs] = {}


def _needs_of(experience: Experience, priority: Priority) -> _Needs:
    """The needs of an experience, cached by its identity: an experience stays the same for minutes."""
    key = id(experience), priority
    found = _NEEDS.get(key)
    if found is None or found.experience is not experience:
        if len(_NEEDS) >= NEEDS_KEPT_MAX:
            _NEEDS.clear()
        _NEEDS[key] = found = _Needs(experience, priority)
    return found


def _prior(bucket: int) -> tuple[float, ...]:
    """Shares of the bins when nothing is known: the fewer calls, the wider; and the busy time may be quite another."""
    ahead = AHEAD_AT_LEAST[bucket - 1] if bucket else 0
    sigma = sqrt(0.6**2 + 0.8**2 / (1 + ahead))
    edges = [0.5 + erf((LOG_LOWEST + LOG_STEP * step) / sigma / sqrt(2)) / 2 for step in range(BINS + 1)]
    return tuple((after - before) / (edges[-1] - edges[0]) for before, after in pairwise(edges))


PRIORS = tuple(_prior(bucket) for bucket in range(BUCKETS))


def _factors(experience: Experience, first_cell: int, bucket: int) -> tuple[float, ...]:
    """The quantiles of the ratio in a cell: its own counts, those of all classes, the prior, each with its weight."""
    weights = list(PRIORS[bucket])
    everybody = [cell for cell in experience.ratios[bucket::BUCKETS] if cell]
    own = experience.ratios[first_cell + bucket]
    for counts in ([sum(column) for column in zip(*everybody, strict=True)], own) if everybody else ():
        if counts:
            total = sum(counts) + PRIOR_WEIGHT
            pairs = zip(counts, weights, strict=True)
            weights = [(count + PRIOR_WEIGHT * weight) / total for count, weight in pairs]
    sums, so_far = [], 0.0
    for weight in weights:
        so_far += weight
        sums.append(so_far)
    return tuple(_factor(sums, weights, level) for level in _levels(experience.days))


def _levels(days: int) -> list[float]:
    """Which quantiles of the past to take, so that one more day, as good as any before it, is covered as often."""
    wider = min(1 + 1 / max(1, INDEPENDENT_A_DAY * days), WIDER_MAX)
    return [0.5 + min(max((level - 0.5) * wider, -FAR_MAX), FAR_MAX) for level in QUANTILES]


def _factor(sums: list[float], weights: list[float], level: float) -> float:
    bin_ = min(bisect_left(sums, level), BINS - 1)
    within = 1 - (sums[bin_] - level) / weights[bin_] if weights[bin_] else 0.5
    return exp(LOG_LOWEST + LOG_STEP * (bin_ + min(max(within, 0.0), 1.0)))
