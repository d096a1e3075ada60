"""Identifiers: the form of each kind, how they are normalised, and hints that describe a valid one."""

import re
from datetime import date
from typing import Literal, TypeAlias

from msgspec import Meta

from domain.errors import Hint, InvalidInput

_SLUG = "[a-z0-9](?:-?[a-z0-9]){0,39}"
_OPAQUE = "[a-z2-7]{26}"  # 128 bits in base 32
_DATE = "[0-9]{4}-[0-9]{2}-[0-9]{2}"
_AGENDA = f"{_SLUG}/{_DATE}/{_SLUG}"
_SERVICE = rf"(?!{_DATE}(?:/|\Z)){_SLUG}"  # not a date: in an agenda's name, a date stands in this place
_LINE = f"{_SLUG}/{_SERVICE}/{_DATE}"

# Invisible characters, as ranges because `re` knows no categories: control and format characters, line and paragraph
# separators, surrogates (categories Cc Cf Zl Zp Cs), blank letters and symbols, and noncharacters. PostgreSQL's text
# can't hold some of them, terminals should not print them, and a name of nothing else looks empty. The list is fixed:
# Unicode tables differ between versions of Python, and whether a name is valid must not depend on that.
UNSEEN = (
    r"\x00-\x1f\x7f-\x9f\xad\u0600-\u0605\u061c\u06dd\u070f\u0890\u0891\u08e2\u115f\u1160\u180e\u200b-\u200f"
    r"\u2028-\u202e\u2060-\u2064\u2066-\u206f\u2800\u3164\ud800-\udfff\ufdd0-\ufdef\ufeff\uffa0\ufff9-\ufffb"
    r"\ufffe\uffff\U000110bd\U000110cd\U00013430-\U0001343f\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0001"
    r"\U000e0020-\U000e007f" + "".join(rf"\U{plane:04x}fffe\U{plane:04x}ffff" for plane in range(1, 17))
)

HINTS: dict[str, Hint] = {}  # pattern → the hint that describes a match


def pattern(regex: str, hint: Hint, *, max_length: int | None = None) -> Meta:
    """A constraint on a text, and the hint for a text that breaks it."""
    HINTS[regex] = hint
    return Meta(pattern=regex, max_length=max_length)


# Types of identifiers. In events and states they are plain text, which stays readable whatever the rules become.
HospitalId: TypeAlias = str  # la-merced
SpecialtyId: TypeAlias = str  # pediatrics
PractitionerId: TypeAlias = str  # a practitioner; of an agenda, a practitioner or a room: p-0012
RoomId: TypeAlias = str  # dental-1
SubjectId: TypeAlias = str  # reveals nothing about the person
HoldId: TypeAlias = str
DependantId: TypeAlias = str  # guardian/dependant, both subject ids
AgendaId: TypeAlias = str  # hospital/date/practitioner
AppointmentId: TypeAlias = str  # the agenda, then an opaque part
ServicePointId: TypeAlias = str  # an office or a ward: sopocachi
ServiceId: TypeAlias = str  # what people wait for: cadastre
LineId: TypeAlias = str  # service point/service/date
TurnId: TypeAlias = str  # the line, then an opaque part
CallId: TypeAlias = str
WebhookId: TypeAlias = str  # sms-gateway
DeliveryId: TypeAlias = str  # the webhook, then the event's position
IdentityDigest: TypeAlias = str  # keyed hash of an identity number
LoginId: TypeAlias = str  # keyed hash of a login: only tells logins apart


class SlugHint(
    Hint,
    es="un código se escribe con minúsculas y cifras unidas por guiones, como la-merced",
    en="a code consists of lower-case letters and digits joined by hyphens, like la-merced",
): ...


# Their forms, for commands: Annotated[HospitalId, SLUG].
SLUG = pattern(rf"^{_SLUG}\Z", SlugHint())


class OpaqueHint(
    Hint,
    es="debe ser un identificador dado por este sistema, copiado completo",
    en="it must be an identifier issued by this system, copied in full",
): ...


class PersonHint(
    Hint,
    es="el identificador de una persona tiene 26 letras y cifras, como mfrggzdfmztwq2lknnwg23tpob",
    en="a person's id consists of 26 letters and digits, like mfrggzdfmztwq2lknnwg23tpob",
): ...


OPAQUE = pattern(rf"^{_OPAQUE}\Z", PersonHint())


class HospitalCodeHint(
    Hint,
    es="el código de un hospital se escribe con minúsculas y cifras unidas por guiones, como la-merced; no "
    "puede ser de 26 seguidas sin guion, porque así son los identificadores de personas",
    en="a hospital's code consists of lower-case letters and digits joined by hyphens, like la-merced; it can't "
    "be 26 of them without a hyphen, because ids of people look like that",
): ...


HOSPITAL_CODE = pattern(
    rf"^(?!{_OPAQUE}\Z){_SLUG}\Z", HospitalCodeHint()
)  # for new hospitals: it can't be mistaken for a person's id


class AgendaHint(
    Hint,
    es="una agenda se nombra hospital/fecha/profesional, como la-merced/2027-01-15/p-0012",
    en="an agenda is named hospital/date/practitioner, like la-merced/2027-01-15/p-0012",
): ...


AGENDA_NAME = pattern(rf"^{_AGENDA}\Z", AgendaHint())


class DependantHint(
    Hint,
    es="un dependiente se nombra tutor/dependiente, con los identificadores de las dos personas, como "
    "mfrggzdfmztwq2lknnwg23tpob/nbswy3dpeb3w64tmmqqhe5lomu",
    en="a dependant is named guardian/dependant, with the ids of the two persons, like "
    "mfrggzdfmztwq2lknnwg23tpob/nbswy3dpeb3w64tmmqqhe5lomu",
): ...


DEPENDANT_NAME = pattern(rf"^{_OPAQUE}/{_OPAQUE}\Z", DependantHint())


class AppointmentHint(
    Hint,
    es="el identificador de una ficha empieza con el de su agenda, como "
    "la-merced/2027-01-15/p-0012/mfrggzdfmztwq2lknnwg23tpob: cópielo completo",
    en="an appointment's id begins with that of its agenda, like "
    "la-merced/2027-01-15/p-0012/mfrggzdfmztwq2lknnwg23tpob: copy it in full",
): ...


APPOINTMENT_NAME = pattern(rf"^{_AGENDA}/{_OPAQUE}\Z", AppointmentHint())


class ServiceHint(
    Hint,
    es="el código de un servicio se escribe con minúsculas y cifras unidas por guiones, como catastro, y no puede "
    "ser una fecha",
    en="a service's code consists of lower-case letters and digits joined by hyphens, like cadastre, and can't be a "
    "date",
): ...


SERVICE_CODE = pattern(rf"^{_SERVICE}\Z", ServiceHint())


class LineHint(
    Hint,
    es="una fila se nombra punto/servicio/fecha, como sopocachi/catastro/2027-01-15",
    en="a line is named point/service/date, like sopocachi/cadastre/2027-01-15",
): ...


LINE_NAME = pattern(rf"^{_LINE}\Z", LineHint())


class TurnHint(
    Hint,
    es="el identificador de un turno empieza con el de su fila, como "
    "sopocachi/catastro/2027-01-15/mfrggzdfmztwq2lknnwg23tpob: cópielo completo",
    en="a turn's id begins with that of its line, like "
    "sopocachi/cadastre/2027-01-15/mfrggzdfmztwq2lknnwg23tpob: copy it in full",
): ...


TURN_NAME = pattern(rf"^{_LINE}/{_OPAQUE}\Z", TurnHint())


class TextHint(
    Hint,
    es="el texto debe ser de una sola línea, sin caracteres invisibles, y no puede estar vacío",
    en="the text must be a single line without invisible characters, and can't be empty",
): ...


NAME = pattern(rf"^(?=.*\S)[^{UNSEEN}]+\Z", TextHint(), max_length=120)
ADDRESS = pattern(rf"^(?=.*\S)[^{UNSEEN}]+\Z", TextHint(), max_length=200)


class PhoneHint(
    Hint,
    es="un teléfono se escribe con cifras, como +59171234567",
    en="a phone number consists of digits, like +59171234567",
): ...


PHONE = pattern(r"^\+?[0-9]{7,15}\Z", PhoneHint())
_PHONE_PUNCTUATION = str.maketrans("", "", " ().-/")


def phone_digits(text: str) -> str:
    """A telephone number without its punctuation: "+591 (2) 212-3456" becomes "+59122123456"."""
    return text.translate(_PHONE_PUNCTUATION)


class DeliveryHint(
    Hint,
    es="una entrega se nombra webhook/posición, como sms-gateway/1607",
    en="a delivery is named webhook/position, like sms-gateway/1607",
): ...


DELIVERY_NAME = pattern(rf"^{_SLUG}/[1-9][0-9]{{0,17}}\Z", DeliveryHint())


class WebhookUrlHint(
    Hint,
    es="la dirección de un webhook empieza con https://, tiene 500 caracteres como máximo y no lleva "
    "usuario ni #; http:// se admite solo para esta misma máquina",
    en="a webhook's URL begins with https://, has at most 500 characters, and contains no user and no #; "
    "http:// is allowed for this machine only",
): ...


# Plain http could be read on the way, so it is allowed within this machine only.
WEBHOOK_URL = pattern(
    r"^(?:https://(?:[A-Za-z0-9](?:[A-Za-z0-9.-]{0,251}[A-Za-z0-9])?|\[[0-9A-Fa-f:.]{2,45}\])"
    r"|http://(?:127\.0\.0\.1|localhost|\[::1\]))"
    r"(?::[0-9]{1,5})?(?:[/?][A-Za-z0-9._~!$&\x27()*+,;=:@%/?-]*)?\Z",
    WebhookUrlHint(),
    max_length=500,
)
DIGEST = pattern(r"^[0-9a-f]{64}\Z", OpaqueHint())


_IDS = (OPAQUE, DEPENDANT_NAME, AGENDA_NAME, APPOINTMENT_NAME, LINE_NAME, TURN_NAME, DELIVERY_NAME)


_CODES = (SLUG, HOSPITAL_CODE, SERVICE_CODE)


def is_id_or_code(form: Meta) -> bool:
    """Whether a text of this form names a thing."""
    return form in _IDS or form in _CODES


def is_id(form: Meta) -> bool:
    """Whether a text of this form always identifies one thing. A slug may also be a word of a list."""
    return form in _IDS


def fits(form: Meta, text: str) -> bool:
    """Whether a text has this form."""
    return re.search(form.pattern or "", text) is not None


def hint_of(form: Meta) -> Hint:
    """The hint that describes a text of this form."""
    return HINTS[form.pattern or ""]


Kind = Literal["person", "dependant", "agenda", "appointment", "line", "turn", "delivery"]

_KINDS: dict[Kind, Meta] = {
    "person": OPAQUE,
    "dependant": DEPENDANT_NAME,
    "agenda": AGENDA_NAME,
    "appointment": APPOINTMENT_NAME,
    "line": LINE_NAME,
    "turn": TURN_NAME,
    "delivery": DELIVERY_NAME,
}


def kind_of_id(name: str) -> Kind | None:
    """The kind of thing that an id names, by its form alone; the thing may not exist. None for an unknown form."""
    return next((kind for kind, form in _KINDS.items() if fits(form, name)), None)


def agenda_id(hospital: str, day: date, practitioner: str) -> str:
    """The id of the one agenda of a practitioner (or room) on a date."""
    return f"{hospital}/{day.isoformat()}/{practitioner}"


def agenda_parts(agenda: str) -> tuple[HospitalId, date, PractitionerId]:
    """The hospital, the date and the practitioner of an agenda. Raises ValueError if there is no such date."""
    hospital, day, practitioner = agenda.split("/")
    return hospital, date.fromisoformat(day), practitioner


def agenda_of(appointment: str) -> str:
    """The agenda of an appointment: part of the appointment's id, so that nothing needs to be looked up."""
    return appointment.rpartition("/")[0]


def hospital_of(name: str) -> str:
    """The hospital of an agenda or an appointment: part of its id."""
    return name.partition("/")[0]


def line_id(service_point: str, service: str, day: date) -> str:
    """The id of the one line for a service on a day at a service point."""
    return f"{service_point}/{service}/{day.isoformat()}"


def line_parts(line: str) -> tuple[ServicePointId, ServiceId, date]:
    """The service point, the service and the date of a line. Raises ValueError if there is no such date."""
    service_point, service, day = line.split("/")
    return service_point, service, date.fromisoformat(day)


def line_of(turn: str) -> str:
    """The line of a turn: part of the turn's id."""
    return turn.rpartition("/")[0]


def service_point_of(name: str) -> str:
    """The service point of a line or a turn: part of its id."""
    return name.partition("/")[0]


def webhook_of(delivery: str) -> str:
    """The webhook of a delivery: part of the delivery's id."""
    return delivery.partition("/")[0]


def position_of(delivery: str) -> int:
    """The position of the event that a delivery sends: the other part of its id."""
    return int(delivery.partition("/")[2])


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
