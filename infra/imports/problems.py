"""What is wrong with a row of a file, worded for whoever made the file. The API uses the refusals' own texts."""

import msgspec

from domain.appointments.hospital import HospitalExists, HospitalUnknown
from domain.appointments.practitioner import PractitionerExists, RoomExists
from domain.appointments.publishing import AgendaExists, SlotDateHint
from domain.appointments.specialty import SpecialtyExists
from domain.errors import (
    Hint,
    InThePast,
    InvalidInput,
    LengthHint,
    NumberHint,
    OnceHint,
    OrganisationUnknown,
    PersonUnknown,
    Rejected,
    TooFarAhead,
    WrongTypeHint,
)
from domain.identifiers import HospitalCodeHint, PhoneHint, SlugHint, TextHint
from domain.obligations.obligation import AlreadyAssessed
from domain.obligations.taxable_object import InTheFuture, TaxableObjectUnknown
from infra.log.submission import IdempotencyKeyReused

SHOWN_MAX_CHARS = 40

REASONS: dict[type[Rejected], str] = {
    AlreadyAssessed: "year {year} of this object is already assessed at Bs {amount}: an amendment changes that",
    AgendaExists: "another agenda of this practitioner was already published for that date",
    HospitalExists: "a hospital with this code is registered with other details, as {name}",
    HospitalUnknown: "there is no hospital {hospital}: register it first",
    IdempotencyKeyReused: "another version of this program imported this line as something else",
    InTheFuture: "{day} has not come yet",
    InThePast: "that day is past",
    OrganisationUnknown: "no organisation is registered with this id: register it first",
    PersonUnknown: "nobody is registered with this id: register the person first",
    PractitionerExists: "a practitioner with this code is registered with other details, as {name}",
    RoomExists: "a room with this code is registered with other details, as {name}",
    SpecialtyExists: "a specialty with this code is registered with another name, {name}",
    TaxableObjectUnknown: "there is no object {object}: register it first",
    TooFarAhead: "an agenda can be published at most {limit} days ahead",
}
HINTS: dict[type[Hint], str] = {
    HospitalCodeHint: "a code consists of lower-case letters and digits joined by hyphens, like la-merced; that of a"
    " hospital can't be 26 of them without a hyphen",
    LengthHint: "the length must be {bound}",
    NumberHint: "the number must be {bound}",
    OnceHint: "each value may appear only once",
    PhoneHint: "a phone number consists of digits, like +59171234567",
    SlotDateHint: "the slots must start on {at} in La Paz",
    SlugHint: "a code consists of lower-case letters and digits joined by hyphens, like la-merced",
    TextHint: "the text must be a single line without invisible characters",
    WrongTypeHint: "is missing or has the wrong type",
}


class Problem(msgspec.Struct, frozen=True):
    """An error in the row that begins at `line` (counted from 1 for the header).

    `column` is "" if the row as a whole is wrong; `code` is that of the refusal, "row" for a wrong shape,
    "doubled" for a thing that is in the file twice.
    """

    line: int
    column: str
    code: str
    text: str

    def __str__(self) -> str:
        column = f", column {self.column}" if self.column else ""
        return f"line {self.line}{column}: {self.text} ({self.code})"


def problem_of(line: int, refusal: Rejected) -> Problem:
    """The problem of a row that the domain refuses."""
    worded: Hint | Rejected = refusal.hint if isinstance(refusal, InvalidInput) else refusal
    text = HINTS.get(type(worded)) if isinstance(worded, Hint) else REASONS.get(type(worded))
    steps = [step for step in refusal.path.split(".") if not step.isdecimal()]
    column = steps[-1] if steps else ""
    if steps[:1] == ["quotas"]:
        column = "quota_…"  # the domain does not name the channel
    if text is None:
        return Problem(line, column, refusal.code, worded.message("en").removesuffix("."))
    return Problem(line, column, refusal.code, text.format_map(refusal.details))


def shown(text: str) -> str:
    """A text of the file, safe to print: short, control characters escaped."""
    return repr(text if len(text) <= SHOWN_MAX_CHARS else text[:SHOWN_MAX_CHARS] + "…")
