"""All read models, by name."""

from projections.appointments import APPOINTMENTS
from projections.availability import AVAILABILITY
from projections.projection import Projection

PROJECTIONS: dict[str, Projection] = {one.name: one for one in (AVAILABILITY, APPOINTMENTS)}
