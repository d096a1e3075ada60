"""The read model of appointments: one row each, for a patient's list, a hospital's day and its figures."""

from collections.abc import Collection
from datetime import date
from typing import Any

import msgspec

from domain.appointments.agenda import NoShowMarked, PatientCheckedIn
from domain.appointments.attendance import AppointmentState
from domain.appointments.patient import VisitGivenUp, VisitTaken
from domain.decider import Instant
from domain.identifiers import (
    AppointmentId,
    HospitalId,
    PractitionerId,
    SpecialtyId,
    SubjectId,
    agenda_of,
    agenda_parts,
    id_of,
)
from projections.appointments.availability import AVAILABILITY
from projections.engine.columns import Fixed
from projections.engine.keyset import ColumnOrder, Range
from projections.engine.projection import Entry, Projection, Row
from projections.engine.query import Query


class AppointmentRow(Row):
    """An appointment (ficha). `date` is its agenda's, in La Paz."""

    appointment: AppointmentId
    patient: Fixed[SubjectId]
    hospital: Fixed[HospitalId]
    specialty: Fixed[SpecialtyId]
    practitioner: Fixed[PractitionerId]
    date: Fixed[date]
    slot: Fixed[int]
    start: Fixed[Instant]
    minutes: Fixed[int]
    state: AppointmentState


def _evolve(row: AppointmentRow | None, entry: Entry, _key: str) -> AppointmentRow | None:
    event = entry.event
    if isinstance(event, VisitTaken):
        _, day, practitioner = agenda_parts(agenda_of(event.appointment))
        return AppointmentRow(
            appointment=event.appointment,
            patient=id_of(entry.stream),
            hospital=event.hospital,
            specialty=event.specialty,
            practitioner=practitioner,
            date=day,
            slot=event.slot,
            start=event.start,
            minutes=event.minutes,
            state="BOOKED",
        )
    if row is None:  # the booking is on the patient's stream, which is parked; that is reported there
        return None
    match event:
        case VisitGivenUp():
            row.state = "CANCELLED"
        case PatientCheckedIn():
            row.state = "CHECKED_IN"
        case NoShowMarked():
            row.state = "NO_SHOW"
    return row


def _keys(entry: Entry) -> tuple[str, ...]:
    event: Any = entry.event
    return (event.appointment,)


APPOINTMENTS = Projection(
    name="appointments",
    version=1,
    row=AppointmentRow,
    indexes=("patient, start, appointment", "hospital, date, start, appointment"),
    events=(VisitTaken, VisitGivenUp, PatientCheckedIn, NoShowMarked),
    keys=_keys,
    evolve=_evolve,
    created_by=(VisitTaken,),
)


BY_START = ColumnOrder(AppointmentRow, "start", "appointment")


def of_patient(
    patient: SubjectId, *, hospitals: Collection[HospitalId] | None = None, part: Range
) -> Query[AppointmentRow]:
    """A part of a patient's appointments by start, including cancelled ones.

    Only those at these hospitals; None for all.
    """
    where = "patient = %(patient)s" + ("" if hospitals is None else " AND hospital = ANY(%(hospitals)s)")
    return _by_start(where, {"patient": patient, "hospitals": list(hospitals or ())}, part)


def of_day(hospital: HospitalId, day: date, *, specialty: SpecialtyId | None, part: Range) -> Query[AppointmentRow]:
    """A part of a hospital's appointments on a day by start, including cancelled ones."""
    where = "hospital = %(hospital)s AND date = %(day)s" + (" AND specialty = %(specialty)s" if specialty else "")
    return _by_start(where, {"hospital": hospital, "day": day, "specialty": specialty}, part)


def _by_start(where: str, parameters: dict[str, Any], part: Range) -> Query[AppointmentRow]:
    page = BY_START.keyset(part)
    return Query(
        projections=(APPOINTMENTS.name,),
        select=f"SELECT * FROM {{appointments}} WHERE {where}{page.where()} ORDER BY {page.order()} LIMIT %(limit)s",
        parameters=parameters | page.parameters,
        row=AppointmentRow,
    )


class Utilisation(msgspec.Struct, frozen=True):
    """A specialty of a hospital in a week: the slots published, and the states of their appointments.

    `booked` counts those not cancelled. Of these, `came` were checked in, `missed` were no-shows, the rest neither.
    """

    specialty: SpecialtyId
    week: date  # its Monday
    slots: int
    booked: int
    cancelled: int
    came: int
    missed: int


def utilisation(hospital: HospitalId, *, first: date, last: date) -> Query[Utilisation]:
    """A hospital's figures for the days from `first` to `last`, by specialty and week, in that order."""
    return Query(
        projections=(AVAILABILITY.name, APPOINTMENTS.name),
        select="""
            WITH offered AS (
                SELECT specialty, date_trunc('week', date)::date AS week, sum(cardinality(starts)) AS slots
                FROM {availability} WHERE hospital = %(hospital)s AND date BETWEEN %(first)s AND %(last)s
                GROUP BY 1, 2
            ),
            taken AS (
                SELECT specialty, date_trunc('week', date)::date AS week,
                       count(*) FILTER (WHERE state <> 'CANCELLED') AS booked,
                       count(*) FILTER (WHERE state = 'CANCELLED') AS cancelled,
                       count(*) FILTER (WHERE state = 'CHECKED_IN') AS came,
                       count(*) FILTER (WHERE state = 'NO_SHOW') AS missed
                FROM {appointments} WHERE hospital = %(hospital)s AND date BETWEEN %(first)s AND %(last)s
                GROUP BY 1, 2
            )
            SELECT specialty, week, coalesce(slots, 0) AS slots, coalesce(booked, 0) AS booked,
                   coalesce(cancelled, 0) AS cancelled, coalesce(came, 0) AS came, coalesce(missed, 0) AS missed
            FROM offered FULL JOIN taken USING (specialty, week) ORDER BY specialty, week
        """,
        parameters={"hospital": hospital, "first": first, "last": last},
        row=Utilisation,
    )
