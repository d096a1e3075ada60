"""Appointments in the schema: hospitals, agendas and their slots, bookings, patients."""

from api.graphql.appointments import (
    agendas,
    attendance,
    booking,
    directory,
    hospitals,
    live,
    patients,
    rescheduling,
    views,
)

MODULES = (hospitals, directory, agendas, booking, rescheduling, attendance, patients, views, live)
