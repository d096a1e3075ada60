"""Appointments (fichas médicas): hospitals publish agendas; patients hold and book slots, and attend or not.

One module per decider. `availability` decides nothing: it answers which slots are free.
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
    practitioner,
    publishing,
    rescheduling,
    specialty,
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
    "practitioner",
    "publishing",
    "rescheduling",
    "specialty",
]
