"""The terms of payment that the sanction regulation decrees: discounts, the term, the penalty, the day-fine."""

from datetime import date, datetime
from itertools import pairwise
from typing import Annotated

from msgspec import Meta

from domain.decider import Command, Decided, Event, State, Value, evolves, names_stream_of
from domain.decision import decides
from domain.errors import Hint, InvalidInput, Rejected
from domain.identifiers import NAME

STREAM_NAME = "infraction_terms/city"
DISCOUNTS_MAX = 10
DAYS_MAX = 3_650
PENALTY_HUNDREDTHS_MAX = 100_000
WHOLE_HUNDREDTHS = 10_000  # 100 %


class Discount(Value):
    """A discount in hundredths of a percent (1000 is 10 %) for payments up to so many days after the notice."""

    within_days: int
    hundredths: int


class PaymentTerms(Value):
    """The terms of an infraction. All counts are of calendar days after the day of the notice.

    Attributes:
        norm: the norm that decrees them.
        day_fine_hundredths: the part of the monthly minimum wage that is a day-fine: 500 is 5 %.
        discounts: in the order of their days; each next one is lower.
        term_days: the days to pay without a penalty; afterwards an unpaid fine may be sent to collection.
        penalty_hundredths: what is added to the fine after the term.
        contest_days: the days to contest the infraction.
    """

    norm: str
    day_fine_hundredths: int
    discounts: list[Discount]
    term_days: int
    penalty_hundredths: int
    contest_days: int


class InfractionTermsPublished(Event, name="infraction_terms_published.v1"):
    """The terms for infractions from a day on. A later event for the same day replaces them."""

    effective_from: date
    terms: PaymentTerms


class InfractionTerms(State):
    """What was published, by the day from which it applies."""

    published: dict[date, PaymentTerms] = {}


@names_stream_of(InfractionTerms)
def stream() -> str:
    return STREAM_NAME


@evolves("infraction_terms", InfractionTerms)
def evolve(state: InfractionTerms, event: Event) -> InfractionTerms:
    match event:
        case InfractionTermsPublished():
            state.published[event.effective_from] = event.terms
    return state


class InfractionTermsUnknown(
    Rejected,
    es="No hay plazos ni descuentos de infracciones publicados para el {day}.",
    en="No terms of payment of infractions are published for {day}.",
):
    day: date


class DiscountsHint(
    Hint,
    es="los descuentos van en orden de días, cada uno menor que el anterior, y terminan dentro del plazo",
    en="discounts are in the order of their days, each lower than the one before, and end within the term",
): ...


class DiscountTerms(Value, forbid_unknown_fields=True):
    """A discount as a command gives it, see `Discount`."""

    within_days: Annotated[int, Meta(ge=0, le=DAYS_MAX)]
    hundredths: Annotated[int, Meta(gt=0, lt=WHOLE_HUNDREDTHS)]


class PublishInfractionTerms(Command):
    """See `PaymentTerms`. Infractions that were issued before keep theirs."""

    effective_from: date
    norm: Annotated[str, NAME]
    day_fine_hundredths: Annotated[int, Meta(gt=0, le=WHOLE_HUNDREDTHS)]
    discounts: Annotated[list[DiscountTerms], Meta(max_length=DISCOUNTS_MAX)]
    term_days: Annotated[int, Meta(ge=0, le=DAYS_MAX)]
    penalty_hundredths: Annotated[int, Meta(ge=0, le=PENALTY_HUNDREDTHS_MAX)]
    contest_days: Annotated[int, Meta(ge=0, le=DAYS_MAX)]


@decides(PublishInfractionTerms, reads=lambda c: (stream(),))
def publish_infraction_terms(command: PublishInfractionTerms, state: InfractionTerms, *, now: datetime) -> Decided:
    ordered = all(
        one.within_days < following.within_days and one.hundredths > following.hundredths
        for one, following in pairwise(command.discounts)
    )
    if not ordered or (command.discounts and command.discounts[-1].within_days > command.term_days):
        raise InvalidInput(path="discounts", hint=DiscountsHint())
    terms = PaymentTerms(
        norm=command.norm,
        day_fine_hundredths=command.day_fine_hundredths,
        discounts=[Discount(within_days=one.within_days, hundredths=one.hundredths) for one in command.discounts],
        term_days=command.term_days,
        penalty_hundredths=command.penalty_hundredths,
        contest_days=command.contest_days,
    )
    if state.published.get(command.effective_from) != terms:
        yield stream(), InfractionTermsPublished(effective_from=command.effective_from, terms=terms)


def terms_on(state: InfractionTerms, day: date) -> PaymentTerms | None:
    """The terms of a day; None if none are published for it."""
    since = max((one for one in state.published if one <= day), default=None)
    return None if since is None else state.published[since]
