"""Amnesties in the schema."""

import strawberry

from api.graphql.access import EVERYBODY
from api.graphql.commands import Done, Given, Gives, Takes, command
from api.graphql.fields import Info, query
from api.graphql.obligations.access import OFFICERS
from api.graphql.obligations.tax_years import (
    DiscountWindow,
    DiscountWindowInput,
    Tax,
    WhichTax,
    windows_from_input,
    windows_to_graphql,
)
from api.graphql.scalars import Position
from domain.obligations import amnesty as domain
from domain.obligations.tax_year import WINDOWS_MAX


@strawberry.type(description="An amnesty for a tax: within its windows, late taxes of some years are paid for less.")
class Amnesty:
    tax: Tax = strawberry.field(description="The tax.")
    norm: str = strawberry.field(description="The norm that declares it.")
    first_year: int = strawberry.field(description="The first fiscal year.")
    last_year: int = strawberry.field(description="The last fiscal year.")
    waives_interest: bool = strawberry.field(description="Whether no interest is paid.")
    waives_indexation: bool = strawberry.field(
        description="Whether the tax is paid as it was on the due date, whatever the UFV is."
    )
    windows: list[DiscountWindow] = strawberry.field(
        description="The windows in date order, each with its own discount."
    )
    version: strawberry.Private[int]

    @strawberry.field(description="The position of the event that declared it.")
    async def event(self, info: Info) -> Position | None:
        return await info.context.position_of(domain.stream(self.tax.name), self.version)


def amnesty_to_graphql(found: domain.Amnesty) -> Amnesty:
    declared = found.declared
    return Amnesty(
        tax=Tax[declared.tax],
        norm=declared.norm,
        first_year=declared.first_year,
        last_year=declared.last_year,
        waives_interest=declared.waives_interest,
        waives_indexation=declared.waives_indexation,
        windows=windows_to_graphql(declared.windows),
        version=found.version,
    )


@query("The amnesties for a tax, in the order in which they were first declared.", who=EVERYBODY)
async def amnesties(info: Info, tax: WhichTax) -> list[Amnesty]:
    state = await info.context.state(domain.stream(tax.name))
    return [amnesty_to_graphql(one) for one in state.amnesties.values()]


@command(
    domain.DeclareAmnesty,
    "Declare an amnesty, or change it: one with the same norm replaces the one declared before.",
    who=OFFICERS,
    takes=Takes(
        "An amnesty for a tax.",
        tax="The tax.",
        norm="The norm that declares it: LAM 460.",
        first_year="The first fiscal year.",
        last_year="The last fiscal year.",
        windows=Given(
            f"The windows in date order, each with its own discount, at most {WINDOWS_MAX}; they do not overlap.",
            type=list[DiscountWindowInput],
            clean=windows_from_input,
        ),
        waives_interest="Whether no interest is paid.",
        waives_indexation="Whether the tax is paid as it was on the due date, whatever the UFV is.",
    ),
    gives=Gives("The result of declaring an amnesty.", amnesty="The amnesty."),
)
async def declare_amnesty(info: Info, done: Done[domain.DeclareAmnesty]) -> Amnesty:
    state = await info.context.state(domain.stream(done.command.tax))
    return amnesty_to_graphql(state.amnesties[done.command.norm])
