"""Appointments (fichas médicas): hospitals publish agendas, patients hold and book slots.

One module per decider, and `availability`, which decides nothing.
"""

from domain.appointments import agenda, availability, hospital, patient

__all__ = ["agenda", "availability", "hospital", "patient"]
