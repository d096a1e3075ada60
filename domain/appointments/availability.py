"""What an agenda has to offer at a moment: how many slots are free, and which slots are in a state.

Nothing here looks at every slot: an agenda may have thousands, and one request may ask for many agendas. It rests on
how slots are numbered: from 1 without gaps, in order of their start.
"""

from bisect import bisect_right
from collections.abc import Iterable, Iterator
from datetime import datetime

from domain.appointments.agenda import Agenda, Slot, SlotState, is_released, live_hold


def free_count(agenda: Agenda, now: datetime) -> int:
    """How many slots anybody may take now; 0 before booking opens."""
    if not is_released(agenda, now):
        return 0
    begun = _begun(agenda, now)
    return len(agenda.unbooked) - bisect_right(agenda.unbooked, begun) - sum(1 for _ in _held(agenda, begun, now))


def slots_in(agenda: Agenda, state: SlotState | None, now: datetime, *, after: int = 0) -> Iterator[Slot]:
    """The slots in this state, or in any, with numbers above `after`, in order of number."""
    return (agenda.slots[number] for number in _numbers(agenda, state, now, after))


def _numbers(agenda: Agenda, state: SlotState | None, now: datetime, after: int) -> Iterable[int]:
    unbooked, begun = agenda.unbooked, _begun(agenda, now)
    match state:
        case None:
            return range(after + 1, len(agenda.slots) + 1)
        case "BOOKED":
            return sorted(number for number in agenda.booked if number > after)
        case "PAST":
            return unbooked[bisect_right(unbooked, after) : bisect_right(unbooked, begun)]
        case "HELD":
            return sorted(_held(agenda, max(begun, after), now))
    if (state == "FREE") != is_released(agenda, now):
        return ()
    ahead = unbooked[bisect_right(unbooked, max(begun, after)) :]
    return (number for number in ahead if live_hold(agenda, number, now) is None)


def _begun(agenda: Agenda, now: datetime) -> int:
    """The number of the last slot that began; 0 if none did."""
    slots = agenda.published.slots if agenda.published else []
    return bisect_right(slots, now, key=lambda slot: slot.start)


def _held(agenda: Agenda, after: int, now: datetime) -> Iterator[int]:
    """Numbers above `after` of slots that are held, in no order."""
    return (
        number
        for number, hold in agenda.holds.items()
        if now < hold.held_until and number > after and number not in agenda.booked
    )
