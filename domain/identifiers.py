"""Identifiers as value objects: they validate and normalise, and say what a right one looks like."""

import re
from datetime import date
from typing import Literal, TypeAlias

from msgspec import Meta

from domain.errors import Hint, InvalidInput

_SLUG = "[a-z0-9](?:-?[a-z0-9]){0,39}"
_OPAQUE = "[a-z2-7]{26}"  # 128 bits in base 32
_DATE = "[0-9]{4}-[0-9]{2}-[0-9]{2}"
_AGENDA = f"{_SLUG}/{_DATE}/{_SLUG}"
_SERVICE = rf"(?!{_DATE}(?:/|\Z)){_SLUG}"  # never taken for a date: an agenda's name has one in its place
_LINE = f"{_SLUG}/{_SERVICE}/{_DATE}"

# What is not seen, in ranges, since `re` knows no categories: control and format characters, breaks of lines and
# paragraphs, half characters (categories Cc Cf Zl Zp Cs), letters and signs without ink, and code points that are no
# characters. PostgreSQL's text can't hold some of them, a terminal should not, and a name of nothing else looks empty.
# A list, not this Python's Unicode tables: what is a right name must not depend on who checks it.
UNSEEN = (
    r"\x00-\x1f\x7f-\x9f\xad\u0600-\u0605\u061c\u06dd\u070f\u0890\u0891\u08e2\u115f\u1160\u180e\u200b-\u200f"
    r"\u2028-\u202e\u2060-\u2064\u2066-\u206f\u2800\u3164\ud800-\udfff\ufdd0-\ufdef\ufeff\uffa0\ufff9-\ufffb"
    r"\ufffe\uffff\U000110bd\U000110cd\U00013430-\U0001343f\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0001"
    r"\U000e0020-\U000e007f" + "".join(rf"\U{plane:04x}fffe\U{plane:04x}ffff" for plane in range(1, 17))
)

HINTS: dict[str, Hint] = {}  # pattern → what a right one looks like


def pattern(regex: str, hint: Hint, *, max_length: int | None = None) -> Meta:
    """A constraint on a text, and what to say to whoever broke it."""
    HINTS[regex] = hint
    return Meta(pattern=regex, max_length=max_length)


# The names of identifiers. Events and states have them plain: a fact stays readable whatever the rules are later.
HospitalId: TypeAlias = str  # la-merced
SpecialtyId: TypeAlias = str  # pediatrics
PractitionerId: TypeAlias = str  # a practitioner or a room: p-0012
SubjectId: TypeAlias = str  # tells nothing about the person
HoldId: TypeAlias = str
AgendaId: TypeAlias = str  # hospital/date/practitioner
AppointmentId: TypeAlias = str  # the agenda, then an opaque part
ServicePointId: TypeAlias = str  # an office or a ward: sopocachi
ServiceId: TypeAlias = str  # what is waited for: cadastre
LineId: TypeAlias = str  # service point/service/date
TurnId: TypeAlias = str  # the line, then an opaque part
CallId: TypeAlias = str
WebhookId: TypeAlias = str  # sms-gateway
DeliveryId: TypeAlias = str  # the webhook, then the event's position
IdentityDigest: TypeAlias = str  # keyed hash of an identity number
LoginId: TypeAlias = str  # keyed hash of a login: tells two apart, and nothing else


class SlugHint(
    Hint,
    es="un código son minúsculas y cifras unidas por guiones, como la-merced",
    en="a code is lower-case letters and digits joined by hyphens, like la-merced",
): ...


# Their forms, for commands: Annotated[HospitalId, SLUG].
SLUG = pattern(rf"^{_SLUG}\Z", SlugHint())


class OpaqueHint(
    Hint,
    es="es un identificador que dio este sistema; se copia entero",
    en="it is an identifier that this system gave; copy it whole",
): ...


OPAQUE = pattern(rf"^{_OPAQUE}\Z", OpaqueHint())


class HospitalCodeHint(
    Hint,
    es="el código de un hospital son minúsculas y cifras unidas por guiones, como la-merced; 26 "
    "seguidas, sin guion, no: así son los identificadores de personas",
    en="a hospital's code is lower-case letters and digits joined by hyphens, like la-merced; not 26 in "
    "a row without a hyphen, which ids of people are",
): ...


HOSPITAL_CODE = pattern(rf"^(?!{_OPAQUE}\Z){_SLUG}\Z", HospitalCodeHint())  # of a new one: never taken for a person


class AgendaHint(
    Hint,
    es="una agenda se nombra hospital/fecha/profesional, como la-merced/2027-01-15/p-0012",
    en="an agenda is named hospital/date/practitioner, like la-merced/2027-01-15/p-0012",
): ...


AGENDA_NAME = pattern(rf"^{_AGENDA}\Z", AgendaHint())
APPOINTMENT_NAME = pattern(rf"^{_AGENDA}/{_OPAQUE}\Z", OpaqueHint())
SERVICE_CODE = pattern(rf"^{_SERVICE}\Z", SlugHint())


class LineHint(
    Hint,
    es="una fila se nombra punto/servicio/fecha, como sopocachi/catastro/2027-01-15",
    en="a line is named point/service/date, like sopocachi/cadastre/2027-01-15",
): ...


LINE_NAME = pattern(rf"^{_LINE}\Z", LineHint())
TURN_NAME = pattern(rf"^{_LINE}/{_OPAQUE}\Z", OpaqueHint())


class TextHint(
    Hint,
    es="el texto es de una línea, sin caracteres invisibles, y no puede estar vacío",
    en="the text is one line without invisible characters, and can't be empty",
): ...


NAME = pattern(rf"^(?=.*\S)[^{UNSEEN}]+\Z", TextHint(), max_length=120)
DELIVERY_NAME = pattern(rf"^{_SLUG}/[1-9][0-9]{{0,17}}\Z", OpaqueHint())


class WebhookUrlHint(
    Hint,
    es="la dirección de un webhook empieza con https://, es de 500 caracteres a lo más y no tiene "
    "usuario ni #; con http://, solo en esta máquina",
    en="a webhook's URL begins with https://, has 500 characters at most, and neither a user nor a #; "
    "with http://, on this machine only",
): ...


# Read by others on their way: https, or it stays on this machine.
WEBHOOK_URL = pattern(
    r"^(?:https://(?:[A-Za-z0-9](?:[A-Za-z0-9.-]{0,251}[A-Za-z0-9])?|\[[0-9A-Fa-f:.]{2,45}\])"
    r"|http://(?:127\.0\.0\.1|localhost|\[::1\]))"
    r"(?::[0-9]{1,5})?(?:[/?][A-Za-z0-9._~!$&\x27()*+,;=:@%/?-]*)?\Z",
    WebhookUrlHint(),
    max_length=500,
)
DIGEST = pattern(r"^[0-9a-f]{64}\Z", OpaqueHint())


_IDS = (OPAQUE, HOSPITAL_CODE, AGENDA_NAME, APPOINTMENT_NAME, LINE_NAME, TURN_NAME, DELIVERY_NAME)


def is_id(form: Meta) -> bool:
    """Whether texts of this form name one thing of its kind. A slug may also be a word of a list."""
    return form in _IDS


def fits(form: Meta, text: str) -> bool:
    """Whether a text has one of these forms."""
    return re.search(form.pattern or "", text) is not None


Kind = Literal["person", "hospital", "agenda", "appointment", "line", "turn"]

# An opaque id is a slug, too: no hospital has such a code, see HOSPITAL_CODE.
_KINDS: dict[Kind, Meta] = {
    "person": OPAQUE,
    "hospital": SLUG,
    "agenda": AGENDA_NAME,
    "appointment": APPOINTMENT_NAME,
    "line": LINE_NAME,
    "turn": TURN_NAME,
}


def kind_of_id(name: str) -> Kind | None:
    """What an id names, by its form alone, whether there is such a thing or not; None if it has no form of ours."""
    return next((kind for kind, form in _KINDS.items() if fits(form, name)), None)


def agenda_id(hospital: str, day: date, practitioner: str) -> str:
    """One practitioner (or room) on one date is one agenda: its name says so, and there can't be two."""
    return f"{hospital}/{day.isoformat()}/{practitioner}"


def agenda_parts(agenda: str) -> tuple[HospitalId, date, PractitionerId]:
    """The hospital, the date and the practitioner of an agenda. Raises ValueError if there is no such date."""
    hospital, day, practitioner = agenda.split("/")
    return hospital, date.fromisoformat(day), practitioner


def agenda_of(appointment: str) -> str:
    """The agenda in which an appointment is: part of its name, so that nothing needs to be looked up."""
    return appointment.rpartition("/")[0]


def hospital_of(name: str) -> str:
    """The hospital of an agenda or an appointment, likewise."""
    return name.partition("/")[0]


def line_id(service_point: str, service: str, day: date) -> str:
    """One service on one day at a service point is one line."""
    return f"{service_point}/{service}/{day.isoformat()}"


def line_parts(line: str) -> tuple[ServicePointId, ServiceId, date]:
    """The service point, the service and the date of a line. Raises ValueError if there is no such date."""
    service_point, service, day = line.split("/")
    return service_point, service, date.fromisoformat(day)


def line_of(turn: str) -> str:
    """The line in which a turn is: part of its name."""
    return turn.rpartition("/")[0]


def service_point_of(name: str) -> str:
    """The service point of a line or a turn, likewise."""
    return name.partition("/")[0]


def webhook_of(delivery: str) -> str:
    """The webhook of a delivery: part of its name."""
    return delivery.partition("/")[0]


def position_of(delivery: str) -> int:
    """The position of the event that a delivery sends: the other part of its name."""
    return int(delivery.partition("/")[2])


def category_of(stream: str) -> str:
    """The category of a stream "category/identifier…"."""
    return stream.partition("/")[0]


def id_of(stream: str) -> str:
    """The identifier in a stream's name."""
    return stream.partition("/")[2]


_CI = re.compile(
    r"^0*(?P<number>[1-9][0-9]{3,9})(?:-?(?P<complement>[0-9][A-Z]))?(?P<department>LP|CB|SC|OR|PT|TJ|CH|BE|PD)?\Z"
)


class IdentityNumberHint(
    Hint,
    es="un número de identidad tiene de 4 a 10 dígitos y, si los hay, complemento y departamento: "
    "4820193, 4820193-1A, 4820193-1A LP",
    en="an identity number is 4 to 10 digits, with complement and department if it has them: 4820193, "
    "4820193-1A, 4820193-1A LP",
): ...


def parse_ci(text: str) -> str:
    """A Bolivian identity number in its one spelling: "4820193", "4820193-1A", "4820193-1A LP".

    Case, blanks, dots and leading zeros are ignored: forms of fixed width are filled up with zeros, and two spellings
    would be two persons for ever. Raises InvalidInput that shows what a right one looks like.
    """
    found = _CI.match(re.sub(r"[\s.]", "", text).upper()) if len(text) <= 40 else None
    if not found:
        raise InvalidInput(path="identity", hint=IdentityNumberHint())
    number, complement, department = found.group("number", "complement", "department")
    return number + (f"-{complement}" if complement else "") + (f" {department}" if department else "")


def ci_key(ci: str) -> str:
    """What makes an identity number unique: number and complement, whoever issued it. Takes a parsed one."""
    return ci.partition(" ")[0]
