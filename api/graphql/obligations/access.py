"""Who sees taxable objects and what is owed for them: owners, those who act for them, and the finance department."""

from api.graphql.access import DOERS_OF_ALL, FINANCE, READERS_OF_ALL, Arguments, Rule, Scope, argument
from api.graphql.context import Context
from api.graphql.people.acting import acts_for, own_parties
from domain.identifiers import object_of, year_of
from domain.obligations import taxable_object
from domain.obligations.taxable_object import TaxableObject

OFFICERS: Rule = {**FINANCE, **DOERS_OF_ALL}
OWNED = "objects that they, their dependants or their organisations own or owned"
OWED = "of which they, their dependants or their organisations are the taxpayer or the present owner"
STAFF: Rule = {**FINANCE, **READERS_OF_ALL}


async def acts_for_present_owner(context: Context, state: TaxableObject) -> bool:
    """Whether the actor is the present owner of the object, or acts for them."""
    return bool(state.owners) and await acts_for(context, state.owners[-1].owner)


def readers_of_debts(path: str) -> Rule:
    """Who reads what is owed for an object, given its code or the id of an obligation.

    A former owner sees the years for which they owe, but not those of the next owner.
    """

    async def covers(context: Context, arguments: Arguments) -> bool:
        name = str(argument(arguments, path))
        state = await context.state(taxable_object.stream(object_of(name)))
        if await acts_for_present_owner(context, state):
            return True
        year = year_of(name)
        owes = None if year is None else taxable_object.taxpayer(state, year)
        return owes is not None and await acts_for(context, owes)

    return {
        "citizen": Scope(OWED, covers),
        **STAFF,
    }


async def acts_for_an_owner(context: Context, state: TaxableObject) -> bool:
    """Whether the actor is a present or former owner of the object, or acts for one."""
    for owner in {one.owner for one in state.owners}:
        if await acts_for(context, owner):
            return True
    return False


def readers_of(path: str) -> Rule:
    """Who reads an object, given its code or the id of an obligation."""

    async def covers(context: Context, arguments: Arguments) -> bool:
        code = object_of(str(argument(arguments, path)))
        return await acts_for_an_owner(context, await context.state(taxable_object.stream(code)))

    return {
        "citizen": Scope(OWNED, covers),
        **STAFF,
    }


def readers_of_all_of(path: str) -> Rule:
    """Who reads everything of an owner or taxpayer."""
    return {"citizen": own_parties(path), **STAFF}
