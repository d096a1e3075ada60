"""Interest rates of tax debts: tables that a norm decrees, for payments from a day on."""

from datetime import date, datetime
from typing import Annotated

from msgspec import Meta

from domain.decider import Command, Decided, Event, State, Value, evolves, names_stream_of
from domain.decision import decides
from domain.errors import Hint, InvalidInput, Rejected
from domain.identifiers import NAME

STREAM_NAME = "interest_rates/city"
YEARS_MAX = 100
RATES_MAX = 20


class Rate(Value):
    """A yearly rate in hundredths of a percent: 400 is 4 %.

    It applies up to the end of the year `until_year` after the due date; None: for ever.
    """

    hundredths: int
    until_year: int | None = None


class InterestRatesPublished(Event, name="interest_rates_published.v1"):
    """The rates for payments from a day on. A later event for the same day replaces them."""

    norm: str
    effective_from: date
    rates: list[Rate]


class Table(Value):
    """The rates of a norm. `version` is that of the event in its stream."""

    published: InterestRatesPublished
    version: int


class InterestRates(State):
    """The tables, by the day from which they apply. `version` counts the events."""

    tables: dict[date, Table] = {}
    version: int = 0


@names_stream_of(InterestRates)
def stream() -> str:
    return STREAM_NAME


@evolves("interest_rates", InterestRates)
def evolve(rates: InterestRates, event: Event) -> InterestRates:
    match event:
        case InterestRatesPublished():
            rates.version += 1
            rates.tables[event.effective_from] = Table(published=event, version=rates.version)
    return rates


class RatesUnknown(
    Rejected,
    es="No hay tasas de interés publicadas para pagos del {day}.",
    en="No interest rates are published for payments on {day}.",
):
    day: date


class RatesHint(
    Hint,
    es="las tasas van en orden de año, y solo la última es sin límite",
    en="rates are in the order of their years, and only the last one has no limit",
): ...


class RateTerms(Value, forbid_unknown_fields=True):
    """A rate as a command gives it, see `Rate`."""

    hundredths: Annotated[int, Meta(ge=0, le=10_000)]
    until_year: Annotated[int, Meta(ge=1, le=YEARS_MAX)] | None = None


class PublishInterestRates(Command):
    norm: Annotated[str, NAME]
    effective_from: date
    rates: Annotated[list[RateTerms], Meta(min_length=1, max_length=RATES_MAX)]


@decides(PublishInterestRates, reads=lambda c: (stream(),))
def publish_interest_rates(command: PublishInterestRates, rates: InterestRates, *, now: datetime) -> Decided:
    years = [rate.until_year for rate in command.rates]
    limited = [year for year in years[:-1] if year is not None]
    if years[-1] is not None or len(limited) < len(years) - 1 or limited != sorted(set(limited)):
        raise InvalidInput(path="rates", hint=RatesHint())
    published = InterestRatesPublished(
        norm=command.norm,
        effective_from=command.effective_from,
        rates=[Rate(hundredths=rate.hundredths, until_year=rate.until_year) for rate in command.rates],
    )
    known = rates.tables.get(command.effective_from)
    if known is None or known.published != published:
        yield stream(), published


def table_on(rates: InterestRates, day: date) -> Table:
    """The table that applies to payments on a day. Raises RatesUnknown."""
    since = max((one for one in rates.tables if one <= day), default=None)
    if since is None:
        raise RatesUnknown(day=day)
    return rates.tables[since]
