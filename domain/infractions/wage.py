"""The monthly minimum wage, as decrees set it: the measure of fines in day-fines."""

from datetime import date, datetime
from typing import Annotated

from domain.decider import Command, Decided, Event, State, evolves, names_stream_of
from domain.decision import decides
from domain.errors import Rejected
from domain.identifiers import NAME
from domain.money import Centavos, Money

STREAM_NAME = "minimum_wage/country"


class MinimumWagePublished(Event, name="minimum_wage_published.v1"):
    """The monthly wage from a day on. A later event for the same day replaces it."""

    effective_from: date
    amount: Money
    norm: str


class MinimumWage(State):
    """What was published, by the day from which it applies."""

    published: dict[date, MinimumWagePublished] = {}


@names_stream_of(MinimumWage)
def stream() -> str:
    return STREAM_NAME


@evolves("minimum_wage", MinimumWage)
def evolve(wage: MinimumWage, event: Event) -> MinimumWage:
    match event:
        case MinimumWagePublished():
            wage.published[event.effective_from] = event
    return wage


class MinimumWageUnknown(
    Rejected,
    es="No hay un salario mínimo publicado para el {day}.",
    en="No minimum wage is published for {day}.",
):
    day: date


class PublishMinimumWage(Command):
    """Fines of infractions that were issued before keep the wage by which they were fixed. `amount` is in centavos."""

    effective_from: date
    amount: Centavos
    norm: Annotated[str, NAME]


@decides(PublishMinimumWage, reads=lambda c: (stream(),))
def publish_minimum_wage(command: PublishMinimumWage, wage: MinimumWage, *, now: datetime) -> Decided:
    published = MinimumWagePublished(
        effective_from=command.effective_from, amount=Money(centavos=command.amount), norm=command.norm
    )
    if wage.published.get(command.effective_from) != published:
        yield stream(), published


def wage_on(wage: MinimumWage, day: date) -> MinimumWagePublished | None:
    """The wage of a day; None if none is published for it."""
    since = max((one for one in wage.published if one <= day), default=None)
    return None if since is None else wage.published[since]
