"""The read model of free slots: one row for each agenda, from which the states of its slots follow at any moment.

Nothing in it depends on the present moment: holds are stored with `held_until`, and the query counts.
"""

from datetime import date, datetime
from typing import Any

import msgspec

from domain.appointments.agenda import AgendaPublished, AppointmentBooked, AppointmentCancelled, SlotHeld
from domain.appointments.availability import PublishedAgenda, Slot
from domain.decider import Instant, Value
from domain.identifiers import AgendaId, HospitalId, PractitionerId, SpecialtyId, id_of
from projections.engine.columns import Bits, Fixed
from projections.engine.keyset import ColumnOrder, Range
from projections.engine.projection import Entry, Projection, Row
from projections.engine.query import Query


class AgendaRow(Row):
    """An agenda. Slots count from 1, places in lists from 0: slot n begins at `starts[n - 1]`.

    `unbooked` has a bit for each slot, 1 if it has no appointment. `unbooked_count` and `first_unbooked` (0 if there is
    none) are derived from it, for speed. `held` has the slots without an appointment that were ever held, each until
    the moment at its place in `held_until`. `taken` counts live appointments by channel.
    """

    agenda: AgendaId
    hospital: Fixed[HospitalId]
    specialty: Fixed[SpecialtyId]
    practitioner: Fixed[PractitionerId]
    date: Fixed[date]
    release_at: Fixed[Instant | None]
    first_start: Fixed[Instant]
    quotas: Fixed[dict[str, int]]
    starts: Fixed[list[Instant]]
    minutes: Fixed[list[int]]
    taken: dict[str, int]
    unbooked: Bits
    unbooked_count: int
    first_unbooked: int
    held: list[int]
    held_until: list[Instant]


def _published(event: AgendaPublished) -> AgendaRow:
    return AgendaRow(
        agenda=event.agenda,
        hospital=event.hospital,
        specialty=event.specialty,
        practitioner=event.practitioner,
        date=event.date,
        release_at=event.release_at,
        first_start=event.slots[0].start,
        quotas=dict(event.quotas),
        starts=[slot.start for slot in event.slots],
        minutes=[slot.minutes for slot in event.slots],
        taken={},
        unbooked="1" * len(event.slots),
        unbooked_count=len(event.slots),
        first_unbooked=1,
        held=[],
        held_until=[],
    )


def _evolve(row: AgendaRow | None, entry: Entry, _key: str) -> AgendaRow | None:
    event = entry.event
    if isinstance(event, AgendaPublished):
        return _published(event)
    assert row is not None, "an agenda's first event is its publication"
    match event:
        case SlotHeld():
            _end_hold(row, event.slot)
            row.held.append(event.slot)
            row.held_until.append(event.held_until)
        case AppointmentBooked():
            _end_hold(row, event.slot)
            _mark(row, event.slot, "0")
            row.taken[event.channel] = row.taken.get(event.channel, 0) + 1
        case AppointmentCancelled():
            assert event.slot, "a cancellation of the first version has no slot"
            _mark(row, event.slot, "1")
            row.taken[event.channel] -= 1
    return row


def _end_hold(row: AgendaRow, slot: int) -> None:
    if slot in row.held:
        at = row.held.index(slot)
        del row.held[at], row.held_until[at]


def _mark(row: AgendaRow, slot: int, unbooked: str) -> None:
    row.unbooked = row.unbooked[: slot - 1] + unbooked + row.unbooked[slot:]
    row.unbooked_count = row.unbooked.count("1")
    row.first_unbooked = row.unbooked.find("1") + 1


AVAILABILITY = Projection(
    name="availability",
    version=1,
    row=AgendaRow,
    indexes=("specialty, date", "hospital, agenda"),
    events=(AgendaPublished, SlotHeld, AppointmentBooked, AppointmentCancelled),
    keys=lambda entry: (id_of(entry.stream),),
    evolve=_evolve,
    created_by=(AgendaPublished,),
)

# `free_count` and `slot_state` of domain/appointments/availability.py, in SQL. tests/properties/test_views.py compares.
# For an agenda `a` at the moment %(now)s: how many slots are free, and the number of the first (0 or NULL without one).
# Most agendas begin later and have no live hold, so their slots need not be looked at one by one.
_SLOTS_FREE = """
    FROM generate_series(a.first_unbooked, length(a.unbooked)) AS n
    WHERE a.first_unbooked > 0 AND get_bit(a.unbooked, n - 1) = 1 AND a.starts[n] > %(now)s AND NOT EXISTS (
        SELECT FROM unnest(a.held, a.held_until) AS h (slot, until) WHERE h.slot = n AND h.until > %(now)s
    )
"""
_IS_PLAIN = "a.first_start > %(now)s AND NOT %(now)s < ANY (a.held_until)"
_FREE = f"""
    CASE WHEN a.release_at > %(now)s THEN 0 WHEN {_IS_PLAIN} THEN a.unbooked_count
         ELSE (SELECT count(*)::int {_SLOTS_FREE}) END
"""
_SLOT = f"""
    CASE WHEN a.release_at > %(now)s THEN NULL WHEN {_IS_PLAIN} THEN a.first_unbooked
         ELSE (SELECT min(n) {_SLOTS_FREE}) END
"""


class FreeDay(msgspec.Struct, frozen=True):
    """A day: the agendas published, the free slots in them, and when the first free slot begins, if any.

    Only the first day with free slots has that slot too: to find it on other days would take more reading.
    """

    date: date
    agendas: int
    free: int
    start: Instant | None
    agenda: AgendaId | None
    slot: int | None
    minutes: int | None


def free_by_day(
    *,
    specialty: SpecialtyId,
    hospital: HospitalId | None,
    practitioner: PractitionerId | None,
    first: date,
    last: date,
    now: datetime,
) -> Query[FreeDay]:
    """The days from `first` to `last` with agendas of a specialty, optionally of one hospital or practitioner.

    One pass over the agendas gives the days. The agendas of one day are read again for its first free slot; keeping all
    rows for that took more than half of the query's time. Counts are `int`: PostgreSQL sums `bigint` as `numeric`.
    """
    where, parameters = _narrowed(specialty=specialty, hospital=hospital, practitioner=practitioner)
    return Query(
        projections=(AVAILABILITY.name,),
        select=f"""
            WITH days AS MATERIALIZED (
                SELECT a.date, count(*) AS agendas, sum({_FREE}) AS free, min(a.starts[{_SLOT}]) AS start
                FROM {{availability}} AS a WHERE {where} AND a.date BETWEEN %(first)s AND %(last)s GROUP BY a.date
            ),
            next AS MATERIALIZED (
                SELECT a.date, a.agenda, a.slot, a.minutes[a.slot] AS minutes
                FROM (
                    SELECT day.start, a.date, a.agenda, a.starts, a.minutes, {_SLOT} AS slot
                    FROM (SELECT date, start FROM days WHERE free > 0 ORDER BY date LIMIT 1) AS day
                    JOIN {{availability}} AS a ON {where} AND a.date = day.date OFFSET 0
                ) AS a
                WHERE a.starts[a.slot] = a.start ORDER BY a.agenda LIMIT 1
            )
            SELECT d.date, d.agendas, d.free, d.start, n.agenda, n.slot, n.minutes
            FROM days AS d LEFT JOIN next AS n ON n.date = d.date ORDER BY d.date
        """,
        parameters=parameters | {"first": first, "last": last, "now": now},
        row=FreeDay,
    )


BY_ID = ColumnOrder(AgendaRow, "agenda")


def agendas_from(
    *,
    hospital: HospitalId,
    specialty: SpecialtyId | None,
    practitioner: PractitionerId | None,
    on_or_after: date,
    part: Range,
) -> Query[AgendaRow]:
    """A part of a hospital's agendas from a day on, by date and practitioner."""
    where, parameters = _narrowed(hospital=hospital, specialty=specialty, practitioner=practitioner)
    page = BY_ID.keyset(part)
    return Query(
        projections=(AVAILABILITY.name,),
        select=f"SELECT a.* FROM {{availability}} AS a WHERE {where} AND a.agenda > %(begin)s{page.where('a.')}"
        f" ORDER BY {page.order('a.')} LIMIT %(limit)s",
        parameters=parameters | {"begin": f"{hospital}/{on_or_after}"} | page.parameters,
        row=AgendaRow,
    )


def _narrowed(**wanted: str | None) -> tuple[str, dict[str, Any]]:
    """The SQL condition that the given columns have these values, and its parameters."""
    filters = {column: value for column, value in wanted.items() if value is not None}
    return " AND ".join(f"a.{column} = %({column})s" for column in filters), filters


class Hold(Value):
    """A hold on a slot."""

    held_until: Instant


def published_agenda(row: AgendaRow) -> PublishedAgenda:
    """The agenda of a row, as readers see it."""
    slots = [
        Slot(number=number, start=start, minutes=minutes)
        for number, (start, minutes) in enumerate(zip(row.starts, row.minutes, strict=True), start=1)
    ]
    return PublishedAgenda(
        agenda=row.agenda,
        hospital=row.hospital,
        specialty=row.specialty,
        practitioner=row.practitioner,
        date=row.date,
        release_at=row.release_at,
        quotas=row.quotas,
        taken=row.taken,
        slots={slot.number: slot for slot in slots},
        holds={slot: Hold(held_until=until) for slot, until in zip(row.held, row.held_until, strict=True)},
        booked={number for number, letter in enumerate(row.unbooked, start=1) if letter == "0"},
        unbooked=[number for number, letter in enumerate(row.unbooked, start=1) if letter == "1"],
    )
