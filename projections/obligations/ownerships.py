"""The read model of ownerships: a row for each taxable object and each owner that it has or had."""

from datetime import date

from domain.identifiers import PartyId, TaxableObjectId
from domain.obligations.taxable_object import OwnershipTransferred, TaxableObjectRegistered
from projections.engine.columns import Fixed
from projections.engine.keyset import ColumnOrder, Range
from projections.engine.projection import Entry, Projection, Row
from projections.engine.query import Query


class OwnershipRow(Row):
    """From the day `since` on, the object has this owner, until a later row. `ownership` is object and day."""

    ownership: str
    object: Fixed[TaxableObjectId]
    owner: Fixed[PartyId]
    since: Fixed[date]


def _evolve(_row: OwnershipRow | None, entry: Entry, key: str) -> OwnershipRow:
    event = entry.event
    assert isinstance(event, TaxableObjectRegistered | OwnershipTransferred)
    return OwnershipRow(ownership=key, object=event.object, owner=event.owner, since=event.since)


def _key(entry: Entry) -> tuple[str, ...]:
    event = entry.event
    assert isinstance(event, TaxableObjectRegistered | OwnershipTransferred)
    return (f"{event.object} {event.since}",)


OWNERSHIPS = Projection(
    name="ownerships",
    version=1,
    row=OwnershipRow,
    indexes=("object, since", "owner, object"),
    events=(TaxableObjectRegistered, OwnershipTransferred),
    keys=_key,
    evolve=_evolve,
    created_by=(TaxableObjectRegistered, OwnershipTransferred),
)

BY_OBJECT = ColumnOrder(OwnershipRow, "object")


def objects_of(owner: PartyId, *, part: Range) -> Query[OwnershipRow]:
    """A page of the objects that somebody owns now, by code."""
    page = BY_OBJECT.keyset(part)
    return Query(
        projections=(OWNERSHIPS.name,),
        select=f"""
            SELECT o.* FROM {{ownerships}} AS o
            WHERE o.owner = %(owner)s{page.where("o.")} AND NOT EXISTS (
                SELECT FROM {{ownerships}} AS later WHERE later.object = o.object AND later.since > o.since
            )
            ORDER BY {page.order("o.")} LIMIT %(limit)s
        """,
        parameters=page.parameters | {"owner": owner},
        row=OwnershipRow,
    )
