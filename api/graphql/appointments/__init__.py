"""Appointments in the schema: hospitals, agendas and their slots, bookings, patients."""

from api.graphql.appointments import agendas, attendance, booking, hospitals, live, patients, views

MODULES = (hospitals, agendas, booking, attendance, patients, views, live)
