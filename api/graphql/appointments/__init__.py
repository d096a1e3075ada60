"""Appointments in the schema: hospitals, agendas and their slots, bookings, patients."""

from api.graphql.appointments import agendas, attendance, booking, hospitals, live, patients, rescheduling, views

MODULES = (hospitals, agendas, booking, rescheduling, attendance, patients, views, live)
