"""People in the schema."""

from api.graphql.people import dependants, organisations, persons, representations, viewer

MODULES = (persons, dependants, organisations, representations, viewer)
