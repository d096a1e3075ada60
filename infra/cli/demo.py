"""`igob demo`: fill the log with a demo city."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter
from cyclopts.validators import Number

from infra.cli.console import INTERRUPTED, DataDir, Json, Seed, console, write_json
from infra.cli.messages import plain_errors, say, settings_of
from infra.running.settings import Settings

if TYPE_CHECKING:
    from infra.demo.city import City
    from infra.demo.demo import DemoCity

# infra/demo/city_plan.py can invent this many.
People = Annotated[int, Parameter(validator=Number(gte=1, lte=500_000))]


def complete_demo(settings: Settings) -> None:
    """Load the demo city into an empty log, or complete an interrupted load. Any other log is left alone."""
    from datetime import UTC, datetime

    from api.contexts import load_domain
    from domain.calendar import local_date
    from infra.demo.demo import first_day_lacking
    from infra.log.core import open_core
    from infra.postgres.database import application_conninfo
    from infra.running.terminating import run_until_terminated

    load_domain()

    async def lacking() -> date | None:
        today = local_date(datetime.now(UTC))
        conninfo = application_conninfo(settings)
        async with open_core(settings) as core:
            return await first_day_lacking(core, conninfo, schema=settings.schema, seed=1, today=today)

    first_day = run_until_terminated(lacking())
    if first_day:
        _load_demo(settings, seed=1, first_day=first_day, going_on=True)


def _load_demo(settings: Settings, *, seed: int, first_day: date | None, going_on: bool = False) -> "DemoCity":
    from datetime import UTC, datetime

    from domain.calendar import local_date
    from infra.demo.demo import load_demo
    from infra.log.core import open_core
    from infra.running.terminating import run_until_terminated

    async def load() -> "DemoCity":
        async with open_core(settings) as core:
            return await load_demo(
                core,
                seed=seed,
                first_day=first_day or local_date(datetime.now(UTC)),
                console=console,
                going_on=going_on,
            )

    city = run_until_terminated(load())
    say(
        f"demo city: {city.hospitals} hospitals, {city.names} specialties, practitioners and rooms,"
        f" {city.agendas} agendas, {city.people} people, {city.appointments} appointments, {city.lines} lines"
    )
    return city


def _load_city(settings: Settings, *, seed: int, people: int, first_day: date | None, today: date) -> "City":
    from infra.demo.city import CityClock, first_day_of, load_city
    from infra.demo.city_plan import CityPlan
    from infra.log.core import open_core
    from infra.postgres.database import application_conninfo
    from infra.running.terminating import run_until_terminated

    async def load() -> "City":
        clock = CityClock()
        async with open_core(settings, clock=clock) as core:
            begins = await first_day_of(
                core,
                application_conninfo(settings),
                schema=settings.schema,
                seed=seed,
                people=people,
                first_day=first_day,
                today=today,
            )
            plan = CityPlan(core.secret, seed=seed, people=people, first_day=begins)
            return await load_city(core, clock, plan, console=console)

    try:
        city = run_until_terminated(load())
    except KeyboardInterrupt:
        say("igob: stopped; the city is not complete: run the same command to complete it")
        sys.exit(INTERRUPTED)
    for line in city.lines():
        say(line)
    return city


def demo(
    *,
    city: People | None = None,
    seed: Seed = 1,
    first_day: date | None = None,
    data_dir: DataDir = None,
    json: Json = False,
) -> None:
    """Fill the log with a demo city: five hospitals, thirty days of agendas, invented people with appointments.

    Parameters
    ----------
    city:
        How many people a whole city has, 1 to 500000: with hospitals in proportion, thirty days of history and thirty
        days of agendas to come. Without it, the city is small and has no history.
    seed:
        0 to 9999. The same seed, size and first day make the same city; once made, it is not made twice.
    first_day:
        First day of the agendas; by default today in La Paz, and thirty days ago with --city.
    """
    from datetime import UTC, datetime

    from api.contexts import load_domain
    from domain.calendar import local_date
    from infra.demo.city import check_city_first_day
    from infra.demo.demo import check_first_day
    from infra.postgres.database import running_database

    load_domain()
    with plain_errors():
        settings, today = settings_of(data_dir), local_date(datetime.now(UTC))
        if first_day:
            (check_city_first_day if city else check_first_day)(first_day, today=today)
        with _no_collision(), running_database(settings, "igob demo", say):
            if city:
                made: object = _load_city(settings, seed=seed, people=city, first_day=first_day, today=today)
            else:
                made = _load_demo(settings, seed=seed, first_day=first_day)
        if json:
            write_json(made)


@contextmanager
def _no_collision() -> Iterator[None]:
    """Exit with status 1 if the log refuses the demo city."""
    from domain.errors import Rejected

    try:
        yield
    except Rejected as refusal:
        say(f"igob: the demo city collides with what is in the log: {refusal}")
        sys.exit(1)
