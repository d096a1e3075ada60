"""Statements of account in the schema: what somebody owes in all on a day."""

import asyncio
from datetime import date as Date

import strawberry

from api.graphql.engine.request_errors import as_graphql_error
from api.graphql.fields import AtLeast, Info, query
from api.graphql.links import find, link, link_by_id
from api.graphql.obligations.access import readers_of_all_of
from api.graphql.obligations.obligations import AsOf, Taxpayer, facts_of
from api.graphql.read_models import BEHIND
from api.graphql.scalars import Money, money_to_graphql
from domain.calendar import local_date
from domain.errors import Rejected
from domain.identifiers import kind_of_id
from domain.obligations import debt as calculation
from domain.obligations import obligation
from domain.obligations import statement as domain
from projections.engine.keyset import Range
from projections.obligations import obligations as views


@strawberry.type(description="What somebody owes for a fiscal year.")
class OwedByYear:
    year: int = strawberry.field(description="The fiscal year.")
    owed: Money = strawberry.field(description="What is owed for it.")


@strawberry.type(description="What somebody owes for a taxable object.")
class OwedByObject:
    object = link("taxable-object", "The object.", key="object_code")
    owed: Money = strawberry.field(description="What is owed for it.")
    object_code: strawberry.Private[str]


@strawberry.type(description="What somebody owes in all on a day.")
class AccountStatement:
    taxpayer = link_by_id("The taxpayer.", key="taxpayer_id")
    as_of: Date = strawberry.field(description="The day.")
    owed: Money = strawberry.field(description="The sum of all.")
    overdue: Money = strawberry.field(description="The sum of what was due before the day.")
    by_year: list[OwedByYear] = strawberry.field(description="By fiscal year, the earliest first.")
    by_object: list[OwedByObject] = strawberry.field(description="By object, in the order of their codes.")
    taxpayer_id: strawberry.Private[str]


@query(
    "What somebody owes in all on a day, by year and by object, also for objects that they no longer own; for at most"
    f" {domain.OBLIGATIONS_MAX} obligations. Null if nobody has this id. The codes are"
    " `statement_too_long`, `ufv_unknown` and `rates_unknown`." + BEHIND,
    who=readers_of_all_of("taxpayer"),
)
async def account_statement(
    info: Info,
    taxpayer: Taxpayer,
    as_of: AsOf = None,
    at_least: AtLeast = None,
) -> AccountStatement | None:
    kind = kind_of_id(taxpayer)
    if kind is None or await find(info, kind, taxpayer) is None:
        return None
    day = as_of or local_date(info.context.services.now())
    part = Range(limit=domain.OBLIGATIONS_MAX + 1)
    rows = await info.context.ask(views.of_taxpayer(taxpayer, part=part), at_least=at_least)
    try:
        if len(rows) > domain.OBLIGATIONS_MAX:
            raise domain.StatementTooLong(limit=domain.OBLIGATIONS_MAX)
        states = await info.context.states([obligation.stream(row.obligation) for row in rows])
        each = await asyncio.gather(*(_owed(info, row, states[obligation.stream(row.obligation)], day) for row in rows))
    except Rejected as refusal:
        raise as_graphql_error(refusal, info.context.language) from None
    found = domain.statement(each)
    return AccountStatement(
        taxpayer_id=taxpayer,
        as_of=day,
        owed=money_to_graphql(found.owed),
        overdue=money_to_graphql(found.overdue),
        by_year=[OwedByYear(year=year, owed=money_to_graphql(owed)) for year, owed in found.by_year.items()],
        by_object=[
            OwedByObject(object_code=code, owed=money_to_graphql(owed)) for code, owed in found.by_object.items()
        ],
    )


async def _owed(info: Info, row: views.ObligationRow, state: obligation.Obligation, day: Date) -> domain.Owed:
    facts = await facts_of(info, state, day, None)
    assert facts, "the read model has it, so the log has it"
    return domain.Owed(object=row.object, year=row.year, debt=calculation.debt(facts, day))
