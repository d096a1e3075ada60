"""People in the schema: registering, finding, correcting, erasing."""

from datetime import date
from enum import Enum
from typing import Annotated, Any

import strawberry

from api.access.grant import Grant
from api.graphql.access import ALL, CLERKS, DOERS_OF_ALL, READERS_OF_ALL, Arguments, Scope, only
from api.graphql.commands import Done, Gives, Takes, command
from api.graphql.context import Context
from api.graphql.fields import Info, Input, KeyedInput, Node, Payload, mutation, node_query, query
from api.graphql.people.acting import digest_of, own_identity, own_people, themselves
from api.graphql.scalars import Position
from domain import people
from domain.decider import build
from domain.identifiers import OPAQUE, ci_key, parse_ci


@strawberry.enum(description="Sex, as on the identity card.")
class Sex(Enum):
    F = strawberry.enum_value("F", description="Female.")
    M = strawberry.enum_value("M", description="Male.")


@strawberry.type(description="A registered person. Every personal field is null once the person is erased.")
class Person(Node):
    id: strawberry.ID = strawberry.field(description="Opaque: it reveals nothing about the person.")
    erased: bool = strawberry.field(description="Whether the person's data were made unreadable for ever.")
    identity: str | None = strawberry.field(description="Identity number with complement and department.")
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
        identity=details.identity,
        given_names=details.given_names,
        family_names=details.family_names,
        birth_date=details.birth_date,
        sex=Sex(details.sex) if details.sex in Sex.__members__ else None,
        phone=details.phone,
        email=details.email,
    )


async def _person_by_id(info: Info, id: str) -> Person | None:
    return _person(await info.context.state(people.stream(id)))


@node_query(
    "person",
    "A person by id; null if there is none.",
    who={"citizen": own_people("id"), **CLERKS, **READERS_OF_ALL},
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
    identity: Annotated[str, strawberry.argument(description="Identity number: 4820193, 4820193-1A, 4820193-1A LP.")],
) -> Person | None:
    digest = info.context.services.core.secret.identity_digest(ci_key(parse_ci(identity)))
    bearer: people.Identity = await info.context.state(people.identity_stream(digest))
    return await _person_by_id(info, bearer.person) if bearer.person else None


@strawberry.input(description="A person to register.")
class RegisterPersonInput(KeyedInput):
    identity: str = strawberry.field(description="Identity number: 4820193, 4820193-1A, 4820193-1A LP.")
    given_names: str = strawberry.field(description="Given names.")
    family_names: str = strawberry.field(description="Family names.")
    birth_date: date = strawberry.field(description="Date of birth.")
    sex: Sex = strawberry.field(description="Sex, as on the identity card.")
    phone: str = strawberry.field(default="", description="Digits, with + and country code: +59171234567.")
    email: str = strawberry.field(default="", description="E-mail address.")


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


def _not_the_number(arguments: Arguments) -> bool:
    """Whether the number stays: a new one hands everything of this person to the citizen who has that number."""
    return "identity" not in _corrected(arguments)


def _number_of_others(context: Context, arguments: Arguments) -> bool:
    """Whether only the number changes, and not to the actor's own, or they could take over this person."""
    alone = _corrected(arguments) == {"identity"}
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
    identity = None if input.identity is None else parse_ci(input.identity)
    return {
        "identity": identity,
        "identity_digest": identity and info.context.services.core.secret.identity_digest(ci_key(identity)),
        "given_names": _stripped(input.given_names),
        "family_names": _stripped(input.family_names),
        "birth_date": input.birth_date,
        "sex": input.sex and input.sex.value,
        "phone": _stripped(input.phone),
        "email": _stripped(input.email),
    }


def _stripped(text: str | None) -> str | None:
    return None if text is None else text.strip()
