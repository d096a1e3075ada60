"""The catalogue of infractions: each code with its description and its fine, from a day on."""

from datetime import date, datetime
from typing import Annotated

from msgspec import Meta

from domain.decider import Command, Decided, Event, State, evolves, names_stream_of
from domain.decision import decides
from domain.errors import Hint, InvalidInput, Rejected
from domain.identifiers import NAME, SLUG, UNSEEN, TextHint, pattern
from domain.money import Centavos, Money

DESCRIPTION_LENGTH_MAX = 300
DAY_FINES_MAX = 10_000
DESCRIPTION = pattern(rf"^(?=.*\S)[^{UNSEEN}]+\Z", TextHint(), max_length=DESCRIPTION_LENGTH_MAX)


class InfractionCodePublished(Event, name="infraction_code_published.v1"):
    """What a code means from a day on. A later event for the same day replaces it.

    Its fine is a number of `day_fines` or a fixed `amount`. The description is in Spanish.
    """

    code: str
    effective_from: date
    description: str
    norm: str
    day_fines: int | None = None
    amount: Money | None = None


class InfractionCode(State):
    """What was published of a code, by the day from which it applies."""

    published: dict[date, InfractionCodePublished] = {}


@names_stream_of(InfractionCode)
def stream(code: str) -> str:
    return f"infraction_code/{code}"


@evolves("infraction_code", InfractionCode)
def evolve(code: InfractionCode, event: Event) -> InfractionCode:
    match event:
        case InfractionCodePublished():
            code.published[event.effective_from] = event
    return code


class InfractionCodeUnknown(
    Rejected,
    es="El código de infracción {infraction_code} no está publicado para el {day}.",
    en="Infraction code {infraction_code} is not published for {day}.",
):
    infraction_code: str
    day: date


class FineHint(
    Hint,
    es="la multa se da en días multa o como monto fijo, no ambos",
    en="the fine is given in day-fines or as a fixed amount, not both",
): ...


class PublishInfractionCode(Command):
    """Give `day_fines` or a fixed `amount` in centavos."""

    code: Annotated[str, SLUG]
    effective_from: date
    description: Annotated[str, DESCRIPTION]
    norm: Annotated[str, NAME]
    day_fines: Annotated[int, Meta(gt=0, le=DAY_FINES_MAX)] | None = None
    amount: Centavos | None = None


@decides(PublishInfractionCode, reads=lambda c: (stream(c.code),))
def publish_infraction_code(command: PublishInfractionCode, code: InfractionCode, *, now: datetime) -> Decided:
    if (command.day_fines is None) == (command.amount is None):
        raise InvalidInput(path="day_fines", hint=FineHint())
    published = InfractionCodePublished(
        code=command.code,
        effective_from=command.effective_from,
        description=command.description,
        norm=command.norm,
        day_fines=command.day_fines,
        amount=None if command.amount is None else Money(centavos=command.amount),
    )
    if code.published.get(command.effective_from) != published:
        yield stream(command.code), published


def code_on(code: InfractionCode, day: date) -> InfractionCodePublished | None:
    """What a code means on a day; None if nothing is published for it."""
    since = max((one for one in code.published if one <= day), default=None)
    return None if since is None else code.published[since]
