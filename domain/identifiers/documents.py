"""The documents by which persons are known: their numbers in one spelling each, and what is unique about them."""

import re
from typing import Literal, NamedTuple

from domain.errors import Hint, InvalidInput
from domain.identifiers.text import pattern

DocumentKind = Literal["CI", "FOREIGN_CI", "PASSPORT", "BIRTH_CERTIFICATE"]

# ISO 3166-1 alpha-2. A fixed list: with a mistyped country, a passport would be somebody else's.
_COUNTRIES = (
    "AD AE AF AG AI AL AM AO AQ AR AS AT AU AW AX AZ BA BB BD BE BF BG BH BI BJ BL BM BN BO BQ BR BS BT BV BW BY "
    "BZ CA CC CD CF CG CH CI CK CL CM CN CO CR CU CV CW CX CY CZ DE DJ DK DM DO DZ EC EE EG EH ER ES ET FI FJ FK "
    "FM FO FR GA GB GD GE GF GG GH GI GL GM GN GP GQ GR GS GT GU GW GY HK HM HN HR HT HU ID IE IL IM IN IO IQ IR "
    "IS IT JE JM JO JP KE KG KH KI KM KN KP KR KW KY KZ LA LB LC LI LK LR LS LT LU LV LY MA MC MD ME MF MG MH MK "
    "ML MM MN MO MP MQ MR MS MT MU MV MW MX MY MZ NA NC NE NF NG NI NL NO NP NR NU NZ OM PA PE PF PG PH PK PL PM "
    "PN PR PS PT PW PY QA RE RO RS RU RW SA SB SC SD SE SG SH SI SJ SK SL SM SN SO SR SS ST SV SX SY SZ TC TD TF "
    "TG TH TJ TK TL TM TN TO TR TT TV TW TZ UA UG UM US UY UZ VA VC VE VG VI VN VU WF WS YE YT ZA ZM ZW"
)
COUNTRIES = frozenset(_COUNTRIES.split())


class Document(NamedTuple):
    """A document in its one spelling. Only a passport has a country."""

    kind: DocumentKind
    number: str
    country: str = ""

    @property
    def key(self) -> str:
        """What belongs to one person at a time. Different kinds have different keys."""
        match self.kind:
            case "CI":
                return ci_key(self.number)
            case "FOREIGN_CI":
                return self.number
        return " ".join(part for part in (self.kind, self.country, self.number) if part)


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


_FOREIGN_CI = re.compile(r"^E-?0*([1-9][0-9]{3,9})\Z")
_PASSPORT = re.compile(r"^[0-9A-Z]{5,20}\Z")
_BIRTH_CERTIFICATE = re.compile(r"^(?=.*[0-9])[0-9A-Z]+(?:-[0-9A-Z]+)*\Z")


class ForeignCiHint(
    Hint,
    es="un carnet de extranjero tiene E- y de 4 a 10 cifras, como E-1234567",
    en="a foreigner's identity number consists of E- and 4 to 10 digits, like E-1234567",
): ...


class PassportHint(
    Hint,
    es="un número de pasaporte tiene de 5 a 20 letras y cifras, como AB123456",
    en="a passport's number has 5 to 20 letters and digits, like AB123456",
): ...


class BirthCertificateHint(
    Hint,
    es="un certificado de nacimiento tiene de 4 a 20 letras y cifras, con guiones si los hay, como 20101-15-17",
    en="a birth certificate's number has 4 to 20 letters and digits, with hyphens if any, like 20101-15-17",
): ...


class CountryHint(
    Hint,
    es="un pasaporte lleva su país, con dos letras como PE; los otros documentos no llevan país",
    en="a passport has its country, in two letters like PE; other documents have no country",
): ...


COUNTRY = pattern(r"^(?:[A-Z]{2})?\Z", CountryHint())  # "" for none


def parse_document(kind: DocumentKind, number: str, country: str = "") -> Document:
    """A document in its one spelling. Case, blanks, dots and leading zeros are ignored, as in `parse_ci`.

    Raises InvalidInput, which names `identity` or `country` and shows a valid one.
    """
    country = country.strip().upper()
    if (country in COUNTRIES) if kind == "PASSPORT" else not country:
        return Document(kind, _NUMBERS[kind](number), country)
    raise InvalidInput(path="country", hint=CountryHint())


def parse_identity_number(text: str) -> Document:
    """The document for a number with which somebody logs in: that of a Bolivian or a foreigner's identity card.

    Raises InvalidInput.
    """
    return parse_document("FOREIGN_CI" if text.strip()[:1] in ("E", "e") else "CI", text)


def _compact(text: str) -> str:
    return re.sub(r"[\s.]", "", text).upper() if len(text) <= 40 else ""


def _foreign_ci(text: str) -> str:
    found = _FOREIGN_CI.match(_compact(text))
    if not found:
        raise InvalidInput(path="identity", hint=ForeignCiHint())
    return f"E-{found[1]}"


def _passport(text: str) -> str:
    number = _compact(text).replace("-", "")
    if not _PASSPORT.match(number):
        raise InvalidInput(path="identity", hint=PassportHint())
    return number


def _birth_certificate(text: str) -> str:
    number = _compact(text).replace("/", "-")
    if not 4 <= len(number) <= 20 or not _BIRTH_CERTIFICATE.match(number):
        raise InvalidInput(path="identity", hint=BirthCertificateHint())
    return number


_NUMBERS = {
    "CI": parse_ci,
    "FOREIGN_CI": _foreign_ci,
    "PASSPORT": _passport,
    "BIRTH_CERTIFICATE": _birth_certificate,
}
