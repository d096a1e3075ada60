"""People in the schema: registering, finding, correcting, erasing; guardians and their dependants."""

from collections.abc import Callable
from datetime import date, datetime
from enum import Enum
from itertools import islice
from typing import Annotated, Any, TypeVar

import strawberry

from api.graphql.errors import as_graphql_error
from api.graphql.fields import Info, Input, KeyedInput, Node, Payload, explain, refuse
from api.graphql.paging import After, Connection, First, page, page_size
from api.graphql.scalars import Position
from domain import people
from domain.decider import Command, build
from domain.errors import Rejected
from domain.identifiers import ci_key, parse_ci
from domain.people import dependants

P = TypeVar("P", bound=Payload)


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


@strawberry.enum(description="Why somebody acts for another.")
class DependantRelation(Enum):
    MINOR = strawberry.enum_value("MINOR", description="A minor; it ends by itself on the 18th birthday.")
    CARE = strawberry.enum_value("CARE", description="A person in care; it lasts until it is ended.")


@strawberry.enum(description="Whose cause the end of a dependency is.")
class DependencyEndReason(Enum):
    GUARDIAN = strawberry.enum_value("GUARDIAN", description="The guardian's.")
    DEPENDANT = strawberry.enum_value("DEPENDANT", description="The dependant's.")
    AUTHORITY = strawberry.enum_value("AUTHORITY", description="A court's or another authority's.")
    MISTAKE = strawberry.enum_value("MISTAKE", description="It was declared by mistake.")
    OTHER = strawberry.enum_value("OTHER", description="Another.")


@strawberry.type(description="Somebody for whom another acts, once that is confirmed and as long as it is not over.")
class Dependant:
    id: strawberry.ID = strawberry.field(description="The dependant's opaque id.")
    guardian: strawberry.ID = strawberry.field(description="The guardian's opaque id.")
    relation: DependantRelation = strawberry.field(description="Why the guardian acts for them.")
    confirmed: bool = strawberry.field(description="Whether an officer has confirmed it.")
    until: date | None = strawberry.field(
        description="Of a minor, the 18th birthday: from that day on it is over. Null for a person in care, before it"
        " is confirmed, and once it is over."
    )
    ended: bool = strawberry.field(description="Whether it is over at the time of asking, by a word or by itself.")


def _dependant(guardian: str, state: dependants.Guardian, dependant: str, now: datetime) -> Dependant:
    said = state.dependants[dependant]
    over = dependants.is_over(said, now)
    return Dependant(
        id=strawberry.ID(dependant),
        guardian=strawberry.ID(guardian),
        relation=DependantRelation(said.relation),
        confirmed=said.confirmed,
        until=None if over else said.until,
        ended=over,
    )


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

    @strawberry.field(
        description="Those whose guardian somebody is or was, in the order in which they were first declared."
    )
    async def dependants(
        self,
        info: Info,
        guardian: Annotated[strawberry.ID, strawberry.argument(description="The guardian's opaque id.")],
        first: First,
        after: After = None,
    ) -> Connection[Dependant]:
        first = page_size(first, info)
        state: dependants.Guardian = await info.context.state(dependants.stream(guardian))
        ids = list(state.dependants)
        if after is not None and after not in state.dependants:
            refuse(info, "after", "cursor")
        begin = 0 if after is None else ids.index(after) + 1
        now = info.context.services.now()
        nodes = [_dependant(guardian, state, one, now) for one in islice(ids, begin, begin + first + 1)]
        return page(nodes, first, lambda dependant: dependant.id)


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
    person: Person | None = strawberry.field(
        default=None,
        description="The person registered; null in the answer to a repetition once they bear another identity number.",
    )


@strawberry.input(description="What is to be corrected; what is left out or null stays as it was.")
class CorrectPersonInput(KeyedInput):
    person: strawberry.ID = strawberry.field(description="The person.")
    identity: str | None = strawberry.field(default=None, description="Identity number; the one before is free again.")
    given_names: str | None = strawberry.field(default=None, description="Given names.")
    family_names: str | None = strawberry.field(default=None, description="Family names.")
    birth_date: date | None = strawberry.field(default=None, description="Date of birth.")
    sex: Sex | None = strawberry.field(default=None, description="Sex, as on the identity card.")
    phone: str | None = strawberry.field(default=None, description="Phone number; empty for none.")
    email: str | None = strawberry.field(default=None, description="E-mail address; empty for none.")


@strawberry.type(description="What came of correcting a person's data.")
class CorrectPersonPayload(Payload):
    person: Person | None = strawberry.field(default=None, description="The person as corrected.")


@strawberry.input(description="Whose data are to be made unreadable for ever.")
class ErasePersonInput(KeyedInput):
    person: strawberry.ID = strawberry.field(description="The person.")


@strawberry.type(description="What came of erasing a person.")
class ErasePersonPayload(Payload):
    person: Person | None = strawberry.field(default=None, description="What is left: an id without data.")


@strawberry.input(description="For whom somebody acts.")
class DeclareDependantInput(KeyedInput):
    guardian: strawberry.ID = strawberry.field(description="Who acts: of age.")
    dependant: strawberry.ID = strawberry.field(description="For whom.")
    relation: DependantRelation = strawberry.field(description="Why.")


@strawberry.type(description="What came of declaring a dependant.")
class DeclareDependantPayload(Payload):
    dependant: Dependant | None = strawberry.field(default=None, description="The dependant, to be confirmed.")


@strawberry.input(description="Which dependant an officer confirms.")
class ConfirmDependantInput(KeyedInput):
    guardian: strawberry.ID = strawberry.field(description="Who acts.")
    dependant: strawberry.ID = strawberry.field(description="For whom.")
    relation: DependantRelation = strawberry.field(description="Why, as the papers have it and as it was declared.")


@strawberry.type(description="What came of confirming a dependant.")
class ConfirmDependantPayload(Payload):
    dependant: Dependant | None = strawberry.field(default=None, description="The dependant.")


@strawberry.input(description="Which dependant somebody acts for no more.")
class EndDependencyInput(KeyedInput):
    guardian: strawberry.ID = strawberry.field(description="Who acts.")
    dependant: strawberry.ID = strawberry.field(description="For whom.")
    reason: DependencyEndReason = strawberry.field(default=DependencyEndReason.OTHER, description="Whose cause it is.")


@strawberry.type(description="What came of ending a dependency.")
class EndDependencyPayload(Payload):
    dependant: Dependant | None = strawberry.field(default=None, description="The dependant that was.")


@strawberry.type
class PeopleMutation:
    @strawberry.mutation(description="Register a person. One identity number, one person.")
    async def register_person(self, info: Info, input: Input[RegisterPersonInput]) -> RegisterPersonPayload:
        try:
            fields = _fields(info, input)
            command, outcome = await info.context.perform(
                input.idempotency_key,
                fields,
                people.RegisterPerson,
                lambda id: build(people.RegisterPerson, **fields, person=id),
            )
        except Rejected as refusal:
            return RegisterPersonPayload(errors=explain(refusal, info.context))
        state: people.Person = await info.context.state(people.stream(command.person))
        # Of a repetition: whoever bears that number now may be somebody else than the person registered then.
        same = state.registered and state.registered.identity_digest == command.identity_digest
        return RegisterPersonPayload(person=_person(state) if same else None, position=Position(outcome.position))

    @strawberry.mutation(description="Correct a person's data. What was said before stays in the log, encrypted.")
    async def correct_person(self, info: Info, input: Input[CorrectPersonInput]) -> CorrectPersonPayload:
        try:
            fields = {"person": input.person, **_fields(info, input)}
            command, outcome = await info.context.perform(
                input.idempotency_key, fields, people.CorrectPerson, lambda _: build(people.CorrectPerson, **fields)
            )
        except Rejected as refusal:
            return CorrectPersonPayload(errors=explain(refusal, info.context))
        state = await info.context.state(people.stream(command.person))
        return CorrectPersonPayload(person=_person(state), position=Position(outcome.position))

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

    @strawberry.mutation(description="Say that somebody acts for another. It counts once an officer has confirmed it.")
    async def declare_dependant(self, info: Info, input: Input[DeclareDependantInput]) -> DeclareDependantPayload:
        said = {"guardian": input.guardian, "dependant": input.dependant, "relation": input.relation.value}
        by = {"declared_by": info.context.actor.name}
        return await _about_dependant(info, input, dependants.DeclareDependant, said, DeclareDependantPayload, **by)

    @strawberry.mutation(description="Confirm as an officer that somebody acts for another.")
    async def confirm_dependant(self, info: Info, input: Input[ConfirmDependantInput]) -> ConfirmDependantPayload:
        said = {"guardian": input.guardian, "dependant": input.dependant, "relation": input.relation.value}
        by = {"confirmed_by": info.context.actor.name}
        return await _about_dependant(info, input, dependants.ConfirmDependant, said, ConfirmDependantPayload, **by)

    @strawberry.mutation(description="End it: the guardian acts for the dependant no more.")
    async def end_dependency(self, info: Info, input: Input[EndDependencyInput]) -> EndDependencyPayload:
        said = {"guardian": input.guardian, "dependant": input.dependant, "reason": input.reason.value}
        return await _about_dependant(info, input, dependants.EndDependency, said, EndDependencyPayload)


def _fields(info: Info, input: RegisterPersonInput | CorrectPersonInput) -> dict[str, Any]:
    """What is said of a person, as commands take it; None where nothing is said. Raises Rejected."""
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


def _stripped(said: str | None) -> str | None:
    return None if said is None else said.strip()


async def _about_dependant(
    info: Info, input: KeyedInput, kind: type[Command], said: dict[str, Any], payload: Callable[..., P], **by: str
) -> P:
    """Have a command about a guardian and a dependant decided; the payload shows the dependant as they stand then."""
    try:
        _, outcome = await info.context.perform(input.idempotency_key, said, kind, lambda _: build(kind, **said, **by))
    except Rejected as refusal:
        return payload(errors=explain(refusal, info.context))
    state = await info.context.state(dependants.stream(said["guardian"]))
    shown = _dependant(said["guardian"], state, said["dependant"], info.context.services.now())
    return payload(dependant=shown, position=Position(outcome.position))
