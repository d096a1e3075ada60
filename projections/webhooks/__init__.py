"""Read models of webhooks: what is sent to whom, and what became of it."""

from projections.webhooks.deliveries import DELIVERIES, OUTBOX, WEBHOOKS, due_deliveries, stretch

PROJECTIONS = (OUTBOX, WEBHOOKS, DELIVERIES)

__all__ = ["PROJECTIONS", "due_deliveries", "stretch"]
