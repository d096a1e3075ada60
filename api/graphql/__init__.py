"""The GraphQL schema: one package per context, and what they share."""
