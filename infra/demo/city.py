"""A whole demo city: hospitals, agendas and people in proportion, and two months of events.

It is made by the same commands that clients send, in order of time, and the committer decides by a clock that follows
the city's days (infra/demo/city_plan.py). The city's present is the midnight thirty days after its first day: its
agendas reach from thirty days before that to thirty days after.
"""

import asyncio
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, date, datetime, timedelta

import msgspec
import psycopg
from psycopg import sql
from rich.console import Console
from rich.progress import Progress

from domain.appointments.agenda import stream as agenda_stream
from domain.appointments.hospital import stream as hospital_stream
from domain.calendar import local_date
from domain.decider import StreamName
from domain.errors import Rejected
from infra.demo.city_plan import FAR, PAST_DAYS, CityPlan, Planned, city_name, hospital_code
from infra.demo.demo import ACTOR
from infra.log.core import Core
from infra.log.submission import Key
from infra.postgres.connections import Unavailable
from infra.running.secret import Secret
from infra.running.settings import SettingError

FIRST_DAY_MIN = date(2000, 1, 1)
COMMANDS_AT_ONCE = 1_024
# Refused only for a repetition whose key has expired: the plan itself corrects a no-show by a late check-in.
DONE_BEFORE = {("MarkNoShow", "checked_in_already")}


class City(msgspec.Struct, frozen=True):
    """The whole city in numbers. `made` counts commands that were new now, `refused` those refused, by code.

    `names` counts specialties, practitioners and rooms. With `there_already` the city was complete, and nothing was
    done.
    """

    first_day: date
    hospitals: int = 0
    names: int = 0
    people: int = 0
    agendas: int = 0
    appointments: int = 0
    cancellations: int = 0
    check_ins: int = 0
    no_shows: int = 0
    refused: dict[str, int] = {}
    made: int = 0
    seconds: float = 0
    there_already: bool = False

    def lines(self) -> Iterator[str]:
        """The report for people."""
        if self.there_already:
            yield f"the city with first day {self.first_day} is there already, complete: nothing was made"
            return
        yield (
            f"city from {self.first_day} on: {self.hospitals} hospitals, {self.names} specialties, practitioners and"
            f" rooms, {self.agendas} agendas, {self.people} people, {self.appointments} appointments,"
            f" {self.cancellations} cancelled, {self.check_ins} checked in,"
            f" {self.no_shows} missed; {self.made} commands were new, in {self.seconds:.1f} s"
        )
        if self.refused:
            refused = ", ".join(f"{times} {code}" for code, times in self.refused.items())
            yield f"igob: refused, since something else in the log is in the way: {refused}"


class CityClock:
    """The city's time: it stands still while the commands of one moment are decided."""

    def __init__(self) -> None:
        self.now = datetime.now(UTC)

    def __call__(self) -> datetime:
        return self.now


def latest_first_day(today: date) -> date:
    """The latest first day whose thirty days of history are past; also the default."""
    return today - timedelta(days=PAST_DAYS)


def check_city_first_day(first_day: date, *, today: date) -> None:
    """Raise SettingError for a first day whose thirty days of history are not past yet."""
    latest = latest_first_day(today)
    if not FIRST_DAY_MIN <= first_day <= latest:
        raise SettingError(
            f"--first-day {first_day} is not possible for a city with {PAST_DAYS} days of history:"
            f" it is {FIRST_DAY_MIN} at the earliest and {latest} at the latest today"
        )


async def begun_on(conninfo: str, *, schema: str, secret: Secret, seed: int, people: int) -> date | None:
    """The first day of the city of this seed in the log; None if there is none.

    Raises SettingError if that city has another size or was made by an earlier version.
    """
    founded = sql.SQL("SELECT command_id, recorded_at FROM {} WHERE originator_id = %s AND originator_version = 1")
    statement = founded.format(sql.Identifier(schema, "events"))
    async with await psycopg.AsyncConnection.connect(conninfo, autocommit=True) as connection:
        cursor = await connection.execute(statement, [hospital_stream(hospital_code(seed, 0))])
        row = await cursor.fetchone()
    if row is None:
        return None
    # The event keeps the key of its command for ever, and the key names the city.
    days = (local_date(row[1]) - FIRST_DAY_MIN).days + 1
    for day in (FIRST_DAY_MIN + timedelta(days=n) for n in range(days, -1, -1)):
        if secret.key_name(ACTOR, _key(city_name(seed, people, day), 0).name) == row[0]:
            return day
    raise SettingError(
        f"the log has a city of seed {seed} already, which has not {people} people or was made by an earlier version:"
        " give another --seed"
    )


async def first_day_of(
    core: Core, conninfo: str, *, schema: str, seed: int, people: int, first_day: date | None, today: date
) -> date:
    """The first day of the city to make or complete: that in the log, else the given one, else thirty days ago.

    Raises SettingError if the log has a city of this seed with another size or first day.
    """
    begun = await begun_on(conninfo, schema=schema, secret=core.secret, seed=seed, people=people)
    if begun and first_day and begun != first_day:
        raise SettingError(
            f"the log has a city of seed {seed} already, whose first day is {begun}:"
            " give that --first-day, or another --seed"
        )
    return begun or first_day or latest_first_day(today)


async def load_city(core: Core, clock: CityClock, plan: CityPlan, *, console: Console) -> City:
    """Make this city, or what is missing of it. `clock` must be that of the core's committer.

    Commands that were accepted before change nothing, by their keys, and after seven days by their ids. Commands that
    collide with something else in the log are refused and counted. Raises Unavailable.
    """
    marker: StreamName = agenda_stream(plan.last_agenda)
    if (await core.log.load([marker]))[marker].version:
        return City(first_day=plan.first_day, there_already=True)
    begun_s, tally, refused = time.monotonic(), Counter[str](), Counter[str]()
    ordinal = 0
    with Progress(console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task(f"city of {plan.people}", total=plan.about())
        for some in decided_together(plan.commands(), min(COMMANDS_AT_ONCE, core.committer.queue_max)):
            clock.now = some[-1].at
            for kind, code, new in await _submit(core, plan.name, some, ordinal):
                tally[kind] += not code
                tally["made"] += new
                refused[code] += bool(code)
            ordinal += len(some)
            progress.update(task, completed=ordinal, total=max(plan.about(), ordinal))
    return City(
        first_day=plan.first_day,
        hospitals=tally["RegisterHospital"],
        names=sum(tally[kind] for kind in ("RegisterSpecialty", "RegisterPractitioner", "RegisterRoom")),
        people=tally["RegisterPerson"],
        agendas=tally["PublishAgenda"],
        appointments=tally["BookAppointment"],
        cancellations=tally["CancelAppointment"],
        check_ins=tally["CheckIn"],
        no_shows=tally["MarkNoShow"],
        refused={code: times for code, times in sorted(refused.items()) if code},
        made=tally["made"],
        seconds=round(time.monotonic() - begun_s, 3),
    )


def decided_together(planned: Iterable[Planned], at_once: int) -> Iterator[list[Planned]]:
    """Commands in order, grouped so that all of a group may be decided at the moment of its last one.

    Each command has its latest moment. Few depend on the exact moment, so there are few groups.
    """
    some: list[Planned] = []
    before = FAR
    for one in planned:
        if some and (len(some) >= at_once or one.at >= before):
            yield some
            some, before = [], FAR
        some.append(one)
        before = min(before, one.before)
    if some:
        yield some


def _key(city: str, ordinal: int) -> Key:
    return Key(ACTOR, f"{city}-named-{ordinal}")  # keys of cities without names had another form


async def _submit(core: Core, city: str, some: Sequence[Planned], ordinal: int) -> list[tuple[str, str, bool]]:
    """For each command: its kind, the code of its refusal or "", and whether it was new. Raises Unavailable."""
    submitted = (core.committer.submit(one.command, _key(city, ordinal + n)) for n, one in enumerate(some))
    answers = await asyncio.gather(*submitted, return_exceptions=True)
    results: list[tuple[str, str, bool]] = []
    for one, answer in zip(some, answers, strict=True):
        kind = type(one.command).__name__
        if isinstance(answer, Rejected):
            if answer.code in {"unavailable", "overloaded"}:
                raise Unavailable(
                    "the database does not answer; the city is not complete yet: run the same command again"
                )
            results.append((kind, "" if (kind, answer.code) in DONE_BEFORE else answer.code, False))
        elif isinstance(answer, BaseException):
            raise answer
        else:
            results.append((kind, "", bool(answer.recorded) and not answer.replayed))
    return results
