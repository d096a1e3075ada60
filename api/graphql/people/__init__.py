"""People in the schema."""

from api.graphql.people import dependants, persons, viewer

MODULES = (persons, dependants, viewer)
