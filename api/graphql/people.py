"""People in the schema: registering, looking up by identity number, erasing."""

from datetime import date
from enum import Enum
from typing import Annotated

import strawberry

from api.graphql.shared import Info, Input, KeyedInput, Node, Payload, Position, as_graphql_error, explain
from domain import people
from domain.decider import build
from domain.errors import Rejected
from domain.identifiers import ci_key, parse_ci


@strawberry.enum(description="Sex, as on the identity card.")
class Sex(Enum):
    F = strawberry.enum_value("F", description="Female.")
    M = strawberry.enum_value("M", description="Male.")


@strawberry.type(description="Somebody registered. Every personal field is null once the person was erased.")
class Person(Node):
    id: strawberry.ID = strawberry.field(description="Opaque: tells nothing about the person.")
    erased: bool = strawberry.field(description="Whether the person's data were made unreadable for ever.")
    identity: str | None = strawberry.field(description="Identity number with complement and department.")
    given_names: str | None = strawberry.field(description="Given names.")
    family_names: str | None = strawberry.field(description="Family names.")
    birth_date: date | None = strawberry.field(description="Date of birth.")
    sex: Sex | None = strawberry.field(description="Sex, as on the identity card.")
    phone: str | None = strawberry.field(description="Phone number; empty if none was given.")
    email: str | None = strawberry.field(description="E-mail address; empty if none was given.")


def _person(state: people.Person) -> Person | None:
    said = state.registered
    if said is None:
        return None
    return Person(
        id=strawberry.ID(said.person),
        erased=state.erased,
        identity=said.identity,
        given_names=said.given_names,
        family_names=said.family_names,
        birth_date=said.birth_date,
        sex=Sex(said.sex) if said.sex in Sex.__members__ else None,
        phone=said.phone,
        email=said.email,
    )


async def person_by_id(info: Info, id: str) -> Person | None:
    return _person(await info.context.state(people.stream(id)))


@strawberry.type
class PeopleQuery:
    @strawberry.field(description="A person by id; null if nobody has it.")
    async def person(
        self, info: Info, id: Annotated[strawberry.ID, strawberry.argument(description="The person's opaque id.")]
    ) -> Person | None:
        return await person_by_id(info, id)

    @strawberry.field(description="The person who bears an identity number now; null if nobody does.")
    async def person_by_identity(
        self,
        info: Info,
        identity: Annotated[
            str, strawberry.argument(description="Identity number: 4820193, 4820193-1A, 4820193-1A LP.")
        ],
    ) -> Person | None:
        try:
            digest = info.context.services.core.secret.identity_digest(ci_key(parse_ci(identity)))
        except Rejected as refusal:
            raise as_graphql_error(refusal, info.context.language) from None
        bearer: people.Identity = await info.context.state(people.identity_stream(digest))
        return await person_by_id(info, bearer.person) if bearer.person else None


@strawberry.input(description="Who is to be registered.")
class RegisterPersonInput(KeyedInput):
    identity: str = strawberry.field(description="Identity number: 4820193, 4820193-1A, 4820193-1A LP.")
    given_names: str = strawberry.field(description="Given names.")
    family_names: str = strawberry.field(description="Family names.")
    birth_date: date = strawberry.field(description="Date of birth.")
    sex: Sex = strawberry.field(description="Sex, as on the identity card.")
    phone: str = strawberry.field(default="", description="Digits, with + and country code: +59171234567.")
    email: str = strawberry.field(default="", description="E-mail address.")


@strawberry.type(description="What came of registering a person.")
class RegisterPersonPayload(Payload):
    person: Person | None = strawberry.field(default=None, description="The person registered.")


@strawberry.input(description="Whose data are to be made unreadable for ever.")
class ErasePersonInput(KeyedInput):
    person: strawberry.ID = strawberry.field(description="The person.")


@strawberry.type(description="What came of erasing a person.")
class ErasePersonPayload(Payload):
    person: Person | None = strawberry.field(default=None, description="What is left: an id without data.")


@strawberry.type
class PeopleMutation:
    @strawberry.mutation(description="Register a person. One identity number, one person.")
    async def register_person(self, info: Info, input: Input[RegisterPersonInput]) -> RegisterPersonPayload:
        try:
            identity = parse_ci(input.identity)
            fields = {
                "identity": identity,
                "identity_digest": info.context.services.core.secret.identity_digest(ci_key(identity)),
                "given_names": input.given_names.strip(),
                "family_names": input.family_names.strip(),
                "birth_date": input.birth_date,
                "sex": input.sex.value,
                "phone": input.phone.strip(),
                "email": input.email.strip(),
            }
            command, outcome = await info.context.perform(
                input.idempotency_key,
                fields,
                people.RegisterPerson,
                lambda id: build(people.RegisterPerson, **fields, person=id),
            )
        except Rejected as refusal:
            return RegisterPersonPayload(errors=explain(refusal, info.context))
        state = await info.context.state(people.stream(command.person))
        return RegisterPersonPayload(person=_person(state), position=Position(outcome.position))

    @strawberry.mutation(description="Make a person's data unreadable for ever. Bookings and proofs stay valid.")
    async def erase_person(self, info: Info, input: Input[ErasePersonInput]) -> ErasePersonPayload:
        try:
            command, outcome = await info.context.perform(
                input.idempotency_key,
                {"person": input.person},
                people.ErasePerson,
                lambda _: build(people.ErasePerson, person=input.person),
            )
        except Rejected as refusal:
            return ErasePersonPayload(errors=explain(refusal, info.context))
        state = await info.context.state(people.stream(command.person))
        return ErasePersonPayload(person=_person(state), position=Position(outcome.position))
