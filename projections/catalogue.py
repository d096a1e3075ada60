"""All read models, by name."""

from projections.appointments.appointments import APPOINTMENTS
from projections.appointments.availability import AVAILABILITY
from projections.engine.projection import Projection
from projections.queues.lines import LINES
from projections.queues.service_points import SERVICE_POINTS
from projections.queues.turns import TURNS
from projections.webhooks.deliveries import DELIVERIES, OUTBOX, WEBHOOKS

PROJECTIONS: dict[str, Projection] = {
    one.name: one for one in (AVAILABILITY, APPOINTMENTS, SERVICE_POINTS, LINES, TURNS, OUTBOX, WEBHOOKS, DELIVERIES)
}
