"""Facts about tax debts for tests: what was assessed, paid and published."""

from collections.abc import Mapping, Sequence
from datetime import date

from domain.decider import Event, fold
from domain.money import parse_amount
from domain.obligations import amnesty, interest, obligation, tax_year
from domain.obligations.amnesty import AmnestyDeclared
from domain.obligations.debt import Facts
from domain.obligations.interest import InterestRatesPublished, Rate
from domain.obligations.obligation import ObligationSettled, TaxAssessed
from domain.obligations.tax_year import DiscountWindowsPublished, PaymentTermExtended, Window
from domain.obligations.ufv import Quote

HOUSE = "property-214775"
OBLIGATION = f"{HOUSE}/year-2019"
LEY_812 = InterestRatesPublished(
    norm="Ley 812",
    effective_from=date(2000, 1, 1),
    rates=[Rate(hundredths=400, until_year=4), Rate(hundredths=600, until_year=7), Rate(hundredths=1000)],
)


def assessed(amount: str, due: date) -> TaxAssessed:
    return TaxAssessed(
        obligation=OBLIGATION,
        object=HOUSE,
        tax="IPBI",
        year=2019,
        amount=parse_amount(amount),
        due=due,
        norm="RM 1/2020",
    )


def paid(amount: str, day: date, reference: str = "") -> ObligationSettled:
    """A payment; its receipt is named like its day and amount unless a name is given."""
    return ObligationSettled(
        obligation=OBLIGATION, amount=parse_amount(amount), paid_on=day, reference=reference or f"{day} {amount}"
    )


def window(first: date, last: date, percent: int) -> Window:
    return Window(first=first, last=last, hundredths=percent * 100)


def facts(
    *events: Event,
    ufv: Mapping[date, int] = {},
    windows: Sequence[Window] = (),
    extended_until: date | None = None,
    amnesties: Sequence[AmnestyDeclared] = (),
    holidays: Sequence[date] = (),
    rates: Sequence[InterestRatesPublished] = (LEY_812,),
) -> Facts:
    """The facts that a debt follows from; `events` are those of the obligation, `ufv` in hundred-thousandths."""
    terms: list[Event] = []
    if windows:
        terms.append(DiscountWindowsPublished(tax="IPBI", year=2019, norm="LM 22", windows=list(windows)))
    if extended_until:
        terms.append(PaymentTermExtended(tax="IPBI", year=2019, norm="DM 8", until=extended_until))
    return Facts(
        obligation=fold(obligation.stream(OBLIGATION), events),
        tax_year=fold(tax_year.stream("IPBI", 2019), terms),
        amnesties=fold(amnesty.stream("IPBI"), amnesties),
        holidays=holidays,
        quotes={day: Quote(value=value, version=1) for day, value in ufv.items()},
        rates=fold(interest.stream(), rates),
    )
