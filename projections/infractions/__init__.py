"""Read models of infractions."""

from projections.infractions.infractions import INFRACTIONS

PROJECTIONS = (INFRACTIONS,)
