"""Many patients, few slots, any order: whatever is asked of the office, nobody is promised what another has.

A machine asks for anything at any time and decides and folds as the committer does. Beside it, `Register` answers every
question from nothing but the list of what was accepted and when: it shares no code with the decisions it judges.
"""

from collections import Counter
from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Any, NamedTuple, TypeVar, get_args

from hypothesis import HealthCheck, event, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from domain.appointments.agenda import Agenda, Channel
from domain.appointments.attendance import CheckIn, MarkNoShow, appointment_state
from domain.appointments.availability import Slot, SlotState, free_count, is_free, numbers_in, slot_state
from domain.appointments.booking import BookAppointment
from domain.appointments.cancelling import CancelAppointment
from domain.appointments.holding import HoldSlot
from domain.appointments.patient import Patient
from domain.appointments.publishing import PublishAgenda, SlotTime
from domain.appointments.rescheduling import RescheduleAppointment
from domain.calendar import TIME_ZONE
from domain.decider import Command, Event, Recorded, StreamName, fold, fold_of, redacted
from domain.decision import decide
from domain.errors import Rejected
from domain.identifiers import agenda_of
from domain.people import ErasePerson, Person, PersonErased, PersonRegistered
from tests.examples import examples
from tests.office import (
    ANA,
    COTAHUMA,
    DAY,
    DENTISTRY,
    EVA,
    LA_MERCED,
    LUIS,
    PEDIATRICS,
    at,
    hospital_registered,
    opaque,
    states_read,
)

T = TypeVar("T")

PATIENTS = (ANA, LUIS, EVA)
Practice = tuple[str, str, str]  # hospital, specialty, practitioner
# Two practitioners of one specialty, another specialty, another hospital.
PRACTICES = (
    (LA_MERCED, PEDIATRICS, "p-1"),
    (LA_MERCED, PEDIATRICS, "p-2"),
    (LA_MERCED, DENTISTRY, "p-3"),
    (COTAHUMA, PEDIATRICS, "p-1"),
)
UNKNOWN = ("sopocachi", PEDIATRICS, "p-1")
SLOT_STATES: tuple[SlotState, ...] = get_args(SlotState)
HOLDS_MAX, HOLDS_A_DAY_MAX, RENEWALS_MAX, ALTERNATIVES_MAX = 2, 20, 1, 3

slot_times = st.builds(
    SlotTime,
    start=st.integers(0, 8).map(lambda n: at("08:00") + timedelta(minutes=10 * n)),
    minutes=st.sampled_from([10, 15, 30]),
)
several_times = st.lists(slot_times, min_size=1, max_size=6)
quotas: st.SearchStrategy[dict[Channel, int]] = st.dictionaries(
    st.sampled_from(["WEB", "PHONE"]), st.sampled_from([1, 1, 2, 0]), max_size=2
)
releases = st.sampled_from([None, None, None, at("07:52")])
practices = st.sampled_from(PRACTICES)
patients = st.sampled_from(PATIENTS)
channels: st.SearchStrategy[Channel] = st.sampled_from(["WEB", "WEB", "PHONE", "WINDOW"])
holds_s = st.sampled_from([60, 300, 900])
pauses = st.sampled_from([timedelta(microseconds=1), timedelta(seconds=60), timedelta(minutes=5)])
nths = st.integers(0, 40)


class Place(NamedTuple):
    """A slot, somewhere, at some time."""

    agenda: str
    slot: int


class Hold(NamedTuple):
    patient: str
    until: datetime
    renewals: int


class Register:
    """What was accepted, in order, and what follows from it. Nothing else is remembered."""

    def __init__(self) -> None:
        self.accepted: list[tuple[datetime, Command]] = []

    def said(self, kind: type[Any]) -> Iterator[Any]:
        return (command for _, command in self.accepted if isinstance(command, kind))

    @property
    def agendas(self) -> dict[str, PublishAgenda]:
        return {f"{c.hospital}/{c.date:%Y-%m-%d}/{c.practitioner}": c for c in self.said(PublishAgenda)}

    def slots(self, agenda: str) -> list[tuple[datetime, datetime]]:
        """From when until when, by number less one."""
        times = sorted((slot.start, slot.minutes) for slot in self.agendas[agenda].slots)
        return [(start, start + timedelta(minutes=minutes)) for start, minutes in times]

    def when(self, at_place: Place) -> tuple[datetime, datetime]:
        return self.slots(at_place.agenda)[at_place.slot - 1]

    def bookings(self) -> list[BookAppointment]:
        """Those that were not cancelled."""
        gone = {command.appointment for command in self.said(CancelAppointment)}
        return [command for command in self.said(BookAppointment) if command.appointment not in gone]

    def attendance(self, agenda: str) -> dict[str, str]:
        """What was said last of who came, by appointment."""
        said = {CheckIn: "CHECKED_IN", MarkNoShow: "NO_SHOW"}
        return {
            command.appointment: said[type(command)]
            for _, command in self.accepted
            if isinstance(command, CheckIn | MarkNoShow) and agenda_of(command.appointment) == agenda
        }

    def last_holds(self) -> dict[Place, Hold]:
        """The last hold of each slot, unless it was confirmed: live or not."""
        holds: dict[Place, Hold] = {}
        for now, command in self.accepted:
            if not isinstance(command, HoldSlot | BookAppointment):
                continue
            place = Place(command.agenda, command.slot)
            before = holds.pop(place, None)
            if isinstance(command, HoldSlot):
                renews = before is not None and before.patient == command.patient and now < before.until
                until = now + timedelta(seconds=command.hold_s)
                if before and renews:
                    until = max(until, before.until)
                holds[place] = Hold(command.patient, until, before.renewals + 1 if before and renews else 0)
        return holds

    def live_holds(self, now: datetime) -> dict[Place, Hold]:
        return {place: hold for place, hold in self.last_holds().items() if now < hold.until}

    def holders(self, now: datetime) -> list[str]:
        return [hold.patient for hold in self.live_holds(now).values()]

    def visits(self, patient: str) -> list[tuple[datetime, datetime, tuple[str, str]]]:
        """From when until when, and what for: of everything the patient booked and did not cancel."""
        mine = [command for command in self.bookings() if command.patient == patient]
        return [(*self.when(Place(c.agenda, c.slot)), self.practice(c.agenda)) for c in mine]

    def practice(self, agenda: str) -> tuple[str, str]:
        return self.agendas[agenda].hospital, self.agendas[agenda].specialty

    def free(self, agenda: str, now: datetime) -> set[int]:
        gone = {Place(command.agenda, command.slot) for command in self.bookings()} | self.live_holds(now).keys()
        release = self.agendas[agenda].release_at
        if release is not None and now < release:
            return set()
        begun = {n for n, (start, _) in enumerate(self.slots(agenda), start=1) if start <= now}
        return {n for n in range(1, len(self.slots(agenda)) + 1) if Place(agenda, n) not in gone} - begun

    def known(self, command: Command) -> bool:
        """Whether it was done before, so that there is nothing left to do."""
        match command:
            case PublishAgenda():
                return any(_same_agenda(command, other) for other in self.said(PublishAgenda))
            case BookAppointment() | RescheduleAppointment():
                new = command.appointment if isinstance(command, BookAppointment) else command.moved_to
                return any(new == other.appointment for other in self.said(BookAppointment))
            case CancelAppointment():
                return any(command.appointment == other.appointment for other in self.said(CancelAppointment))
            case CheckIn() | MarkNoShow():
                said = "CHECKED_IN" if isinstance(command, CheckIn) else "NO_SHOW"
                return self.attendance(agenda_of(command.appointment)).get(command.appointment) == said
            case HoldSlot():
                return any(command.hold == other.hold for other in self.said(HoldSlot))
            case ErasePerson():
                return command in self.said(ErasePerson)
        raise AssertionError(f"the register has no rule for {command}")

    def objections(self, command: Command, now: datetime) -> set[str]:
        """Everything that speaks against it: it must be accepted exactly if there is nothing."""
        match command:
            case PublishAgenda():
                there = f"{command.hospital}/{command.date:%Y-%m-%d}/{command.practitioner}" in self.agendas
                unknown = command.hospital not in {LA_MERCED, COTAHUMA}
                return _those(agenda_exists=there, hospital_unknown=unknown)
            case ErasePerson():
                return set()  # everybody here is registered, and what they booked is in nobody's way
            case CancelAppointment() | CheckIn() | MarkNoShow():
                return self._against_what_becomes(command, now)
            case RescheduleAppointment():
                return self._against_moving(command, now)
            case HoldSlot() | BookAppointment():
                return self._against_wanting(command, now)
        raise AssertionError(f"the register has no rule for {command}")

    def _against_what_becomes(self, command: CancelAppointment | CheckIn | MarkNoShow, now: datetime) -> set[str]:
        booked = [c for c in self.said(BookAppointment) if c.appointment == command.appointment]
        begun = any(self.when(Place(c.agenda, c.slot))[0] <= now for c in booked)
        came = self.attendance(agenda_of(command.appointment)).get(command.appointment) == "CHECKED_IN"
        cancelled = any(c.appointment == command.appointment for c in self.said(CancelAppointment))
        on_another_day = any(now.astimezone(TIME_ZONE).date() != DAY for _ in booked)
        return _those(
            appointment_unknown=not booked,
            appointment_cancelled=cancelled,
            appointment_over=isinstance(command, CancelAppointment) and begun,
            checked_in_already=not isinstance(command, CheckIn) and came,
            not_its_day=isinstance(command, CheckIn) and on_another_day,
            not_begun_yet=isinstance(command, MarkNoShow) and not begun,
        )

    def _against_wanting(self, command: HoldSlot | BookAppointment, now: datetime) -> set[str]:
        if command.agenda not in self.agendas:
            return {"agenda_unknown"}
        if command.slot > len(self.slots(command.agenda)):
            return {"slot_unknown"}
        special = self._against_holding if isinstance(command, HoldSlot) else self._against_booking
        return self._against_asking(command, now) | special(command, now)

    def _against_asking(self, command: HoldSlot | BookAppointment, now: datetime) -> set[str]:
        place = Place(command.agenda, command.slot)
        start, end = self.when(place)
        hold = self.live_holds(now).get(place)
        booked = any(place == Place(other.agenda, other.slot) for other in self.bookings())
        release = self.agendas[command.agenda].release_at
        visits = [visit for visit in self.visits(command.patient) if visit[1] > now]
        return _those(
            in_the_past=start <= now,
            not_released_yet=release is not None and now < release,
            slot_taken=booked or (hold is not None and hold.patient != command.patient),
            visits_overlap=any(max(start, begin) < min(end, finish) for begin, finish, _ in visits),
            already_seen_here=any(practice == self.practice(command.agenda) for _, _, practice in visits),
        )

    def _against_holding(self, command: Any, now: datetime) -> set[str]:
        mine = {place: hold for place, hold in self.live_holds(now).items() if hold.patient == command.patient}
        this = mine.pop(Place(command.agenda, command.slot), None)
        taken = sum(other.patient == command.patient for other in self.said(HoldSlot))
        return _those(
            hold_renewed_already=this is not None and this.renewals >= RENEWALS_MAX,
            hold_limit_reached=len(mine) >= HOLDS_MAX,
            too_many_holds_today=taken >= HOLDS_A_DAY_MAX,  # the clock of the machine stays within one day
        )

    def _against_booking(self, command: Any, now: datetime) -> set[str]:
        quota = self.agendas[command.agenda].quotas.get(command.channel)
        return _those(quota_exhausted=quota is not None and self.taken(command.agenda, command.channel) >= quota)

    def parts(self, command: RescheduleAppointment) -> tuple[CancelAppointment, BookAppointment]:
        """Rescheduling is as if the old appointment were given up and the new one booked in its channel."""
        (booked,) = (c for c in self.said(BookAppointment) if c.appointment == command.appointment)
        new = BookAppointment(
            appointment=command.moved_to,
            agenda=command.agenda,
            slot=command.slot,
            patient=booked.patient,
            channel=booked.channel,
        )
        return CancelAppointment(appointment=command.appointment), new

    def _against_moving(self, command: RescheduleAppointment, now: datetime) -> set[str]:
        if against := self._against_what_becomes(CancelAppointment(appointment=command.appointment), now):
            return against
        given_up, new = self.parts(command)
        without = Register()
        without.accepted = [*self.accepted, (now, given_up)]
        against = without.objections(new, now)
        if command.agenda not in self.agendas:
            return against
        old_agenda = agenda_of(command.appointment)
        old_slots = {c.slot for c in self.bookings() if c.appointment == command.appointment}
        return against | _those(
            slot_taken=command.agenda == old_agenda and command.slot in old_slots,
            another_specialty=not command.any_specialty
            and self.practice(old_agenda)[1] != self.practice(command.agenda)[1],
        )

    def taken(self, agenda: str, channel: Channel) -> int:
        return sum((other.agenda, other.channel) == (agenda, channel) for other in self.bookings())


def _those(**objections: bool) -> set[str]:
    return {code for code, stands in objections.items() if stands}


def _same_agenda(one: PublishAgenda, other: PublishAgenda) -> bool:
    def said(command: PublishAgenda) -> tuple[Any, ...]:
        times = sorted((slot.start, slot.minutes) for slot in command.slots)
        what = (command.hospital, command.specialty, command.practitioner, command.date)
        return *what, times, command.quotas, command.release_at

    return said(one) == said(other)


class AppointmentsOffice(RuleBasedStateMachine):
    """The office on a morning: agendas appear, people hold, book, change their minds, and time goes by."""

    def __init__(self) -> None:
        super().__init__()
        self.now = at("07:50")
        self.register = Register()
        self.states: dict[StreamName, Any] = {}
        self.log: list[Recorded] = []
        self.asked = 0
        self.record([(f"hospital/{name}", hospital_registered(name)) for name in (LA_MERCED, COTAHUMA)])
        self.record([(f"person/{patient}", _person_registered(patient)) for patient in PATIENTS])

    # As the committer does it

    def state(self, stream: StreamName) -> Any:
        return self.states.setdefault(stream, fold(stream, ()))

    def record(self, recorded: list[Recorded]) -> None:
        for stream, happened in recorded:
            self.states[stream] = fold_of(stream).evolve(self.state(stream), happened)
        self.log.extend(recorded)
        erased = {happened.person for _, happened in recorded if isinstance(happened, PersonErased)}
        # As the log reads once the key is gone.
        self.log = [
            (stream, redacted(happened) if stream.removeprefix("person/") in erased else happened)
            for stream, happened in self.log
        ]

    def ask(self, command: Command) -> list[Recorded] | Rejected:
        try:
            return decide(command, states_read(command, self.state), self.now)
        except Rejected as refusal:
            return refusal

    def submit(self, command: Command) -> None:
        objections = self.register.objections(command, self.now)
        answer = self.ask(command)
        if self.register.known(command):
            assert answer == [], f"{command} was said again, and not to no effect: {answer}"
        elif isinstance(answer, Rejected):
            event(answer.code)
            assert answer.code in objections, f"{command} was refused: {answer}. Objections: {objections or 'none'}"
            if answer.code == "slot_taken":
                assert isinstance(command, HoldSlot | BookAppointment | RescheduleAppointment)
                self.judge_alternatives(Place(command.agenda, command.slot), answer.details["alternatives"])
        else:
            event(type(command).__name__)
            assert not objections, f"{command} was accepted against {objections}"
            assert answer, f"{command} was accepted and nothing recorded"
            parts = self.register.parts(command) if isinstance(command, RescheduleAppointment) else (command,)
            self.register.accepted.extend((self.now, part) for part in parts)
            self.record(answer)
            assert self.ask(command) == [], f"{command} was said again at once, and not to no effect"

    def judge_alternatives(self, wanted: Place, offered: list[Slot]) -> None:
        """They are free, and none that is nearer was left out."""

        def distance(number: int) -> timedelta:
            return abs(self.register.when(Place(wanted.agenda, number))[0] - self.register.when(wanted)[0])

        free = self.register.free(wanted.agenda, self.now)
        numbers = [slot.number for slot in offered]
        assert len(set(numbers)) == len(numbers)
        assert set(numbers) <= free
        assert [distance(number) for number in numbers] == sorted(map(distance, free))[:ALTERNATIVES_MAX]

    def _name(self) -> str:
        self.asked += 1
        return opaque("".join("abcdefghij"[int(digit)] for digit in str(self.asked)))

    def _holding(self, place: Place, patient: str, hold_s: int) -> HoldSlot:
        return HoldSlot(hold=self._name(), agenda=place.agenda, slot=place.slot, patient=patient, hold_s=hold_s)

    def _booking(self, place: Place, patient: str, channel: Channel) -> BookAppointment:
        name = f"{place.agenda}/{self._name()}"
        return BookAppointment(appointment=name, agenda=place.agenda, slot=place.slot, patient=patient, channel=channel)

    def _moving(self, appointment: str, place: Place, any_specialty: bool) -> RescheduleAppointment:
        return RescheduleAppointment(
            appointment=appointment,
            agenda=place.agenda,
            slot=place.slot,
            moved_to=f"{place.agenda}/{self._name()}",
            any_specialty=any_specialty,
        )

    def _nth_slot(self, practice: Practice, nth: int) -> Place:
        agenda = _agenda(practice)
        return Place(agenda, 1 + nth % len(self.register.slots(agenda)))

    # What people want

    @initialize(published=st.tuples(*[st.tuples(several_times, quotas, releases)] * len(PRACTICES)))
    def publish(self, published: tuple[tuple[list[SlotTime], dict[Channel, int], datetime | None], ...]) -> None:
        for practice, (times, quota, release_at) in zip(PRACTICES, published, strict=True):
            self.submit(_publication(practice, times, quota, release_at))

    @rule(practice=practices, nths=st.lists(nths, min_size=1, max_size=3), patient=patients, hold_s=holds_s)
    def hold(self, practice: Practice, nths: list[int], patient: str, hold_s: int) -> None:
        for nth in nths:
            self.submit(self._holding(self._nth_slot(practice, nth), patient, hold_s))

    @rule(practice=practices, nth=nths, patient=patients, channel=channels)
    def book(self, practice: Practice, nth: int, patient: str, channel: Channel) -> None:
        self.submit(self._booking(self._nth_slot(practice, nth), patient, channel))

    @rule(nth=nths, patient=patients, hold_s=holds_s)
    def hold_what_was_held(self, nth: int, patient: str, hold_s: int) -> None:
        """A renewal, if the patient is the same and in time."""
        for place, _ in _nth(self.register.last_holds().items(), nth):
            self.submit(self._holding(place, patient, hold_s))

    @rule(nth=nths, channel=channels)
    def confirm(self, nth: int, channel: Channel) -> None:
        """One's own hold, which may have expired."""
        for place, held in _nth(self.register.last_holds().items(), nth):
            self.submit(self._booking(place, held.patient, channel))

    @rule(nth=nths)
    def cancel(self, nth: int) -> None:
        for booked in _nth(self.register.said(BookAppointment), nth):
            self.submit(CancelAppointment(appointment=booked.appointment))

    @rule(nth=nths, practice=practices, slot=nths, any_specialty=st.booleans())
    def reschedule(self, nth: int, practice: Practice, slot: int, any_specialty: bool) -> None:
        for booked in _nth(self.register.said(BookAppointment), nth):
            self.submit(self._moving(booked.appointment, self._nth_slot(practice, slot), any_specialty))

    @rule(nth=nths, slot=nths, any_specialty=st.booleans())
    def reschedule_to_a_free_slot(self, nth: int, slot: int, any_specialty: bool) -> None:
        free = [Place(name, number) for name in self.register.agendas for number in self.register.free(name, self.now)]
        for booked in _nth(self.register.bookings(), nth):
            for place in _nth(sorted(free), slot):
                self.submit(self._moving(booked.appointment, place, any_specialty))

    @rule(nth=nths)
    def check_in(self, nth: int) -> None:
        for booked in _nth(self.register.said(BookAppointment), nth):
            self.submit(CheckIn(appointment=booked.appointment))

    @rule(nth=nths)
    def mark_no_show(self, nth: int) -> None:
        for booked in _nth(self.register.said(BookAppointment), nth):
            self.submit(MarkNoShow(appointment=booked.appointment))

    @rule(nth=nths, days=st.sampled_from([-1, 1]))
    def check_in_on_another_day(self, nth: int, days: int) -> None:
        today, self.now = self.now, self.now + timedelta(days=days)
        self.check_in(nth)
        self.now = today

    @rule(nth=nths, slot=nths, channel=channels)
    def book_where_one_was_seen(self, nth: int, slot: int, channel: Channel) -> None:
        for booked in _nth(self.register.bookings(), nth):
            place = Place(booked.agenda, 1 + slot % len(self.register.slots(booked.agenda)))
            self.submit(self._booking(place, booked.patient, channel))

    @rule(nth=nths, patient=patients)
    def cancel_for_another(self, nth: int, patient: str) -> None:
        """Who waits for the slot asks for it at once, in the same channel."""
        for booked in _nth(self.register.bookings(), nth):
            self.submit(CancelAppointment(appointment=booked.appointment))
            self.submit(self._booking(Place(booked.agenda, booked.slot), patient, booked.channel))

    @rule(nth=nths)
    def say_again(self, nth: int) -> None:
        """What was accepted at any time before. A hold is known only while no other followed it on its slot."""
        for _, command in _nth(self.register.accepted, nth):
            if not isinstance(command, HoldSlot) or self.register.known(command):
                self.submit(command)

    @rule(patient=patients)
    def erase(self, patient: str) -> None:
        self.submit(ErasePerson(person=patient))

    @rule(practice=practices, times=several_times, patient=patients)
    def ask_in_vain(self, practice: Practice, times: list[SlotTime], patient: str) -> None:
        """For what is not there, or is there already."""
        self.submit(_publication(practice, times, {}))
        self.submit(_publication(UNKNOWN, times, {}))
        self.submit(self._holding(Place(_agenda(UNKNOWN), 1), patient, 60))
        self.submit(self._booking(Place(_agenda(practice), 9), patient, "WEB"))
        nobody = f"{_agenda(practice)}/{opaque('nobody')}"
        for becomes in (CancelAppointment, CheckIn, MarkNoShow):
            self.submit(becomes(appointment=nobody))
        self.submit(self._moving(nobody, Place(_agenda(practice), 1), any_specialty=False))
        for booked in _nth(self.register.bookings(), 0):
            self.submit(self._moving(booked.appointment, Place(_agenda(UNKNOWN), 1), any_specialty=False))

    @rule(pause=pauses)
    def wait(self, pause: timedelta) -> None:
        self.now = min(self.now + pause, at("11:00"))

    @rule()
    def wait_until_a_hold_expires(self) -> None:
        self._wait_for(hold.until for hold in self.register.live_holds(self.now).values())

    @rule()
    def wait_until_a_slot_begins_or_ends(self) -> None:
        self._wait_for(
            edge for agenda in self.register.agendas for slot in self.register.slots(agenda) for edge in slot
        )

    def _wait_for(self, edges: Iterable[datetime]) -> None:
        self.now = min((edge for edge in edges if edge > self.now), default=self.now)

    # What is always true

    @invariant()
    def no_slot_is_promised_twice(self) -> None:
        booked = Counter(Place(command.agenda, command.slot) for command in self.register.bookings())
        assert all(times == 1 for times in booked.values())
        assert not booked.keys() & self.register.live_holds(self.now).keys()

    @invariant()
    def nobody_is_in_two_places_at_once(self) -> None:
        for patient in PATIENTS:
            visits = sorted(self.register.visits(patient))
            assert all(one[1] <= other[0] for one, other in pairwise(visits))
            live = Counter(practice for _, end, practice in visits if self.now < end)
            assert all(times == 1 for times in live.values())

    @invariant()
    def nobody_holds_or_books_more_than_one_may(self) -> None:
        assert all(holds <= HOLDS_MAX for holds in Counter(self.register.holders(self.now)).values())
        for agenda, command in self.register.agendas.items():
            assert all(self.register.taken(agenda, channel) <= quota for channel, quota in command.quotas.items())

    @invariant()
    def the_agendas_show_what_was_accepted(self) -> None:
        """An expired hold is none, though no event says so."""
        for name in self.register.agendas:
            agenda: Agenda = self.state(f"agenda/{name}")
            mine = [command for command in self.register.bookings() if command.agenda == name]
            assert agenda.booked == {command.slot: command.appointment for command in mine}
            assert {n for n in agenda.slots if is_free(agenda, n, self.now)} == self.register.free(name, self.now)
            assert agenda.attendance == self.register.attendance(name)
            live = {command.appointment for command in mine}
            states = {booked: appointment_state(agenda, booked) for booked in agenda.appointments}
            assert states == dict.fromkeys(states.keys() - live, "CANCELLED") | {
                booked: agenda.attendance.get(booked, "BOOKED") for booked in live
            }
            for state in SLOT_STATES:
                listed = [*numbers_in(agenda, state, self.now)]
                assert listed == [n for n in agenda.slots if slot_state(agenda, n, self.now) == state]
            assert free_count(agenda, self.now) == len(self.register.free(name, self.now))

    @invariant()
    def agendas_and_patients_agree(self) -> None:
        on_agendas, held = set(), set()
        for name in self.register.agendas:
            agenda: Agenda = self.state(f"agenda/{name}")
            on_agendas |= {(agenda.appointments[booked].patient, booked) for booked in agenda.booked.values()}
            held |= {(hold.patient, name, hold.slot, hold.held_until) for hold in agenda.holds.values()}
        states: dict[str, Patient] = {patient: self.state(f"patient/{patient}") for patient in PATIENTS}
        assert on_agendas == {(patient, visit) for patient, state in states.items() for visit in state.visits}
        assert {hold for hold in held if self.now < hold[-1]} == {
            (patient, hold.agenda, hold.slot, hold.held_until)
            for patient, state in states.items()
            for hold in state.holds.values()
            if self.now < hold.held_until
        }

    @invariant()
    def of_the_erased_nothing_personal_is_left(self) -> None:
        erased = {command.person for command in self.register.said(ErasePerson)}
        for patient in PATIENTS:
            person: Person = self.state(f"person/{patient}")
            assert person.registered is not None
            assert (person.registered == redacted(person.registered)) == (patient in erased)

    @invariant()
    def the_log_alone_gives_the_same_states(self) -> None:
        """Also after a refusal: it wrote nothing and left no trace in a state."""
        streams: dict[StreamName, list[Event]] = {name: [] for name in self.states}
        for stream, happened in self.log:
            streams[stream].append(happened)
        assert self.states == {stream: fold(stream, events) for stream, events in streams.items()}


def _nth(items: Iterable[T], nth: int) -> list[T]:
    """One of them, or none if there are none."""
    there = list(items)
    return [there[nth % len(there)]] if there else []


def _person_registered(patient: str) -> PersonRegistered:
    return PersonRegistered(
        person=patient,
        identity_digest=patient,
        identity="4820193",
        given_names="Ana",
        family_names="Mamani",
        birth_date=DAY,
        sex="F",
        phone="",
        email="",
    )


def _agenda(practice: Practice) -> str:
    hospital, _, practitioner = practice
    return f"{hospital}/{DAY}/{practitioner}"


def _publication(
    practice: Practice,
    times: list[SlotTime],
    quota: dict[Channel, int],
    release_at: datetime | None = None,
) -> PublishAgenda:
    hospital, specialty, practitioner = practice
    return PublishAgenda(
        hospital=hospital,
        specialty=specialty,
        practitioner=practitioner,
        date=DAY,
        slots=times,
        quotas=quota,
        release_at=release_at,
    )


TestAppointmentsOffice = AppointmentsOffice.TestCase
TestAppointmentsOffice.settings = settings(
    deadline=None,
    max_examples=examples(50),
    stateful_step_count=40,
    suppress_health_check=[HealthCheck.too_slow],
)
