"""Read models of appointments."""

from projections.appointments.appointments import APPOINTMENTS
from projections.appointments.availability import AVAILABILITY
from projections.appointments.directory import DIRECTORY

PROJECTIONS = (AVAILABILITY, APPOINTMENTS, DIRECTORY)
