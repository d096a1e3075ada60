"""Infractions in the schema: what is published, the infractions of a plate, and what officers do with them."""

from api.graphql.infractions import contests, infractions, lists, payments, published

MODULES = (published, infractions, contests, payments, lists)
