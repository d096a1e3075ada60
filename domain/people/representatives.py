"""The organisations that a person represents: requested, confirmed or rejected by an officer, ended.

Access control calls `acts_for`. A representative acts for the organisation alone, as a guardian for a dependant.
"""

from datetime import date, datetime
from typing import Annotated, Literal

from msgspec.structs import replace

from domain.calendar import local_date
from domain.decider import MUST_BE_REGISTERED, Command, Decided, Event, State, Value, evolves, names_stream_of
from domain.decision import decides
from domain.errors import InThePast, OrganisationUnknown, PersonUnknown, Rejected
from domain.identifiers import OPAQUE, ORGANISATION, LoginId, OrganisationId, SubjectId
from domain.people import organisation as organisations
from domain.people import person as people
from domain.people.dependants import OF_AGE_YEARS, birthday
from domain.people.organisation import Organisation, RepresentativeListed
from domain.people.person import Person

LIVE_REPRESENTATIONS_PER_PERSON_MAX = 50
REQUESTS_PER_PERSON_MAX = 300  # rejected and ended ones count: the stream is for life and must stay short
REPRESENTATIVES_PER_ORGANISATION_MAX = 500  # former ones count, for the same reason

Stage = Literal["REQUESTED", "CONFIRMED", "REJECTED", "ENDED"]
EndReason = Literal["REPRESENTATIVE", "ORGANISATION", "AUTHORITY", "MISTAKE", "OTHER"]


class RepresentationRequested(Event, name="representation_requested.v1"):
    organisation: OrganisationId
    representative: SubjectId
    requested_by: LoginId


class RepresentationConfirmed(Event, name="representation_confirmed.v1"):
    """`last_day`: until when the papers let them act, None without an end."""

    organisation: OrganisationId
    representative: SubjectId
    last_day: date | None = None


class RepresentationRejected(Event, name="representation_rejected.v1"):
    organisation: OrganisationId
    representative: SubjectId


class RepresentationEnded(Event, name="representation_ended.v1"):
    organisation: OrganisationId
    representative: SubjectId
    reason: str


class Representation(Value):
    """The last request about one organisation, as events have it. Whether it is over depends on the time too."""

    requested_by: LoginId
    stage: Stage = "REQUESTED"
    last_day: date | None = None


class Representative(State):
    """Organisations in the order in which they were first requested, including those that are over."""

    organisations: dict[OrganisationId, Representation] = {}
    requests: int = 0


@names_stream_of(Representative)
def stream(representative: SubjectId) -> str:
    return f"representative/{representative}"


@evolves("representative", Representative)
def evolve(representative: Representative, event: Event) -> Representative:
    of = representative.organisations
    match event:
        case RepresentationRequested():
            of[event.organisation] = Representation(requested_by=event.requested_by)
            representative.requests += 1
        case RepresentationConfirmed():
            if known := of.get(event.organisation):
                of[event.organisation] = replace(known, stage="CONFIRMED", last_day=event.last_day)
        case RepresentationRejected():
            if known := of.get(event.organisation):
                of[event.organisation] = replace(known, stage="REJECTED")
        case RepresentationEnded():
            if known := of.get(event.organisation):
                of[event.organisation] = replace(known, stage="ENDED")
    return representative


def stage_at(representation: Representation, now: datetime) -> Stage:
    """The stage at this time: a confirmed representation ends by itself after its last day."""
    last_day = representation.last_day
    if representation.stage == "CONFIRMED" and last_day is not None and local_date(now) > last_day:
        return "ENDED"
    return representation.stage


def acts_for(representative: Representative, organisation: OrganisationId, now: datetime) -> bool:
    """Whether this person may act for the organisation now: confirmed, and not over."""
    known = representative.organisations.get(organisation)
    return known is not None and stage_at(known, now) == "CONFIRMED"


class RepresentativeUnderAge(
    Rejected,
    es="Quien representa a una organización debe haber cumplido {limit} años.",
    en="A representative must be at least {limit} years old.",
):
    limit: int


class TooManyRepresentations(
    Rejected,
    es="Una persona puede representar a {limit} organizaciones como máximo.",
    en="A person can represent at most {limit} organisations.",
):
    limit: int


class RequestRepresentation(Command):
    """Ask to represent an organisation. The request counts once an officer has confirmed it."""

    organisation: Annotated[OrganisationId, ORGANISATION, MUST_BE_REGISTERED]
    representative: Annotated[SubjectId, OPAQUE]
    requested_by: Annotated[LoginId, OPAQUE]


@decides(RequestRepresentation, reads=lambda c: (stream(c.representative), people.stream(c.representative)))
def request_representation(
    command: RequestRepresentation, representative: Representative, person: Person, *, now: datetime
) -> Decided:
    if not person.registered or not person.known or person.registered.birth_date is None:
        raise PersonUnknown(path="representative")
    known = representative.organisations.get(command.organisation)
    if known and stage_at(known, now) in ("REQUESTED", "CONFIRMED"):
        return
    if local_date(now) < birthday(person.registered.birth_date, OF_AGE_YEARS):
        raise RepresentativeUnderAge(path="representative", limit=OF_AGE_YEARS)
    live = sum(stage_at(one, now) in ("REQUESTED", "CONFIRMED") for one in representative.organisations.values())
    for count, limit in (
        (live, LIVE_REPRESENTATIONS_PER_PERSON_MAX),
        (representative.requests, REQUESTS_PER_PERSON_MAX),
    ):
        if count >= limit:
            raise TooManyRepresentations(path="representative", limit=limit)
    yield (
        stream(command.representative),
        RepresentationRequested(
            organisation=command.organisation,
            representative=command.representative,
            requested_by=command.requested_by,
        ),
    )


class RepresentationUnknown(
    Rejected,
    es="Esta persona no pidió representar a esa organización.",
    en="This person did not ask to represent that organisation.",
): ...


class RepresentationOver(
    Rejected,
    es="Esa representación fue rechazada o ya terminó: si hace falta, pídala de nuevo.",
    en="That representation was rejected or is over; request it again if it is needed.",
): ...


class ConfirmedOtherwise(
    Rejected,
    es="Esta representación ya está confirmada con otro último día: primero termínela y pídala de nuevo.",
    en="This representation is already confirmed with another last day; end it and request it again first.",
): ...


class RequestedByYourself(
    Rejected,
    es="La solicitud se hizo con su misma cuenta: debe confirmarla otra persona.",
    en="The request was made with this same login: somebody else must confirm it.",
): ...


class TooManyRepresentatives(
    Rejected,
    es="Una organización puede tener {limit} representantes como máximo, contando los anteriores.",
    en="An organisation can have at most {limit} representatives, including former ones.",
):
    limit: int


class ConfirmRepresentation(Command):
    """An officer has seen the papers of the organisation and of the person. Somebody else must have requested it."""

    organisation: Annotated[OrganisationId, ORGANISATION]
    representative: Annotated[SubjectId, OPAQUE]
    confirmed_by: Annotated[LoginId, OPAQUE]
    last_day: date | None = None


@decides(
    ConfirmRepresentation,
    reads=lambda c: (
        stream(c.representative),
        people.stream(c.representative),
        organisations.stream(c.organisation),
    ),
)
def confirm_representation(
    command: ConfirmRepresentation,
    representative: Representative,
    person: Person,
    organisation: Organisation,
    *,
    now: datetime,
) -> Decided:
    if not organisation.known:
        raise OrganisationUnknown(path="organisation")
    if not person.known:
        raise PersonUnknown(path="representative")
    known = _live(representative, command, now)
    if known.stage == "CONFIRMED":
        if known.last_day != command.last_day:
            raise ConfirmedOtherwise(path="last_day")
        return
    if command.confirmed_by == known.requested_by:
        raise RequestedByYourself()
    if command.last_day and command.last_day < local_date(now):
        raise InThePast(path="last_day", at=command.last_day)
    pair = {"organisation": command.organisation, "representative": command.representative}
    if command.representative not in organisation.representatives:
        if len(organisation.representatives) >= REPRESENTATIVES_PER_ORGANISATION_MAX:
            raise TooManyRepresentatives(path="organisation", limit=REPRESENTATIVES_PER_ORGANISATION_MAX)
        yield organisations.stream(command.organisation), RepresentativeListed(**pair)
    yield stream(command.representative), RepresentationConfirmed(**pair, last_day=command.last_day)


def _live(
    representative: Representative, command: "ConfirmRepresentation | RejectRepresentation", now: datetime
) -> Representation:
    """The representation that is requested or confirmed. Raises Rejected if there is none, or if it is over."""
    known = representative.organisations.get(command.organisation)
    if known is None:
        raise RepresentationUnknown(path="representative")
    if stage_at(known, now) in ("REJECTED", "ENDED"):
        raise RepresentationOver(path="representative")
    return known


class RepresentationConfirmedAlready(
    Rejected,
    es="Esta representación ya está confirmada: en vez de rechazarla, termínela.",
    en="This representation is already confirmed; end it instead of rejecting it.",
): ...


class RejectRepresentation(Command):
    """An officer has seen no papers that let this person act for the organisation."""

    organisation: Annotated[OrganisationId, ORGANISATION]
    representative: Annotated[SubjectId, OPAQUE]


@decides(RejectRepresentation, reads=lambda c: (stream(c.representative),))
def reject_representation(command: RejectRepresentation, representative: Representative, *, now: datetime) -> Decided:
    last = representative.organisations.get(command.organisation)
    if last and last.stage == "REJECTED":
        return
    if _live(representative, command, now).stage == "CONFIRMED":
        raise RepresentationConfirmedAlready(path="representative")
    rejected = RepresentationRejected(organisation=command.organisation, representative=command.representative)
    yield stream(command.representative), rejected


class EndRepresentation(Command):
    """End a representation, confirmed or only requested: the person no longer acts for the organisation."""

    organisation: Annotated[OrganisationId, ORGANISATION]
    representative: Annotated[SubjectId, OPAQUE]
    reason: EndReason = "OTHER"


@decides(EndRepresentation, reads=lambda c: (stream(c.representative),))
def end_representation(command: EndRepresentation, representative: Representative, *, now: datetime) -> Decided:
    known = representative.organisations.get(command.organisation)
    if known is None:
        raise RepresentationUnknown(path="representative")
    if stage_at(known, now) in ("REQUESTED", "CONFIRMED"):
        ended = RepresentationEnded(
            organisation=command.organisation, representative=command.representative, reason=command.reason
        )
        yield stream(command.representative), ended
