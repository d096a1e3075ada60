"""Lists of the schema."""

from api.graphql.paging.connections import Connection
from api.graphql.paging.pages import Listing, PageArguments, paged

__all__ = ["Connection", "Listing", "PageArguments", "paged"]
