"""Tax debts in the schema."""

from api.graphql.obligations import amending, amnesties, figures, objects, obligations, settling, statements, tax_years

MODULES = (figures, tax_years, amnesties, objects, obligations, statements, settling, amending)
