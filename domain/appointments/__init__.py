"""Appointments (fichas médicas): hospitals publish agendas, patients hold and book slots. One module per decider."""

from domain.appointments import agenda, hospital, patient

__all__ = ["agenda", "hospital", "patient"]
