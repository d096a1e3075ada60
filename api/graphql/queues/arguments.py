"""Arguments that several queries of lines share."""

from datetime import date as Date
from typing import Annotated

import strawberry

from domain.identifiers import LINE_NAME, SERVICE_CODE, SLUG

ServicePointCode = Annotated[str, SLUG, strawberry.argument(description="The service point's code.")]
LineName = Annotated[strawberry.ID, LINE_NAME, strawberry.argument(description="The line: service point/service/date.")]
OfService = Annotated[str | None, SERVICE_CODE, strawberry.argument(description="The code of a service; default: all.")]
FirstDay = Annotated[Date, strawberry.argument(description="The first day in La Paz.")]
