"""Where a free slot is: one row an agenda, with what is needed to tell at any moment what can be done with its slots.

Nothing in it depends on the present moment: holds stand there with `held_until`, and the query counts.
"""

from bisect import bisect_left, insort
from datetime import date, datetime
from typing import Any

import msgspec

from domain.appointments import agenda as agendas
from domain.appointments.agenda import AgendaPublished, AppointmentBooked, AppointmentCancelled, Slot, SlotHeld
from domain.decider import Instant
from domain.identifiers import AgendaId, AppointmentId, HospitalId, PractitionerId, SpecialtyId
from projections.projection import Entry, Projection, Row
from projections.query import Query


class AgendaRow(Row):
    """An agenda. Of slot n, `starts[n - 1]` and `minutes[n - 1]` tell the time; `unbooked` are the numbers of slots
    without an appointment, in order; `held` those of them that were held last, each until `held_until` at its place.

    `booked` has slot and channel of each live appointment by the opaque part of its id; `taken` counts by channel.
    """

    agenda: str
    hospital: str
    specialty: str
    practitioner: str
    date: date
    release_at: Instant | None
    quotas: dict[str, int]
    taken: dict[str, int]
    starts: list[Instant]
    minutes: list[int]
    unbooked: list[int]
    held: list[int]
    held_until: list[Instant]
    booked: dict[str, tuple[int, str]]


def _published(event: AgendaPublished) -> AgendaRow:
    return AgendaRow(
        agenda=event.agenda,
        hospital=event.hospital,
        specialty=event.specialty,
        practitioner=event.practitioner,
        date=event.date,
        release_at=event.release_at,
        quotas=dict(event.quotas),
        taken={},
        starts=[slot.start for slot in event.slots],
        minutes=[slot.minutes for slot in event.slots],
        unbooked=[slot.number for slot in event.slots],
        held=[],
        held_until=[],
        booked={},
    )


def _evolve(row: AgendaRow | None, entry: Entry, _key: str) -> AgendaRow | None:
    event = entry.event
    if isinstance(event, AgendaPublished):
        return _published(event)
    assert row is not None, "an agenda begins with being published"
    match event:
        case SlotHeld():
            _end_hold(row, event.slot)
            row.held.append(event.slot)
            row.held_until.append(event.held_until)
        case AppointmentBooked():
            _end_hold(row, event.slot)
            at = bisect_left(row.unbooked, event.slot)
            if at < len(row.unbooked) and row.unbooked[at] == event.slot:
                del row.unbooked[at]
            row.booked[_opaque(event.appointment)] = (event.slot, event.channel)
            row.taken[event.channel] = row.taken.get(event.channel, 0) + 1
        case AppointmentCancelled():
            slot, channel = row.booked.pop(_opaque(event.appointment), (0, ""))
            if slot:
                insort(row.unbooked, slot)
                row.taken[channel] -= 1
    return row


def _opaque(appointment: AppointmentId) -> str:
    return appointment.rpartition("/")[2]


def _end_hold(row: AgendaRow, slot: int) -> None:
    if slot in row.held:
        at = row.held.index(slot)
        del row.held[at], row.held_until[at]


AVAILABILITY = Projection(
    name="availability",
    version=1,
    row=AgendaRow,
    columns={
        "agenda": 'text COLLATE "C"',
        "hospital": 'text COLLATE "C"',
        "specialty": 'text COLLATE "C"',
        "practitioner": 'text COLLATE "C"',
        "date": "date",
        "release_at": "timestamptz",
        "quotas": "json",
        "taken": "json",
        "starts": "timestamptz[]",
        "minutes": "int[]",
        "unbooked": "int[]",
        "held": "int[]",
        "held_until": "timestamptz[]",
        "booked": "json",
    },
    indexes=("specialty, date", "hospital, agenda"),
    events=(AgendaPublished, SlotHeld, AppointmentBooked, AppointmentCancelled),
    keys=lambda entry: (entry.stream.partition("/")[2],),
    evolve=_evolve,
)

# Of an agenda `a` at the moment %(now)s: how many slots are free, and the number of the first. Most agendas begin later
# and have no live hold: their slots need not be looked at one by one.
_SLOTS_FREE = """
    FROM unnest(a.unbooked) AS n WHERE a.starts[n] > %(now)s AND NOT EXISTS (
        SELECT FROM unnest(a.held, a.held_until) AS h (slot, until) WHERE h.slot = n AND h.until > %(now)s
    )
"""
_FREE = f"""
    CROSS JOIN LATERAL (
        SELECT a.release_at > %(now)s AS closed, a.starts[1] > %(now)s AND NOT %(now)s < ANY (a.held_until) AS untouched
    ) AS now
    CROSS JOIN LATERAL (
        SELECT CASE WHEN now.closed THEN 0 WHEN now.untouched THEN cardinality(a.unbooked)
                    ELSE (SELECT count(*) {_SLOTS_FREE}) END AS free,
               CASE WHEN now.closed THEN NULL WHEN now.untouched THEN a.unbooked[1]
                    ELSE (SELECT min(n) {_SLOTS_FREE}) END AS slot
    ) AS free
"""


class FreeDay(msgspec.Struct, frozen=True):
    """What a day has to offer: agendas published, free slots in them, and the first of these; None if there is none."""

    date: date
    agendas: int
    free: int
    agenda: AgendaId | None
    slot: int | None
    start: Instant | None
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
    """The days from `first` to `last` that have agendas of a specialty; at one hospital, of one practitioner."""
    where, parameters = _narrowed(specialty=specialty, hospital=hospital, practitioner=practitioner)
    return Query(
        projections=(AVAILABILITY.name,),
        select=f"""
            WITH found AS (
                SELECT a.date, a.agenda, free.free, free.slot, a.starts[free.slot] AS start,
                       a.minutes[free.slot] AS minutes
                FROM {{availability}} AS a {_FREE} WHERE {where} AND a.date BETWEEN %(first)s AND %(last)s
            )
            SELECT d.date, d.agendas, d.free, n.agenda, n.slot, n.start, n.minutes
            FROM (SELECT date, count(*) AS agendas, sum(free) AS free FROM found GROUP BY date) AS d
            LEFT JOIN (
                SELECT DISTINCT ON (date) * FROM found WHERE free > 0 ORDER BY date, start, agenda
            ) AS n USING (date)
            ORDER BY d.date
        """,
        parameters=parameters | {"first": first, "last": last, "now": now},
        row=FreeDay,
    )


def agendas_from(
    *,
    hospital: HospitalId,
    specialty: SpecialtyId | None,
    practitioner: PractitionerId | None,
    begin: str,
    first: int,
) -> Query[AgendaRow]:
    """At most `first` of a hospital's agendas whose ids come after `begin`, in order of date and practitioner."""
    where, parameters = _narrowed(specialty=specialty, hospital=hospital, practitioner=practitioner)
    return Query(
        projections=(AVAILABILITY.name,),
        select=f"SELECT a.* FROM {{availability}} AS a WHERE {where} AND a.agenda > %(begin)s ORDER BY a.agenda"
        " LIMIT %(limit)s",
        parameters=parameters | {"begin": begin, "limit": first},
        row=AgendaRow,
    )


def _narrowed(**wanted: str | None) -> tuple[str, dict[str, Any]]:
    """The condition that these columns are so, where something is wanted, and its parameters."""
    said = {column: value for column, value in wanted.items() if value is not None}
    return " AND ".join(f"a.{column} = %({column})s" for column in said), said


def as_agenda(row: AgendaRow) -> agendas.Agenda:
    """The row as the domain sees an agenda, as far as its slots' states are concerned: who has them is left out."""
    slots = [
        Slot(number=number, start=start, minutes=minutes)
        for number, (start, minutes) in enumerate(zip(row.starts, row.minutes, strict=True), start=1)
    ]
    published = AgendaPublished(
        agenda=row.agenda,
        hospital=row.hospital,
        specialty=row.specialty,
        practitioner=row.practitioner,
        date=row.date,
        slots=slots,
        quotas=row.quotas,
        release_at=row.release_at,
    )
    holds = {
        slot: SlotHeld(hold="", slot=slot, patient="", held_until=until)
        for slot, until in zip(row.held, row.held_until, strict=True)
    }
    return agendas.Agenda(
        published=published,
        slots={slot.number: slot for slot in slots},
        holds=holds,
        booked={slot: f"{row.agenda}/{opaque}" for opaque, (slot, _) in row.booked.items()},
        unbooked=row.unbooked,
        taken=row.taken,
    )
