"""People in the schema."""

from api.graphql.people import dependants, persons

MODULES = (persons, dependants)
