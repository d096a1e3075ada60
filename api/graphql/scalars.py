"""The scalars of the schema, and amounts of money."""

import re
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any, NewType

import msgspec
import strawberry
from graphql import GraphQLError
from strawberry.types.scalar import ScalarDefinition

from domain import money
from domain.errors import Hint

Position = NewType("Position", int)
Instant = NewType("Instant", datetime)
DecimalText = NewType("DecimalText", str)  # an exact decimal number, in the log never a float


def optional_instant(at: datetime | None) -> Instant | None:
    return None if at is None else Instant(at)


# The client does not see these errors: api/graphql/engine/values.py words them in the client's language.


def _parse_position(value: Any) -> int:
    if not re.fullmatch("[0-9]{1,18}", str(value)) or isinstance(value, bool):
        raise GraphQLError("not a position")
    return int(value)


def _parse_date(value: Any) -> date:
    try:
        if re.fullmatch("[0-9]{4}-[0-9]{2}-[0-9]{2}", value):
            return date.fromisoformat(value)
    except (TypeError, ValueError):
        pass
    raise GraphQLError("not a date")


def _parse_instant(value: Any) -> datetime:
    try:
        instant = datetime.fromisoformat(value)
        if instant.tzinfo:
            return instant.astimezone(UTC)
    except (TypeError, ValueError, OverflowError):
        pass
    raise GraphQLError("not an instant")


def _parse_decimal(value: Any) -> str:
    if isinstance(value, str) and re.fullmatch("-?[0-9]{1,18}(?:[.][0-9]{1,18})?", value, re.ASCII):
        return value
    raise GraphQLError("not a decimal")


def _show_instant(instant: datetime) -> str:
    """ISO 8601 in UTC, like `isoformat`, with Z. msgspec takes a tenth of the time."""
    if instant.tzinfo is not UTC:
        instant = instant.astimezone(UTC)
    shown: str = msgspec.to_builtins(instant)
    return shown


class DateHint(
    Hint,
    es="debe ser una fecha que exista, como año-mes-día: 2027-01-15",
    en="it must be a date that exists, as year-month-day: 2027-01-15",
): ...


class InstantHint(
    Hint,
    es="una fecha con hora se escribe en ISO 8601 con su diferencia horaria: 2027-01-15T08:00:00-04:00",
    en="an instant is written in ISO 8601 with its UTC offset: 2027-01-15T08:00:00-04:00",
): ...


class PositionHint(
    Hint,
    es='una posición debe ser un número entero escrito como texto, como "1607", dado por este sistema',
    en='a position must be a whole number written as a string, like "1607", issued by this system',
): ...


class DecimalHint(
    Hint,
    es="un número decimal se escribe como texto con punto, sin separador de miles: 1015.62",
    en="a decimal number is written as text with a point and no thousands separator: 1015.62",
): ...


SCALARS: dict[object, ScalarDefinition] = {
    DecimalText: strawberry.scalar(
        name="Decimal",
        description="An exact decimal number as text, with a point: 1015.62. JSON numbers are not always exact.",
        specified_by_url="/docs/api.md#amounts-of-money",
        serialize=str,
        parse_value=_parse_decimal,
    ),
    Position: strawberry.scalar(
        name="Position",
        description="A position in the log, counted from 1 without gaps. It is a string because it may exceed 32 bits.",
        specified_by_url="/docs/api.md#positions",  # on the server that answers, see api/web/pages.py
        serialize=str,
        parse_value=_parse_position,
    ),
    date: strawberry.scalar(
        name="Date",
        description="A calendar date in ISO 8601: 2027-01-15.",
        specified_by_url="https://www.rfc-editor.org/rfc/rfc3339",
        serialize=date.isoformat,
        parse_value=_parse_date,
    ),
    Instant: strawberry.scalar(
        name="Instant",
        description="A moment in ISO 8601, in UTC, with microseconds if there are any: 2027-01-15T12:00:00Z.",
        specified_by_url="https://www.rfc-editor.org/rfc/rfc3339",
        serialize=_show_instant,
        parse_value=_parse_instant,
    ),
}

# The hint for each scalar, by name.
SCALAR_HINTS: dict[str, Hint] = {
    "Date": DateHint(),
    "Instant": InstantHint(),
    "Position": PositionHint(),
    "Decimal": DecimalHint(),
}


@strawberry.type(description="An amount of money.")
class Money:
    amount: DecimalText = strawberry.field(description="The amount with two decimals: 1015.62.")
    currency: str = strawberry.field(description="The currency by ISO 4217: BOB.")


def money_to_graphql(amount: money.Money) -> Money:
    return Money(amount=DecimalText(f"{amount.amount:.2f}"), currency=amount.currency)


def decimal_text(value: Decimal, digits: int) -> DecimalText:
    """A value with so many decimals."""
    return DecimalText(f"{value:.{digits}f}")
