"""A tax in a fiscal year: its discount windows, and a general extension of the time to pay."""

from collections.abc import Iterable, Sequence
from datetime import date, datetime
from typing import Annotated, Literal, TypeAlias

from msgspec import Meta

from domain.decider import Command, Decided, Event, State, Value, evolves, names_stream_of
from domain.decision import decides
from domain.errors import Hint, InvalidInput
from domain.identifiers import NAME

Tax: TypeAlias = Literal["IPBI", "IPVA", "PATENTE"]
YEAR_MIN, YEAR_MAX = 1990, 2200
WINDOWS_MAX = 20


class Window(Value):
    """A discount in hundredths of a percent (1000 is 10 %) for what is paid from `first` to `last`, both included.

    The days are literal: unlike a due date, the end of a window on a Sunday does not move.
    """

    first: date
    last: date
    hundredths: int


class DiscountWindowsPublished(Event, name="discount_windows_published.v1"):
    """The windows of a tax and a fiscal year. A later event replaces all of them: this is how windows are moved."""

    tax: str
    year: int
    norm: str
    windows: list[Window]


class PaymentTermExtended(Event, name="payment_term_extended.v1"):
    """A general extension, which a later event replaces.

    What was due before `until` is due on `until`, whenever it is paid (Ley 2492 art. 53).
    """

    tax: str
    year: int
    norm: str
    until: date


class TaxYear(State):
    """`windows_version` and `extension_version` are those of the events in the stream; `version` counts all events."""

    windows: DiscountWindowsPublished | None = None
    extension: PaymentTermExtended | None = None
    windows_version: int = 0
    extension_version: int = 0
    version: int = 0


@names_stream_of(TaxYear)
def stream(tax: str, year: int) -> str:
    return f"tax_year/{tax}/{year}"


@evolves("tax_year", TaxYear)
def evolve(state: TaxYear, event: Event) -> TaxYear:
    match event:
        case DiscountWindowsPublished():
            state.version += 1
            state.windows, state.windows_version = event, state.version
        case PaymentTermExtended():
            state.version += 1
            state.extension, state.extension_version = event, state.version
    return state


def window_on(windows: Iterable[Window], day: date) -> Window | None:
    """The window in which a day is."""
    return next((one for one in windows if one.first <= day <= one.last), None)


def discount_on(state: TaxYear, day: date) -> int:
    """The discount of a day, in hundredths of a percent; 0 for a day without a window."""
    window = window_on(state.windows.windows, day) if state.windows else None
    return window.hundredths if window else 0


class DayHint(
    Hint,
    es="el día debe ser de un año entre {first} y {last}, como {first}-12-31",
    en="the day must be in a year from {first} to {last}, like {first}-12-31",
):
    first: int
    last: int


def check_day(day: date, path: str) -> None:
    """Raises InvalidInput for a day that can only be a mistake."""
    if not YEAR_MIN <= day.year <= YEAR_MAX:
        raise InvalidInput(path=path, hint=DayHint(first=YEAR_MIN, last=YEAR_MAX))


class WindowsHint(
    Hint,
    es="los periodos de descuento van en orden, sin superponerse, y cada uno termina en su primer día o después",
    en="discount windows are in order and do not overlap, and each ends on its first day or later",
): ...


class WindowTerms(Value, forbid_unknown_fields=True):
    """A window as a command gives it, see `Window`."""

    first: date
    last: date
    hundredths: Annotated[int, Meta(ge=0, lt=10_000)]


def check_windows(given: Sequence[WindowTerms]) -> list[Window]:
    """The windows of a command. Raises InvalidInput unless they are in order and do not overlap."""
    before = date.min
    for window in given:
        check_day(window.first, "windows")
        check_day(window.last, "windows")
        if not before < window.first <= window.last:
            raise InvalidInput(path="windows", hint=WindowsHint())
        before = window.last
    return [Window(first=one.first, last=one.last, hundredths=one.hundredths) for one in given]


class PublishDiscountWindows(Command):
    tax: Tax
    year: Annotated[int, Meta(ge=YEAR_MIN, le=YEAR_MAX)]
    norm: Annotated[str, NAME]
    windows: Annotated[list[WindowTerms], Meta(max_length=WINDOWS_MAX)]


@decides(PublishDiscountWindows, reads=lambda c: (stream(c.tax, c.year),))
def publish_discount_windows(command: PublishDiscountWindows, state: TaxYear, *, now: datetime) -> Decided:
    windows = check_windows(command.windows)
    published = DiscountWindowsPublished(tax=command.tax, year=command.year, norm=command.norm, windows=windows)
    if state.windows != published:
        yield stream(command.tax, command.year), published


class ExtendPaymentTerm(Command):
    """Give everybody more time for a tax and a fiscal year. It replaces an extension that was declared before."""

    tax: Tax
    year: Annotated[int, Meta(ge=YEAR_MIN, le=YEAR_MAX)]
    norm: Annotated[str, NAME]
    until: date


@decides(ExtendPaymentTerm, reads=lambda c: (stream(c.tax, c.year),))
def extend_payment_term(command: ExtendPaymentTerm, state: TaxYear, *, now: datetime) -> Decided:
    check_day(command.until, "until")
    extended = PaymentTermExtended(tax=command.tax, year=command.year, norm=command.norm, until=command.until)
    if state.extension != extended:
        yield stream(command.tax, command.year), extended
