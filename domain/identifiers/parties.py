"""The identifiers of parties, such as persons, and the numbers by which offices know them."""

import re
from typing import TypeAlias

from domain.errors import Hint, InvalidInput
from domain.identifiers.text import OPAQUE_REGEX, pattern

# Types of identifiers: see places.py.
SubjectId: TypeAlias = str  # reveals nothing about the person
DependantId: TypeAlias = str  # guardian/dependant, both subject ids
IdentityDigest: TypeAlias = str  # keyed hash of an identity number
LoginId: TypeAlias = str  # keyed hash of a login: only tells logins apart


class PersonHint(
    Hint,
    es="el identificador de una persona tiene 26 letras y cifras, como mfrggzdfmztwq2lknnwg23tpob",
    en="a person's id consists of 26 letters and digits, like mfrggzdfmztwq2lknnwg23tpob",
): ...


OPAQUE = pattern(rf"^{OPAQUE_REGEX}\Z", PersonHint())


class DependantHint(
    Hint,
    es="un dependiente se nombra tutor/dependiente, con los identificadores de las dos personas, como "
    "mfrggzdfmztwq2lknnwg23tpob/nbswy3dpeb3w64tmmqqhe5lomu",
    en="a dependant is named guardian/dependant, with the ids of the two persons, like "
    "mfrggzdfmztwq2lknnwg23tpob/nbswy3dpeb3w64tmmqqhe5lomu",
): ...


DEPENDANT_NAME = pattern(rf"^{OPAQUE_REGEX}/{OPAQUE_REGEX}\Z", DependantHint())


def person_stream(person: SubjectId) -> str:
    """The name of a person's stream: commands of any context may need it."""
    return f"person/{person}"


def dependant_id(guardian: SubjectId, dependant: SubjectId) -> DependantId:
    """The id of what makes one person the dependant of another."""
    return f"{guardian}/{dependant}"


def dependant_parts(dependant: DependantId) -> tuple[SubjectId, SubjectId]:
    """The guardian and the dependant person. Raises ValueError for another form."""
    guardian, person = dependant.split("/")
    return guardian, person


_CI = re.compile(
    r"^0*(?P<number>[1-9][0-9]{3,9})(?:-?(?P<complement>[0-9][A-Z]))?(?P<department>LP|CB|SC|OR|PT|TJ|CH|BE|PD)?\Z"
)


class IdentityNumberHint(
    Hint,
    es="un número de carnet tiene de 4 a 10 cifras y, si los hay, complemento y departamento: "
    "4820193, 4820193-1A, 4820193-1A LP",
    en="an identity number has 4 to 10 digits, and a complement and a department if any: 4820193, "
    "4820193-1A, 4820193-1A LP",
): ...


def parse_ci(text: str) -> str:
    """A Bolivian identity number in its one spelling: "4820193", "4820193-1A", "4820193-1A LP".

    Case, blanks, dots and leading zeros are ignored: forms of fixed width are padded with zeros, and two spellings
    would make two persons for ever. Raises InvalidInput, which shows a valid number.
    """
    found = _CI.match(re.sub(r"[\s.]", "", text).upper()) if len(text) <= 40 else None
    if not found:
        raise InvalidInput(path="identity", hint=IdentityNumberHint())
    number, complement, department = found.group("number", "complement", "department")
    return number + (f"-{complement}" if complement else "") + (f" {department}" if department else "")


def ci_key(ci: str) -> str:
    """The unique part of a parsed identity number: number and complement, without the department that issued it."""
    return ci.partition(" ")[0]
