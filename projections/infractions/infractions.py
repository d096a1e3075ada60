"""The read model of infractions: a row each, for the public look-up by plate and for the lists of officers.

A row has no amount that changes with the day: `account` has what the amount of any day follows from. What only
officers see, such as the guard, is not here.
"""

from typing import Any

import msgspec

from domain.decider import Instant
from domain.identifiers import InfractionId, Plate
from domain.infractions.infraction import (
    Account,
    InfractionContested,
    InfractionContestResolved,
    InfractionIssued,
    InfractionSentToCollection,
    InfractionSettled,
    InfractionSettlementReversed,
    Status,
    account_after,
)
from projections.engine.columns import BigInt, Fixed, Text
from projections.engine.keyset import ColumnOrder, Keyset, Range
from projections.engine.projection import Entry, Projection, Row
from projections.engine.query import Query
from projections.engine.search import simplified


class InfractionRow(Row):
    """An infraction. `fine` is the whole fine and `paid` the sum of the payments that count, in centavos."""

    infraction: InfractionId
    plate: Fixed[Plate]
    code: Fixed[Text]
    description: Fixed[Text]
    place: Fixed[Text]
    district: Fixed[Text]
    simplified_district: Fixed[str]
    occurred_at: Fixed[Instant]
    fine: Fixed[BigInt]
    paid: BigInt
    status: Status
    account: Account


def _evolve(row: InfractionRow | None, entry: Entry, key: str) -> InfractionRow:
    event = entry.event
    account = account_after(row.account if row else None, event)
    assert account is not None, "an infraction's first event is that it was issued"
    if isinstance(event, InfractionIssued):
        return InfractionRow(
            infraction=key,
            plate=event.plate,
            code=event.code,
            description=event.description,
            place=event.place,
            district=event.district,
            simplified_district=simplified(event.district),
            occurred_at=event.occurred_at,
            fine=event.fine.amount.centavos,
            paid=0,
            status=account.status,
            account=account,
        )
    assert row is not None
    row.account, row.status = account, account.status
    row.paid = sum(one.amount.centavos for one in account.payments.values())
    return row


def _key(entry: Entry) -> tuple[str, ...]:
    event: Any = entry.event
    return (event.infraction,)


INFRACTIONS = Projection(
    name="infractions",
    version=1,
    row=InfractionRow,
    indexes=(
        "plate, occurred_at, infraction",
        "status, occurred_at, infraction",
        "simplified_district, status, occurred_at, infraction",
        "simplified_district, status, district, fine, paid",  # totals are read from it alone, and not from wide rows
    ),
    events=(
        InfractionIssued,
        InfractionContested,
        InfractionContestResolved,
        InfractionSettled,
        InfractionSettlementReversed,
        InfractionSentToCollection,
    ),
    keys=_key,
    evolve=_evolve,
    created_by=(InfractionIssued,),
)


LATEST_FIRST = ColumnOrder(InfractionRow, "occurred_at", "infraction", descending=True)


def of_plate(plate: Plate, *, part: Range) -> Query[InfractionRow]:
    """A part of the infractions of a plate, the latest first."""
    return _infractions("plate = %(plate)s", {"plate": plate}, LATEST_FIRST.keyset(part))


def in_status(status: Status, *, district: str | None, part: Range) -> Query[InfractionRow]:
    """A part of the infractions in a status, the latest first; `district` ignores accents and case."""
    where = "status = %(status)s" + ("" if district is None else " AND simplified_district = %(district)s")
    wanted = {"status": status, "district": None if district is None else simplified(district)}
    return _infractions(where, wanted, LATEST_FIRST.keyset(part))


def _infractions(where: str, parameters: dict[str, Any], page: Keyset) -> Query[InfractionRow]:
    return Query(
        projections=(INFRACTIONS.name,),
        select=f"SELECT * FROM {{infractions}} WHERE {where}{page.where()} ORDER BY {page.order()} LIMIT %(limit)s",
        parameters=parameters | page.parameters,
        row=InfractionRow,
    )


class Totals(msgspec.Struct, frozen=True):
    """The infractions of a district in a status: how many, their whole fines and their payments in centavos."""

    district: str
    status: Status
    infractions: int
    fines: int
    paid: int


def totals(*, figures_max: int) -> Query[Totals]:
    """The figures of each district and status, in the order of the districts' names, so many at most."""
    return Query(
        projections=(INFRACTIONS.name,),
        select="""
            SELECT min(district COLLATE "C") AS district, status, count(*) AS infractions,
                sum(fine)::bigint AS fines, sum(paid)::bigint AS paid
            FROM {infractions} GROUP BY simplified_district, status
            ORDER BY simplified_district, status LIMIT %(limit)s
        """,
        parameters={"limit": figures_max},
        row=Totals,
    )
