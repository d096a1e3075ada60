"""Money: whole minor units of one currency. Nothing here is a float, and amounts are rounded only in `rounded`."""

import re
from decimal import ROUND_HALF_UP, Decimal
from fractions import Fraction
from typing import Annotated, TypeAlias

from msgspec import Meta

from domain.decider import Value
from domain.errors import Hint, InvalidInput

BOB = "BOB"
CENTAVOS = 100  # in a boliviano
CENTAVOS_MAX = 10**15  # ten trillion bolivianos, far within 64 bits
Centavos: TypeAlias = Annotated[int, Meta(gt=0, le=CENTAVOS_MAX)]  # an amount of bolivianos in a command
_AMOUNT = re.compile(r"(?P<sign>-?)(?P<whole>[0-9]{1,13})(?:\.(?P<cents>[0-9]{2}))?")


class AmountHint(
    Hint,
    es="un monto se escribe en bolivianos, sin decimales o con dos después de un punto, como 1015 o 1015.62",
    en="an amount is in bolivianos, with no decimals or two after a point, like 1015 or 1015.62",
): ...


class PositiveAmountHint(
    Hint,
    es="el monto debe ser en bolivianos y mayor que cero, como 1015.62",
    en="the amount must be in bolivianos and greater than zero, like 1015.62",
): ...


class CurrencyMismatch(ValueError):
    """Amounts of different currencies can't be added or compared."""


class Money(Value, order=False):
    """An amount in centavos; negative for what is owed the other way."""

    centavos: int
    currency: str = BOB

    def __add__(self, other: "Money") -> "Money":
        return Money(centavos=self.centavos + self._same(other).centavos, currency=self.currency)

    def __sub__(self, other: "Money") -> "Money":
        return Money(centavos=self.centavos - self._same(other).centavos, currency=self.currency)

    def __neg__(self) -> "Money":
        return Money(centavos=-self.centavos, currency=self.currency)

    def __le__(self, other: "Money") -> bool:
        return self.centavos <= self._same(other).centavos

    def __lt__(self, other: "Money") -> bool:
        return self.centavos < self._same(other).centavos

    def _same(self, other: "Money") -> "Money":
        if other.currency != self.currency:
            raise CurrencyMismatch(f"{self.currency} and {other.currency}")
        return other

    @property
    def amount(self) -> Decimal:
        """The amount in whole units, exact: Decimal("1015.62")."""
        return Decimal(self.centavos) / CENTAVOS

    def split(self, parts: int) -> list["Money"]:
        """The amount in so many parts that differ by a centavo at most; the first ones get the centavos left over."""
        share, left = divmod(abs(self.centavos), parts)
        sign = -1 if self.centavos < 0 else 1
        return [Money(centavos=sign * (share + (number < left)), currency=self.currency) for number in range(parts)]

    def __str__(self) -> str:
        return f"{self.amount:.2f}"


def rounded(amount: Decimal | Fraction, currency: str = BOB) -> Money:
    """An exact amount in whole units as money: half a centavo goes up, away from zero. The only place that rounds."""
    if isinstance(amount, Fraction):
        centavos = int(abs(amount) * CENTAVOS + Fraction(1, 2))
        return Money(centavos=-centavos if amount < 0 else centavos, currency=currency)
    return Money(centavos=int((amount * CENTAVOS).quantize(Decimal(1), rounding=ROUND_HALF_UP)), currency=currency)


def parse_amount(text: str, path: str = "amount") -> Money:
    """Money from an amount with no or two decimals: "1015.62", "1015". Raises InvalidInput."""
    found = _AMOUNT.fullmatch(text)
    if not found:
        raise InvalidInput(path=path, hint=AmountHint())
    centavos = int(found["whole"]) * CENTAVOS + int(found["cents"] or 0)
    return Money(centavos=-centavos if found["sign"] else centavos)
