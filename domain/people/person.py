"""A person: registered, bearing an identity number that nobody else bears meanwhile, erased."""

from collections.abc import Mapping
from datetime import date, datetime
from typing import Annotated, Literal

from msgspec import Meta

from domain.calendar import local_date
from domain.decider import Command, Decided, Event, Personal, State, StreamName, decides, evolves, redacted
from domain.errors import Rejected
from domain.identifiers import DIGEST, NAME, OPAQUE, UNSEEN, IdentityDigest, SubjectId, pattern

OLDEST_AGE_YEARS = 130

Sex = Literal["F", "M"]  # of commands alone, see docs/adr/0002
Phone = Annotated[str, pattern(r"^(\+?[0-9]{7,15})?\Z", "phone")]  # "" for none
Email = Annotated[str, pattern(rf"^([^@\s{UNSEEN}]+@[^@\s{UNSEEN}]+)?\Z", "email", max_length=254)]  # "" for none


def stream(person: SubjectId) -> StreamName:
    return f"person/{person}"


class PersonRegistered(Event, name="person_registered.v1", subject="person"):
    person: SubjectId
    identity_digest: IdentityDigest
    identity: Personal[str]
    given_names: Personal[str]
    family_names: Personal[str]
    birth_date: Personal[date]
    sex: Personal[str]
    phone: Personal[str]
    email: Personal[str]


class PersonErased(Event, name="person_erased.v1", subject="person", erases=True):
    person: SubjectId


class Person(State):
    """`registered` keeps what was said, with None in each personal field once `erased`."""

    registered: PersonRegistered | None = None
    erased: bool = False

    @property
    def known(self) -> bool:
        return self.registered is not None and not self.erased


@evolves("person", Person)
def evolve(person: Person, event: Event) -> Person:
    match event:
        case PersonRegistered():
            person.registered = event
        case PersonErased():
            person.erased = True
            if person.registered:
                person.registered = redacted(person.registered)
    return person


def identity_stream(digest: IdentityDigest) -> StreamName:
    return f"identity/{digest}"


class IdentityClaimed(Event, name="identity_claimed.v1"):
    person: SubjectId


class IdentityReleased(Event, name="identity_released.v1"):
    person: SubjectId


class Identity(State):
    """Who bears an identity number; nobody else can while this one does."""

    person: SubjectId | None = None


@evolves("identity", Identity)
def evolve_identity(identity: Identity, event: Event) -> Identity:
    match event:
        case IdentityClaimed():
            identity.person = event.person
        case IdentityReleased():
            identity.person = None
    return identity


class RegisterPerson(Command):
    person: Annotated[SubjectId, OPAQUE]
    identity: Annotated[str, Meta(min_length=4, max_length=20)]
    identity_digest: Annotated[IdentityDigest, DIGEST]
    given_names: Annotated[str, NAME]
    family_names: Annotated[str, NAME]
    birth_date: date
    sex: Sex
    phone: Phone = ""
    email: Email = ""


@decides(RegisterPerson, reads=lambda c: [stream(c.person), identity_stream(c.identity_digest)])
def register_person(command: RegisterPerson, person: Person, identity: Identity, *, now: datetime) -> Decided:
    if person.registered:
        return
    if identity.person:
        raise Rejected("identity_taken", path="identity")
    today = local_date(now)
    if not 0 <= today.year - command.birth_date.year <= OLDEST_AGE_YEARS or command.birth_date > today:
        raise Rejected("invalid_input", path="birth_date", hint="birth_date", limit=OLDEST_AGE_YEARS)
    yield identity_stream(command.identity_digest), IdentityClaimed(person=command.person)
    yield (
        stream(command.person),
        PersonRegistered(
            person=command.person,
            identity_digest=command.identity_digest,
            identity=command.identity,
            given_names=command.given_names,
            family_names=command.family_names,
            birth_date=command.birth_date,
            sex=command.sex,
            phone=command.phone,
            email=command.email,
        ),
    )


class ErasePerson(Command):
    person: Annotated[SubjectId, OPAQUE]


def _erasure_reads(command: ErasePerson, found: Mapping[StreamName, Person]) -> list[StreamName]:
    person = found.get(stream(command.person))
    known = [identity_stream(person.registered.identity_digest)] if person and person.registered else []
    return [stream(command.person), *known]


@decides(ErasePerson, reads=_erasure_reads)
def erase_person(command: ErasePerson, person: Person, identity: Identity | None = None, *, now: datetime) -> Decided:
    if person.registered is None:
        raise Rejected("person_unknown", path="person")
    if person.erased:
        return
    yield stream(command.person), PersonErased(person=command.person)
    if identity and identity.person == command.person:
        yield identity_stream(person.registered.identity_digest), IdentityReleased(person=command.person)
