"""The enums of infractions, and percentages and amounts as clients write them."""

from decimal import Decimal
from enum import Enum
from fractions import Fraction

import strawberry

from api.graphql.commands import Given, words_of
from api.graphql.scalars import DecimalText, decimal_text
from domain.errors import Hint, InvalidInput
from domain.infractions import debt as debts
from domain.infractions import infraction as domain
from domain.money import AmountHint, parse_amount

PERCENT_DECIMALS = 2
STEP_DIGITS = 10  # of the steps of a calculation


def _centavos(text: str) -> int:
    """An amount in centavos. Raises InvalidInput for one of zero or less."""
    amount = parse_amount(text)
    if amount.centavos <= 0:
        raise InvalidInput(path="amount", hint=AmountHint())
    return amount.centavos


AMOUNT = Given("The amount in bolivianos: 412.52.", type=DecimalText, clean=_centavos)


@words_of(domain.Status)
@strawberry.enum(description="The state of an infraction.")
class InfractionState(Enum):
    ISSUED = strawberry.enum_value("ISSUED", description="It was issued and is not paid.")
    CONTESTED = strawberry.enum_value("CONTESTED", description="It is contested: neither discounts nor the term run.")
    ANNULLED = strawberry.enum_value("ANNULLED", description="It was annulled: nothing was ever owed for it.")
    PAID = strawberry.enum_value("PAID", description="It is paid in full.")
    IN_COLLECTION = strawberry.enum_value(
        "IN_COLLECTION", description="It was not paid within the term, and was sent to collection."
    )


@words_of(domain.Outcome)
@strawberry.enum(description="The outcome of a contest.")
class InfractionContestOutcome(Enum):
    UPHELD = strawberry.enum_value("UPHELD", description="The infraction stands, and its terms run again.")
    ANNULLED = strawberry.enum_value("ANNULLED", description="The infraction is annulled.")


@words_of(debts.Adjustment)
@strawberry.enum(description="What changes a fine on a day.")
class InfractionAdjustment(Enum):
    DISCOUNT = strawberry.enum_value("DISCOUNT", description="The discount for early payment.")
    NONE = strawberry.enum_value("NONE", description="Nothing: the fine is paid as it is.")
    PENALTY = strawberry.enum_value("PENALTY", description="The penalty after the term.")


class ShareHint(
    Hint,
    es="un porcentaje va de {least} a {most}, con dos decimales como máximo, como 20 o 12.5",
    en="a percentage is from {least} to {most} with at most two decimals, like 20 or 12.5",
):
    least: str
    most: str


def hundredths(text: str, path: str, *, least: int = 0, most: int) -> int:
    """A percentage in hundredths of a percent, within limits in the same unit. Raises InvalidInput."""
    scaled = Decimal(text).scaleb(PERCENT_DECIMALS)
    if not least <= scaled <= most or scaled != scaled.to_integral_value():
        raise InvalidInput(path=path, hint=ShareHint(least=percent_text(least), most=percent_text(most)))
    return int(scaled)


def percent_text(of_hundredths: int) -> DecimalText:
    return decimal_text(Decimal(of_hundredths).scaleb(-PERCENT_DECIMALS), PERCENT_DECIMALS)


def step_text(exact: Fraction) -> DecimalText:
    """A step of a calculation, with enough decimals to repeat it."""
    return decimal_text(Decimal(exact.numerator) / Decimal(exact.denominator), STEP_DIGITS)
