"""A small demo city: La Paz's municipal hospitals, thirty days of agendas and lines, invented people.

The same seed and first day make the same city, by the same commands that clients send.
"""

import asyncio
import random
from collections.abc import Iterator, Sequence
from datetime import date, datetime, time, timedelta

import msgspec
import psycopg
from psycopg import sql
from rich.console import Console
from rich.progress import Progress

from domain.appointments.agenda import stream as agenda_stream
from domain.appointments.booking import BookAppointment
from domain.appointments.publishing import PUBLISH_AHEAD_DAYS_MAX, PublishAgenda
from domain.calendar import TIME_ZONE, local_date
from domain.decider import Command, build
from domain.errors import Rejected
from domain.identifiers import HospitalId, PractitionerId, SpecialtyId, agenda_id, ci_key, parse_ci
from domain.people import RegisterPerson
from domain.queues.opening import OpenLine
from domain.service_points import RegisterServicePoint
from infra.demo import names
from infra.demo.names import FAMILY_NAMES, GIVEN_NAMES, HOSPITALS, ROOMS, SPECIALTIES
from infra.log.core import Core
from infra.log.submission import Key
from infra.postgres.connections import Unavailable
from infra.running.secret import Secret
from infra.running.settings import SettingError

ACTOR = "demo"
DAYS = 30
SEED_MAX = 9_999  # an identity number has room for this many
PEOPLE = 120
BOOKINGS = 400
SLOTS = 12
SLOT_MINUTES = 20
COMMANDS_AT_ONCE = 256
FIRST_KEY = "named-hospital"  # of a city whose hospitals have addresses; earlier ones began with another key

SERVICE_POINTS = {"sopocachi": "Plataforma de Atención Sopocachi", "max-paredes": "Plataforma de Atención Max Paredes"}
SERVICES = ("cadastre", "taxes")
COUNTERS = 4


class DemoCity(msgspec.Struct, frozen=True):
    """The numbers of the city. Bookings that collided with others were refused, as expected, and do not count.

    `names` counts specialties, practitioners and rooms.
    """

    hospitals: int
    names: int
    agendas: int
    people: int
    appointments: int
    lines: int


def practitioner(hospital: HospitalId, specialty: SpecialtyId) -> PractitionerId:
    """The code of the practitioner, or of the room, with the agendas of a specialty at a hospital."""
    if specialty in ROOMS:
        return names.room_code(hospital, specialty)
    number = list(HOSPITALS).index(hospital) * len(SPECIALTIES) + list(SPECIALTIES).index(specialty)
    return f"p-{number + 1:02d}"


def hospitals() -> Iterator[Command]:
    for number, (code, place) in enumerate(HOSPITALS.items()):
        yield names.hospital(code, place, number)


def named() -> Iterator[Command]:
    """Specialties, practitioners and rooms; they are the same for each seed."""
    yield from names.specialties()
    dice = random.Random("names")  # noqa: S311 (invented people, not secrets)
    for hospital in HOSPITALS:
        for specialty in SPECIALTIES:
            if specialty in ROOMS:
                yield names.room(specialty, hospital)
            else:
                yield names.practitioner(practitioner(hospital, specialty), specialty, hospital, dice)


def agendas(first_day: date) -> Iterator[PublishAgenda]:
    """Every hospital and specialty, mornings from 8, Sundays off, thirty days long."""
    for day in (first_day + timedelta(days=n) for n in range(DAYS)):
        if day.isoweekday() == 7:
            continue
        begin = datetime.combine(day, time(8), TIME_ZONE)
        slots = [{"start": begin + timedelta(minutes=SLOT_MINUTES * n), "minutes": SLOT_MINUTES} for n in range(SLOTS)]
        for hospital in HOSPITALS:
            for specialty in SPECIALTIES:
                yield build(
                    PublishAgenda,
                    hospital=hospital,
                    specialty=specialty,
                    practitioner=practitioner(hospital, specialty),
                    date=day,
                    slots=slots,
                )


def lines(first_day: date) -> Iterator[OpenLine]:
    """A line for every service point and service, open all day and on Sundays, so that one can always be tried."""
    for day in (first_day + timedelta(days=n) for n in range(DAYS)):
        opens_at = datetime.combine(day, time(), TIME_ZONE)
        for point in SERVICE_POINTS:
            for service in SERVICES:
                yield build(
                    OpenLine,
                    service_point=point,
                    service=service,
                    date=day,
                    counters=list(range(1, COUNTERS + 1)),
                    opens_at=opens_at,
                    closes_at=opens_at + timedelta(days=1, seconds=-1),
                )


def people(core: Core, dice: random.Random, seed: int) -> Iterator[RegisterPerson]:
    """Invented people, different for each seed. Their identity numbers begin with 999, which no office issues."""
    if not 0 <= seed <= SEED_MAX:
        raise ValueError(f"a seed is 0 to {SEED_MAX}, not {seed}")
    for number in range(PEOPLE):
        sex = dice.choice(("F", "M"))
        identity = parse_ci(f"999{seed:04d}{number:03d} LP")
        yield build(
            RegisterPerson,
            person=core.secret.new_id("person", ACTOR, f"demo-{seed}", identity),
            identity=identity,
            identity_digest=core.secret.identity_digest(ci_key(identity)),
            given_names=dice.choice(GIVEN_NAMES[sex]),
            family_names=f"{dice.choice(FAMILY_NAMES)} {dice.choice(FAMILY_NAMES)}",
            birth_date=date(2020, 1, 1) - timedelta(days=dice.randrange(80 * 365)),
            sex=sex,
        )


def bookings(
    core: Core, dice: random.Random, seed: int, patients: Sequence[str], first_day: date
) -> Iterator[BookAppointment]:
    """Random slots for random people, from the second day on."""
    for number in range(BOOKINGS):
        day = first_day + timedelta(days=dice.randrange(1, DAYS))
        specialty, hospital = dice.choice(list(SPECIALTIES)), dice.choice(list(HOSPITALS))
        agenda = agenda_id(hospital, day, practitioner(hospital, specialty))
        opaque = core.secret.new_id("appointment", ACTOR, f"demo-{seed}", [number, agenda])
        yield build(
            BookAppointment,
            appointment=f"{agenda}/{opaque}",
            agenda=agenda,
            slot=dice.randrange(1, SLOTS + 1),
            patient=dice.choice(patients),
            channel=dice.choice(("WEB", "PHONE", "WINDOW", "ASSISTED")),
        )


def check_first_day(first_day: date, *, today: date) -> None:
    """Raise SettingError for a first day whose agendas can't be published today."""
    latest = today + timedelta(days=PUBLISH_AHEAD_DAYS_MAX - DAYS + 1)
    if first_day < today:
        raise SettingError(f"--first-day {first_day} is in the past: agendas are published from today, {today}, on")
    if first_day > latest:
        raise SettingError(f"--first-day {first_day} is too far ahead: {latest} is the latest today")


async def first_day_lacking(core: Core, conninfo: str, *, schema: str, seed: int, today: date) -> date | None:
    """The first day of the city to make or complete; None if there is nothing to do.

    Today for an empty log. For one that begins with the city of this seed: that city's, until it is complete or its
    last day is past. Any other log is left alone. Raises Unavailable.
    """
    if await core.log.head() == 0:
        return today
    first_day = await _begun_on(conninfo, schema=schema, secret=core.secret, seed=seed)
    if first_day is None:
        return None
    *_, last = agendas(first_day)
    found = (await core.log.load([agenda_stream(last.agenda)])).popitem()[1]
    return None if found.version or last.date < today else first_day


async def _begun_on(conninfo: str, *, schema: str, secret: Secret, seed: int) -> date | None:
    """The first day of the city with which the log begins: its first event keeps the key of its command for ever."""
    first_event = sql.SQL("SELECT actor, command_id, recorded_at FROM {} WHERE notification_id = 1")
    async with await psycopg.AsyncConnection.connect(conninfo, autocommit=True) as connection:
        cursor = await connection.execute(first_event.format(sql.Identifier(schema, "events")))
        row = await cursor.fetchone()
    if row is None or row[0] != ACTOR:
        return None
    earliest = local_date(row[2]) - timedelta(days=1)  # midnight may have passed meanwhile
    days = (earliest + timedelta(days=n) for n in range(PUBLISH_AHEAD_DAYS_MAX + 2))
    return next((day for day in days if secret.key_name(ACTOR, _key(seed, day, FIRST_KEY, 0).name) == row[1]), None)


def _key(seed: int, first_day: date, kind: str, number: int) -> Key:
    return Key(ACTOR, f"demo-{seed}-{first_day}-{kind}-{number}")


async def load_demo(core: Core, *, seed: int, first_day: date, console: Console, going_on: bool = False) -> DemoCity:
    """Make the city of this seed and first day. Existing parts are not made twice.

    One agenda is published last: if it exists, the city is complete. `going_on` leaves out what can no longer be made,
    because its day is past or it would collide with something else.

    Raises Unavailable; Rejected if the city collides with something else in the log, such as other agendas of the same
    hospitals, unless it is `going_on`.
    """
    dice = random.Random(seed)  # noqa: S311 (invented people, not secrets)
    citizens = list(people(core, dice, seed))
    *published, last = agendas(first_day)
    patients = [person.person for person in citizens]
    wanted = [booking for booking in bookings(core, dice, seed, patients, first_day) if booking.agenda != last.agenda]
    founded, registrations = list(hospitals()), list(named())
    points = [build(RegisterServicePoint, service_point=code, name=name) for code, name in SERVICE_POINTS.items()]
    queues = list(lines(first_day))
    with Progress(console=console, transient=True, disable=not console.is_terminal) as progress:
        parts: list[Sequence[Command]] = [founded, registrations, points, published, queues, citizens, wanted, [last]]
        total = sum(len(part) for part in parts)
        task = progress.add_task("demo city", total=total)

        async def submit(commands: Sequence[Command], kind: str, *, may_collide: bool = going_on) -> int:
            accepted = 0
            at_once = min(COMMANDS_AT_ONCE, core.committer.queue_max)
            for begin in range(0, len(commands), at_once):
                some = commands[begin : begin + at_once]
                keys = [_key(seed, first_day, kind, begin + n) for n in range(len(some))]
                accepted += await _submit(core, some, keys, may_collide)
                progress.advance(task, len(some))
            return accepted

        begun, registered = await submit(founded, FIRST_KEY), await submit(registrations, "name")
        opened = await submit(published, "agenda")
        known = await submit(citizens, "person")
        await submit(points, "service-point")
        waiting = await submit(queues, "line", may_collide=True)  # lines are opened at most a month ahead
        booked = await submit(wanted, "booking", may_collide=True)
        opened += await submit([last], "last-agenda")
    return DemoCity(hospitals=begun, names=registered, agendas=opened, people=known, appointments=booked, lines=waiting)


async def _submit(core: Core, commands: Sequence[Command], keys: Sequence[Key], may_collide: bool) -> int:
    """How many of these were accepted. Raises Unavailable, and Rejected unless they may collide with something."""
    answers = await asyncio.gather(*map(core.committer.submit, commands, keys), return_exceptions=True)
    for answer in answers:
        if isinstance(answer, Rejected) and answer.code in {"unavailable", "overloaded"}:
            raise Unavailable("the database does not answer; the demo city is not complete yet")
        if isinstance(answer, BaseException) and not (may_collide and isinstance(answer, Rejected)):
            raise answer
    return sum(not isinstance(answer, BaseException) for answer in answers)
