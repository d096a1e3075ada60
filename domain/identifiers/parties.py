"""The identifiers of parties, which are persons and organisations, and the tax numbers of organisations."""

import re
from typing import TypeAlias

from domain.errors import Hint, InvalidInput
from domain.identifiers.text import OPAQUE_REGEX, fits, pattern

_ORGANISATION = f"org-{OPAQUE_REGEX}"

# Types of identifiers: see places.py.
SubjectId: TypeAlias = str  # reveals nothing about the person
OrganisationId: TypeAlias = str  # org- and an opaque part
PartyId: TypeAlias = str  # a person or an organisation: its form tells which
RepresentationId: TypeAlias = str  # organisation/representative
DependantId: TypeAlias = str  # guardian/dependant, both subject ids
IdentityDigest: TypeAlias = str  # keyed hash of an identity number
NitDigest: TypeAlias = str  # keyed hash of a NIT
LoginId: TypeAlias = str  # keyed hash of a login: only tells logins apart


class PersonHint(
    Hint,
    es="el identificador de una persona tiene 26 letras y cifras, como mfrggzdfmztwq2lknnwg23tpob",
    en="a person's id consists of 26 letters and digits, like mfrggzdfmztwq2lknnwg23tpob",
): ...


OPAQUE = pattern(rf"^{OPAQUE_REGEX}\Z", PersonHint())


class OrganisationHint(
    Hint,
    es="el identificador de una organización empieza con org- y sigue con 26 letras y cifras, como "
    "org-mfrggzdfmztwq2lknnwg23tpob",
    en="an organisation's id consists of org- and 26 letters and digits, like org-mfrggzdfmztwq2lknnwg23tpob",
): ...


ORGANISATION = pattern(rf"^{_ORGANISATION}\Z", OrganisationHint())


class PartyHint(
    Hint,
    es="se indica el identificador de una persona o de una organización, como mfrggzdfmztwq2lknnwg23tpob u "
    "org-mfrggzdfmztwq2lknnwg23tpob",
    en="give the id of a person or of an organisation, like mfrggzdfmztwq2lknnwg23tpob or "
    "org-mfrggzdfmztwq2lknnwg23tpob",
): ...


PARTY = pattern(rf"^(?:{OPAQUE_REGEX}|{_ORGANISATION})\Z", PartyHint())


class RepresentationHint(
    Hint,
    es="una representación se nombra organización/representante, con los dos identificadores, como "
    "org-mfrggzdfmztwq2lknnwg23tpob/nbswy3dpeb3w64tmmqqhe5lomu",
    en="a representation is named organisation/representative, with both ids, like "
    "org-mfrggzdfmztwq2lknnwg23tpob/nbswy3dpeb3w64tmmqqhe5lomu",
): ...


REPRESENTATION_NAME = pattern(rf"^{_ORGANISATION}/{OPAQUE_REGEX}\Z", RepresentationHint())


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


def organisation_id(opaque: str) -> OrganisationId:
    """The id of an organisation with this opaque part."""
    return f"org-{opaque}"


def is_organisation(party: PartyId) -> bool:
    """Whether a party is an organisation and not a person, by the form of its id alone."""
    return fits(ORGANISATION, party)


def organisation_stream(organisation: OrganisationId) -> str:
    """The name of an organisation's stream."""
    return f"organisation/{organisation}"


def party_stream(party: PartyId) -> str:
    """The name of the stream of a person or an organisation: commands of any context may need it."""
    return organisation_stream(party) if is_organisation(party) else person_stream(party)


def representation_id(organisation: OrganisationId, representative: SubjectId) -> RepresentationId:
    """The id of what makes a person the representative of an organisation."""
    return f"{organisation}/{representative}"


def representation_parts(representation: RepresentationId) -> tuple[OrganisationId, SubjectId]:
    """The organisation and the person. Raises ValueError for another form."""
    organisation, representative = representation.split("/")
    return organisation, representative


def dependant_id(guardian: SubjectId, dependant: SubjectId) -> DependantId:
    """The id of what makes one person the dependant of another."""
    return f"{guardian}/{dependant}"


def dependant_parts(dependant: DependantId) -> tuple[SubjectId, SubjectId]:
    """The guardian and the dependant person. Raises ValueError for another form."""
    guardian, person = dependant.split("/")
    return guardian, person


class NitHint(
    Hint,
    es="un NIT tiene de 7 a 13 cifras, como 1023467024",
    en="a NIT has 7 to 13 digits, like 1023467024",
): ...


# The shorter numbers with which invoices name nobody in particular, such as 99001, are not a NIT.
NIT = pattern(r"^[1-9][0-9]{6,12}\Z", NitHint())


def parse_nit(text: str) -> str:
    """A Bolivian tax number in its one spelling: "1023467024".

    Blanks, dots, dashes and leading zeros are ignored. There is no public check digit. Raises InvalidInput, which shows
    a valid number.
    """
    number = re.sub(r"[\s.-]", "", text).lstrip("0") if len(text) <= 40 else ""
    if not fits(NIT, number):
        raise InvalidInput(path="nit", hint=NitHint())
    return number
