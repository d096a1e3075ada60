"""Read models of webhooks: what is sent to which webhook, and the results."""

from projections.webhooks.deliveries import DELIVERIES, DUE_FIGURES, OUTBOX, WEBHOOKS, due_deliveries, stretch

PROJECTIONS = (OUTBOX, WEBHOOKS, DELIVERIES)
FIGURES = (DUE_FIGURES,)

__all__ = ["FIGURES", "PROJECTIONS", "due_deliveries", "stretch"]
