"""Read models of appointments."""

from projections.appointments.appointments import APPOINTMENTS
from projections.appointments.availability import AVAILABILITY

PROJECTIONS = (AVAILABILITY, APPOINTMENTS)
