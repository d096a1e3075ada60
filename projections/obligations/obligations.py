"""The read model of obligations: the facts of each. The amount owed depends on the day, so it is not stored."""

from datetime import date
from typing import Any

from domain.identifiers import ObligationId, PartyId, TaxableObjectId
from domain.obligations.obligation import AmendmentApproved, ObligationSettled, SettlementReversed, TaxAssessed
from projections.engine.columns import BigInt, Fixed
from projections.engine.keyset import ColumnOrder, Range
from projections.engine.projection import Entry, Projection, Row
from projections.engine.query import Query
from projections.obligations.ownerships import OWNERSHIPS


class ObligationRow(Row):
    """An obligation: the tax in centavos as assessed or amended, and the centavos paid by receipt."""

    obligation: ObligationId
    object: Fixed[TaxableObjectId]
    tax: Fixed[str]
    year: Fixed[int]
    due: Fixed[date]
    tax_centavos: BigInt
    paid_centavos: BigInt
    receipts: dict[str, int]


def _evolve(row: ObligationRow | None, entry: Entry, key: str) -> ObligationRow:
    event = entry.event
    if isinstance(event, TaxAssessed):
        return ObligationRow(key, event.object, event.tax, event.year, event.due, event.amount.centavos, 0, {})
    assert row is not None, "an obligation's first event is that its tax was assessed"
    match event:
        case AmendmentApproved():
            row.tax_centavos = event.amount.centavos
        case ObligationSettled():
            row.paid_centavos += event.amount.centavos
            row.receipts = row.receipts | {event.reference: event.amount.centavos}
        case SettlementReversed():
            row.paid_centavos -= row.receipts[event.reference]
            row.receipts = {name: paid for name, paid in row.receipts.items() if name != event.reference}
    return row


def _key(entry: Entry) -> tuple[str, ...]:
    event: Any = entry.event
    return (event.obligation,)


OBLIGATIONS = Projection(
    name="obligations",
    version=1,
    row=ObligationRow,
    indexes=("object, year",),
    events=(TaxAssessed, AmendmentApproved, ObligationSettled, SettlementReversed),
    keys=_key,
    evolve=_evolve,
    created_by=(TaxAssessed,),
)

BY_YEAR = ColumnOrder(ObligationRow, "year", "obligation")


def of_object(taxed: TaxableObjectId, *, part: Range) -> Query[ObligationRow]:
    """A page of what is owed for an object, by year."""
    page = BY_YEAR.keyset(part)
    return Query(
        projections=(OBLIGATIONS.name,),
        select=f"SELECT * FROM {{obligations}} WHERE object = %(object)s{page.where()}"
        f" ORDER BY {page.order()} LIMIT %(limit)s",
        parameters=page.parameters | {"object": taxed},
        row=ObligationRow,
    )


def of_taxpayer(taxpayer: PartyId, *, part: Range) -> Query[ObligationRow]:
    """A page of what somebody owes, by year: the tax of a year falls on the owner of its last day.

    For years before the object was registered, it falls on its first known owner.
    """
    page = BY_YEAR.keyset(part)
    return Query(
        projections=(OBLIGATIONS.name, OWNERSHIPS.name),
        # OFFSET 0 forces one index look-up for each object, whatever the planner assumes about unknown parameters.
        select=f"""
            SELECT o.* FROM (
                SELECT DISTINCT w.object FROM {{ownerships}} AS w WHERE w.owner = %(taxpayer)s OFFSET 0
            ) AS owned CROSS JOIN LATERAL (
                SELECT * FROM {{obligations}} AS o WHERE o.object = owned.object OFFSET 0
            ) AS o
            WHERE %(taxpayer)s = coalesce(
                (SELECT w.owner FROM {{ownerships}} AS w
                WHERE w.object = o.object AND w.since <= make_date(o.year, 12, 31) ORDER BY w.since DESC LIMIT 1),
                (SELECT w.owner FROM {{ownerships}} AS w WHERE w.object = o.object ORDER BY w.since LIMIT 1)
            ){page.where("o.")}
            ORDER BY {page.order("o.")} LIMIT %(limit)s
        """,
        parameters=page.parameters | {"taxpayer": taxpayer},
        row=ObligationRow,
    )
