"""Assessments, payments and amendments: what is recorded and what is refused."""

from datetime import date

import msgspec
import pytest

from domain.money import Money, parse_amount
from domain.obligations import scale, tax_year
from domain.obligations.amending import ApproveAmendment, ProposeAmendment, RejectAmendment
from domain.obligations.holidays import HolidaysPublished, PublishHolidays
from domain.obligations.obligation import (
    AmendmentApproved,
    AmendmentProposed,
    AmendmentRejected,
    AssessTax,
    ObligationSettled,
    ReverseSettlement,
    SettlementReversed,
    SettleObligation,
    TaxAssessed,
    stream,
)
from domain.obligations.scale import ScalePublished, Step, tax_by
from domain.obligations.tax_year import DiscountWindowsPublished, ExtendPaymentTerm, PaymentTermExtended
from domain.obligations.taxable_object import TaxableObjectRegistered
from domain.obligations.taxable_object import stream as object_stream
from domain.obligations.ufv import PublishUfv, UfvPublished
from tests.debts import HOUSE, OBLIGATION
from tests.office import ANA, DAY, EVA, LUIS, given, opaque

DUE = date(2020, 12, 31)
OWNED = (
    object_stream(HOUSE),
    TaxableObjectRegistered(object=HOUSE, kind="PROPERTY", number="214775", owner=ANA, since=date(2015, 3, 1)),
)
ASSESS = AssessTax(object=HOUSE, year=2019, due=DUE, norm="RM 5", amount=parse_amount("1000"))
ASSESSED = TaxAssessed(
    obligation=OBLIGATION, object=HOUSE, tax="IPBI", year=2019, amount=parse_amount("1000"), due=DUE, norm="RM 5"
)
THERE = OWNED, (stream(OBLIGATION), ASSESSED)
PAY = SettleObligation(obligation=OBLIGATION, amount=parse_amount("400"), paid_on=DUE, reference="R-1")
PAID = ObligationSettled(obligation=OBLIGATION, amount=parse_amount("400"), paid_on=DUE, reference="R-1")
REVERSE = ReverseSettlement(obligation=OBLIGATION, reference="R-1", reason="cheque sin fondos")
REVERSED = SettlementReversed(obligation=OBLIGATION, reference="R-1", reason="cheque sin fondos")
CASE = opaque("fallo")
PROPOSE = ProposeAmendment(
    obligation=OBLIGATION, amendment=CASE, amount=parse_amount("900"), norm="ARIT 7", reason="fallo", proposed_by=EVA
)
PROPOSED = AmendmentProposed(
    obligation=OBLIGATION, amendment=CASE, amount=parse_amount("900"), norm="ARIT 7", reason="fallo", proposed_by=EVA
)
APPROVE = ApproveAmendment(obligation=OBLIGATION, amendment=CASE, approved_by=LUIS)
APPROVED = AmendmentApproved(
    obligation=OBLIGATION, amendment=CASE, amount=parse_amount("900"), norm="ARIT 7", approved_by=LUIS
)
REJECT = RejectAmendment(obligation=OBLIGATION, amendment=CASE, rejected_by=EVA)
REJECTED = AmendmentRejected(obligation=OBLIGATION, amendment=CASE, rejected_by=EVA)


def bs(amount: str) -> int:
    return parse_amount(amount).centavos


def steps(*each: tuple[str, str, str, int]) -> list[Step]:
    return [
        Step(above_centavos=bs(above), excess_centavos=bs(excess), fixed_centavos=bs(fixed), hundredths=rate)
        for above, excess, fixed, rate in each
    ]


IPBI = ScalePublished(
    tax="IPBI",
    from_year=1995,
    norm="Ley 843 art. 57",
    steps=steps(
        ("0", "0", "0", 35),
        ("200000.01", "200000", "700", 50),
        ("400000.01", "400000", "1700", 100),
        ("600000.01", "600000", "3700", 150),
    ),
)
IPVA = ScalePublished(
    tax="IPVA",
    from_year=1995,
    norm="Ley 843 art. 61",
    steps=steps(
        ("0", "0", "0", 150),
        ("24607", "24607", "492", 200),
        ("73818", "73818", "1722", 300),
        ("147635", "147635", "4306", 400),
        ("295269", "295269", "10949", 500),
    ),
)


@pytest.mark.parametrize(
    ("published", "base", "tax"),
    [
        (IPBI, "200000", "700.00"), (IPBI, "200001", "700.01"), (IPBI, "950000", "8950.00"), (IPBI, "0.01", "0.00"),
        (IPVA, "24606", "369.09"), (IPVA, "24607", "492.00"), (IPVA, "73817", "1476.20"), (IPVA, "73818", "1722.00"),
        (IPVA, "147634", "3936.48"), (IPVA, "147635", "4306.00"), (IPVA, "295268", "10211.32"),
        (IPVA, "295269", "10949.00"),
    ],
)  # fmt: skip
def test_a_scale_jumps_where_the_law_does(published: ScalePublished, base: str, tax: str) -> None:
    assert str(tax_by(published, parse_amount(base))) == tax


def test_a_tax_is_assessed_once() -> None:
    given(OWNED).when(ASSESS).then((stream(OBLIGATION), ASSESSED))
    given(*THERE).when(ASSESS).nothing()
    more = msgspec.structs.replace(ASSESS, amount=parse_amount("1000.01"))
    given(*THERE).when(more).rejected("already_assessed", path="year", amount="1000.00")
    given().when(ASSESS).rejected("taxable_object_unknown", path="object", object=HOUSE)


def test_a_base_gives_the_tax_by_the_scale_of_the_year() -> None:
    by_base = msgspec.structs.replace(ASSESS, amount=None, base=parse_amount("950000"))
    given(OWNED).when(by_base).rejected("scale_unknown", path="base", tax="IPBI", year=2019)
    later = msgspec.structs.replace(IPBI, from_year=2020, norm="Ley X")
    published = [(scale.stream("IPBI"), IPBI), (scale.stream("IPBI"), later)]
    ((_, event),) = given(OWNED, *published).when(by_base).recorded
    assert isinstance(event, TaxAssessed)
    assert (str(event.amount), event.scale_norm, event.base) == ("8950.00", "Ley 843 art. 57", parse_amount("950000"))


def test_only_bolivianos_are_taken() -> None:
    """A capture of 500 yen is no payment of a debt in bolivianos."""
    yen = Money(centavos=500, currency="JPY")
    given(*THERE).when(msgspec.structs.replace(PAY, amount=yen)).rejected("invalid_input", path="amount")
    given(OWNED).when(msgspec.structs.replace(ASSESS, amount=yen)).rejected("invalid_input", path="amount")
    given(*THERE).when(msgspec.structs.replace(PROPOSE, amount=yen)).rejected("invalid_input", path="amount")


def test_a_payment_counts_once_by_its_receipt() -> None:
    given(*THERE).when(PAY).then((stream(OBLIGATION), PAID))
    paid = given(*THERE, (stream(OBLIGATION), PAID))
    paid.when(PAY).nothing()
    other = msgspec.structs.replace(PAY, amount=parse_amount("401"))
    paid.when(other).rejected("reference_used", path="reference", reference="R-1")
    given(OWNED).when(PAY).rejected("obligation_unknown", path="obligation", obligation=OBLIGATION)


def test_a_payment_is_never_refused_because_of_its_amount() -> None:
    for amount in ("0.01", "999999.99"):
        given(*THERE).when(msgspec.structs.replace(PAY, amount=parse_amount(amount))).accepted()


def test_nobody_pays_tomorrow() -> None:
    tomorrow = date(DAY.year, DAY.month, DAY.day + 1)
    given(*THERE).when(msgspec.structs.replace(PAY, paid_on=tomorrow)).rejected("in_the_future", path="paid_on")


def test_a_reversed_receipt_is_never_used_again() -> None:
    paid = given(*THERE, (stream(OBLIGATION), PAID))
    paid.when(REVERSE).then((stream(OBLIGATION), REVERSED))
    undone = paid.after(REVERSE)
    undone.when(REVERSE).nothing()
    undone.when(PAY).rejected("reference_used", path="reference")
    given(*THERE).when(REVERSE).rejected("settlement_unknown", path="reference", reference="R-1")


def test_an_amendment_is_proposed_by_one_and_approved_by_another() -> None:
    given(*THERE).when(PROPOSE).then((stream(OBLIGATION), PROPOSED))
    proposed = given(*THERE, (stream(OBLIGATION), PROPOSED))
    proposed.when(PROPOSE).nothing()
    proposed.when(msgspec.structs.replace(APPROVE, approved_by=EVA)).rejected("proposed_by_yourself", path="amendment")
    proposed.when(APPROVE).then((stream(OBLIGATION), APPROVED))
    approved = proposed.after(APPROVE)
    approved.when(APPROVE).nothing()
    approved.when(REJECT).rejected("amendment_decided", path="amendment")
    given(*THERE).when(APPROVE).rejected("amendment_unknown", path="amendment")


def test_an_amendment_may_be_withdrawn_by_whoever_proposed_it() -> None:
    proposed = given(*THERE, (stream(OBLIGATION), PROPOSED))
    proposed.when(REJECT).then((stream(OBLIGATION), REJECTED))
    proposed.after(REJECT).when(REJECT).nothing()
    proposed.after(REJECT).when(APPROVE).rejected("amendment_decided", path="amendment")


def test_a_court_may_find_that_nothing_is_owed() -> None:
    given(*THERE).when(msgspec.structs.replace(PROPOSE, amount=Money(centavos=0))).accepted()


def test_an_extension_replaces_an_earlier_one() -> None:
    """Also by an earlier day: a wrong year can be corrected."""
    extend = ExtendPaymentTerm(tax="IPBI", year=2019, norm="DM 8", until=date(2021, 3, 31))
    extended = PaymentTermExtended(tax="IPBI", year=2019, norm="DM 8", until=date(2021, 3, 31))
    where = tax_year.stream("IPBI", 2019)
    given().when(extend).then((where, extended))
    given((where, extended)).when(extend).nothing()
    given((where, extended)).when(msgspec.structs.replace(extend, until=date(2021, 3, 1))).accepted()


@pytest.mark.parametrize("day", [date.min, date(1989, 12, 31), date(2201, 1, 1), date.max])
def test_a_day_that_can_only_be_a_mistake_is_refused(day: date) -> None:
    extend = ExtendPaymentTerm(tax="IPBI", year=2019, norm="DM 8", until=day)
    given().when(extend).rejected("invalid_input", path="until")
    given(OWNED).when(msgspec.structs.replace(ASSESS, due=day)).rejected("invalid_input", path="due")
    given(*THERE).when(msgspec.structs.replace(PAY, paid_on=day)).rejected("invalid_input", path="paid_on")
    given().when(PublishUfv(day=day, value=1)).rejected("invalid_input", path="day")


def test_what_is_published_again_records_nothing() -> None:
    windows = DiscountWindowsPublished(tax="IPBI", year=2019, norm="LM 22", windows=[])
    again = tax_year.PublishDiscountWindows(tax="IPBI", year=2019, norm="LM 22", windows=[])
    given(windows).when(again).nothing()
    given(UfvPublished(day=DUE, value=235_851)).when(PublishUfv(day=DUE, value=235_851)).nothing()
    given(UfvPublished(day=DUE, value=235_851)).when(PublishUfv(day=DUE, value=235_852)).accepted()
    given(HolidaysPublished(year=2021, norm="DS", days=[date(2021, 1, 1), date(2021, 1, 22)])).when(
        PublishHolidays(year=2021, norm="DS", days=[date(2021, 1, 22), date(2021, 1, 1)])
    ).nothing()
