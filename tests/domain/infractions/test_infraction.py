"""Issuing, contesting, paying and collecting: each rule, and each refusal."""

from datetime import date, timedelta

import pytest

from domain.decider import Command, Event, build
from domain.infractions.contesting import ContestInfraction, ResolveContest
from domain.infractions.infraction import (
    TRANSITIONS,
    Fine,
    InfractionContested,
    InfractionContestResolved,
    InfractionSentToCollection,
    InfractionSettled,
    InfractionSettlementReversed,
    Status,
    stream,
)
from domain.infractions.settling import RECEIPTS_MAX, ReverseInfractionSettlement, SendToCollection, SettleInfraction
from domain.infractions.terms import InfractionTermsPublished
from domain.money import Money, parse_amount
from tests.infractions import (
    GUARD,
    INFRACTION,
    OFFICER,
    PARKING,
    PUBLISHED,
    TERMS,
    TODAY,
    TOWING,
    WAGE,
    account_of,
    issue,
    issued,
    paid,
)
from tests.office import MOMENT, NOW, given, opaque

STREAM = stream(INFRACTION)
NORM = "LM 015/2012 art. 50"


def ago(days: int) -> date:
    return TODAY - timedelta(days=days)


def contest(statement: str = "memorial 7") -> ContestInfraction:
    return build(ContestInfraction, infraction=INFRACTION, statement=statement)


def contested(days_ago: int = 0) -> InfractionContested:
    return InfractionContested(infraction=INFRACTION, statement="memorial 7", contested_on=ago(days_ago))


def resolve(outcome: str = "UPHELD", by: str = OFFICER, resolution: str = "RA 9/2027") -> ResolveContest:
    return build(
        ResolveContest, infraction=INFRACTION, outcome=outcome, resolution=resolution, norm=NORM, resolved_by=by
    )


def resolved(outcome: str = "UPHELD", days_ago: int = 0) -> InfractionContestResolved:
    return InfractionContestResolved(
        infraction=INFRACTION,
        outcome=outcome,
        resolution="RA 9/2027",
        norm=NORM,
        resolved_on=ago(days_ago),
        resolved_by=OFFICER,
    )


def settle(amount: str, days_ago: int = 0, reference: str = "R-1") -> SettleInfraction:
    return build(
        SettleInfraction,
        infraction=INFRACTION,
        amount=parse_amount(amount).centavos,
        paid_on=ago(days_ago),
        reference=reference,
    )


def settled(amount: str, days_ago: int = 0, reference: str = "R-1", *, settles: bool = False) -> InfractionSettled:
    return paid(amount, ago(days_ago), reference, settles=settles)


def reverse(reference: str = "R-1") -> ReverseInfractionSettlement:
    return build(ReverseInfractionSettlement, infraction=INFRACTION, reference=reference, reason="cheque sin fondos")


def reversed_(reference: str = "R-1", *, reopens: bool = False) -> InfractionSettlementReversed:
    return InfractionSettlementReversed(
        infraction=INFRACTION, reference=reference, reason="cheque sin fondos", reopens=reopens
    )


def collect(document: str = "OC 3/2027") -> SendToCollection:
    return build(SendToCollection, infraction=INFRACTION, document=document)


SENT = InfractionSentToCollection(infraction=INFRACTION, document="OC 3/2027", sent_on=TODAY)


# Issuing


def test_the_fine_and_the_terms_are_those_of_the_day_of_the_infraction() -> None:
    given(*PUBLISHED).when(issue()).then((STREAM, issued()))


@pytest.mark.parametrize("plate", ["1234ABC", "1234 abc", "1234-Abc", "1234.ABC"])
def test_a_plate_has_one_spelling(plate: str) -> None:
    given(*PUBLISHED).when(issue(plate=plate)).then((STREAM, issued()))


def test_a_fixed_fine_needs_no_wage() -> None:
    terms = InfractionTermsPublished(effective_from=date(2026, 1, 1), terms=TERMS)
    wanted = issued(code="t-40", description="Remolque", fine=Fine(norm=TOWING.norm, amount=Money(centavos=30_000)))
    given(TOWING, terms).when(issue(code="t-40")).then((STREAM, wanted))


@pytest.mark.parametrize(
    ("missing", "code", "path"),
    [
        (WAGE, "minimum_wage_unknown", "occurred_at"),
        (PARKING, "infraction_code_unknown", "code"),
        (PUBLISHED[2], "infraction_terms_unknown", "occurred_at"),
    ],
)
def test_what_is_not_published_for_the_day_is_named_with_the_day(missing: Event, code: str, path: str) -> None:
    others = [one for one in PUBLISHED if one is not missing]
    given(*others).when(issue()).rejected(code, path=path, day=TODAY)


def test_a_day_before_everything_published_has_no_fine() -> None:
    before = issue(occurred_at=NOW - timedelta(days=3_650))
    given(*PUBLISHED).when(before).rejected("infraction_code_unknown", path="code", day=ago(3_650))


def test_an_infraction_has_happened() -> None:
    given(*PUBLISHED).when(issue(occurred_at=NOW)).accepted()
    later = issue(occurred_at=NOW + MOMENT)
    given(*PUBLISHED).when(later).rejected("infraction_in_the_future", path="occurred_at")


def test_the_notice_is_given_between_the_infraction_and_today() -> None:
    at = NOW - timedelta(days=3)
    for days, right in ((4, False), (3, True), (0, True), (-1, False)):
        answer = given(*PUBLISHED).when(issue(occurred_at=at, notified_on=ago(days)))
        if right:
            answer.then((STREAM, issued(3, notified_on=ago(days))))
        else:
            answer.rejected("invalid_input", path="notified_on", hint="notice")


def test_an_id_is_of_its_plate() -> None:
    other = issue(plate="999XYZ")
    given(*PUBLISHED).when(other).rejected("invalid_input", path="infraction", hint="infraction")


def test_issuing_again_changes_nothing_even_after_a_correction_of_the_wage() -> None:
    given(*PUBLISHED, issued()).when(issue()).nothing()
    given(PUBLISHED[1], PUBLISHED[2], issued()).when(issue(issued_by=opaque("other"))).nothing()
    given(*PUBLISHED, issued()).when(issue(guard="g-9")).rejected("infraction_exists", path="infraction")


# Contesting


def test_an_infraction_is_contested_within_the_term() -> None:
    given(issued(15)).when(contest()).then((STREAM, contested()))
    given(issued(16)).when(contest()).rejected("contest_term_over", path="infraction", last=ago(1))


def test_a_contest_is_one() -> None:
    given(issued(), contested()).when(contest()).nothing()
    given(issued(), contested()).when(contest("another")).rejected(
        "infraction_status_forbids", path="infraction", status="CONTESTED"
    )
    given(issued(), contested(), resolved()).when(contest()).rejected("contested_before", path="infraction")
    given(issued(), contested(), resolved("ANNULLED")).when(contest()).rejected("contested_before", path="infraction")


def test_somebody_else_than_the_issuer_resolves_a_contest() -> None:
    given(issued(3), contested(2)).when(resolve()).then((STREAM, resolved()))
    given(issued(3), contested(2)).when(resolve("ANNULLED")).then((STREAM, resolved("ANNULLED")))
    given(issued(3), contested(2)).when(resolve(by=GUARD)).rejected("resolved_by_issuer", path="infraction")


def test_a_contest_is_resolved_once() -> None:
    done = issued(3), contested(2), resolved()
    given(*done).when(resolve()).nothing()
    given(*done).when(resolve("ANNULLED")).rejected("infraction_status_forbids", path="infraction", status="ISSUED")
    given(issued()).when(resolve()).rejected("contest_unknown", path="infraction")


# Paying


def test_a_payment_says_whether_it_covers_the_debt() -> None:
    given(issued()).when(settle("206.25")).then((STREAM, settled("206.25")))
    given(issued()).when(settle("206.26")).then((STREAM, settled("206.26", settles=True)))
    given(issued(), settled("206.25")).when(settle("0.01", reference="R-2")).then(
        (STREAM, settled("0.01", reference="R-2", settles=True))
    )


def test_an_earlier_payment_that_becomes_known_later_may_cover_the_debt() -> None:
    """At half the fine, 200 pay 400 of 412.515; the 20 of day 20, which were too little alone, pay the rest."""
    late = settled("20", reference="R-2")
    given(issued(20), late).when(settle("200", 18)).then((STREAM, settled("200", 18, settles=True)))


def test_a_receipt_counts_once() -> None:
    done = issued(), settled("100")
    given(*done).when(settle("100")).nothing()
    given(*done).when(settle("101")).rejected("receipt_used", path="reference", reference="R-1")
    given(issued(3), settled("100", 2)).when(settle("100", 1)).rejected("receipt_used", path="reference")
    given(*done, reversed_()).when(settle("100")).rejected("receipt_used", path="reference")


def test_an_infraction_has_a_limited_number_of_receipts() -> None:
    receipts = [settled("0.01", reference=f"R-{number}") for number in range(2, RECEIPTS_MAX + 1)]
    given(issued(), *receipts).when(settle("1")).accepted()
    happened = [issued(), *receipts, settled("0.01", reference="R-X"), reversed_("R-X")]
    given(*happened).when(settle("1")).rejected("too_many_receipts", path="reference", limit=RECEIPTS_MAX)


def test_a_payment_is_made_between_the_infraction_and_today() -> None:
    given(issued(3)).when(settle("1", 3)).accepted()
    given(issued(3)).when(settle("1", 4)).rejected("paid_out_of_time", path="paid_on", first=ago(3))
    given(issued(3)).when(settle("1", -1)).rejected("paid_out_of_time", path="paid_on", first=ago(3))


def test_a_payment_is_taken_in_any_status() -> None:
    for happened in (
        [contested()],
        [contested(), resolved("ANNULLED")],
        [settled("206.26", reference="R-0", settles=True)],
    ):
        given(issued(), *happened).when(settle("500")).then((STREAM, settled("500", settles=True)))
    given(issued(40), SENT).when(settle("500")).then((STREAM, settled("500", settles=True)))


def test_a_reversal_says_whether_the_others_still_cover_the_debt() -> None:
    whole = settled("206.26", settles=True)
    given(issued(), whole).when(reverse()).then((STREAM, reversed_(reopens=True)))
    given(issued(), whole, settled("206.26", reference="R-2", settles=True)).when(reverse()).then((STREAM, reversed_()))
    given(issued(), settled("100")).when(reverse()).then((STREAM, reversed_()))
    given(issued(), settled("100"), reversed_()).when(reverse()).nothing()
    given(issued(), settled("100")).when(reverse("R-2")).rejected("receipt_unknown", path="reference", reference="R-2")


# Collecting


def test_what_is_unpaid_after_the_term_is_sent_to_collection() -> None:
    given(issued(31)).when(collect()).then((STREAM, SENT))
    given(issued(30)).when(collect()).rejected("payment_term_not_over", path="infraction", last=TODAY)
    given(issued(31), SENT).when(collect()).nothing()
    given(issued(31), SENT).when(collect("OC 4/2027")).rejected(
        "infraction_status_forbids", path="infraction", status="IN_COLLECTION"
    )


def test_a_contest_lengthens_the_term() -> None:
    given(issued(40), contested(35), resolved(days_ago=26)).when(collect()).accepted()
    given(issued(40), contested(35), resolved(days_ago=25)).when(collect()).rejected(
        "payment_term_not_over", path="infraction", last=TODAY
    )


# The table of transitions

WHOLE = settled("1000", settles=True)
HISTORIES: dict[Status, list[Event]] = {
    "ISSUED": [issued(31)],
    "CONTESTED": [issued(31), contested(20)],
    "ANNULLED": [issued(31), contested(20), resolved("ANNULLED")],
    "PAID": [issued(31), WHOLE],
    "IN_COLLECTION": [issued(31), SENT],
}


@pytest.mark.parametrize("status", HISTORIES)
def test_each_history_leads_to_its_status(status: Status) -> None:
    assert account_of(*HISTORIES[status]).status == status


@pytest.mark.parametrize("status", [status for status in HISTORIES if status not in ("ISSUED", "CONTESTED")])
@pytest.mark.parametrize("step", ["CONTEST", "UPHOLD", "ANNUL"])
def test_a_contest_moves_only_what_the_table_says(status: Status, step: str) -> None:
    """No contest of what is paid, annulled or in collection; and no other resolution of what was resolved."""
    assert status not in TRANSITIONS[step]  # type: ignore[index]
    wanted: Command = contest("another") if step == "CONTEST" else resolve("UPHELD" if step == "UPHOLD" else "ANNULLED")
    answer = given(*HISTORIES[status]).when(wanted)
    assert answer.refusal is not None or answer.recorded == []


@pytest.mark.parametrize("status", [status for status in HISTORIES if status != "ISSUED"])
def test_only_what_is_issued_goes_to_collection(status: Status) -> None:
    given(*HISTORIES[status]).when(collect("another")).rejected(
        "infraction_status_forbids", path="infraction", status=status
    )


@pytest.mark.parametrize("before", TRANSITIONS["PAY"])
def test_a_reversal_leads_back_to_where_the_payment_began(before: Status) -> None:
    events = [*HISTORIES[before], WHOLE]
    assert account_of(*events).status == "PAID"
    (answer,) = given(*events).when(reverse()).recorded
    assert account_of(*events, answer[1]).status == before


def test_an_annulled_infraction_stays_so_whatever_is_paid() -> None:
    assert account_of(*HISTORIES["ANNULLED"], WHOLE, reversed_()).status == "ANNULLED"


def test_paying_the_whole_ends_a_contest() -> None:
    events = [*HISTORIES["CONTESTED"], WHOLE]
    given(*events).when(resolve("ANNULLED")).rejected("infraction_status_forbids", path="infraction", status="PAID")


COMMANDS: list[Command] = [contest(), resolve(), settle("1"), reverse(), collect()]


@pytest.mark.parametrize("command", COMMANDS, ids=lambda one: type(one).__name__)
def test_what_was_never_issued_is_unknown(command: Command) -> None:
    given().when(command).rejected("infraction_unknown", path="infraction", infraction=INFRACTION)


def test_a_refusal_says_the_status_in_words() -> None:
    answer = given(*HISTORIES["PAID"]).when(contest())
    assert answer.refusal
    assert answer.refusal.message("es") == "Esto no se puede hacer: la infracción está pagada."
    assert answer.refusal.message("en") == "This can't be done: the infraction is paid."
