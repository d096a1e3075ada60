"""Appointments (fichas médicas): hospitals publish agendas, patients hold and book slots, and come or not.

One module per decider; and `availability`, which decides nothing.
"""

from domain.appointments import (
    agenda,
    attendance,
    availability,
    booking,
    cancelling,
    holding,
    hospital,
    patient,
    publishing,
    rescheduling,
)

__all__ = [
    "agenda",
    "attendance",
    "availability",
    "booking",
    "cancelling",
    "holding",
    "hospital",
    "patient",
    "publishing",
    "rescheduling",
]
