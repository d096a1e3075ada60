"""The identifiers of hospitals and what they offer, of service points and their lines, and of webhooks."""

from datetime import date
from typing import TypeAlias

from domain.errors import Hint
from domain.identifiers.text import OPAQUE_REGEX, SLUG_REGEX, pattern

_DATE = "[0-9]{4}-[0-9]{2}-[0-9]{2}"
_AGENDA = f"{SLUG_REGEX}/{_DATE}/{SLUG_REGEX}"
_SERVICE = rf"(?!{_DATE}(?:/|\Z)){SLUG_REGEX}"  # not a date: in an agenda's name, a date stands in this place
_LINE = f"{SLUG_REGEX}/{_SERVICE}/{_DATE}"

# Types of identifiers. In events and states they are plain text, which stays readable whatever the rules become.
HospitalId: TypeAlias = str  # la-merced
SpecialtyId: TypeAlias = str  # pediatrics
PractitionerId: TypeAlias = str  # a practitioner; of an agenda, a practitioner or a room: p-0012
RoomId: TypeAlias = str  # dental-1
HoldId: TypeAlias = str
AgendaId: TypeAlias = str  # hospital/date/practitioner
AppointmentId: TypeAlias = str  # the agenda, then an opaque part
ServicePointId: TypeAlias = str  # an office or a ward: sopocachi
ServiceId: TypeAlias = str  # what people wait for: cadastre
LineId: TypeAlias = str  # service point/service/date
TurnId: TypeAlias = str  # the line, then an opaque part
CallId: TypeAlias = str
WebhookId: TypeAlias = str  # sms-gateway
DeliveryId: TypeAlias = str  # the webhook, then the event's position


class HospitalCodeHint(
    Hint,
    es="el código de un hospital se escribe con minúsculas y cifras unidas por guiones, como la-merced; no "
    "puede ser de 26 seguidas sin guion, porque así son los identificadores de personas",
    en="a hospital's code consists of lower-case letters and digits joined by hyphens, like la-merced; it can't "
    "be 26 of them without a hyphen, because ids of people look like that",
): ...


HOSPITAL_CODE = pattern(
    rf"^(?!{OPAQUE_REGEX}\Z){SLUG_REGEX}\Z", HospitalCodeHint()
)  # for new hospitals: it can't be mistaken for a person's id


class AgendaHint(
    Hint,
    es="una agenda se nombra hospital/fecha/profesional, como la-merced/2027-01-15/p-0012",
    en="an agenda is named hospital/date/practitioner, like la-merced/2027-01-15/p-0012",
): ...


AGENDA_NAME = pattern(rf"^{_AGENDA}\Z", AgendaHint())


class AppointmentHint(
    Hint,
    es="el identificador de una ficha empieza con el de su agenda, como "
    "la-merced/2027-01-15/p-0012/mfrggzdfmztwq2lknnwg23tpob: cópielo completo",
    en="an appointment's id begins with that of its agenda, like "
    "la-merced/2027-01-15/p-0012/mfrggzdfmztwq2lknnwg23tpob: copy it in full",
): ...


APPOINTMENT_NAME = pattern(rf"^{_AGENDA}/{OPAQUE_REGEX}\Z", AppointmentHint())


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


TURN_NAME = pattern(rf"^{_LINE}/{OPAQUE_REGEX}\Z", TurnHint())


class DeliveryHint(
    Hint,
    es="una entrega se nombra webhook/posición, como sms-gateway/1607",
    en="a delivery is named webhook/position, like sms-gateway/1607",
): ...


DELIVERY_NAME = pattern(rf"^{SLUG_REGEX}/[1-9][0-9]{{0,17}}\Z", DeliveryHint())


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
