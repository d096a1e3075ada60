"""The UFV (unidad de fomento de vivienda): bolivianos for one unit on each day, as the Central Bank publishes it."""

from collections.abc import Mapping
from datetime import date, datetime
from decimal import Decimal
from typing import Annotated

from msgspec import Meta

from domain.decider import Command, Decided, Event, State, Value, evolves, names_stream_of
from domain.decision import decides
from domain.errors import Rejected
from domain.obligations.tax_year import check_day

DECIMALS = 5
VALUE_MAX = 10**9


class UfvPublished(Event, name="ufv_published.v1"):
    """`value` is in hundred-thousandths of a boliviano: 235851 is 2.35851. A later event for a day corrects it."""

    day: date
    value: int


class Quote(Value):
    """The UFV of a day. `version` is that of the event in its stream."""

    value: int
    version: int

    @property
    def bolivianos(self) -> Decimal:
        """The value in bolivianos, exact."""
        return Decimal(self.value).scaleb(-DECIMALS)


class Ufv(State):
    """The values of one year, by day. `version` counts the events."""

    values: dict[date, Quote] = {}
    version: int = 0


@names_stream_of(Ufv)
def stream(year: int) -> str:
    return f"ufv/{year}"


@evolves("ufv", Ufv)
def evolve(ufv: Ufv, event: Event) -> Ufv:
    match event:
        case UfvPublished():
            ufv.version += 1
            ufv.values[event.day] = Quote(value=event.value, version=ufv.version)
    return ufv


class UfvUnknown(
    Rejected,
    es="Falta el valor de la UFV del {day}.",
    en="The UFV of {day} is missing.",
):
    day: date


class PublishUfv(Command):
    """`value` as in UfvPublished."""

    day: date
    value: Annotated[int, Meta(gt=0, lt=VALUE_MAX)]


@decides(PublishUfv, reads=lambda c: (stream(c.day.year),))
def publish_ufv(command: PublishUfv, ufv: Ufv, *, now: datetime) -> Decided:
    check_day(command.day, "day")
    known = ufv.values.get(command.day)
    if known is None or known.value != command.value:
        yield stream(command.day.year), UfvPublished(day=command.day, value=command.value)


def quote_on(quotes: Mapping[date, Quote], day: date) -> Quote:
    """The UFV of a day. Raises UfvUnknown, which names the day: a missing value is never guessed."""
    if day not in quotes:
        raise UfvUnknown(day=day)
    return quotes[day]
