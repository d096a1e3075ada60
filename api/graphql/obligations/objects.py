"""Taxable objects in the schema: who owns them, and what is owed for them year by year."""

from datetime import date
from enum import Enum
from typing import Annotated, cast

import strawberry

from api.graphql.access import Arguments, Rule, Scope, argument
from api.graphql.commands import Done, Given, Gives, Takes, command, words_of
from api.graphql.context import Context
from api.graphql.fields import AtLeast, Info, Node, coded_id, node_query, query
from api.graphql.links import LinkTo, link_by_id, permit
from api.graphql.obligations.access import (
    OFFICERS,
    OWNED,
    STAFF,
    acts_for_an_owner,
    readers_of,
    readers_of_all_of,
    readers_of_debts,
)
from api.graphql.obligations.obligations import Obligation, obligations_of_rows
from api.graphql.paging import Connection, Listing, PageArguments, paged
from api.graphql.read_models import BEHIND
from domain.errors import Rejected
from domain.identifiers import (
    PARTY,
    TAXABLE_OBJECT_CODE,
    ObjectKind,
    parse_cadastral_code,
    parse_number,
    taxable_object_id,
)
from domain.obligations import taxable_object as domain
from projections.obligations import obligations as views
from projections.obligations import ownerships

ObjectCode = Annotated[
    str, TAXABLE_OBJECT_CODE, strawberry.argument(description="The code of a taxable object: vehicle-1234abc.")
]
_YEARS = Listing("objectObligations", views.BY_YEAR)
_DEBTS = readers_of_debts("code")
_OWNED = Listing("taxableObjects", ownerships.BY_OBJECT)


@words_of(ObjectKind)
@strawberry.enum(description="What is taxed.")
class TaxableObjectKind(Enum):
    PROPERTY = strawberry.enum_value("PROPERTY", description="Land and buildings, which pay IPBI.")
    VEHICLE = strawberry.enum_value("VEHICLE", description="A vehicle, which pays IPVA.")
    ACTIVITY = strawberry.enum_value("ACTIVITY", description="An economic activity, which pays a patente.")


@strawberry.type(description="Who owns a taxable object from a day on.")
class Ownership:
    owner = link_by_id("The owner: a person or an organisation.", key="owner_id")
    since: date = strawberry.field(description="The first day.")
    owner_id: strawberry.Private[str]


@strawberry.type(description="A taxable object: a property, a vehicle or an economic activity.")
class TaxableObject(Node):
    code: str = strawberry.field(description="Its code, from kind and number: vehicle-1234abc.")
    kind: TaxableObjectKind = strawberry.field(description="What it is.")
    number: str = strawberry.field(description="The plate, the property number or the licence number.")
    cadastral_code: str | None = strawberry.field(description="The cadastral code of a property, if it has one.")
    owner = link_by_id("Its present owner: a person or an organisation.", key="owner_id")
    owners: list[Ownership] = strawberry.field(description="All its owners, in the order of their days.")
    owner_id: strawberry.Private[str]

    @strawberry.field(
        description="What is owed for it, by fiscal year; null for a former owner, who finds their own in the query of"
        " that name." + BEHIND
    )
    @paged
    async def obligations(self, info: Info, page: PageArguments) -> Connection[Obligation] | None:
        await permit(info, _DEBTS, code=self.code)
        wanted = page.of(info, _YEARS, self.code)
        found = wanted.found(await info.context.ask(views.of_object(self.code, part=wanted.part), at_least=None))
        return found.connection(await obligations_of_rows(info, found.items))


def _object(state: domain.TaxableObject) -> TaxableObject | None:
    registered = state.registered
    if registered is None:
        return None
    return TaxableObject(
        id=coded_id("taxable-object", registered.object),
        code=registered.object,
        kind=TaxableObjectKind[registered.kind],
        number=registered.number,
        cadastral_code=registered.cadastral_code,
        owner_id=state.owners[-1].owner,
        owners=[Ownership(owner_id=one.owner, since=one.since) for one in state.owners],
    )


@node_query("taxable-object", "A taxable object by its code; null if there is none.", who=readers_of("code"))
async def taxable_object(info: Info, code: ObjectCode) -> TaxableObject | None:
    return _object(await info.context.state(domain.stream(code)))


async def _found(
    context: Context, kind: ObjectKind | None, number: str | None, cadastral_code: str | None
) -> domain.TaxableObject | None:
    """The object with this number or this cadastral code. Raises Rejected for a malformed one."""
    if cadastral_code is not None:
        code = (await context.state(domain.cadastral_stream(parse_cadastral_code(cadastral_code)))).object
    else:
        assert kind
        assert number is not None
        code = taxable_object_id(kind, parse_number(kind, number))
    return await context.state(domain.stream(code)) if code else None


def _finders() -> Rule:
    async def covers(context: Context, arguments: Arguments) -> bool:
        kind = argument(arguments, "kind") if "kind" in arguments else None
        try:
            found = await _found(context, kind, arguments.get("number"), arguments.get("cadastral_code"))
        except Rejected:
            return True  # the field says what is wrong
        return found is not None and await acts_for_an_owner(context, found)

    return {
        "citizen": Scope(OWNED, covers),
        **STAFF,
    }


@query(
    "The taxable object with a plate, a property number or a licence number; null if there is none. Blanks,"
    " punctuation, accents and case make no difference.",
    who=_finders(),
)
async def taxable_object_by_number(
    info: Info,
    kind: Annotated[TaxableObjectKind, strawberry.argument(description="What it is.")],
    number: Annotated[str, strawberry.argument(description="Its number, in any spelling: 1234-abc.")],
) -> TaxableObject | None:
    found = await _found(info.context, cast("ObjectKind", kind.name), number, None)
    return _object(found) if found else None


@query(
    "The property with a cadastral code; null if there is none. Blanks, punctuation and case make no difference.",
    who=_finders(),
)
async def taxable_object_by_cadastral_code(
    info: Info,
    cadastral_code: Annotated[
        str, strawberry.argument(description="The cadastral code, in any spelling: 032-0123-0004-0000.")
    ],
) -> TaxableObject | None:
    found = await _found(info.context, None, None, cadastral_code)
    return _object(found) if found else None


@query("The taxable objects that somebody owns now, by code." + BEHIND, who=readers_of_all_of("owner"))
@paged
async def taxable_objects(
    info: Info,
    *,
    owner: Annotated[strawberry.ID, PARTY, strawberry.argument(description="The owner: a person or an organisation.")],
    page: PageArguments,
    at_least: AtLeast = None,
) -> Connection[TaxableObject]:
    wanted = page.of(info, _OWNED, owner)
    found = wanted.found(await info.context.ask(ownerships.objects_of(owner, part=wanted.part), at_least=at_least))
    states = await info.context.states([domain.stream(row.object) for row in found.items])
    shown = [_object(states[domain.stream(row.object)]) for row in found.items]
    return found.connection([one for one in shown if one])


ObjectLink = Annotated[str, LinkTo("taxable-object")]


@command(
    domain.RegisterTaxableObject,
    "Register a taxable object. Repeating it changes nothing.",
    who=OFFICERS,
    takes=Takes(
        "A taxable object to register.",
        kind="What it is.",
        number="The plate, the property number or the licence number, in any spelling.",
        owner="The person or organisation that owns it.",
        since="The first day of the ownership.",
        cadastral_code="The cadastral code of a property, in any spelling.",
    ),
    gives=Gives("The result of registering a taxable object.", object="The object."),
)
async def register_taxable_object(_: Info, done: Done[domain.RegisterTaxableObject]) -> ObjectLink:
    return done.command.object


@command(
    domain.TransferOwnership,
    "Record that an object has another owner. The tax of a fiscal year falls on the owner of 31 December.",
    who=OFFICERS,
    takes=Takes(
        "A transfer of a taxable object.",
        object=Given("The object.", type=str),
        owner="The new owner.",
        since="The first day of the new ownership.",
        deed="The paper that shows it: Testimonio 214/2027.",
    ),
    gives=Gives("The result of a transfer.", object="The object."),
)
async def transfer_ownership(_: Info, done: Done[domain.TransferOwnership]) -> ObjectLink:
    return done.command.object
