"""Facts about infractions for tests: what is published, what was issued, contested and paid."""

from datetime import date, datetime, timedelta
from typing import Any

import msgspec

from domain.calendar import local_date
from domain.decider import Command, Event, build, fold
from domain.infractions.catalogue import InfractionCodePublished, PublishInfractionCode
from domain.infractions.infraction import (
    Account,
    Fine,
    InfractionIssued,
    InfractionSettled,
    fine_in_day_fines,
    stream,
)
from domain.infractions.issuing import IssueInfraction
from domain.infractions.terms import Discount, InfractionTermsPublished, PaymentTerms, PublishInfractionTerms
from domain.infractions.wage import MinimumWagePublished, PublishMinimumWage
from domain.money import parse_amount
from tests.office import NOW, opaque

INFRACTION = f"1234abc/{opaque('infraction')}"
TODAY = local_date(NOW)
GUARD, OFFICER = opaque("guard"), opaque("officer")
REGULATION = "Reglamento 428/2018"
WAGE = MinimumWagePublished(effective_from=date(2026, 1, 1), amount=parse_amount("2750.10"), norm="DS 5500")
PARKING = InfractionCodePublished(
    code="t-12",
    effective_from=date(2026, 1, 1),
    description="Estacionar en la acera",
    norm="LM 015/2012 art. 30",
    day_fines=3,
)
TOWING = InfractionCodePublished(
    code="t-40",
    effective_from=date(2026, 1, 1),
    description="Remolque",
    norm="LM 015/2012 art. 41",
    amount=parse_amount("300"),
)
TERMS = PaymentTerms(
    norm=REGULATION,
    day_fine_hundredths=500,
    discounts=[Discount(within_days=5, hundredths=5_000), Discount(within_days=10, hundredths=2_000)],
    term_days=30,
    penalty_hundredths=1_000,
    contest_days=15,
)
PUBLISHED: tuple[Event, ...] = (WAGE, PARKING, InfractionTermsPublished(effective_from=date(2026, 1, 1), terms=TERMS))
FINE = fine_in_day_fines(
    norm=PARKING.norm,
    day_fines=3,
    wage=WAGE.amount,
    wage_norm=WAGE.norm,
    day_fine_hundredths=500,
    day_fine_norm=REGULATION,
)


def catalogue() -> list[Command]:
    """Commands that publish what `PUBLISHED` has."""
    first = date(2026, 1, 1)
    return [
        build(PublishMinimumWage, effective_from=first, amount=WAGE.amount.centavos, norm=WAGE.norm),
        build(
            PublishInfractionCode,
            code=PARKING.code,
            effective_from=first,
            description=PARKING.description,
            norm=PARKING.norm,
            day_fines=PARKING.day_fines,
        ),
        build(PublishInfractionTerms, effective_from=first, **msgspec.to_builtins(TERMS)),
    ]


def issue(**changed: Any) -> IssueInfraction:
    fields: dict[str, Any] = {
        "infraction": INFRACTION,
        "plate": "1234-ABC",
        "code": "t-12",
        "place": "Av. 16 de Julio 1490",
        "district": "Centro",
        "occurred_at": NOW,
        "guard": "g-451",
        "evidence": "photos/2026/17",
        "issued_by": GUARD,
    }
    return build(IssueInfraction, **fields | changed)


def issued(days_ago: int = 0, *, fine: Fine = FINE, terms: PaymentTerms = TERMS, **changed: Any) -> InfractionIssued:
    """What the command `issue` gives, that many days before today."""
    at: datetime = NOW - timedelta(days=days_ago)
    fields: dict[str, Any] = {
        "infraction": INFRACTION,
        "plate": "1234ABC",
        "code": "t-12",
        "description": PARKING.description,
        "place": "Av. 16 de Julio 1490",
        "district": "Centro",
        "occurred_at": at,
        "occurred_on": local_date(at),
        "notified_on": local_date(at),
        "guard": "g-451",
        "evidence": "photos/2026/17",
        "issued_by": GUARD,
        "fine": fine,
        "terms": terms,
    }
    return InfractionIssued(**fields | changed)


def paid(amount: str, day: date, reference: str = "", *, settles: bool = False) -> InfractionSettled:
    """A payment; its receipt is named like its day and amount unless a name is given."""
    return InfractionSettled(
        infraction=INFRACTION,
        amount=parse_amount(amount),
        paid_on=day,
        reference=reference or f"{day} {amount}",
        settles=settles,
    )


def account_of(*events: Event) -> Account:
    """The account after these events of an infraction."""
    account = fold(stream(INFRACTION), events).account
    assert account
    return account
