"""Scales: how a tax follows from its base, step by step, as a norm decrees it from a fiscal year on."""

from datetime import datetime
from decimal import Decimal
from typing import Annotated

from msgspec import Meta

from domain.decider import Command, Decided, Event, State, Value, evolves, names_stream_of
from domain.decision import decides
from domain.errors import Hint, InvalidInput, Rejected
from domain.identifiers import NAME
from domain.money import CENTAVOS_MAX, Money, rounded
from domain.obligations.tax_year import YEAR_MAX, YEAR_MIN, Tax

STEPS_MAX = 50
HUNDREDTHS = 10_000


class Step(Value):
    """From a base of `above_centavos` on: `fixed_centavos`, and a rate on what lies above `excess_centavos`.

    The rate is in hundredths of a percent: 35 is 0.35 %.
    """

    above_centavos: int
    excess_centavos: int
    fixed_centavos: int
    hundredths: int


class ScalePublished(Event, name="scale_published.v1"):
    """The scale of a tax from a fiscal year on. A later event for the same year replaces it."""

    tax: str
    from_year: int
    norm: str
    steps: list[Step]


class Scales(State):
    """The scales of one tax, by the first fiscal year."""

    scales: dict[int, ScalePublished] = {}


@names_stream_of(Scales)
def stream(tax: str) -> str:
    return f"scales/{tax}"


@evolves("scales", Scales)
def evolve(scales: Scales, event: Event) -> Scales:
    match event:
        case ScalePublished():
            scales.scales[event.from_year] = event
    return scales


class ScaleUnknown(
    Rejected,
    es="No hay escala publicada de {tax} para la gestión {year}: dé el monto del tributo, o publique la escala.",
    en="No scale of {tax} is published for year {year}: give the amount of the tax, or publish the scale.",
):
    tax: str
    year: int


class StepsHint(
    Hint,
    es="los tramos empiezan en 0 y suben, y en cada uno `excessAbove` es `above` como máximo",
    en="steps start at 0 in ascending order, and `excessAbove` is at most `above` in each",
): ...


class StepTerms(Value, forbid_unknown_fields=True):
    """A step as a command gives it, see `Step`."""

    above_centavos: Annotated[int, Meta(ge=0, le=CENTAVOS_MAX)]
    excess_centavos: Annotated[int, Meta(ge=0, le=CENTAVOS_MAX)]
    fixed_centavos: Annotated[int, Meta(ge=0, le=CENTAVOS_MAX)]
    hundredths: Annotated[int, Meta(ge=0, le=HUNDREDTHS)]


class PublishScale(Command):
    tax: Tax
    from_year: Annotated[int, Meta(ge=YEAR_MIN, le=YEAR_MAX)]
    norm: Annotated[str, NAME]
    steps: Annotated[list[StepTerms], Meta(min_length=1, max_length=STEPS_MAX)]


@decides(PublishScale, reads=lambda c: (stream(c.tax),))
def publish_scale(command: PublishScale, scales: Scales, *, now: datetime) -> Decided:
    begins = [step.above_centavos for step in command.steps]
    if (
        begins[0]
        or begins != sorted(set(begins))
        or any(one.excess_centavos > one.above_centavos for one in command.steps)
    ):
        raise InvalidInput(path="steps", hint=StepsHint())
    steps = [
        Step(
            above_centavos=one.above_centavos,
            excess_centavos=one.excess_centavos,
            fixed_centavos=one.fixed_centavos,
            hundredths=one.hundredths,
        )
        for one in command.steps
    ]
    published = ScalePublished(tax=command.tax, from_year=command.from_year, norm=command.norm, steps=steps)
    if scales.scales.get(command.from_year) != published:
        yield stream(command.tax), published


def scale_for(scales: Scales, tax: str, year: int) -> ScalePublished:
    """The scale that applies to a fiscal year. Raises ScaleUnknown."""
    first = max((one for one in scales.scales if one <= year), default=None)
    if first is None:
        raise ScaleUnknown(path="base", tax=tax, year=year)
    return scales.scales[first]


def tax_by(scale: ScalePublished, base: Money) -> Money:
    """The tax on a base: that of the last step that begins at the base or below, rounded once."""
    step = next(one for one in reversed(scale.steps) if one.above_centavos <= base.centavos)
    excess = Decimal(base.centavos - step.excess_centavos) / 100
    return rounded(Decimal(step.fixed_centavos) / 100 + excess * step.hundredths / HUNDREDTHS)
