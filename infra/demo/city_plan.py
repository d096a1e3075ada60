"""What happens in an invented city of a given size, as commands in order of time: see infra/demo/city.py.

The same seed, size and first day make the same plan, except for ids, which depend on the secret.
"""

import heapq
import random
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, time, timedelta
from functools import partial
from itertools import count

import msgspec

from domain.appointments.attendance import CheckIn, MarkNoShow
from domain.appointments.booking import BookAppointment
from domain.appointments.cancelling import CancelAppointment
from domain.appointments.publishing import PublishAgenda
from domain.calendar import TIME_ZONE
from domain.decider import Command, build
from domain.identifiers import agenda_id, ci_key
from domain.people import RegisterPerson
from infra.demo import names
from infra.demo.demo import ACTOR, SEED_MAX
from infra.demo.names import FAMILY_NAMES, GIVEN_NAMES, ROOMS, SPECIALTIES, ZONES
from infra.running.secret import Secret

PEOPLE_MAX = 500_000
PAST_DAYS = 30
DAYS = 2 * PAST_DAYS  # of agendas; as many days are lived through, from thirty before the first agenda

PEOPLE_PER_HOSPITAL = 2_000
PEOPLE_PER_SPECIALTY = 250  # until a hospital has as many as it may
SPECIALTIES_PER_HOSPITAL_MAX = 8
PRACTITIONERS_PER_SPECIALTY = (1, 2, 2, 3)
SLOTS = 12
SLOT_MINUTES = (15, 20, 20, 30)
SHIFT_HOURS = (8, 8, 14)
RELEASE_DAYS_BEFORE = {2: 25, 3: 20, 5: 20, 6: 20, 14: 10, 21: 5}  # by how many practitioners of a hundred
RELEASE_TIME = time(7)
FILLED_SHARE = (0.55, 0.98)  # of an agenda's slots somebody wants, least and most
RUSH_SHARE = 0.65  # of these, who asks in the first minutes
RUSH_MEAN_S = 90
RUSH_MAX = timedelta(minutes=30)
RUSH_CHANNELS = {"WEB": 80, "PHONE": 15, "WINDOW": 3, "ASSISTED": 2}
CHANNELS = {"WEB": 45, "PHONE": 28, "WINDOW": 20, "ASSISTED": 7}
LAST_BOOKING_BEFORE = timedelta(minutes=30)
CANCELLED_SHARE = 0.12
REBOOKED_SHARE = 0.6
CANCELLED_BECAUSE = {"PATIENT": 85, "HOSPITAL": 10, "MISTAKE": 5}
NO_SHOW_SHARE = 0.105  # of who books for the same day; more with each day of waiting
NO_SHOW_SHARE_PER_DAY = 0.012
NO_SHOW_SHARE_MAX = 0.45
EARLY_MAX = timedelta(minutes=45)
MISSED_AFTER = timedelta(minutes=15)
LATE_AFTER = timedelta(minutes=25)
LATE_SHARE = 0.04  # of no-shows, who comes after all
KNOWN_AT_FIRST_SHARE = 0.8  # of the people; the others register by and by
REGULARS = 1.5  # above 1: some people are patients more often than others
PATIENT_TRIES_MAX = 8

FAR = datetime.max.replace(tzinfo=UTC)


def city_name(seed: int, people: int, first_day: date) -> str:
    """The unique name of a city."""
    return f"city-{seed}-{people}-{first_day}"


def hospital_code(seed: int, number: int) -> str:
    """The code of a city's nth hospital, from 0: others for each seed, and none of the small demo city's."""
    again, zone = divmod(number, len(ZONES))
    return f"{list(ZONES)[zone]}-{seed}" + (f"-{again + 1}" if again else "")


def midnight(day: date) -> datetime:
    """The moment at which a day begins in La Paz."""
    return datetime.combine(day, time(), TIME_ZONE)


class Planned(msgspec.Struct, frozen=True, gc=False):
    """A command, the moment at which it is sent, and the moment before which it must be decided."""

    at: datetime
    before: datetime
    command: Command


class Practice(msgspec.Struct, frozen=True):
    """What a practitioner offers on each weekday."""

    hospital: str
    specialty: str
    practitioner: str
    begins: time
    minutes: int
    release_days: int
    filled: float

    def agenda(self, day: date) -> str:
        return agenda_id(self.hospital, day, self.practitioner)

    def start(self, day: date, slot: int) -> datetime:
        return datetime.combine(day, self.begins, TIME_ZONE) + timedelta(minutes=self.minutes * (slot - 1))


class Visit(msgspec.Struct, frozen=True, gc=False):
    person: int
    practice: Practice
    day: date
    start: datetime

    @property
    def end(self) -> datetime:
        return self.start + timedelta(minutes=self.practice.minutes)

    def rules_out(self, other: "Visit") -> bool:
        """Whether one patient may not have both."""
        one, another = self.practice, other.practice
        overlap = self.start < other.end and other.start < self.end
        return overlap or (one.hospital, one.specialty) == (another.hospital, another.specialty)


class CityPlan:
    """The commands of the city, in order of time. None is refused, unless it collides with something else in the log.

    It keeps only the future of released agendas and the patients expected, so it does not grow with its length.
    """

    def __init__(self, secret: Secret, *, seed: int, people: int, first_day: date) -> None:
        if not (0 <= seed <= SEED_MAX and 1 <= people <= PEOPLE_MAX):
            raise ValueError(f"a city has a seed of 0 to {SEED_MAX} and 1 to {PEOPLE_MAX} people")
        self.name = city_name(seed, people, first_day)
        self.people = people
        self.first_day = first_day
        self.hospitals = [hospital_code(seed, number) for number in range(-(-people // PEOPLE_PER_HOSPITAL))]
        self._secret = secret
        self._seed = seed
        self._dice = random.Random(self.name)  # noqa: S311 (invented people, not secrets)
        self._practices = list(self._staff())
        self._to_come: list[tuple[datetime, int, Callable[[datetime], Iterator[Planned]]]] = []
        self._ordinals = count()
        self._registered = 0
        self._bookings = 0
        self._expected: dict[int, list[Visit]] = {}
        self._expected_on: dict[date, list[Visit]] = {}

    @property
    def last_agenda(self) -> str:
        """The agenda that is published last: if it exists, the city is complete."""
        return self._practices[-1].agenda(self._last_day)

    @property
    def _last_day(self) -> date:
        days = (self.first_day + timedelta(days=DAYS - n) for n in range(1, DAYS))
        return next(day for day in days if day.isoweekday() <= 5)

    def about(self) -> int:
        """The approximate number of commands."""
        weekdays = DAYS * 5 // 7
        wanted = sum(practice.filled for practice in self._practices) * SLOTS * weekdays
        named = len(self.hospitals) + len(SPECIALTIES) + len(self._practices)
        return named + self.people + len(self._practices) * weekdays + int(wanted * 1.17)

    def commands(self) -> Iterator[Planned]:
        """Yield all commands, once."""
        begin = midnight(self.first_day - timedelta(days=PAST_DAYS))
        for command in self._named():
            yield Planned(begin, FAR, command)
        for number in range(DAYS):
            today = self.first_day + timedelta(days=number - PAST_DAYS)
            self._open_day(today, number)
            yield from self._happens_before(midnight(today + timedelta(days=1)))
        present, last_day = midnight(self.first_day + timedelta(days=PAST_DAYS)), self._last_day
        yield Planned(present, midnight(last_day + timedelta(days=1)), self._agenda(self._practices[-1], last_day))

    # What is there

    def _named(self) -> Iterator[Command]:
        """Hospitals, specialties, practitioners and rooms. Names have dice of their own."""
        for number, code in enumerate(self.hospitals):
            again, zone = divmod(number, len(ZONES))
            place = list(ZONES.values())[zone]
            here = place._replace(
                name=place.name + (f" {again + 1}" if again else ""),
                address=f"{place.address} {100 + number}",
                latitude=place.latitude + again / 5_000,
            )
            yield names.hospital(code, here, number)
        yield from names.specialties()
        dice = random.Random(f"{self.name} names")  # noqa: S311 (invented people, not secrets)
        for practice in self._practices:
            if practice.practitioner == names.room_code(practice.hospital, practice.specialty):
                yield names.room(practice.specialty, practice.hospital)
            else:
                yield names.practitioner(practice.practitioner, practice.specialty, practice.hospital, dice)

    def _staff(self) -> Iterator[Practice]:
        dice = self._dice
        specialties = min(SPECIALTIES_PER_HOSPITAL_MAX, max(1, self.people // PEOPLE_PER_SPECIALTY))
        for place, hospital in enumerate(self.hospitals, start=1):
            number = 0
            for specialty in sorted(dice.sample(list(SPECIALTIES), specialties)):
                minutes, filled = dice.choice(SLOT_MINUTES), dice.uniform(*FILLED_SHARE)
                for nth in range(dice.choice(PRACTITIONERS_PER_SPECIALTY)):
                    number += 1
                    code = f"p-{self._seed}-{place}-{number:02d}"
                    in_room = specialty in ROOMS and nth == 0
                    (release_days,) = dice.choices(list(RELEASE_DAYS_BEFORE), list(RELEASE_DAYS_BEFORE.values()))
                    yield Practice(
                        hospital=hospital,
                        specialty=specialty,
                        practitioner=names.room_code(hospital, specialty) if in_room else code,
                        begins=time(dice.choice(SHIFT_HOURS)),
                        minutes=minutes,
                        release_days=release_days,
                        filled=filled,
                    )

    def _agenda(self, practice: Practice, day: date) -> PublishAgenda:
        return build(
            PublishAgenda,
            hospital=practice.hospital,
            specialty=practice.specialty,
            practitioner=practice.practitioner,
            date=day,
            slots=[{"start": practice.start(day, n), "minutes": practice.minutes} for n in range(1, SLOTS + 1)],
            release_at=datetime.combine(day - timedelta(days=practice.release_days), RELEASE_TIME, TIME_ZONE),
        )

    def _subject(self, person: int) -> str:
        return self._secret.new_id("person", ACTOR, self.name, person)

    # What happens, in order of time

    def _at(self, at: datetime, happens: Callable[[datetime], Iterator[Planned]]) -> None:
        heapq.heappush(self._to_come, (at, next(self._ordinals), happens))

    def _happens_before(self, end: datetime) -> Iterator[Planned]:
        while self._to_come and self._to_come[0][0] < end:
            at, _, happens = heapq.heappop(self._to_come)
            yield from happens(at)

    def _open_day(self, today: date, number: int) -> None:
        for visit in self._expected_on.pop(today - timedelta(days=1), ()):
            self._no_longer_expected(visit)
        share = KNOWN_AT_FIRST_SHARE + (1 - KNOWN_AT_FIRST_SHARE) * number / (DAYS - 1)
        self._at(datetime.combine(today, time(6), TIME_ZONE), partial(self._register, round(self.people * share)))
        ahead = today + timedelta(days=PAST_DAYS)
        if ahead.isoweekday() <= 5:
            self._at(datetime.combine(today, time(12), TIME_ZONE), partial(self._publish, ahead))

    def _register(self, until: int, at: datetime) -> Iterator[Planned]:
        dice = self._dice
        for person in range(self._registered, until):
            sex, identity = dice.choice(("F", "M")), names.identity_number(self._seed, person)
            registration = build(
                RegisterPerson,
                person=self._subject(person),
                identity=identity,
                identity_digest=self._secret.identity_digest(ci_key(identity)),
                given_names=dice.choice(GIVEN_NAMES[sex]),
                family_names=f"{dice.choice(FAMILY_NAMES)} {dice.choice(FAMILY_NAMES)}",
                birth_date=self.first_day - timedelta(days=PAST_DAYS + 1 + int(dice.triangular(0, 95 * 365, 20 * 365))),
                sex=sex,
            )
            self._registered = person + 1
            yield Planned(at, FAR, registration)

    def _publish(self, day: date, at: datetime) -> Iterator[Planned]:
        for practice in self._practices:
            agenda = self._agenda(practice, day)
            assert agenda.release_at is not None
            self._at(agenda.release_at, partial(self._release, practice, day))
            if agenda.agenda != self.last_agenda:
                yield Planned(at, midnight(day + timedelta(days=1)), agenda)

    def _release(self, practice: Practice, day: date, at: datetime) -> Iterator[Planned]:
        """Most patients ask for a slot in the first minutes, the others until shortly before it begins."""
        dice = self._dice
        for slot in range(1, SLOTS + 1):
            if dice.random() >= practice.filled:
                continue
            if dice.random() < RUSH_SHARE:
                wanted = at + min(timedelta(seconds=dice.expovariate(1 / RUSH_MEAN_S)), RUSH_MAX)
                self._at(wanted, partial(self._book, practice, day, slot, RUSH_CHANNELS))
            else:
                self._ask_later(practice, day, slot, at + RUSH_MAX)
        return iter(())

    def _ask_later(self, practice: Practice, day: date, slot: int, since: datetime) -> None:
        until = practice.start(day, slot) - LAST_BOOKING_BEFORE
        if since < until:
            wanted = since + (until - since) * self._dice.random()
            self._at(wanted, partial(self._book, practice, day, slot, CHANNELS))

    def _book(
        self, practice: Practice, day: date, slot: int, channels: dict[str, int], at: datetime
    ) -> Iterator[Planned]:
        start = practice.start(day, slot)
        visit = self._somebody(practice, day, start)
        if visit is None:
            return
        self._expected.setdefault(visit.person, []).append(visit)
        self._expected_on.setdefault(day, []).append(visit)
        self._bookings += 1
        agenda = practice.agenda(day)
        opaque = self._secret.new_id("appointment", ACTOR, self.name, [self._bookings, agenda])
        (channel,) = self._dice.choices(list(channels), list(channels.values()))
        booking = build(
            BookAppointment,
            appointment=f"{agenda}/{opaque}",
            agenda=agenda,
            slot=slot,
            patient=self._subject(visit.person),
            channel=channel,
        )
        self._foresee(visit, slot, booking.appointment, at)
        yield Planned(at, start, booking)

    def _somebody(self, practice: Practice, day: date, start: datetime) -> Visit | None:
        """A person who may have a visit there and then. Patients expected today count as expected until midnight."""
        for _ in range(PATIENT_TRIES_MAX):
            person = int(self._registered * self._dice.random() ** REGULARS)
            visit = Visit(person, practice, day, start)
            if not any(visit.rules_out(other) for other in self._expected.get(person, ())):
                return visit
        return None

    def _foresee(self, visit: Visit, slot: int, appointment: str, booked_at: datetime) -> None:
        """Plan the end of an appointment: cancelled, attended or missed; a longer wait makes attendance less likely."""
        dice, start = self._dice, visit.start
        waits = start - booked_at
        if dice.random() < CANCELLED_SHARE:
            given_up = partial(self._cancel, visit, slot, appointment)
            self._at(booked_at + waits * dice.uniform(0.05, 0.95), given_up)
            return
        no_show_share = min(NO_SHOW_SHARE + NO_SHOW_SHARE_PER_DAY * waits.days, NO_SHOW_SHARE_MAX)
        if dice.random() >= no_show_share:
            early = min(EARLY_MAX, waits) * dice.random()
            self._at(start - early, partial(self._check_in, visit.day, appointment))
            return
        self._at(start + MISSED_AFTER, partial(self._miss, appointment))
        if dice.random() < LATE_SHARE:
            self._at(start + LATE_AFTER, partial(self._check_in, visit.day, appointment))

    def _cancel(self, visit: Visit, slot: int, appointment: str, at: datetime) -> Iterator[Planned]:
        self._no_longer_expected(visit)
        (reason,) = self._dice.choices(list(CANCELLED_BECAUSE), list(CANCELLED_BECAUSE.values()))
        if self._dice.random() < REBOOKED_SHARE:
            self._ask_later(visit.practice, visit.day, slot, at)
        yield Planned(at, visit.start, build(CancelAppointment, appointment=appointment, reason=reason))

    def _check_in(self, day: date, appointment: str, at: datetime) -> Iterator[Planned]:
        yield Planned(at, midnight(day + timedelta(days=1)), build(CheckIn, appointment=appointment))

    def _miss(self, appointment: str, at: datetime) -> Iterator[Planned]:
        yield Planned(at, FAR, build(MarkNoShow, appointment=appointment))

    def _no_longer_expected(self, visit: Visit) -> None:
        visits = self._expected.get(visit.person, [])
        if visit in visits:
            visits.remove(visit)
        if not visits:
            self._expected.pop(visit.person, None)
