"""Arguments that several queries of lines share."""

from datetime import date as Date
from typing import Annotated

import strawberry

from api.graphql.fields import Info, refuse
from domain.identifiers import LINE_NAME, SERVICE_CODE, LineHint, SlugHint, fits

ServicePointCode = Annotated[str, strawberry.argument(description="The service point's code.")]
LineName = Annotated[strawberry.ID, strawberry.argument(description="The line: service point/service/date.")]
OfService = Annotated[str | None, strawberry.argument(description="The code of a service; default: all.")]
FirstDay = Annotated[Date, strawberry.argument(description="The first day in La Paz.")]


def service_code(service: str | None, info: Info) -> str | None:
    """A service's code, if the query has one. Raises a GraphQLError if it is invalid."""
    if service is not None and not fits(SERVICE_CODE, service):
        refuse(info, "service", SlugHint())
    return service


def line_name(line: str, info: Info) -> str:
    """A line's id. Raises a GraphQLError if it is invalid."""
    if not fits(LINE_NAME, line):
        refuse(info, "line", LineHint())
    return line
