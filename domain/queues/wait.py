"""How long a turn will wait until it is first called: an interval with a known reliability.

An expectation has two parts. The *curve* is computed: the number of calls that a line can expect by a given time. It
follows from how long calls keep counters busy, which counters are open and since when they are busy, how many are
usually open later in the day, and how many turns usually come that are called first. The *needs* are measured: how many
calls of that curve it took until a turn with so many ahead was called, as ratios to the plain number, by class and
number ahead. Their quantiles give the interval, so it has the stated coverage even for what the curve does not know
(which clerk is slow today, who will leave). While little is known, a wide prior dominates. A few days say little,
however many waits they had, because the waits of one day are alike.
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
from domain.queues.policy import Priority
from domain.queues.wait_model import (
    AHEAD_AT_LEAST,
    BUCKETS,
    BUSY_EDGES_S,
    PRIORITIES,
    SLOT_S,
    SLOTS,
    WaitModel,
    count_up,
    second_of_day,
)

QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)
WAIT_MAX_S = 24 * 3600  # no longer wait is shown

STAFFED_WEIGHT_S = 3600  # a slot watched this long weighs as much as the counters open now
STAYS_OPEN_S = 5400  # the time after which the counters open at first matter little
SPEED_MIN, SPEED_MAX = 0.1, 8.0
KEPT_MIN = 0.34  # the least share of calls for the turn and those ahead, however many overtake

AHEAD_AT_MOST = (*(least - 1 for least in AHEAD_AT_LEAST[1:]), 10**6)

# Ratios are counted by logarithm. GRACE is added to both sides, so that there is a ratio even if no call was needed.
GRACE = 0.1
LOG_LOWEST = -2.5
LOG_STEP = 0.08
BINS = 64
COUNTS_MAX = 8192  # then the cell's counts are halved
PRIOR_WEIGHT = 20  # the weight of the prior, and of all classes together, in waits
INDEPENDENT_A_DAY = 4  # the number of independent waits that a day is worth
WIDER_MAX = 1.5
FAR_MAX = 0.495  # the greatest distance of a quantile from the middle

NEEDS_KEPT_MAX = 300  # EXPERIENCES_MAX services × three classes
ASSUMED_WEIGHT = 8  # the weight of the assumed busy time, in calls
HOUR_WEIGHT = 40  # the weight of the whole day's mean in one hour, in calls
SHARE_WEIGHT = 20  # the weight of the prior that nobody leaves or is absent, in turns
IDLE_S = 10  # a free counter calls within this time


class Basis(Value):
    """What `waited` needs to know about an expectation once the turn is called.

    cell: the cell of the ratios. calls: the plain number needed. rests_s: the remaining busy time of each open counter.
    """

    at: Instant
    cell: int
    calls: float
    rests_s: tuple[int, ...]


class Wait(Value):
    """Seconds from now until the turn is called: the 90% and 50% intervals, and the median."""

    low_90_s: int
    low_50_s: int
    middle_s: int
    high_50_s: int
    high_90_s: int
    basis: Basis


def waited(model: WaitModel, expected: Basis, actual_s: float) -> WaitModel:
    """A turn with this expectation was called after `actual_s` more seconds.

    Call it with the expectation made when the turn was taken. Whenever another turn is taken, make new expectations for
    those waiting turns whose number ahead has halved or become 0 since their last one, or whose last one is ten minutes
    old, and call it with these too. Do not make one right after a call, when a service has just begun.
    """
    actual_s = min(max(0.0, actual_s), WAIT_MAX_S)
    rank, bucket = divmod(expected.cell, BUCKETS)
    made = _Curve(model, expected.at, expected.rests_s, rank).made(actual_s) if bucket else actual_s / IDLE_S
    ratio = log((made + GRACE) / (expected.calls + GRACE))
    bin_ = min(max(int((ratio - LOG_LOWEST) / LOG_STEP), 0), BINS - 1)
    cells = model.ratios
    counted = count_up(cells[expected.cell] or (0,) * BINS, bin_, COUNTS_MAX)
    return msgspec.structs.replace(model, ratios=(*cells[: expected.cell], counted, *cells[expected.cell + 1 :]))


class Expectations:
    """The expected waits of a line's turns at one moment.

    What is common to all turns is computed once, on first use, so many turns cost little more than one.
    `counters`: for each open counter, since when it is busy with a turn (called or in service); None if it is free.
    """

    def __init__(self, model: WaitModel, now: datetime, counters: Sequence[datetime | None]) -> None:
        self._model = model
        self._now = now
        self._counters = counters
        self._free = sum(1 for since in counters if since is None)
        self._of_class: dict[Priority, tuple[_Needs, _Curve]] = {}

    @cached_property
    def _rests_s(self) -> tuple[int, ...]:
        return _rests_s(self._model, self._now, self._counters)

    @cached_property
    def _stay(self) -> float:
        return _stay(self._model)

    def basis(self, priority: Priority, ahead: int) -> Basis | None:
        """What `waited` needs for a turn of this class with `ahead` turns before it. It costs much less than `of`.

        None if no counter is open: then there is nothing to expect.
        """
        if not self._counters:
            return None
        bucket, calls = (0, 1.0)
        if ahead >= self._free:
            bucket, calls = bisect_right(AHEAD_AT_LEAST, ahead), ahead * self._stay + 1
        return Basis(at=self._now, cell=PRIORITIES[priority] * BUCKETS + bucket, calls=calls, rests_s=self._rests_s)

    def of(self, priority: Priority, ahead: int) -> Wait | None:
        """The expected wait of such a turn; None if no counter is open."""
        basis = self.basis(priority, ahead)
        if basis is None:
            return None
        if priority not in self._of_class:
            curve = _Curve(self._model, self._now, self._rests_s, PRIORITIES[priority])
            self._of_class[priority] = (_needs_of(self._model, priority), curve)
        need, curve = self._of_class[priority]
        seconds = need.at_once_s
        if ahead >= self._free:  # then the wait is at least as long as with a free counter
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


def _stay(model: WaitModel) -> float:
    """The share of waiting turns that does not leave."""
    return 1 - model.left / (model.called + model.left + SHARE_WEIGHT)


def busy_mean_s(model: WaitModel, hour: int) -> float:
    """How long a call keeps a counter busy at this hour on average, unanswered calls included."""
    count = sum(tally.count for tally in model.served)
    seconds = sum(tally.seconds for tally in model.served)
    day_s = (seconds + model.assumed_s * ASSUMED_WEIGHT) / (count + ASSUMED_WEIGHT)
    here = model.served[hour]
    served_s = (here.seconds + day_s * HOUR_WEIGHT) / (here.count + HOUR_WEIGHT)
    nobody = model.absent
    share = nobody.count / (nobody.count + count + SHARE_WEIGHT)
    return max(1.0, served_s if not nobody.count else served_s * (1 - share) + share * nobody.seconds / nobody.count)


class _Curve:
    """The number of calls that a line can expect by a given time, for a class of this rank.

    At first it follows the counters that are open now; later, more and more, the number usually open at that time of
    day. It is computed only as far as needed.
    """

    def __init__(self, model: WaitModel, at: datetime, rests_s: Sequence[int], rank: int) -> None:
        second = second_of_day(at)
        self.model, self.rank = model, rank
        self.mean_s = busy_mean_s(model, second // 3600)
        self.slot, self.slot_ends = second // SLOT_S, float(SLOT_S - second % SLOT_S)
        self.usual = _usually_open(model, self.slot)
        # Until its rest is over, a counter makes one call, equally likely at any time; then one call every mean_s.
        self.rests = list(rests_s)
        self.rate = sum(1 / rest for rest in rests_s)
        self.worked = 0.0  # seconds worked by the counters that are open now
        self.speed, self.others, self.overtaking = 1.0, 0.0, self._overtaking()
        self.times, self.calls = [0.0], [0.0]

    def _extend(self) -> None:
        """Extend the curve to the next change of its rate: the end of a rest or of a slot of the day."""
        span = max(0.0, self.slot_ends - self.times[-1])
        if self.rests and self.worked + span * self.speed >= self.rests[0]:
            rest = self.rests.pop(0)
            self._go((rest - self.worked) / self.speed)
            self.worked = float(rest)
            self.rate = max(self.rate + 1 / self.mean_s - 1 / rest, 1 / self.mean_s)
            return
        self._go(span)
        self.slot, self.slot_ends = (self.slot + 1) % SLOTS, self.slot_ends + SLOT_S
        usual = _usually_open(self.model, self.slot)
        self.overtaking = self._overtaking()
        if not self.usual or not usual:
            self.speed, self.others = 1.0, 0.0
            return
        watched_s = self.model.watched_s[self.slot]
        known = watched_s / (watched_s + STAFFED_WEIGHT_S)
        still = 1 - known * (1 - exp(-self.times[-1] / STAYS_OPEN_S))
        self.speed = still * min(max(1 + known * (usual / self.usual - 1), SPEED_MIN), SPEED_MAX)
        self.others = (1 - still) * usual / self.mean_s

    def _overtaking(self) -> float:
        """How many turns per second come at this time of the day that are called first."""
        seen = self.model.watched_s[self.slot]
        return sum(self.model.taken[self.slot : self.rank * SLOTS : SLOTS]) / (seen + SLOT_S)

    def _go(self, span: float) -> None:
        rate = self.rate * self.speed + self.others
        self.calls.append(self.calls[-1] + span * max(rate - self.overtaking, rate * KEPT_MIN))
        self.times.append(self.times[-1] + span)
        self.worked += span * self.speed

    def time_s(self, calls: float) -> float:
        """The time by which `calls` calls are made."""
        while self.calls[-1] <= calls:
            if self.times[-1] > WAIT_MAX_S:
                return float(WAIT_MAX_S)
            self._extend()
        return min(_between(self.calls, self.times, calls), float(WAIT_MAX_S))

    def made(self, seconds: float) -> float:
        """The number of calls made within `seconds`."""
        while self.times[-1] <= seconds:
            self._extend()
        return _between(self.times, self.calls, seconds)


def _between(known: list[float], wanted: list[float], value: float) -> float:
    after = bisect_right(known, value)
    part = (value - known[after - 1]) / (known[after] - known[after - 1])
    return wanted[after - 1] + part * (wanted[after] - wanted[after - 1])


def _usually_open(model: WaitModel, slot: int) -> float:
    seen = model.watched_s[slot]
    return model.staffed_s[slot] / seen if seen else 0.0


def _rests_s(model: WaitModel, now: datetime, counters: Sequence[datetime | None]) -> tuple[int, ...]:
    """The remaining busy time of each counter, sorted; the mean while nothing is known."""
    mean_s = busy_mean_s(model, now.astimezone(TIME_ZONE).hour)
    rests = (
        IDLE_S if since is None else _rest_s(model.busy, mean_s, (now - since).total_seconds()) for since in counters
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
    """The quantiles of the number of calls that turns of one class need. More turns ahead never need fewer calls."""

    def __init__(self, model: WaitModel, priority: Priority) -> None:
        self.model, self.first_cell = model, PRIORITIES[priority] * BUCKETS
        self.stay = _stay(model)
        self.at_once_s = [
            max(0.0, factor * (1 + GRACE) - GRACE) * IDLE_S for factor in _factors(model, self.first_cell, 0)
        ]
        self.factors: list[tuple[float, ...]] = []
        self.floors: list[tuple[float, ...]] = [(0.0,) * len(QUANTILES)]

    def point(self, ahead: int) -> float:
        """The plain number of calls: one for each turn ahead that will stay, and one for the turn itself."""
        return ahead * self.stay + 1

    def _reach(self, bucket: int) -> None:
        while len(self.factors) < bucket:
            number = len(self.factors) + 1
            if self.factors:  # a bucket starts no lower than the previous one ended
                end = self.point(AHEAD_AT_MOST[number - 2]) + GRACE
                pairs = zip(self.factors[-1], self.floors[-1], strict=True)
                self.floors.append(tuple(max(end * factor, floor) for factor, floor in pairs))
            self.factors.append(_factors(self.model, self.first_cell, number))

    def calls(self, ahead: int) -> list[float]:
        """The quantiles of the number of calls that a turn needs."""
        bucket = bisect_right(AHEAD_AT_LEAST, ahead)
        if len(self.factors) < bucket:
            self._reach(bucket)
        point = self.point(ahead)
        return [
            max(factor * (point + GRACE), floor) - GRACE
            for factor, floor in zip(self.factors[bucket - 1], self.floors[bucket - 1], strict=True)
        ]


_NEEDS: dict[tuple[int, Priority], _Needs] = {}


def _needs_of(model: WaitModel, priority: Priority) -> _Needs:
    """The needs of a model, cached by its identity: a model stays the same for minutes."""
    key = id(model), priority
    found = _NEEDS.get(key)
    if found is None or found.model is not model:
        if len(_NEEDS) >= NEEDS_KEPT_MAX:
            _NEEDS.clear()
        _NEEDS[key] = found = _Needs(model, priority)
    return found


def _prior(bucket: int) -> tuple[float, ...]:
    """The shares of the bins while nothing is known: wider for fewer calls, and wide enough for a wrong busy time."""
    ahead = AHEAD_AT_LEAST[bucket - 1] if bucket else 0
    sigma = sqrt(0.6**2 + 0.8**2 / (1 + ahead))
    edges = [0.5 + erf((LOG_LOWEST + LOG_STEP * step) / sigma / sqrt(2)) / 2 for step in range(BINS + 1)]
    return tuple((after - before) / (edges[-1] - edges[0]) for before, after in pairwise(edges))


PRIORS = tuple(_prior(bucket) for bucket in range(BUCKETS))


def _factors(model: WaitModel, first_cell: int, bucket: int) -> tuple[float, ...]:
    """The quantiles of the ratio in a cell, from its own counts, those of all classes, and the prior, weighted."""
    weights = list(PRIORS[bucket])
    everybody = [cell for cell in model.ratios[bucket::BUCKETS] if cell]
    own = model.ratios[first_cell + bucket]
    for counts in ([sum(column) for column in zip(*everybody, strict=True)], own) if everybody else ():
        if counts:
            total = sum(counts) + PRIOR_WEIGHT
            pairs = zip(counts, weights, strict=True)
            weights = [(count + PRIOR_WEIGHT * weight) / total for count, weight in pairs]
    sums, so_far = [], 0.0
    for weight in weights:
        so_far += weight
        sums.append(so_far)
    return tuple(_factor(sums, weights, level) for level in _levels(model.days))


def _levels(days: int) -> list[float]:
    """The quantiles of past ratios to use, so that a further day like the past ones has the stated coverage."""
    wider = min(1 + 1 / max(1, INDEPENDENT_A_DAY * days), WIDER_MAX)
    return [0.5 + min(max((level - 0.5) * wider, -FAR_MAX), FAR_MAX) for level in QUANTILES]


def _factor(sums: list[float], weights: list[float], level: float) -> float:
    bin_ = min(bisect_left(sums, level), BINS - 1)
    within = 1 - (sums[bin_] - level) / weights[bin_] if weights[bin_] else 0.5
    return exp(LOG_LOWEST + LOG_STEP * (bin_ + min(max(within, 0.0), 1.0)))
