"""The GraphQL schema: one module per context, and what they share."""
