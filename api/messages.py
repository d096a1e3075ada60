"""What people read when something is refused: Spanish first, then English. Codes never change; words may."""

from collections.abc import Mapping
from datetime import datetime
from functools import lru_cache
from typing import Any, Literal

from domain.calendar import TIME_ZONE
from domain.errors import Code, Hint

Language = Literal["es", "en"]
HEADERS_MAX = 200  # remembered
LANGUAGE_LENGTH_MAX = 200
LANGUAGES: tuple[Language, ...] = ("es", "en")

MESSAGES: dict[Code, dict[Language, str]] = {
    "absent_too_long": {
        "es": "Se le llamó y no estaba; solo podía volver hasta el {at}. Tome un turno nuevo.",
        "en": "You were called and not there; you could come back until {at} only. Take a new turn.",
    },
    "agenda_exists": {
        "es": "Ya hay una agenda distinta de este profesional para esa fecha.",
        "en": "There is another agenda of this practitioner on that date already.",
    },
    "agenda_unknown": {"es": "No existe esa agenda.", "en": "There is no such agenda."},
    "already_seen_here": {
        "es": "El paciente ya tiene una ficha en esta especialidad y hospital, para el {at}.",
        "en": "The patient already has an appointment for this specialty and hospital, on {at}.",
    },
    "appointment_cancelled": {"es": "La ficha fue cancelada.", "en": "The appointment was cancelled."},
    "appointment_elsewhere": {
        "es": "Esa ficha es de otro hospital.",
        "en": "That appointment is at another hospital.",
    },
    "appointment_over": {
        "es": "La cita era el {at}: ya no se puede cancelar.",
        "en": "The appointment was on {at}: it can no longer be cancelled.",
    },
    "appointment_unknown": {"es": "No existe esa ficha.", "en": "There is no such appointment."},
    "called_just_now": {
        "es": "Acaba de llamarse: tiene tiempo de venir hasta el {at}.",
        "en": "They were called just now: they have until {at} to come.",
    },
    "checked_in_already": {
        "es": "El paciente ya se presentó a esta cita.",
        "en": "The patient has checked in for this appointment already.",
    },
    "counter_busy": {
        "es": "La ventanilla todavía atiende el turno {number}.",
        "en": "The counter still has turn {number}.",
    },
    "counter_paused": {
        "es": "La ventanilla {counter} está en pausa.",
        "en": "Counter {counter} is paused.",
    },
    "counter_unknown": {
        "es": "Esta fila no tiene la ventanilla {counter}.",
        "en": "This line has no counter {counter}.",
    },
    "declared_by_yourself": {
        "es": "Se declaró con este mismo acceso: otra persona debe confirmarlo.",
        "en": "It was declared with this same login: somebody else has to confirm it.",
    },
    "declared_otherwise": {
        "es": "Esta persona ya está declarada con otra relación; termine primero esa.",
        "en": "This person is declared under another relation already; end that one first.",
    },
    "delivery_unknown": {
        "es": "No existe esa entrega, o todavía no se intentó.",
        "en": "There is no such delivery, or it was not tried yet.",
    },
    "dependency_over": {
        "es": "Esa dependencia ya terminó; si hace falta, declárela de nuevo.",
        "en": "That dependency is over; declare it again if it is needed.",
    },
    "dependency_unknown": {
        "es": "Esta persona no fue declarada como dependiente.",
        "en": "This person was not declared as a dependant.",
    },
    "document_not_trusted": {
        "es": "Aquí solo se ejecutan los documentos de la lista de la ciudad, y este no está en ella.",
        "en": "Only documents of the city's list are executed here, and this is none of them.",
    },
    "document_unknown": {
        "es": "Ningún documento de la lista de la ciudad tiene ese identificador.",
        "en": "No document of the city's list has that id.",
    },
    "forbidden": {
        "es": "Esto no le está permitido con este acceso.",
        "en": "This is not allowed to you with this login.",
    },
    "guardian_circle": {
        "es": "Dos personas no pueden estar cada una a cargo de la otra.",
        "en": "Two people can't be each the other's guardian.",
    },
    "guardian_of_oneself": {
        "es": "Nadie es dependiente de sí mismo.",
        "en": "Nobody is their own dependant.",
    },
    "guardian_under_age": {
        "es": "Quien está a cargo de otra persona debe tener {limit} años cumplidos.",
        "en": "A guardian must be {limit} years old.",
    },
    "has_a_turn": {
        "es": "Ya tiene un turno en esta fila: {number}.",
        "en": "There is a turn in this line already: {number}.",
    },
    "hold_limit_reached": {
        "es": "Solo se pueden reservar {limit} turnos a la vez; el primero se libera el {at}.",
        "en": "At most {limit} slots can be held at a time; the first is free again on {at}.",
    },
    "hold_renewed_already": {
        "es": "La reserva ya fue renovada; vence el {at}.",
        "en": "The hold was renewed already; it ends on {at}.",
    },
    "hospital_exists": {
        "es": "Ya hay un hospital registrado con ese código: {name}.",
        "en": "A hospital is registered under that code already: {name}.",
    },
    "hospital_unknown": {"es": "No existe el hospital {hospital}.", "en": "There is no hospital {hospital}."},
    "idempotency_key_reused": {
        "es": "Esa clave de idempotencia ya se usó para otra solicitud.",
        "en": "That idempotency key was used for another request already.",
    },
    "identity_taken": {
        "es": "Ya hay una persona registrada con ese número de identidad.",
        "en": "Somebody is registered under that identity number already.",
    },
    "in_the_past": {"es": "Eso ya pasó: {at}.", "en": "That is in the past: {at}."},
    "internal_error": {
        "es": "Algo falló de nuestro lado. Si se repite, díganos este número: {id}.",
        "en": "Something went wrong on our side. If it happens again, tell us this number: {id}.",
    },
    "invalid_input": {"es": "Dato no válido: {hint}.", "en": "Not valid: {hint}."},
    "line_closed": {
        "es": "La fila cerró el {at}.",
        "en": "The line closed on {at}.",
    },
    "line_exists": {
        "es": "Esa fila ya está abierta, con otros datos.",
        "en": "That line is open already, otherwise.",
    },
    "line_full": {
        "es": "La fila ya dio sus {limit} turnos.",
        "en": "The line has given all of its {limit} turns.",
    },
    "line_not_open_yet": {
        "es": "La fila abre el {at}.",
        "en": "The line opens on {at}.",
    },
    "line_unknown": {
        "es": "No existe esa fila.",
        "en": "There is no such line.",
    },
    "login_required": {
        "es": "Para esto hay que identificarse: falta el token.",
        "en": "You have to log in for this: there is no token.",
    },
    "no_more_turns": {
        "es": "Ya no se dan turnos en esta fila desde el {at}.",
        "en": "No turns are given in this line since {at}.",
    },
    "nobody_waits": {
        "es": "Nadie espera en la fila.",
        "en": "Nobody waits in the line.",
    },
    "not_a_minor": {
        "es": "Esta persona ya cumplió {limit} años: no es menor de edad.",
        "en": "This person is {limit} years old already: not a minor.",
    },
    "not_begun_yet": {
        "es": "La cita empieza el {at}: antes no se puede marcar una inasistencia.",
        "en": "The appointment begins on {at}: nobody is a no-show before.",
    },
    "not_its_day": {
        "es": "La cita es el {at}: la llegada se registra ese mismo día.",
        "en": "The appointment is on {at}: check-in is on that day.",
    },
    "not_next": {
        "es": "El siguiente es {number}.",
        "en": "The next one is {number}.",
    },
    "not_preferential": {
        "es": "La atención preferencial por edad es desde los {limit} años.",
        "en": "Preference by age begins at {limit} years.",
    },
    "not_reached_yet": {
        "es": "La vista va por la posición {position} del registro y todavía no llega a la pedida; intente de nuevo.",
        "en": "The read model is at position {position} of the log and not at the one asked for yet; try again.",
    },
    "not_released_yet": {
        "es": "Las fichas de esta agenda se habilitan el {at}.",
        "en": "This agenda opens for booking on {at}.",
    },
    "overloaded": {
        "es": "Hay demasiadas solicitudes en este momento; intente de nuevo en unos segundos.",
        "en": "There are too many requests at the moment; try again in a few seconds.",
    },
    "person_unknown": {"es": "No existe esa persona.", "en": "There is no such person."},
    "position_unknown": {
        "es": "El registro todavía no llega a esa posición.",
        "en": "The log has not come to that position yet.",
    },
    "query_too_large": {
        "es": "La consulta pide demasiado de una vez (el límite es {limit}): pida páginas más pequeñas o divídala.",
        "en": "The query asks for too much at once (the limit is {limit}): ask for smaller pages, or in parts.",
    },
    "quota_exhausted": {
        "es": "Se agotó el cupo de {limit} fichas para el canal {channel}.",
        "en": "The quota of {limit} appointments for the channel {channel} is used up.",
    },
    "recalled_too_often": {
        "es": "Ya se volvió a llamar {limit} veces.",
        "en": "They were called again {limit} times already.",
    },
    "requeued_too_often": {
        "es": "Ya volvió a la fila {limit} veces: tome un turno nuevo.",
        "en": "You came back {limit} times already: take a new turn.",
    },
    "resent_too_often": {
        "es": "Una entrega se reenvía {limit} veces a lo más.",
        "en": "A delivery is sent again {limit} times at most.",
    },
    "service_point_exists": {
        "es": "Ya hay un punto de atención registrado con ese código: {name}.",
        "en": "A service point is registered under that code already: {name}.",
    },
    "service_point_unknown": {
        "es": "No existe el punto de atención {service_point}.",
        "en": "There is no service point {service_point}.",
    },
    "slot_taken": {"es": "El turno {slot} ya está tomado.", "en": "Slot {slot} is taken."},
    "slot_unknown": {
        "es": "La agenda no tiene el turno {slot}; va del 1 al {limit}.",
        "en": "The agenda has no slot {slot}; it goes from 1 to {limit}.",
    },
    "token_invalid": {
        "es": "El token no es válido o ya venció: identifíquese de nuevo.",
        "en": "The token is not valid or has expired: log in again.",
    },
    "too_early": {
        "es": "Para esta ficha se dan turnos desde el {at}.",
        "en": "Turns for this appointment are given from {at} on.",
    },
    "too_far_ahead": {
        "es": "Una agenda se publica con {limit} días de anticipación como máximo.",
        "en": "An agenda is published at most {limit} days ahead.",
    },
    "too_many_corrections": {
        "es": "Los datos de una persona se pueden corregir {limit} veces como máximo.",
        "en": "A person's data can be corrected at most {limit} times.",
    },
    "too_many_dependants": {
        "es": "Una persona puede declarar {limit} dependientes como máximo.",
        "en": "A person can declare at most {limit} dependants.",
    },
    "too_many_holds_today": {
        "es": "Una persona puede reservar {limit} veces al día como máximo.",
        "en": "A person can hold slots at most {limit} times a day.",
    },
    "too_many_requests": {
        "es": "Son demasiadas solicitudes: repita en {seconds} s.",
        "en": "These are too many requests: repeat it in {seconds} s.",
    },
    "too_many_subscriptions": {
        "es": "Una conexión puede seguir {limit} cosas a la vez como máximo.",
        "en": "A connection can follow at most {limit} things at a time.",
    },
    "too_many_webhooks": {
        "es": "Hay {limit} webhooks a lo más; quite primero uno.",
        "en": "There are {limit} webhooks at most; remove one first.",
    },
    "too_many_turns": {
        "es": "Una persona puede tomar {limit} turnos en una fila, no más.",
        "en": "A person may take {limit} turns in a line, no more.",
    },
    "too_many_wishes": {
        "es": "Para un turno se puede pedir aviso {limit} veces, no más.",
        "en": "One may ask to be told of a turn {limit} times, no more.",
    },
    "took_too_long": {
        "es": "La consulta tardó más de {seconds} s y se interrumpió: pida menos de una vez, o repítala.",
        "en": "The query took longer than {seconds} s and was cut off: ask for less at once, or ask again.",
    },
    "turn_elsewhere": {
        "es": "El turno {number} no está en ese punto: {state}.",
        "en": "Turn {number} is not at that point: {state}.",
    },
    "turn_unknown": {
        "es": "No existe ese turno.",
        "en": "There is no such turn.",
    },
    "unavailable": {
        "es": "El servicio no está disponible por un momento; repita la solicitud con la misma clave.",
        "en": "The service is not available for a moment; repeat the request with the same key.",
    },
    "visits_overlap": {
        "es": "El paciente tiene otra cita a esa hora, el {at}.",
        "en": "The patient has another appointment at that time, on {at}.",
    },
    "webhook_unknown": {"es": "No existe ese webhook.", "en": "There is no such webhook."},
}

HINTS: dict[Hint, dict[Language, str]] = {
    "agenda": {
        "es": "una agenda se nombra hospital/fecha/profesional, como la-merced/2027-01-15/p-0012",
        "en": "an agenda is named hospital/date/practitioner, like la-merced/2027-01-15/p-0012",
    },
    "alone": {
        "es": "con una ficha no se dice nada más: ella dice de quién es el turno",
        "en": "an appointment stands alone: it says whose turn it is",
    },
    "another_line": {
        "es": "una fila distinta de aquella en la que está el turno",
        "en": "another line than the one in which the turn is",
    },
    "birth_date": {
        "es": "la fecha de nacimiento está en los últimos {limit} años",
        "en": "a birth date lies in the last {limit} years",
    },
    "cursor": {
        "es": "un cursor es el `endCursor` que dio la página anterior de esta misma lista",
        "en": "a cursor is the `endCursor` that the page before of this same list gave",
    },
    "date": {
        "es": "una fecha que existe, como año-mes-día: 2027-01-15",
        "en": "a date that exists, as year-month-day: 2027-01-15",
    },
    "days": {
        "es": "el período va de una fecha a otra posterior o igual, {limit} días a lo más",
        "en": "a period goes from one date to the same or a later one, {limit} days at most",
    },
    "email": {"es": "un correo es como ana@example.org", "en": "an e-mail address is like ana@example.org"},
    "hospital_code": {
        "es": "el código de un hospital son minúsculas y cifras unidas por guiones, como la-merced; 26 seguidas, sin"
        " guion, no: así son los identificadores de personas",
        "en": "a hospital's code is lower-case letters and digits joined by hyphens, like la-merced; not 26 in a row"
        " without a hyphen, which ids of people are",
    },
    "idempotency_key": {
        "es": "la clave de idempotencia es un texto de 1 a {limit} caracteres visibles",
        "en": "an idempotency key is a text of 1 to {limit} visible characters",
    },
    "identity_number": {
        "es": "un número de identidad tiene de 4 a 10 dígitos y, si los hay, complemento y departamento:"
        " 4820193, 4820193-1A, 4820193-1A LP",
        "en": "an identity number is 4 to 10 digits, with complement and department if it has them:"
        " 4820193, 4820193-1A, 4820193-1A LP",
    },
    "instant": {
        "es": "un instante es ISO 8601 con su diferencia horaria: 2027-01-15T08:00:00-04:00",
        "en": "an instant is ISO 8601 with its offset: 2027-01-15T08:00:00-04:00",
    },
    "length": {"es": "la longitud debe ser {bound}", "en": "its length must be {bound}"},
    "line": {
        "es": "una fila se nombra punto/servicio/fecha, como sopocachi/catastro/2027-01-15",
        "en": "a line is named point/service/date, like sopocachi/cadastre/2027-01-15",
    },
    "line_date": {
        "es": "el horario de una fila está en su fecha, en La Paz: {at}",
        "en": "the hours of a line are on its date, in La Paz: {at}",
    },
    "line_times": {
        "es": "una fila abre antes de dar su último turno, y cierra entonces o después",
        "en": "a line opens before it gives its last turn, and closes then or later",
    },
    "number": {"es": "el número debe ser {bound}", "en": "the number must be {bound}"},
    "once": {"es": "cada uno se dice una sola vez", "en": "each is said once only"},
    "one_of": {"es": "debe ser uno de {values}", "en": "it must be one of {values}"},
    "one_of_two": {
        "es": "o cuántos turnos antes o cuántos minutos antes, uno de los dos",
        "en": "either how many turns before or how many minutes before",
    },
    "opaque": {
        "es": "es un identificador que dio este sistema; se copia entero",
        "en": "it is an identifier that this system gave; copy it whole",
    },
    "page_size": {"es": "se piden de 1 a {limit} elementos por página", "en": "ask for 1 to {limit} items a page"},
    "phone": {"es": "un teléfono son dígitos, como +59171234567", "en": "a phone number is digits, like +59171234567"},
    "position": {
        "es": 'una posición es un número entero escrito como texto, "1607", que dio este sistema',
        "en": 'a position is a whole number, written as a string, "1607", that this system gave',
    },
    "slot_date": {"es": "el turno debe empezar el día {at} en La Paz", "en": "the slot must start on {at} in La Paz"},
    "slug": {
        "es": "un código son minúsculas y cifras unidas por guiones, como la-merced",
        "en": "a code is lower-case letters and digits joined by hyphens, like la-merced",
    },
    "text": {
        "es": "el texto es de una línea, sin caracteres invisibles, y no puede estar vacío",
        "en": "the text is one line without invisible characters, and can't be empty",
    },
    "type": {"es": "falta o no es del tipo pedido", "en": "it is missing or not of the kind asked for"},
    "webhook_url": {
        "es": "la dirección de un webhook empieza con https://, es de 500 caracteres a lo más y no tiene usuario ni #;"
        " con http://, solo en esta máquina",
        "en": "a webhook's URL begins with https://, has 500 characters at most, and neither a user nor a #; with"
        " http://, on this machine only",
    },
    "whole_number": {
        "es": "debe ser un número entero, de -{limit} a {limit}",
        "en": "it must be a whole number, from -{limit} to {limit}",
    },
}


# A state, where a text speaks of it.
STATES: dict[str, dict[Language, str]] = {
    "WAITING": {"es": "espera", "en": "it waits"},
    "CALLED": {"es": "se le llamó", "en": "it was called"},
    "SERVING": {"es": "se le atiende", "en": "it is being served"},
    "SERVED": {"es": "ya se le atendió", "en": "it was served"},
    "ABSENT": {"es": "se le llamó y no estaba", "en": "it was called and nobody came"},
    "LEFT": {"es": "dejó la fila", "en": "it left the line"},
    "TRANSFERRED": {"es": "pasó a otra fila", "en": "it went on in another line"},
    "UNSERVED": {"es": "la fila cerró antes", "en": "the line closed before"},
}


def message(code: Code, details: Mapping[str, Any], language: Language) -> str:
    """The text for a refusal; instants in it are those of La Paz."""
    shown = {name: _shown(value) for name, value in details.items()}
    if "hint" in details:
        shown["hint"] = HINTS[details["hint"]][language].format_map(shown)
    if "state" in details:
        shown["state"] = STATES[details["state"]][language]
    return MESSAGES[code][language].format_map(shown)


def _shown(value: Any) -> Any:
    return value.astimezone(TIME_ZONE).strftime("%d/%m/%Y %H:%M:%S") if isinstance(value, datetime) else value


@lru_cache(HEADERS_MAX)
def language_of(accept_language: bytes) -> Language:
    """The best language of ours for an Accept-Language header (RFC 9110 §12.5.4); Spanish when it wants neither."""
    best: Language = "es"
    best_quality = 0.0
    for item in accept_language.decode("latin-1").lower().split(","):
        tag, _, parameter = item.strip().partition(";")
        try:
            quality = float(parameter.strip().removeprefix("q=")) if parameter.strip() else 1.0
        except ValueError:
            continue
        for language in LANGUAGES:
            if tag.partition("-")[0] == language and quality > best_quality:
                best, best_quality = language, quality
    return best
