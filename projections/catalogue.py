"""All read models, by name."""

from projections.appointments import APPOINTMENTS
from projections.availability import AVAILABILITY
from projections.deliveries import DELIVERIES, OUTBOX, WEBHOOKS
from projections.engine.projection import Projection
from projections.lines import LINES
from projections.service_points import SERVICE_POINTS
from projections.turns import TURNS

PROJECTIONS: dict[str, Projection] = {
    one.name: one for one in (AVAILABILITY, APPOINTMENTS, SERVICE_POINTS, LINES, TURNS, OUTBOX, WEBHOOKS, DELIVERIES)
}
