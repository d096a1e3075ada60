"""The read model of names: a row for each registered hospital, specialty, practitioner and room, to list and search."""

from typing import Any, Literal

from domain.appointments.hospital import HospitalRegistered, Location
from domain.appointments.practitioner import PractitionerRegistered, RoomRegistered
from domain.appointments.specialty import SpecialtyRegistered
from domain.decider import Value
from domain.identifiers import HospitalId, SpecialtyId, category_of, id_of
from projections.engine.columns import Fixed, Text
from projections.engine.keyset import ColumnOrder, Range
from projections.engine.projection import Entry, Projection, Row
from projections.engine.query import Query
from projections.engine.search import search_words, simplified

Kind = Literal["hospital", "specialty", "practitioner", "room"]


class Contact(Value):
    """Where a hospital is and how to call it."""

    address: str | None
    district: str | None
    phone: str | None
    location: Location | None


class DirectoryRow(Row):
    """A registered thing. `entry` is its kind and code: "hospital:la-merced".

    `hospital` is that of a room, and of a practitioner who has one. `specialties` are those of a practitioner. A
    hospital has a `contact`. The simplified texts are for search and order.
    """

    entry: str
    kind: Fixed[Kind]
    code: Fixed[str]
    name: Text
    simplified_name: str
    hospital: HospitalId | None
    specialties: list[SpecialtyId]
    contact: Contact | None
    simplified_district: str | None


def _evolve(_row: DirectoryRow | None, entry: Entry, key: str) -> DirectoryRow:
    event: Any = entry.event
    kind: Any
    kind, _, code = key.partition(":")
    contact = district = None
    if isinstance(event, HospitalRegistered):
        contact = Contact(address=event.address, district=event.district, phone=event.phone, location=event.location)
        district = simplified(event.district) if event.district else None
    return DirectoryRow(
        entry=key,
        kind=kind,
        code=code,
        name=event.name,
        simplified_name=simplified(event.name),
        hospital=event.hospital if isinstance(event, PractitionerRegistered | RoomRegistered) else None,
        specialties=list(event.specialties) if isinstance(event, PractitionerRegistered) else [],
        contact=contact,
        simplified_district=district,
    )


DIRECTORY = Projection(
    name="directory",
    version=1,
    row=DirectoryRow,
    indexes=("kind, simplified_name, code",),
    events=(HospitalRegistered, SpecialtyRegistered, PractitionerRegistered, RoomRegistered),
    keys=lambda entry: (f"{category_of(entry.stream)}:{id_of(entry.stream)}",),  # categories are named like kinds
    evolve=_evolve,
)


BY_NAME = ColumnOrder(DirectoryRow, "simplified_name", "code")

_CONDITIONS = {
    "words": "NOT EXISTS (SELECT FROM unnest(%(words)s::text[]) AS w (word)"
    " WHERE strpos(simplified_name, w.word) = 0 AND strpos(code, w.word) = 0)",
    "hospital": "hospital = %(hospital)s",
    "specialty": "%(specialty)s = ANY (specialties)",
    "district": "simplified_district = %(district)s",
}


def entries(
    kind: Kind,
    *,
    part: Range,
    search: str | None = None,
    hospital: HospitalId | None = None,
    specialty: SpecialtyId | None = None,
    district: str | None = None,
) -> Query[DirectoryRow]:
    """A part of the things of a kind, by name.

    Each word of `search` must be in the name or the code. `search` and `district` ignore accents and case.
    """
    wanted: dict[str, Any] = {
        "words": search_words(search or "") or None,
        "hospital": hospital,
        "specialty": specialty,
        "district": None if district is None else simplified(district),
    }
    given = {name: value for name, value in wanted.items() if value is not None}
    conditions = " AND ".join(["kind = %(kind)s", *(_CONDITIONS[name] for name in given)])
    page = BY_NAME.keyset(part)
    return Query(
        projections=(DIRECTORY.name,),
        select=f"SELECT * FROM {{directory}} WHERE {conditions}{page.where()} ORDER BY {page.order()} LIMIT %(limit)s",
        parameters=given | page.parameters | {"kind": kind},
        row=DirectoryRow,
    )
