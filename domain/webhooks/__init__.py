"""Webhooks: external programs are notified of what happens. One module per decider."""

from domain.webhooks import delivery, registration

__all__ = ["delivery", "registration"]
