"""Webhooks in the schema."""

from api.graphql.webhooks import webhooks

MODULES = (webhooks,)
