"""The slots of an agenda, and which of them are free at a given moment.

Functions that count slots do not look at each of them: an agenda may have thousands, and one request may ask for many
agendas. They rely on the numbering of slots: from 1 without gaps, in order of their start.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Collection, Iterator, Mapping, Sequence
from datetime import date, datetime, timedelta
from heapq import merge
from itertools import islice
from typing import Literal, Protocol

from domain.decider import Instant, Value
from domain.identifiers import AgendaId, HospitalId, PractitionerId, SpecialtyId

ALTERNATIVES_MAX = 3

SlotState = Literal["FREE", "NOT_RELEASED", "HELD", "BOOKED", "PAST"]


class Slot(Value):
    """`number` counts from 1 in the order of the agenda; it is printed on the citizen's ficha."""

    number: int
    start: Instant
    minutes: int

    @property
    def end(self) -> datetime:
        return self.start + timedelta(minutes=self.minutes)


class Hold(Protocol):
    """The part of a hold on which the state of its slot depends."""

    @property
    def held_until(self) -> datetime: ...


class Slots(Protocol):
    """The data from which the states of slots are computed. `Agenda` and `PublishedAgenda` both have it."""

    @property
    def release_at(self) -> datetime | None: ...
    @property
    def slots(self) -> Mapping[int, Slot]: ...
    @property
    def holds(self) -> Mapping[int, Hold]: ...
    @property
    def booked(self) -> Collection[int]: ...
    @property
    def unbooked(self) -> Sequence[int]: ...


class PublishedAgenda(Value):
    """An agenda as readers see it, from the log or from a read model: as published, with what happened to its slots.

    `slots` and `holds` are keyed by slot number, `unbooked` is in order, `taken` counts live appointments by channel.
    """

    agenda: AgendaId
    hospital: HospitalId
    specialty: SpecialtyId
    practitioner: PractitionerId
    date: date
    release_at: Instant | None
    quotas: Mapping[str, int]
    taken: Mapping[str, int]
    slots: Mapping[int, Slot]
    holds: Mapping[int, Hold]
    booked: Collection[int]
    unbooked: Sequence[int]


def is_live(hold: Hold, now: datetime) -> bool:
    """Whether a hold keeps others from its slot at this moment. It expires by time alone: no event says so."""
    return now < hold.held_until


def is_released(agenda: Slots, now: datetime) -> bool:
    """Whether a published agenda is open for booking: it has no `release_at`, or that moment has come."""
    release_at = agenda.release_at
    return release_at is None or release_at <= now


def is_held(agenda: Slots, slot: int, now: datetime) -> bool:
    """Whether somebody has a live hold on the slot."""
    hold = agenda.holds.get(slot)
    return hold is not None and is_live(hold, now)


def slot_state(agenda: Slots, number: int, now: datetime) -> SlotState:
    """What can be done with a slot of the agenda at this moment."""
    if number in agenda.booked:
        return "BOOKED"
    if agenda.slots[number].start <= now:
        return "PAST"
    if is_held(agenda, number, now):
        return "HELD"
    return "FREE" if is_released(agenda, now) else "NOT_RELEASED"


def is_free(agenda: Slots, slot: int, now: datetime) -> bool:
    """Whether anybody may take the slot now: it is in the future, open for booking, and neither booked nor held."""
    return slot_state(agenda, slot, now) == "FREE"


def nearest_free(agenda: Slots, slot: Slot, now: datetime) -> list[Slot]:
    """The free slots nearest in time, the nearest first, at most ALTERNATIVES_MAX.

    The order of slots that start at the same time is undefined.
    """
    at = bisect_left(agenda.unbooked, slot.number)
    earlier = (agenda.slots[number] for number in reversed(agenda.unbooked[:at]))
    later = (agenda.slots[number] for number in agenda.unbooked[at:])
    # Numbers follow start times, so each side is sorted by distance.
    by_distance = merge(earlier, later, key=lambda other: abs(other.start - slot.start))
    return list(islice((other for other in by_distance if is_free(agenda, other.number, now)), ALTERNATIVES_MAX))


def free_count(agenda: Slots, now: datetime) -> int:
    """How many slots anybody may take now; 0 before booking opens."""
    if not is_released(agenda, now):
        return 0
    begun = _begun(agenda, now)
    return len(agenda.unbooked) - bisect_right(agenda.unbooked, begun) - sum(1 for _ in _held(agenda, begun, now))


def numbers_in(agenda: Slots, state: SlotState | None, now: datetime) -> Sequence[int]:
    """The numbers of the slots in this state, or in any, in order."""
    unbooked, begun = agenda.unbooked, _begun(agenda, now)
    match state:
        case None:
            return range(1, len(agenda.slots) + 1)
        case "BOOKED":
            return sorted(agenda.booked)
        case "PAST":
            return unbooked[: bisect_right(unbooked, begun)]
        case "HELD":
            return sorted(_held(agenda, begun, now))
    if (state == "FREE") != is_released(agenda, now):
        return ()
    ahead = unbooked[bisect_right(unbooked, begun) :]
    held = {*_held(agenda, begun, now)}
    return [number for number in ahead if number not in held] if held else ahead


def _begun(agenda: Slots, now: datetime) -> int:
    """The number of the last slot that has begun; 0 if none has."""
    slots = agenda.slots
    return bisect_right(range(1, len(slots) + 1), now, key=lambda number: slots[number].start)


def _held(agenda: Slots, after: int, now: datetime) -> Iterator[int]:
    """Numbers above `after` of slots that are held, in no particular order."""
    return (
        number
        for number, hold in agenda.holds.items()
        if is_live(hold, now) and number > after and number not in agenda.booked
    )
