"""A person, who is registered, corrected and erased; and the identity number, which one person has at a time."""

from datetime import date, datetime
from typing import Annotated, Literal

from msgspec import Meta
from msgspec.structs import asdict, replace

from domain.calendar import local_date
from domain.decider import Command, Decided, Event, Personal, State, Stream, evolves, names_stream_of, redacted
from domain.decision import decides
from domain.errors import Hint, InvalidInput, PersonUnknown, Rejected
from domain.identifiers import (
    COUNTRY,
    DIGEST,
    NAME,
    OPAQUE,
    UNSEEN,
    CountryHint,
    DocumentKind,
    IdentityDigest,
    IdentityNumberHint,
    PhoneHint,
    SubjectId,
    pattern,
    person_stream,
)

OLDEST_AGE_YEARS = 130
CORRECTIONS_PER_PERSON_MAX = 100  # the stream is for life and must stay short

Sex = Literal["F", "M"]  # of commands alone, see docs/adr/0002
NoDocumentReason = Literal["NEWBORN", "NEVER_ISSUED", "LOST", "EMERGENCY", "OTHER"]


Phone = Annotated[str, pattern(r"^(\+?[0-9]{7,15})?\Z", PhoneHint())]  # "" for none


class EmailHint(
    Hint, es="un correo se escribe como ana@example.org", en="an e-mail address looks like ana@example.org"
): ...


Email = Annotated[str, pattern(rf"^([^@\s{UNSEEN}]+@[^@\s{UNSEEN}]+)?\Z", EmailHint(), max_length=254)]  # "" for none


class _PersonDetails(Event, subject="person"):
    """All data about a person.

    Who has no document has an empty `identity` and `identity_digest`, and a reason in `without_document`. Events stored
    before there were other documents are about identity cards.
    """

    person: SubjectId
    identity_digest: IdentityDigest
    identity: Personal[str]
    given_names: Personal[str]
    family_names: Personal[str]
    birth_date: Personal[date]
    sex: Personal[str]
    phone: Personal[str]
    email: Personal[str]
    document: Personal[str] = "CI"  # "" for none
    country: Personal[str] = ""  # of a passport
    without_document: Personal[str] = ""


class PersonRegistered(_PersonDetails, name="person_registered.v1", subject="person"):
    pass


class PersonCorrected(_PersonDetails, name="person_corrected.v1", subject="person"):
    """All data again, after a correction. None in a personal field means erased, never unchanged."""


class PersonErased(Event, name="person_erased.v1", subject="person", erases=True):
    person: SubjectId


class Person(State):
    """`registered` has the latest data, with None in each personal field once `erased`."""

    registered: PersonRegistered | None = None
    erased: bool = False
    corrections: int = 0

    @property
    def known(self) -> bool:
        return self.registered is not None and not self.erased


@names_stream_of(Person)
def stream(person: SubjectId) -> str:
    return person_stream(person)


@evolves("person", Person)
def evolve(person: Person, event: Event) -> Person:
    match event:
        case PersonRegistered():
            person.registered = event
        case PersonCorrected():
            person.registered = PersonRegistered(**asdict(event))
            person.corrections += 1
        case PersonErased():
            person.erased = True
    if person.erased and person.registered:
        person.registered = redacted(person.registered)
    return person


class IdentityClaimed(Event, name="identity_claimed.v1"):
    person: SubjectId


class IdentityReleased(Event, name="identity_released.v1"):
    person: SubjectId


class Identity(State):
    """The person who has an identity number. While they have it, nobody else can."""

    person: SubjectId | None = None


@names_stream_of(Identity)
def identity_stream(digest: IdentityDigest) -> str:
    return f"identity/{digest}"


@evolves("identity", Identity)
def evolve_identity(identity: Identity, event: Event) -> Identity:
    match event:
        case IdentityClaimed():
            identity.person = event.person
        case IdentityReleased():
            identity.person = None
    return identity


class IdentityTaken(
    Rejected,
    es="Ya hay una persona registrada con ese número de documento.",
    en="Somebody is already registered under that identity number.",
): ...


class RegisterPerson(Command):
    """`identity` is the number of the document in its one spelling, see `parse_document`."""

    person: Annotated[SubjectId, OPAQUE]
    identity: Annotated[str, Meta(min_length=4, max_length=20)]
    identity_digest: Annotated[IdentityDigest, DIGEST]
    given_names: Annotated[str, NAME]
    family_names: Annotated[str, NAME]
    birth_date: date
    sex: Sex
    phone: Phone = ""
    email: Email = ""
    document: DocumentKind = "CI"
    country: Annotated[str, COUNTRY] = ""


@decides(RegisterPerson, reads=lambda c: (stream(c.person), identity_stream(c.identity_digest)))
def register_person(command: RegisterPerson, person: Person, identity: Identity, *, now: datetime) -> Decided:
    if person.registered:
        return
    if identity.person:
        raise IdentityTaken(path="identity")
    _refuse_country(command.document, command.country)
    _refuse_birth_date(command.birth_date, local_date(now))
    yield identity_stream(command.identity_digest), IdentityClaimed(person=command.person)
    yield stream(command.person), PersonRegistered(**asdict(command))


def _refuse_country(document: DocumentKind, country: str) -> None:
    """Raise Rejected for a passport without its country, or another document with one."""
    if (document == "PASSPORT") != bool(country):
        raise InvalidInput(path="country", hint=CountryHint())


class RegisterPersonWithoutDocument(Command):
    """A clerk registers somebody who has no document, such as a newborn. A document is added by a correction."""

    person: Annotated[SubjectId, OPAQUE]
    reason: NoDocumentReason
    given_names: Annotated[str, NAME]
    family_names: Annotated[str, NAME]
    birth_date: date
    sex: Sex
    phone: Phone = ""
    email: Email = ""


@decides(RegisterPersonWithoutDocument, reads=lambda c: (stream(c.person),))
def register_person_without_document(
    command: RegisterPersonWithoutDocument, person: Person, *, now: datetime
) -> Decided:
    if person.registered:
        return
    _refuse_birth_date(command.birth_date, local_date(now))
    details = asdict(command)
    reason = details.pop("reason")
    registered = PersonRegistered(**details, identity="", identity_digest="", document="", without_document=reason)
    yield stream(command.person), registered


class BirthDateHint(
    Hint,
    es="la fecha de nacimiento debe estar dentro de los últimos {limit} años",
    en="a birth date must be within the last {limit} years",
):
    limit: int


def _refuse_birth_date(born: date, today: date) -> None:
    """Raise Rejected if no living person can have this birth date."""
    if not 0 <= today.year - born.year <= OLDEST_AGE_YEARS or born > today:
        raise InvalidInput(path="birth_date", hint=BirthDateHint(limit=OLDEST_AGE_YEARS))


class TooManyCorrections(
    Rejected,
    es="Los datos de una persona se pueden corregir {limit} veces como máximo.",
    en="A person's data can be corrected at most {limit} times.",
):
    limit: int


class CorrectPerson(Command):
    """The fields to change; None leaves a field as it is.

    `identity` and its digest are given together, with the kind of document and the country of a passport. Without a
    kind it is an identity card.
    """

    person: Annotated[SubjectId, OPAQUE]
    identity: Annotated[str, Meta(min_length=4, max_length=20)] | None = None
    identity_digest: Annotated[IdentityDigest, DIGEST] | None = None
    document: DocumentKind | None = None
    country: Annotated[str, COUNTRY] | None = None
    given_names: Annotated[str, NAME] | None = None
    family_names: Annotated[str, NAME] | None = None
    birth_date: date | None = None
    sex: Sex | None = None
    phone: Phone | None = None
    email: Email | None = None


def _identities(command: CorrectPerson, person: Person) -> tuple[Stream[Identity] | None, Stream[Identity] | None]:
    """The streams of the new identity number, if one is given, and of the present one."""
    if command.identity_digest is None:
        return None, None
    return identity_stream(command.identity_digest), _borne(person)


def _borne(person: Person) -> Stream[Identity] | None:
    """The stream of the present number, if there is one."""
    digest = person.registered.identity_digest if person.registered else ""
    return identity_stream(digest) if digest else None


@decides(CorrectPerson, reads=lambda c: (stream(c.person),), then=_identities)
def correct_person(
    command: CorrectPerson,
    person: Person,
    wanted: Identity | None = None,
    borne: Identity | None = None,
    *,
    now: datetime,
) -> Decided:
    known = person.registered
    if known is None or person.erased:
        raise PersonUnknown(path="person")
    if (command.identity is None) != (command.identity_digest is None):
        raise InvalidInput(path="identity", hint=IdentityNumberHint())
    if command.identity is None and (command.document or command.country):
        raise InvalidInput(path="identity", hint=IdentityNumberHint())
    if wanted and wanted.person not in (None, command.person):
        raise IdentityTaken(path="identity")
    if command.birth_date:
        _refuse_birth_date(command.birth_date, local_date(now))
    changes = {field: value for field, value in asdict(command).items() if value is not None}
    if command.identity:
        changes = {"document": "CI", "country": "", "without_document": ""} | changes
        _refuse_country(changes["document"], changes["country"])
    corrected = replace(known, **changes)
    if corrected == known:
        return
    if person.corrections >= CORRECTIONS_PER_PERSON_MAX:
        raise TooManyCorrections(path="person", limit=CORRECTIONS_PER_PERSON_MAX)
    if corrected.identity_digest != known.identity_digest:
        yield identity_stream(corrected.identity_digest), IdentityClaimed(person=command.person)
        if borne and borne.person == command.person:
            yield identity_stream(known.identity_digest), IdentityReleased(person=command.person)
    yield stream(command.person), PersonCorrected(**asdict(corrected))


class ErasePerson(Command):
    person: Annotated[SubjectId, OPAQUE]


@decides(ErasePerson, reads=lambda c: (stream(c.person),), then=lambda c, person: (_borne(person),))
def erase_person(command: ErasePerson, person: Person, identity: Identity | None = None, *, now: datetime) -> Decided:
    if person.registered is None:
        raise PersonUnknown(path="person")
    if person.erased:
        return
    yield stream(command.person), PersonErased(person=command.person)
    if identity and identity.person == command.person:
        yield identity_stream(person.registered.identity_digest), IdentityReleased(person=command.person)
