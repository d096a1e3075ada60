"""Amnesties: for a while, late taxes of some years are paid without interest or indexation, or with a discount."""

from datetime import date, datetime
from typing import Annotated

from msgspec import Meta

from domain.decider import Command, Decided, Event, State, Value, evolves, names_stream_of
from domain.decision import decides
from domain.errors import Hint, InvalidInput
from domain.identifiers import NAME
from domain.obligations.tax_year import (
    WINDOWS_MAX,
    YEAR_MAX,
    YEAR_MIN,
    Tax,
    Window,
    WindowTerms,
    check_windows,
    window_on,
)


class AmnestyDeclared(Event, name="amnesty_declared.v1"):
    """An amnesty for a tax. A later event with the same norm replaces it: this is how its windows are moved.

    Within its windows, both ends included, what is paid late for the fiscal years `first_year` to `last_year` bears no
    interest and no indexation, as far as these are waived, and has the discount of the window.
    """

    tax: str
    norm: str
    first_year: int
    last_year: int
    waives_interest: bool
    waives_indexation: bool
    windows: list[Window]


class Amnesty(Value):
    """`version` is that of the event in its stream."""

    declared: AmnestyDeclared
    version: int


class Amnesties(State):
    """The amnesties for one tax, by norm. `version` counts the events."""

    amnesties: dict[str, Amnesty] = {}
    version: int = 0


@names_stream_of(Amnesties)
def stream(tax: str) -> str:
    return f"amnesties/{tax}"


@evolves("amnesties", Amnesties)
def evolve(state: Amnesties, event: Event) -> Amnesties:
    match event:
        case AmnestyDeclared():
            state.version += 1
            state.amnesties[event.norm] = Amnesty(declared=event, version=state.version)
    return state


class AmnestyYearsHint(
    Hint,
    es="la última gestión no puede ser anterior a la primera",
    en="the last fiscal year must not be before the first",
): ...


class DeclareAmnesty(Command):
    tax: Tax
    norm: Annotated[str, NAME]
    first_year: Annotated[int, Meta(ge=YEAR_MIN, le=YEAR_MAX)]
    last_year: Annotated[int, Meta(ge=YEAR_MIN, le=YEAR_MAX)]
    windows: Annotated[list[WindowTerms], Meta(min_length=1, max_length=WINDOWS_MAX)]
    waives_interest: bool = True
    waives_indexation: bool = False


@decides(DeclareAmnesty, reads=lambda c: (stream(c.tax),))
def declare_amnesty(command: DeclareAmnesty, state: Amnesties, *, now: datetime) -> Decided:
    if command.first_year > command.last_year:
        raise InvalidInput(path="last_year", hint=AmnestyYearsHint())
    declared = AmnestyDeclared(
        tax=command.tax,
        norm=command.norm,
        first_year=command.first_year,
        last_year=command.last_year,
        waives_interest=command.waives_interest,
        waives_indexation=command.waives_indexation,
        windows=check_windows(command.windows),
    )
    known = state.amnesties.get(command.norm)
    if known is None or known.declared != declared:
        yield stream(command.tax), declared


def amnesty_on(state: Amnesties, year: int, day: date) -> tuple[Amnesty, Window] | None:
    """The amnesty for a fiscal year on a day, with its window: of several, the one declared last."""
    found = [
        (one, window)
        for one in state.amnesties.values()
        if one.declared.first_year <= year <= one.declared.last_year
        and (window := window_on(one.declared.windows, day)) is not None
    ]
    return max(found, key=lambda one: one[0].version, default=None)
