"""People in the schema: registering, finding, correcting, erasing."""

from datetime import date
from enum import Enum
from typing import Annotated, Any, TypeVar, cast

import strawberry

from api.access.grant import Grant
from api.graphql.access import ALL, CLERKS, DOERS_OF_ALL, FINANCE, READERS_OF_ALL, Arguments, Scope, only
from api.graphql.commands import Done, Given, Gives, Takes, command, words_of
from api.graphql.context import Context
from api.graphql.fields import Info, Input, KeyedInput, Node, Payload, mutation, node_query, query
from api.graphql.people.acting import digest_of, own_identity, own_people, themselves
from api.graphql.scalars import Position
from domain import people
from domain.decider import build
from domain.identifiers import OPAQUE, DocumentKind, parse_document

E = TypeVar("E", bound=Enum)

NUMBER = "Identity number, of an identity card unless `document` names another: 4820193, 4820193-1A, 4820193-1A LP."
DOCUMENT = "The document to which the identity number belongs."
COUNTRY = "The country of a passport, as ISO 3166-1 alpha-2: PE. Empty for other documents."


@words_of(people.Sex)
@strawberry.enum(description="Sex, as on the identity card.")
class Sex(Enum):
    F = strawberry.enum_value("F", description="Female.")
    M = strawberry.enum_value("M", description="Male.")


@words_of(DocumentKind)
@strawberry.enum(description="The kind of document to which an identity number belongs.")
class IdentityDocument(Enum):
    CI = strawberry.enum_value("CI", description="Bolivian identity card: 4820193, 4820193-1A, 4820193-1A LP.")
    FOREIGN_CI = strawberry.enum_value("FOREIGN_CI", description="Identity card of a foreigner: E-1234567.")
    PASSPORT = strawberry.enum_value("PASSPORT", description="Passport, with its country: AB123456.")
    BIRTH_CERTIFICATE = strawberry.enum_value(
        "BIRTH_CERTIFICATE", description="Birth certificate of a newborn without an identity card: 20101-15-17."
    )


@words_of(people.NoDocumentReason)
@strawberry.enum(description="Why somebody has no document.")
class NoDocumentReason(Enum):
    NEWBORN = strawberry.enum_value("NEWBORN", description="A newborn without a birth certificate.")
    NEVER_ISSUED = strawberry.enum_value("NEVER_ISSUED", description="They never had a document.")
    LOST = strawberry.enum_value("LOST", description="Their document is lost, and nobody knows its number.")
    EMERGENCY = strawberry.enum_value("EMERGENCY", description="An emergency in which they can't be asked.")
    OTHER = strawberry.enum_value("OTHER", description="None of these.")


@strawberry.type(description="A registered person. Every personal field is null once the person is erased.")
class Person(Node):
    id: strawberry.ID = strawberry.field(description="Opaque: it reveals nothing about the person.")
    erased: bool = strawberry.field(description="Whether the person's data were made unreadable for ever.")
    identity: str | None = strawberry.field(
        description="Identity number, of an identity card with complement and department; null if they have none."
    )
    document: IdentityDocument | None = strawberry.field(
        description="The document to which the identity number belongs; null if they have none."
    )
    country: str | None = strawberry.field(description="The country of a passport, as ISO 3166-1 alpha-2; else null.")
    without_document: NoDocumentReason | None = strawberry.field(
        description="Why they have no document; null if they have one."
    )
    given_names: str | None = strawberry.field(description="Given names.")
    family_names: str | None = strawberry.field(description="Family names.")
    birth_date: date | None = strawberry.field(description="Date of birth.")
    sex: Sex | None = strawberry.field(description="Sex, as on the identity card.")
    phone: str | None = strawberry.field(description="Phone number; empty if none was given.")
    email: str | None = strawberry.field(description="E-mail address; empty if none was given.")


def _person(state: people.Person) -> Person | None:
    details = state.registered
    if details is None:
        return None
    return Person(
        id=strawberry.ID(details.person),
        erased=state.erased,
        identity=details.identity or None,
        document=_member(IdentityDocument, details.document),
        country=details.country or None,
        without_document=_member(NoDocumentReason, details.without_document),
        given_names=details.given_names,
        family_names=details.family_names,
        birth_date=details.birth_date,
        sex=_member(Sex, details.sex),
        phone=details.phone,
        email=details.email,
    )


def _member(enum: type[E], word: str | None) -> E | None:
    """The value for a word of the log; None for an unknown one."""
    return enum[word] if word and word in enum.__members__ else None


async def _person_by_id(info: Info, id: str) -> Person | None:
    return _person(await info.context.state(people.stream(id)))


@node_query(
    "person",
    "A person by id; null if there is none.",
    who={"citizen": own_people("id"), **CLERKS, **FINANCE, **READERS_OF_ALL},
)
async def person(
    info: Info, id: Annotated[strawberry.ID, OPAQUE, strawberry.argument(description="The person's opaque id.")]
) -> Person | None:
    return await _person_by_id(info, id)


@query(
    "The person who has an identity number now; null if nobody does.",
    who={"citizen": own_identity("identity"), **CLERKS, **READERS_OF_ALL},
)
async def person_by_identity(
    info: Info,
    identity: Annotated[str, strawberry.argument(description=NUMBER)],
    document: Annotated[IdentityDocument, strawberry.argument(description=DOCUMENT)] = IdentityDocument.CI,
    country: Annotated[str, strawberry.argument(description=COUNTRY)] = "",
) -> Person | None:
    key = parse_document(_kind_of(document), identity, country).key
    digest = info.context.services.core.secret.identity_digest(key)
    bearer: people.Identity = await info.context.state(people.identity_stream(digest))
    return await _person_by_id(info, bearer.person) if bearer.person else None


@strawberry.input(description="A person to register.")
class RegisterPersonInput(KeyedInput):
    identity: str = strawberry.field(description=NUMBER)
    given_names: str = strawberry.field(description="Given names.")
    family_names: str = strawberry.field(description="Family names.")
    birth_date: date = strawberry.field(description="Date of birth.")
    sex: Sex = strawberry.field(description="Sex, as on the identity card.")
    phone: str = strawberry.field(default="", description="Digits, with + and country code: +59171234567.")
    email: str = strawberry.field(default="", description="E-mail address.")
    document: IdentityDocument = strawberry.field(default=IdentityDocument.CI, description=DOCUMENT)
    country: str = strawberry.field(default="", description=COUNTRY)


@strawberry.type(description="The result of registering a person.")
class RegisterPersonPayload(Payload):
    person: Person | None = strawberry.field(
        default=None,
        description="The registered person; null in the answer to a repetition if their identity number has changed.",
    )


@mutation(
    people.RegisterPerson,
    description="Register a person. An identity number belongs to one person.",
    who={"citizen": own_identity("input.identity"), **CLERKS, **DOERS_OF_ALL},
)
async def register_person(info: Info, grant: Grant, input: Input[RegisterPersonInput]) -> RegisterPersonPayload:
    context, kind = info.context, people.RegisterPerson
    fields = _fields(info, input)
    command, outcome = await context.perform(
        grant, input.idempotency_key, fields, kind, lambda id: build(kind, **fields, person=id)
    )
    state: people.Person = await context.state(people.stream(command.person))
    # For a repetition, the number may by now belong to somebody other than the person registered then.
    same = state.registered and state.registered.identity_digest == command.identity_digest
    return RegisterPersonPayload(person=_person(state) if same else None, position=Position(outcome.position))


@command(
    people.RegisterPersonWithoutDocument,
    "Register somebody who has no document, such as a newborn. Add the document later with `correctPerson`.",
    who={**CLERKS, **DOERS_OF_ALL},
    new_id="person",
    takes=Takes(
        "A person without a document to register.",
        reason="Why they have no document.",
        given_names=Given("Given names.", clean=str.strip),
        family_names=Given("Family names.", clean=str.strip),
        birth_date="Date of birth; an estimate if nobody knows it.",
        sex="Sex.",
        phone=Given("Digits, with + and country code: +59171234567.", clean=str.strip),
        email=Given("E-mail address.", clean=str.strip),
    ),
    gives=Gives("The result of registering a person without a document.", person="The registered person."),
)
async def register_person_without_document(
    info: Info, done: Done[people.RegisterPersonWithoutDocument]
) -> Person | None:
    return await _person_by_id(info, done.command.person)


@strawberry.input(description="The fields to correct; fields that are left out or null stay as they are.")
class CorrectPersonInput(KeyedInput):
    person: strawberry.ID = strawberry.field(description="The person.")
    identity: str | None = strawberry.field(
        default=None, description="The new identity number; the previous one becomes free."
    )
    given_names: str | None = strawberry.field(default=None, description="Given names.")
    family_names: str | None = strawberry.field(default=None, description="Family names.")
    birth_date: date | None = strawberry.field(default=None, description="Date of birth.")
    sex: Sex | None = strawberry.field(default=None, description="Sex, as on the identity card.")
    phone: str | None = strawberry.field(default=None, description="Phone number; empty for none.")
    email: str | None = strawberry.field(default=None, description="E-mail address; empty for none.")
    document: IdentityDocument | None = strawberry.field(
        default=None, description="The document of the new identity number; an identity card if it is left out."
    )
    country: str | None = strawberry.field(default=None, description=COUNTRY)


@strawberry.type(description="The result of correcting a person's data.")
class CorrectPersonPayload(Payload):
    person: Person | None = strawberry.field(default=None, description="The corrected person.")


def _corrected(arguments: Arguments) -> set[str]:
    """The fields that a correction changes."""
    given = {name for name, value in vars(arguments["input"]).items() if value is not None}
    return given - {"idempotency_key", "person"}


def _only_contacts(arguments: Arguments) -> bool:
    """Whether only contacts change: the other fields establish who the person is."""
    return _corrected(arguments) <= {"phone", "email"}


_NUMBER = {"identity", "document", "country"}


def _not_the_number(arguments: Arguments) -> bool:
    """Whether the number stays: a new one hands everything of this person to the citizen who has that number."""
    return not _corrected(arguments) & _NUMBER


def _number_of_others(context: Context, arguments: Arguments) -> bool:
    """Whether only the number changes, and not to the actor's own, or they could take over this person."""
    changed = _corrected(arguments)
    alone = "identity" in changed and changed <= _NUMBER
    return alone and digest_of(context, arguments, "input.identity") != (context.actor.identity or None)


NUMBERS = Scope("only the identity number, and never their own", _number_of_others)


@mutation(
    people.CorrectPerson,
    description="Correct a person's data. The previous data stay in the log, encrypted.",
    who={
        "citizen": only(themselves("input.person"), "only phone and e-mail", _only_contacts),
        **dict.fromkeys(CLERKS, only(ALL, "except the identity number", _not_the_number)),
        "procedures_officer": NUMBERS,
        "administrator": NUMBERS,
        **DOERS_OF_ALL,
    },
)
async def correct_person(info: Info, grant: Grant, input: Input[CorrectPersonInput]) -> CorrectPersonPayload:
    context, kind = info.context, people.CorrectPerson
    fields = {"person": input.person, **_fields(info, input)}
    command, outcome = await context.perform(
        grant, input.idempotency_key, fields, kind, lambda _: build(kind, **fields)
    )
    return CorrectPersonPayload(person=await _person_by_id(info, command.person), position=Position(outcome.position))


@command(
    people.ErasePerson,
    "Make a person's data unreadable for ever. Bookings and proofs stay valid.",
    who={"citizen": themselves("input.person"), "administrator": ALL, **DOERS_OF_ALL},
    takes=Takes("A person to erase.", person="The person."),
    gives=Gives("The result of erasing a person.", person="The erased person: an id without data."),
)
async def erase_person(info: Info, done: Done[people.ErasePerson]) -> Person | None:
    return await _person_by_id(info, done.command.person)


def _fields(info: Info, input: RegisterPersonInput | CorrectPersonInput) -> dict[str, Any]:
    """A person's data as commands take them; None for fields that the client left out. Raises Rejected."""
    kind: dict[str, Any] = {}
    if input.identity is None:
        number: dict[str, Any] = {"identity": None, "identity_digest": None}
        if input.document or input.country:
            kind = {"document": _kind_of(input.document), "country": input.country}
    else:
        found = parse_document(_kind_of(input.document), input.identity, input.country or "")
        digest = info.context.services.core.secret.identity_digest(found.key)
        number = {"identity": found.number, "identity_digest": digest}
        if found.kind != "CI":
            kind = {"document": found.kind, "country": found.country}
    return number | {
        "given_names": _stripped(input.given_names),
        "family_names": _stripped(input.family_names),
        "birth_date": input.birth_date,
        "sex": input.sex and input.sex.value,
        "phone": _stripped(input.phone),
        "email": _stripped(input.email),
        **kind,  # absent for identity cards: a request repeated since there are other documents is the same
    }


def _kind_of(document: IdentityDocument | None) -> DocumentKind:
    """The document as commands name it; an identity card if none is named."""
    return cast("DocumentKind", document.value) if document else "CI"


def _stripped(text: str | None) -> str | None:
    return None if text is None else text.strip()
