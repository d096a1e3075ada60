"""Identifiers of taxable objects and of what is owed for them: plates, property numbers, licences, cadastral codes."""

import re
import unicodedata
from typing import Literal, TypeAlias

from msgspec import Meta

from domain.errors import Hint, InvalidInput
from domain.identifiers.text import pattern

ObjectKind: TypeAlias = Literal["PROPERTY", "VEHICLE", "ACTIVITY"]
TaxableObjectId: TypeAlias = str  # kind-number: vehicle-1234abc
ObligationId: TypeAlias = str  # the taxable object, then the fiscal year: vehicle-1234abc/year-2026

_CODE = "(?:property|vehicle|activity)-[a-z0-9]{1,30}"


class TaxableObjectHint(
    Hint,
    es="el código de un objeto tributario es property-, vehicle- o activity- y su número, como vehicle-1234abc",
    en="a taxable object's code is property-, vehicle- or activity- and its number, like vehicle-1234abc",
): ...


TAXABLE_OBJECT_CODE = pattern(rf"^{_CODE}\Z", TaxableObjectHint())


class ObligationHint(
    Hint,
    es="una obligación se nombra objeto/year-gestión, como vehicle-1234abc/year-2026",
    en="an obligation is named object/year-number, like vehicle-1234abc/year-2026",
): ...


OBLIGATION_NAME = pattern(rf"^{_CODE}/year-[0-9]{{4}}\Z", ObligationHint())


class AmendmentHint(
    Hint,
    es="una enmienda se nombra con el identificador que se dio al proponerla, como mfrggzdfmztwq2lknnwg23tpob",
    en="an amendment is named by the id that was given when it was proposed, like mfrggzdfmztwq2lknnwg23tpob",
): ...


AMENDMENT_NAME = pattern(r"^(?:[a-z2-7]{26})\Z", AmendmentHint())  # not the pattern of a person's id, for its own hint


WRITTEN = Meta(max_length=60)  # a number as people write it


class PlateHint(
    Hint,
    es="una placa tiene tres o cuatro cifras y tres letras, como 1234 ABC",
    en="a plate has three or four digits and three letters, like 1234 ABC",
): ...


class PropertyNumberHint(
    Hint,
    es="un número de inmueble tiene de una a doce cifras, como 214775",
    en="a property number has one to twelve digits, like 214775",
): ...


class LicenceHint(
    Hint,
    es="un número de licencia tiene hasta veinte letras y cifras, como 1310-24689",
    en="a licence number has up to twenty letters and digits, like 1310-24689",
): ...


class CadastralCodeHint(
    Hint,
    es="un código catastral tiene de seis a treinta cifras y letras, como 032-0123-0004-0000",
    en="a cadastral code has six to thirty digits and letters, like 032-0123-0004-0000",
): ...


_NUMBERS: dict[ObjectKind, tuple[re.Pattern[str], Hint]] = {
    "VEHICLE": (re.compile("[0-9]{3,4}[A-Z]{3}"), PlateHint()),
    "PROPERTY": (re.compile("[0-9]{1,12}"), PropertyNumberHint()),
    "ACTIVITY": (re.compile("[0-9A-Z]{1,20}"), LicenceHint()),
}


_CADASTRAL = re.compile("[0-9A-Z]{6,30}")
_PUNCTUATION = " -./–—_\t\xa0"
_NO_PUNCTUATION = str.maketrans("", "", _PUNCTUATION)


def parse_number(kind: ObjectKind, text: str, path: str = "number") -> str:
    """A plate, property number or licence number in its one spelling: "1234-abc" becomes "1234ABC".

    Accents, case, blanks and punctuation make no difference, nor do zeros before a property number. Raises
    InvalidInput, which shows a valid number.
    """
    form, hint = _NUMBERS[kind]
    number = _plain(text)
    if not form.fullmatch(number):
        raise InvalidInput(path=path, hint=hint)
    return (number.lstrip("0") or "0") if kind == "PROPERTY" else number


def parse_cadastral_code(text: str, path: str = "cadastral_code") -> str:
    """A cadastral code in its one spelling, without punctuation. Raises InvalidInput, which shows a valid one."""
    code = _plain(text)
    if not _CADASTRAL.fullmatch(code):
        raise InvalidInput(path=path, hint=CadastralCodeHint())
    return code


def _plain(text: str) -> str:
    """The letters and digits of a text, in upper case and without accents."""
    if text.isascii():  # ten times as fast: a command parses its number many times, and a tax roll has very many
        return text.upper().translate(_NO_PUNCTUATION)
    letters = unicodedata.normalize("NFKD", text.upper())
    return "".join(one for one in letters if not unicodedata.combining(one) and one not in _PUNCTUATION)


def taxable_object_id(kind: ObjectKind, number: str) -> TaxableObjectId:
    """The code of the object with a parsed number."""
    return f"{kind.lower()}-{number.lower()}"


def obligation_id(taxable_object: TaxableObjectId, year: int) -> ObligationId:
    """The id of what is owed for a taxable object and a fiscal year."""
    return f"{taxable_object}/year-{year:04}"


def year_of(obligation: ObligationId) -> int | None:
    """The fiscal year of an obligation: part of its id. None for the code of an object."""
    year = obligation.partition("/year-")[2]
    return int(year) if year.isascii() and year.isdecimal() else None


def object_of(obligation: ObligationId) -> TaxableObjectId:
    """The taxable object of an obligation: part of its id."""
    return obligation.partition("/")[0]
