"""Representatives of organisations: request, confirmation, rejection, end on request or after the last day."""

from datetime import date, datetime, timedelta

import pytest

from domain.decider import Recorded, redacted
from domain.people import ErasePerson
from domain.people.organisation import OrganisationRegistered, RepresentativeListed
from domain.people.organisation import stream as organisation_stream
from domain.people.representatives import (
    LIVE_REPRESENTATIONS_PER_PERSON_MAX,
    REPRESENTATIVES_PER_ORGANISATION_MAX,
    REQUESTS_PER_PERSON_MAX,
    ConfirmRepresentation,
    EndRepresentation,
    RejectRepresentation,
    RepresentationConfirmed,
    RepresentationEnded,
    RepresentationRejected,
    RepresentationRequested,
    RequestRepresentation,
    acts_for,
    stage_at,
    stream,
)
from tests.domain.people.test_dependants import CHILD_BORN, CLERK, EIGHTEEN, OFFICER, registered
from tests.office import ANA, DAY, EVA, ILLIMANI, LUIS, MOMENT, NOW, Office, at, given, opaque

LAST_DAY = DAY + timedelta(days=30)


def organisation() -> Recorded:
    fields = OrganisationRegistered(organisation=ILLIMANI, nit_digest="a1" * 32, nit="1023467024", name="Illimani")
    return organisation_stream(ILLIMANI), fields


def request(organisation: str = ILLIMANI, *, who: str = ANA, by: str = CLERK) -> RequestRepresentation:
    return RequestRepresentation(organisation=organisation, representative=who, requested_by=by)


def confirm(
    organisation: str = ILLIMANI, *, who: str = ANA, by: str = OFFICER, last_day: date | None = None
) -> ConfirmRepresentation:
    return ConfirmRepresentation(organisation=organisation, representative=who, confirmed_by=by, last_day=last_day)


def reject(*, who: str = ANA) -> RejectRepresentation:
    return RejectRepresentation(organisation=ILLIMANI, representative=who)


def end(organisation: str = ILLIMANI, *, who: str = ANA) -> EndRepresentation:
    return EndRepresentation(organisation=organisation, representative=who, reason="REPRESENTATIVE")


def ana_acts(office: Office, now: datetime = NOW, organisation: str = ILLIMANI) -> bool:
    return acts_for(office.state(ON_ANA), organisation, now)


ON_ANA, ON_ILLIMANI = stream(ANA), organisation_stream(ILLIMANI)
PAIR = {"organisation": ILLIMANI, "representative": ANA}
REQUESTED = RepresentationRequested(**PAIR, requested_by=CLERK)
CONFIRMED = RepresentationConfirmed(organisation=ILLIMANI, representative=ANA)
REJECTED = RepresentationRejected(**PAIR)
ENDED = RepresentationEnded(**PAIR, reason="REPRESENTATIVE")
LISTED = RepresentativeListed(**PAIR)

TOWN = given(registered(ANA), registered(LUIS), registered(EVA, CHILD_BORN), organisation())


def test_a_person_asks_to_represent_an_organisation() -> None:
    TOWN.when(request()).then((ON_ANA, REQUESTED))


def test_a_confirmation_lists_the_representative_at_the_organisation() -> None:
    TOWN.after(request()).when(confirm()).then((ON_ILLIMANI, LISTED), (ON_ANA, CONFIRMED))


def test_a_representative_is_listed_once() -> None:
    again = TOWN.after(request(), confirm(), end(), request())
    again.when(confirm()).then((ON_ANA, CONFIRMED))
    both = again.after(confirm(), request(who=LUIS), confirm(who=LUIS))
    assert both.state(ON_ILLIMANI).representatives == [ANA, LUIS]


def test_a_request_alone_lists_nobody() -> None:
    assert TOWN.after(request(), reject(), request(who=LUIS)).state(ON_ILLIMANI).representatives == []


def test_repeating_a_request_changes_nothing() -> None:
    TOWN.after(request()).when(request()).nothing()
    TOWN.after(request(), confirm()).when(request(by=OFFICER)).nothing()


def test_a_rejected_or_ended_representation_can_be_requested_again() -> None:
    TOWN.after(request(), reject()).when(request()).then((ON_ANA, REQUESTED))
    TOWN.after(request(), confirm(), end()).when(request()).then((ON_ANA, REQUESTED))
    over = TOWN.after(request(), confirm(last_day=LAST_DAY))
    over.when(request(), now=at("00:00", LAST_DAY + timedelta(days=1))).then((ON_ANA, REQUESTED))


def test_a_representative_must_be_registered() -> None:
    given(organisation()).when(request()).rejected("person_unknown", path="representative")
    TOWN.after(ErasePerson(person=ANA)).when(request()).rejected("person_unknown", path="representative")
    TOWN.after(request(), ErasePerson(person=ANA)).when(confirm()).rejected("person_unknown", path="representative")


def test_an_erasure_while_reading_a_birth_date_means_unknown() -> None:
    """Events and keys are read one after the other; the append refuses decisions on such a state."""
    on, said = registered(ANA)
    given((on, redacted(said))).when(request()).rejected("person_unknown", path="representative")


def test_an_unregistered_organisation_confirms_nobody() -> None:
    office = given(registered(ANA), (ON_ANA, REQUESTED))
    office.when(confirm()).rejected("organisation_unknown", path="organisation")


def test_a_representative_is_18_when_asking() -> None:
    midnight = at("00:00", EIGHTEEN)
    TOWN.when(request(who=EVA), now=midnight - MOMENT).rejected(
        "representative_under_age", path="representative", limit=18
    )
    TOWN.when(request(who=EVA), now=midnight).accepted()


def test_the_requesting_login_cannot_confirm() -> None:
    TOWN.after(request(by=OFFICER)).when(confirm()).rejected("requested_by_yourself", path="")
    TOWN.after(request(by=OFFICER), request(by=CLERK)).when(confirm()).rejected("requested_by_yourself", path="")
    TOWN.after(request(by=OFFICER), reject(), request(by=CLERK)).when(confirm()).accepted()
    TOWN.after(request(by=OFFICER), confirm(by=CLERK)).when(confirm()).nothing()


def test_a_second_confirmation_agrees_with_the_first() -> None:
    TOWN.after(request(), confirm()).when(confirm()).nothing()
    TOWN.after(request(), confirm(last_day=LAST_DAY)).when(confirm(last_day=LAST_DAY)).nothing()
    TOWN.after(request(), confirm()).when(confirm(last_day=LAST_DAY)).rejected("confirmed_otherwise", path="last_day")
    TOWN.after(request(), confirm(last_day=LAST_DAY)).when(confirm()).rejected("confirmed_otherwise", path="last_day")


def test_the_last_day_is_not_in_the_past() -> None:
    office = TOWN.after(request())
    office.when(confirm(last_day=DAY)).accepted()
    yesterday = DAY - timedelta(days=1)
    office.when(confirm(last_day=yesterday)).rejected("in_the_past", path="last_day", at=yesterday)


@pytest.mark.parametrize("decision", [confirm(), reject(), end()])
def test_nothing_is_decided_that_nobody_asked_for(
    decision: ConfirmRepresentation | RejectRepresentation | EndRepresentation,
) -> None:
    TOWN.when(decision).rejected("representation_unknown", path="representative")
    TOWN.after(request(who=LUIS)).when(decision).rejected("representation_unknown", path="representative")


def test_what_is_over_is_not_confirmed() -> None:
    for last in (reject(), end()):
        TOWN.after(request(), last).when(confirm()).rejected("representation_over", path="representative")
    over = TOWN.after(request(), confirm(last_day=LAST_DAY))
    over.when(confirm(last_day=LAST_DAY), now=at("00:00", LAST_DAY + timedelta(days=1))).rejected(
        "representation_over", path="representative"
    )


def test_only_a_request_is_rejected() -> None:
    TOWN.after(request()).when(reject()).then((ON_ANA, REJECTED))
    TOWN.after(request(), reject()).when(reject()).nothing()
    confirmed = TOWN.after(request(), confirm(last_day=LAST_DAY))
    confirmed.when(reject()).rejected("representation_confirmed_already", path="representative")
    confirmed.when(reject(), now=at("00:00", LAST_DAY + timedelta(days=1))).rejected(
        "representation_over", path="representative"
    )
    TOWN.after(request(), end()).when(reject()).rejected("representation_over", path="representative")


def test_a_representation_is_ended_confirmed_or_not() -> None:
    TOWN.after(request()).when(end()).then((ON_ANA, ENDED))
    TOWN.after(request(), confirm()).when(end()).then((ON_ANA, ENDED))


def test_ending_what_is_over_changes_nothing() -> None:
    TOWN.after(request(), end()).when(end()).nothing()
    TOWN.after(request(), reject()).when(end()).nothing()
    over = TOWN.after(request(), confirm(last_day=LAST_DAY))
    over.when(end(), now=at("00:00", LAST_DAY + timedelta(days=1))).nothing()


def test_a_representative_acts_from_confirmation_to_the_end() -> None:
    office = TOWN
    assert not ana_acts(office)
    office = office.after(request())
    assert not ana_acts(office)
    office = office.after(confirm())
    assert ana_acts(office)
    assert not ana_acts(office, organisation=f"org-{opaque('sajama')}")
    assert not acts_for(office.state(stream(LUIS)), ILLIMANI, NOW)
    assert not ana_acts(office.after(end()))
    assert not ana_acts(office.after(end(), request()))
    assert ana_acts(office.after(end(), request(), confirm()))


def test_a_representative_acts_to_the_end_of_the_last_day_in_la_paz() -> None:
    office, midnight = TOWN.after(request(), confirm(last_day=LAST_DAY)), at("00:00", LAST_DAY + timedelta(days=1))
    assert ana_acts(office, midnight - MOMENT)
    assert not ana_acts(office, midnight)
    known = office.state(ON_ANA).organisations[ILLIMANI]
    assert [stage_at(known, now) for now in (midnight - MOMENT, midnight)] == ["CONFIRMED", "ENDED"]


def test_a_request_does_not_end_by_itself() -> None:
    known = TOWN.after(request()).state(ON_ANA).organisations[ILLIMANI]
    assert stage_at(known, at("00:00", date(2099, 1, 1))) == "REQUESTED"


def test_the_number_of_live_representations_is_limited() -> None:
    ids = [
        f"org-{opaque(f'o{chr(97 + n // 26)}{chr(97 + n % 26)}')}" for n in range(LIVE_REPRESENTATIONS_PER_PERSON_MAX)
    ]
    office = TOWN.after(*map(request, ids))
    limit = LIVE_REPRESENTATIONS_PER_PERSON_MAX
    office.when(request()).rejected("too_many_representations", path="representative", limit=limit)
    office.when(request(ids[0])).nothing()
    office.after(end(ids[0])).when(request()).accepted()


def test_the_number_of_requests_is_limited() -> None:
    before = [(ON_ANA, event) for event in (REQUESTED, REJECTED) * (REQUESTS_PER_PERSON_MAX - 1)]
    office = given(registered(ANA), organisation(), *before).after(request(), reject())
    office.when(request()).rejected("too_many_representations", path="representative", limit=REQUESTS_PER_PERSON_MAX)


def test_the_number_of_an_organisation_s_representatives_is_limited() -> None:
    limit = REPRESENTATIVES_PER_ORGANISATION_MAX
    others = (
        RepresentativeListed(organisation=ILLIMANI, representative=opaque(f"p{chr(97 + n // 26)}{chr(97 + n % 26)}"))
        for n in range(limit - 1)
    )
    office = given(registered(ANA), registered(LUIS), organisation(), *((ON_ILLIMANI, one) for one in others))
    full = office.after(request(), confirm(), request(who=LUIS))
    full.when(confirm(who=LUIS)).rejected("too_many_representatives", path="organisation", limit=limit)
    full.after(end(), request()).when(confirm()).accepted()
