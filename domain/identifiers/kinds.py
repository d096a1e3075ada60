"""What an identifier or the name of a stream tells by its form alone."""

from typing import Literal

from msgspec import Meta

from domain.identifiers.infractions import INFRACTION_NAME, PLATE
from domain.identifiers.parties import DEPENDANT_NAME, OPAQUE, ORGANISATION, PARTY, REPRESENTATION_NAME
from domain.identifiers.places import (
    AGENDA_NAME,
    APPOINTMENT_NAME,
    DELIVERY_NAME,
    HOSPITAL_CODE,
    LINE_NAME,
    SERVICE_CODE,
    TURN_NAME,
)
from domain.identifiers.taxes import AMENDMENT_NAME, OBLIGATION_NAME, TAXABLE_OBJECT_CODE
from domain.identifiers.text import SLUG, fits

_IDS = (
    OPAQUE,
    ORGANISATION,
    PARTY,
    DEPENDANT_NAME,
    REPRESENTATION_NAME,
    AGENDA_NAME,
    APPOINTMENT_NAME,
    LINE_NAME,
    TURN_NAME,
    DELIVERY_NAME,
    OBLIGATION_NAME,
    AMENDMENT_NAME,
    INFRACTION_NAME,
)
_CODES = (SLUG, HOSPITAL_CODE, SERVICE_CODE, TAXABLE_OBJECT_CODE, PLATE)


def is_id_or_code(form: Meta) -> bool:
    """Whether a text of this form names a thing."""
    return form in _IDS or form in _CODES


def is_id(form: Meta) -> bool:
    """Whether a text of this form always identifies one thing. A slug may also be a word of a list."""
    return form in _IDS


Kind = Literal[
    "person", "organisation", "dependant", "representation", "agenda", "appointment", "line", "turn", "delivery",
    "obligation", "infraction",
]  # fmt: skip
_KINDS: dict[Kind, Meta] = {
    "person": OPAQUE,
    "organisation": ORGANISATION,
    "dependant": DEPENDANT_NAME,
    "representation": REPRESENTATION_NAME,
    "agenda": AGENDA_NAME,
    "appointment": APPOINTMENT_NAME,
    "line": LINE_NAME,
    "turn": TURN_NAME,
    "delivery": DELIVERY_NAME,
    "obligation": OBLIGATION_NAME,
    "infraction": INFRACTION_NAME,
}


def kind_of_id(name: str) -> Kind | None:
    """The kind of thing that an id names, by its form alone; the thing may not exist. None for an unknown form."""
    return next((kind for kind, form in _KINDS.items() if fits(form, name)), None)


def category_of(stream: str) -> str:
    """The category of a stream "category/identifier…"."""
    return stream.partition("/")[0]


def id_of(stream: str) -> str:
    """The identifier in a stream's name."""
    return stream.partition("/")[2]
