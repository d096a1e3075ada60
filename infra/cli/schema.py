"""`igob schema`."""

import sys


def schema() -> None:
    """Print the GraphQL schema."""
    from api.graphql.schema import schema as api_schema

    sys.stdout.write(api_schema.as_str() + "\n")
