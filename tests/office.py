"""The language of the tests: given what happened, when somebody wants something, then this is recorded.

    given(published(slots=3)).after(hold(ANA, slot=1)).when(book(LUIS, slot=1)).rejected("slot_taken", path="slot")

Pure: no database, no clock, nothing mocked. A bare event given happens on every stream that is read, since folds ignore
what is foreign to them; a pair of stream and event happens on that stream alone.
"""

import string
from collections.abc import Callable
from datetime import UTC, date, datetime, time, timedelta
from typing import Any

from domain.appointments.agenda import AgendaPublished, Channel
from domain.appointments.attendance import CheckIn, MarkNoShow
from domain.appointments.availability import Slot
from domain.appointments.booking import BookAppointment
from domain.appointments.cancelling import CancelAppointment, Reason
from domain.appointments.holding import HoldSlot
from domain.appointments.hospital import HospitalRegistered
from domain.appointments.publishing import PublishAgenda, SlotTime
from domain.appointments.rescheduling import RescheduleAppointment
from domain.calendar import TIME_ZONE
from domain.decider import Command, Event, Recorded, StreamName, fold
from domain.decision import DECISIONS, MAX_READ_ROUNDS, decide
from domain.errors import Rejected
from domain.identifiers import AgendaId, AppointmentId, agenda_id, organisation_id

DAY = date(2027, 1, 15)
MOMENT = timedelta(microseconds=1)  # the least by which one may be early or late


def at(clock: str, day: date = DAY) -> datetime:
    """The instant at which clocks in La Paz show this: at("08:00"), at("08:00", DAY + timedelta(days=1))."""
    return datetime.combine(day, time.fromisoformat(clock), TIME_ZONE).astimezone(UTC)


NOW = at("07:00")


class Office:
    """What happened so far."""

    def __init__(self, happened: tuple[Event | Recorded, ...]) -> None:
        self._happened = happened

    def state(self, stream: StreamName) -> Any:
        """What the events so far amount to on this stream."""
        pairs = (said if isinstance(said, tuple) else (stream, said) for said in self._happened)
        return fold(stream, (event for on, event in pairs if on == stream))

    def after(self, *commands: Command, now: datetime = NOW) -> "Office":
        """The office once these were accepted, one after another, at the same moment."""
        office = self
        for command in commands:
            answer = office.when(command, now=now)
            assert answer.refusal is None, f"{command} was refused: {answer.refusal}"
            office = Office((*office._happened, *answer.recorded))
        return office

    def when(self, command: Command, *, now: datetime = NOW) -> "Answer":
        states = states_read(command, self.state)
        try:
            answer = Answer(decide(command, states, now))
        except Rejected as refusal:
            answer = Answer([], refusal)
        touched = [stream for stream, state in states.items() if state != self.state(stream)]
        assert not touched, f"deciding {command} changed {touched}"
        unread = {stream for stream, _ in answer.recorded} - states.keys()
        assert not unread, f"{command} writes {sorted(unread)}: its `reads` must name them too"
        return answer


class Answer:
    """What was recorded, or why nothing was."""

    def __init__(self, recorded: list[Recorded], refusal: Rejected | None = None) -> None:
        self.recorded = recorded
        self.refusal = refusal

    def then(self, *recorded: Recorded) -> None:
        assert self.refusal is None, f"refused: {self.refusal}"
        assert self.recorded == list(recorded), f"recorded {self.recorded}\ninstead of {list(recorded)}"

    def nothing(self) -> None:
        """It was accepted, and there was nothing left to do."""
        self.then()

    def accepted(self) -> None:
        """Something was recorded; what, another test says."""
        assert self.refusal is None, f"refused: {self.refusal}"
        assert self.recorded, "nothing was recorded"

    def rejected(self, code: str, *, path: str, **details: Any) -> None:
        """It was refused for this reason. Details that are not named here may be anything."""
        assert self.refusal is not None, f"accepted: {self.recorded}"
        said = {name: self.refusal.details.get(name) for name in details}
        wanted = (code, path, details)
        assert (self.refusal.code, self.refusal.path, said) == wanted, f"{self.refusal}\ninstead of {wanted}"


def given(*happened: Event | Recorded) -> Office:
    return Office(happened)


def states_read(command: Command, load: Callable[[StreamName], Any]) -> dict[StreamName, Any]:
    """The states that a command reads, asked again until nothing new, as often as one may ask."""
    states: dict[StreamName, Any] = {}
    reads = DECISIONS[type(command)].streams
    for _ in range(MAX_READ_ROUNDS):
        missing = [stream for stream in reads(command, states) if stream not in states]
        if not missing:
            return states
        states |= {stream: load(stream) for stream in missing}
    raise AssertionError(f"{command} still wants to read more after {MAX_READ_ROUNDS} rounds")


def opaque(name: str) -> str:
    """An opaque id that a reader can tell from others: "ana" becomes "ana222…"."""
    assert set(name) <= set(string.ascii_lowercase + "234567"), name
    return name.ljust(26, "2")


ANA = opaque("ana")
LUIS = opaque("luis")
EVA = opaque("eva")
ILLIMANI = organisation_id(opaque("illimani"))
LA_MERCED = "la-merced"
COTAHUMA = "cotahuma"
PEDIATRICS = "pediatrics"
DENTISTRY = "dentistry"
AGENDA = agenda_id(LA_MERCED, DAY, "p-1")


def hospital_registered(hospital: str = LA_MERCED) -> HospitalRegistered:
    return HospitalRegistered(hospital=hospital, name=f"Hospital {hospital}")


def slot_times(slots: int, *, first: str = "08:00", minutes: int = 20, day: date = DAY) -> list[SlotTime]:
    """Slots that follow each other."""
    return [SlotTime(start=at(first, day) + timedelta(minutes=minutes * n), minutes=minutes) for n in range(slots)]


def published(
    slots: int = 3,
    *,
    hospital: str = LA_MERCED,
    specialty: str = PEDIATRICS,
    practitioner: str = "p-1",
    day: date = DAY,
    first: str = "08:00",
    minutes: int = 20,
    quotas: dict[Channel, int] | None = None,
    release_at: datetime | None = None,
) -> AgendaPublished:
    """An agenda of slots that follow each other. Unless told otherwise, its id is AGENDA."""
    times = slot_times(slots, first=first, minutes=minutes, day=day)
    return AgendaPublished(
        agenda=agenda_id(hospital, day, practitioner),
        hospital=hospital,
        specialty=specialty,
        practitioner=practitioner,
        date=day,
        slots=[Slot(number=n, start=slot.start, minutes=slot.minutes) for n, slot in enumerate(times, start=1)],
        quotas=dict(quotas.items()) if quotas else {},
        release_at=release_at,
    )


def on_its_stream(agenda: AgendaPublished) -> Recorded:
    """For stories with more than one agenda."""
    return f"agenda/{agenda.agenda}", agenda


def publish(
    slots: list[SlotTime],
    *,
    day: date = DAY,
    quotas: dict[Channel, int] | None = None,
    release_at: datetime | None = None,
) -> PublishAgenda:
    """Wants the agenda that `published` makes."""
    return PublishAgenda(
        hospital=LA_MERCED,
        specialty=PEDIATRICS,
        practitioner="p-1",
        date=day,
        slots=slots,
        quotas=quotas or {},
        release_at=release_at,
    )


def hold(patient: str, slot: int = 1, *, agenda: AgendaId = AGENDA, name: str = "hold", hold_s: int = 300) -> HoldSlot:
    return HoldSlot(hold=opaque(name), agenda=agenda, slot=slot, patient=patient, hold_s=hold_s)


def book(
    patient: str, slot: int = 1, *, agenda: AgendaId = AGENDA, name: str = "ficha", channel: Channel = "WEB"
) -> BookAppointment:
    return BookAppointment(
        appointment=appointment(name, agenda), agenda=agenda, slot=slot, patient=patient, channel=channel
    )


def cancel(name: str = "ficha", *, agenda: AgendaId = AGENDA, reason: Reason = "PATIENT") -> CancelAppointment:
    return CancelAppointment(appointment=appointment(name, agenda), reason=reason)


def reschedule(
    name: str = "ficha",
    slot: int = 2,
    *,
    agenda: AgendaId = AGENDA,
    to: AgendaId = AGENDA,
    moved_to: str = "moved",
    any_specialty: bool = False,
) -> RescheduleAppointment:
    return RescheduleAppointment(
        appointment=appointment(name, agenda),
        agenda=to,
        slot=slot,
        moved_to=appointment(moved_to, to),
        any_specialty=any_specialty,
    )


def check_in(name: str = "ficha", *, agenda: AgendaId = AGENDA) -> CheckIn:
    return CheckIn(appointment=appointment(name, agenda))


def mark_no_show(name: str = "ficha", *, agenda: AgendaId = AGENDA) -> MarkNoShow:
    return MarkNoShow(appointment=appointment(name, agenda))


def appointment(name: str = "ficha", agenda: AgendaId = AGENDA) -> AppointmentId:
    return f"{agenda}/{opaque(name)}"
