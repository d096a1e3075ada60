"""Lists and figures of infractions for officers."""

from typing import Annotated, cast

import strawberry

from api.graphql.fields import AtLeast, Info, query, refuse
from api.graphql.infractions.access import LIST_READERS
from api.graphql.infractions.infractions import PublicInfraction, from_row
from api.graphql.infractions.words import InfractionState
from api.graphql.links import link
from api.graphql.paging import Connection, Listing, PageArguments, paged
from api.graphql.read_models import BEHIND
from api.graphql.scalars import Money, money_to_graphql
from domain.identifiers import NAME, fits, hint_of
from domain.infractions.infraction import Status
from domain.money import Money as Amount
from projections.infractions import infractions as views

FIGURES_MAX = 250


@strawberry.type(description="An item of the officers' list.")
class InfractionRecord:
    infraction = link("infraction", "The infraction, as it is now in the log.", key="infraction_id")
    public: PublicInfraction = strawberry.field(description="What everybody may see of it.")
    infraction_id: strawberry.Private[str]


_IN_STATE = Listing("infractions", views.LATEST_FIRST)


@query("The infractions in a state, the latest first." + BEHIND, who=LIST_READERS)
@paged
async def infractions(
    info: Info,
    *,
    state: Annotated[InfractionState, strawberry.argument(description="The state.")],
    page: PageArguments,
    district: Annotated[
        str | None,
        strawberry.argument(description="Only those in this macrodistrict; accents and case make no difference."),
    ] = None,
    at_least: AtLeast = None,
) -> Connection[InfractionRecord]:
    if district is not None and not fits(NAME, district):
        refuse(info, "district", hint_of(NAME))
    wanted = page.of(info, _IN_STATE, state.name)
    asked = views.in_status(cast("Status", state.name), district=district, part=wanted.part)
    found = wanted.found(await info.context.ask(asked, at_least=at_least))
    return found.connection(
        [InfractionRecord(infraction_id=row.infraction, public=from_row(row)) for row in found.items]
    )


@strawberry.type(description="The infractions of a district in a state.")
class InfractionTotals:
    district: str = strawberry.field(description="The macrodistrict.")
    state: InfractionState = strawberry.field(description="The state.")
    infractions: int = strawberry.field(description="How many there are.")
    fines: Money = strawberry.field(description="The sum of their whole fines, without discounts and penalties.")
    paid: Money = strawberry.field(description="The sum of the payments that count.")


@query(
    "The figures of each district and state, by the name of the district." + BEHIND,
    who=LIST_READERS,
)
async def infraction_totals(info: Info, at_least: AtLeast = None) -> list[InfractionTotals]:
    rows = await info.context.ask(views.totals(figures_max=FIGURES_MAX), at_least=at_least)
    return [
        InfractionTotals(
            district=row.district,
            state=InfractionState[row.status],
            infractions=row.infractions,
            fines=money_to_graphql(Amount(centavos=row.fines)),
            paid=money_to_graphql(Amount(centavos=row.paid)),
        )
        for row in rows
    ]
