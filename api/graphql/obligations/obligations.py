"""What is owed in the schema: for an object and a fiscal year, on any day, as it was known at any position."""

from collections.abc import Sequence
from datetime import date as Date
from typing import Annotated, Any

import strawberry

from api.graphql.access import granted
from api.graphql.engine.request_errors import as_graphql_error
from api.graphql.fields import AtLeast, Info, Node, node_query, query, refuse
from api.graphql.links import link, link_by_id
from api.graphql.obligations.access import STAFF, readers_of_all_of, readers_of_debts
from api.graphql.obligations.explanation import Debt, debt_to_graphql
from api.graphql.obligations.published import Published
from api.graphql.obligations.tax_years import Tax
from api.graphql.paging import Connection, Listing, PageArguments, paged
from api.graphql.read_models import BEHIND
from api.graphql.scalars import Money, Position, PositionHint, money_to_graphql
from domain.calendar import local_date
from domain.errors import Rejected
from domain.identifiers import OBLIGATION_NAME, PARTY, object_of
from domain.obligations import amnesty, holidays, interest, tax_year, taxable_object, ufv
from domain.obligations import debt as calculation
from domain.obligations import obligation as domain
from projections.obligations import obligations as views

_OBLIGATIONS = Listing("obligations", views.BY_YEAR)


@strawberry.type(description="A payment that was not reversed.")
class Settlement:
    reference: str = strawberry.field(description="The number of the receipt.")
    amount: Money = strawberry.field(description="The amount paid.")
    paid_on: Date = strawberry.field(description="The day of the payment.")


@strawberry.type(description="Another amount of the tax that an officer proposes.")
class ProposedAmendment:
    amendment: strawberry.ID = strawberry.field(description="The id by which it is approved or rejected.")
    amount: Money = strawberry.field(description="The proposed amount.")
    norm: str = strawberry.field(description="The norm or ruling on which it is founded.")
    reason: str = strawberry.field(description="The reason.")


Taxpayer = Annotated[
    strawberry.ID, PARTY, strawberry.argument(description="The taxpayer: a person or an organisation.")
]
AsOf = Annotated[Date | None, strawberry.argument(description="A day in La Paz, past or future; default: today.")]
KnownAt = Annotated[
    Position | None, strawberry.argument(description="A position of the log; default: all that is known.")
]


@strawberry.type(description="What is owed for a taxable object and a fiscal year.")
class Obligation(Node):
    id: strawberry.ID = strawberry.field(description="The object's code and the year: vehicle-1234abc/year-2026.")
    object = link("taxable-object", "The taxable object.", key="object_code")
    taxpayer = link_by_id(
        "The taxpayer: the owner on 31 December of the year, or the first known owner for earlier years.",
        key="taxpayer_id",
    )
    tax: Tax = strawberry.field(description="The tax.")
    year: int = strawberry.field(description="The fiscal year.")
    assessed: Money = strawberry.field(description="The tax as it was assessed or last amended.")
    base: Money | None = strawberry.field(
        description="The base from which the scale gave the tax; null if an amount was given."
    )
    due: Date = strawberry.field(
        description="The last day to pay, by the assessment, before an extension or a move to a working day."
    )
    norm: str = strawberry.field(description="The norm by which it was assessed or last amended.")
    settlements: list[Settlement] = strawberry.field(description="The payments that were not reversed, by day.")
    object_code: strawberry.Private[str]
    taxpayer_id: strawberry.Private[str | None]
    state: strawberry.Private[domain.Obligation]

    @strawberry.field(
        description="Proposed amendments that nobody has decided yet; null for those who do not work with them."
    )
    async def amendments(self, info: Info) -> list[ProposedAmendment] | None:
        if await granted(STAFF, info.context, {}) is None:
            return None
        return [
            ProposedAmendment(
                amendment=strawberry.ID(name), amount=money_to_graphql(one.amount), norm=one.norm, reason=one.reason
            )
            for name, one in self.state.amendments.items()
        ]

    @strawberry.field(
        description="What is owed on a day, with each step of the calculation. With `knownAt`, as it was known at that"
        " position of the log: later payments and corrections are left out; null if nothing had been assessed then."
        " The codes `ufv_unknown` and `rates_unknown` name a day for which a figure is missing."
    )
    async def debt(self, info: Info, as_of: AsOf = None, known_at: KnownAt = None) -> Debt | None:
        day, state = as_of or local_date(info.context.services.now()), self.state
        if known_at is not None:
            await _refuse_beyond_log(info, known_at)
            name = domain.stream(self.id)
            state = (await info.context.states_at([name], known_at))[name]
        try:
            found = await facts_of(info, state, day, known_at)
            return debt_to_graphql(found, calculation.debt(found, day)) if found else None
        except Rejected as refusal:
            raise as_graphql_error(refusal, info.context.language) from None


async def _refuse_beyond_log(info: Info, position: Position) -> None:
    async with info.context.available():
        head = await info.context.services.core.log.head()
    if position > head:
        refuse(info, "known_at", PositionHint())


async def facts_of(
    info: Info, state: domain.Obligation, as_of: Date, known_at: Position | None
) -> calculation.Facts | None:
    """What the debt of a day follows from; None if nothing was assessed."""
    if state.assessed is None:
        return None
    asked = _streams(state.assessed, state.assessed.due, {state.assessed.due, as_of})
    while True:
        found = _assembled(state, await _published(info, asked, known_at))
        more = _streams(state.assessed, found.due_before_holidays, calculation.days_needed(found, as_of)) - asked
        if not more:
            return found
        asked |= more


def _streams(assessed: domain.TaxAssessed, due: Date, days: set[Date]) -> set[str]:
    """What is published about a tax: a due date may move into the next year, and days need their UFV."""
    names: list[str] = [interest.stream(), tax_year.stream(assessed.tax, assessed.year), amnesty.stream(assessed.tax)]
    names += [holidays.stream(year) for year in (due.year, due.year + 1)]
    names += [ufv.stream(day.year) for day in days]
    return set(names)


async def _published(info: Info, streams: set[str], known_at: Position | None) -> dict[str, Any]:
    if known_at is not None:
        return await info.context.states_at(list(streams), known_at)
    async with info.context.available():
        return await info.context.services.of(Published).states(frozenset(streams))


def _assembled(state: domain.Obligation, published: dict[str, Any]) -> calculation.Facts:
    """The facts, from the states of published streams."""
    assert state.assessed
    quotes: dict[Date, ufv.Quote] = {}
    days: set[Date] = set()
    for one in published.values():
        if isinstance(one, ufv.Ufv):
            quotes |= one.values
        elif isinstance(one, holidays.Holidays) and one.published:
            days |= set(one.published.days)
    return calculation.Facts(
        obligation=state,
        tax_year=published[tax_year.stream(state.assessed.tax, state.assessed.year)],
        amnesties=published[amnesty.stream(state.assessed.tax)],
        holidays=days,
        quotes=quotes,
        rates=published[interest.stream()],
    )


def obligation_to_graphql(state: domain.Obligation, owned: taxable_object.TaxableObject) -> Obligation | None:
    """An obligation as the schema has it; None if nothing was assessed."""
    assessed = state.assessed
    if assessed is None:
        return None
    by_day = sorted(state.settlements.items(), key=lambda one: (one[1].paid_on, one[0]))
    return Obligation(
        id=strawberry.ID(assessed.obligation),
        object_code=assessed.object,
        taxpayer_id=taxable_object.taxpayer(owned, assessed.year),
        state=state,
        tax=Tax[assessed.tax],
        year=assessed.year,
        assessed=money_to_graphql(state.tax),
        base=money_to_graphql(assessed.base) if assessed.base else None,
        due=assessed.due,
        norm=state.norm,
        settlements=[
            Settlement(reference=reference, amount=money_to_graphql(one.amount), paid_on=one.paid_on)
            for reference, one in by_day
        ],
    )


async def obligations_of_rows(info: Info, rows: Sequence[views.ObligationRow]) -> list[Obligation]:
    """The obligations of these rows, as the log has them now."""
    names = [(domain.stream(row.obligation), taxable_object.stream(row.object)) for row in rows]
    states = await info.context.states([stream for pair in names for stream in pair])
    shown = [obligation_to_graphql(states[one], states[owned]) for one, owned in names]
    return [one for one in shown if one]


@node_query(
    "obligation",
    "What is owed for an object and a year, by id; null if nothing was assessed.",
    who=readers_of_debts("id"),
)
async def obligation(
    info: Info,
    id: Annotated[
        strawberry.ID,
        OBLIGATION_NAME,
        strawberry.argument(description="The object's code and the year: vehicle-1234abc/year-2026."),
    ],
) -> Obligation | None:
    name, owned = domain.stream(id), taxable_object.stream(object_of(id))
    states = await info.context.states([name, owned])
    return obligation_to_graphql(states[name], states[owned])


@query(
    "What somebody owes or owed, by fiscal year, also for objects that they no longer own." + BEHIND,
    who=readers_of_all_of("taxpayer"),
)
@paged
async def obligations(
    info: Info,
    *,
    taxpayer: Taxpayer,
    page: PageArguments,
    at_least: AtLeast = None,
) -> Connection[Obligation]:
    wanted = page.of(info, _OBLIGATIONS, taxpayer)
    found = wanted.found(await info.context.ask(views.of_taxpayer(taxpayer, part=wanted.part), at_least=at_least))
    return found.connection(await obligations_of_rows(info, found.items))
