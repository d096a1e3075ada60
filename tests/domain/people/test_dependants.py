"""Guardians and dependants: declaration, confirmation, end on request or at the 18th birthday."""

from datetime import date, datetime, timedelta

import pytest

from domain.decider import Recorded, fold, redacted
from domain.people import CorrectPerson, ErasePerson, Person, PersonRegistered, stream
from domain.people.dependants import (
    DECLARATIONS_PER_GUARDIAN_MAX,
    LIVE_DEPENDANTS_PER_GUARDIAN_MAX,
    ConfirmDependant,
    DeclareDependant,
    DependantConfirmed,
    DependantDeclared,
    DependencyEnded,
    EndDependency,
    Relation,
    acts_for,
    birthday,
)
from domain.people.dependants import stream as guardian_stream
from tests.office import ANA, EVA, LUIS, MOMENT, NOW, Office, at, given, opaque

ADULT_BORN = date(1990, 5, 17)
CHILD_BORN = date(2015, 3, 9)
EIGHTEEN = date(2033, 3, 9)


def registered(person: str, born: date = ADULT_BORN) -> Recorded:
    fields = PersonRegistered(
        person=person,
        identity_digest="a1" * 32,
        identity="4820193",
        given_names=person,
        family_names="Mamani",
        birth_date=born,
        sex="F",
        phone="",
        email="",
    )
    return stream(person), fields


CLERK, OFFICER = opaque("clerk"), opaque("officer")


def declare(
    dependant: str = EVA, relation: Relation = "MINOR", *, guardian: str = ANA, by: str = CLERK
) -> DeclareDependant:
    return DeclareDependant(guardian=guardian, dependant=dependant, relation=relation, declared_by=by)


def confirm(
    dependant: str = EVA, relation: Relation = "MINOR", *, guardian: str = ANA, by: str = OFFICER
) -> ConfirmDependant:
    return ConfirmDependant(guardian=guardian, dependant=dependant, relation=relation, confirmed_by=by)


def end(dependant: str = EVA) -> EndDependency:
    return EndDependency(guardian=ANA, dependant=dependant, reason="GUARDIAN")


def declared(dependant: str = EVA, relation: Relation = "MINOR") -> DependantDeclared:
    return DependantDeclared(guardian=ANA, dependant=dependant, relation=relation, declared_by=CLERK)


def confirmed(dependant: str = EVA, until: date | None = EIGHTEEN) -> DependantConfirmed:
    return DependantConfirmed(guardian=ANA, dependant=dependant, until=until)


def ana_acts(office: Office, dependant: str = EVA, now: datetime = NOW) -> bool:
    return acts_for(office.state(ON_ANA), office.state(stream(dependant)), now)


FAMILY = given(registered(ANA), registered(LUIS), registered(EVA, CHILD_BORN))  # Ana and Luis are of age, Eva is not
ON_ANA = guardian_stream(ANA)
ENDED = DependencyEnded(guardian=ANA, dependant=EVA, reason="GUARDIAN")


@pytest.mark.parametrize("relation", ["MINOR", "CARE"])
def test_a_declaration_reveals_no_age(relation: Relation) -> None:
    for dependant in (LUIS, EVA):
        FAMILY.when(declare(dependant, relation)).then((ON_ANA, declared(dependant, relation)))


def test_a_minor_is_confirmed_until_the_18th_birthday() -> None:
    FAMILY.after(declare()).when(confirm()).then((ON_ANA, confirmed()))


def test_a_person_in_care_is_confirmed_without_an_end() -> None:
    for dependant in (LUIS, EVA):
        office = FAMILY.after(declare(dependant, "CARE"))
        office.when(confirm(dependant, "CARE")).then((ON_ANA, confirmed(dependant, None)))


def test_the_declaring_login_cannot_confirm() -> None:
    FAMILY.after(declare(by=OFFICER)).when(confirm()).rejected("declared_by_yourself", path="")
    FAMILY.after(declare(by=OFFICER), declare(by=CLERK)).when(confirm()).rejected("declared_by_yourself", path="")
    FAMILY.after(declare(by=OFFICER), end(), declare(by=CLERK)).when(confirm()).accepted()
    FAMILY.after(declare(by=OFFICER), confirm(by=CLERK)).when(confirm()).nothing()


def test_a_confirmation_is_for_the_declared_relation_only() -> None:
    office = FAMILY.after(declare(EVA, "CARE"))
    office.when(confirm()).rejected("declared_otherwise", path="relation")
    office.after(confirm(EVA, "CARE")).when(confirm()).rejected("declared_otherwise", path="relation")


def test_repeating_a_declaration_changes_nothing() -> None:
    FAMILY.after(declare()).when(declare()).nothing()
    FAMILY.after(declare(), confirm()).when(declare()).nothing()


def test_a_dependant_has_one_relation_at_a_time() -> None:
    FAMILY.after(declare(), confirm()).when(declare(EVA, "CARE")).rejected("declared_otherwise", path="relation")
    FAMILY.after(declare(), end()).when(declare(EVA, "CARE")).accepted()
    grown_up = FAMILY.after(declare(), confirm())
    grown_up.when(declare(EVA, "CARE"), now=at("00:00", EIGHTEEN)).accepted()


@pytest.mark.parametrize("relation", ["MINOR", "CARE"])
def test_guardian_and_dependant_must_be_registered(relation: Relation) -> None:
    without_ana, without_eva = given(registered(EVA, CHILD_BORN)), given(registered(ANA))
    without_ana.when(declare(EVA, relation)).rejected("person_unknown", path="guardian")
    without_eva.when(declare(EVA, relation)).rejected("person_unknown", path="dependant")
    for erased, path in ((ANA, "guardian"), (EVA, "dependant")):
        office = FAMILY.after(ErasePerson(person=erased))
        office.when(declare(EVA, relation)).rejected("person_unknown", path=path)


def test_an_erasure_while_reading_a_birth_date_means_unknown() -> None:
    """Events and keys are read one after the other; the append refuses decisions on such a state."""
    on, said = registered(EVA, CHILD_BORN)
    given(registered(ANA), (on, redacted(said))).when(declare()).rejected("person_unknown", path="dependant")


def test_nobody_is_their_own_dependant() -> None:
    FAMILY.when(declare(ANA, "CARE")).rejected("guardian_of_oneself", path="dependant")


def test_a_minor_is_under_18_when_confirmed() -> None:
    office = FAMILY.after(declare(), declare(LUIS))
    office.when(confirm(), now=at("00:00", EIGHTEEN) - MOMENT).accepted()
    office.when(confirm(), now=at("00:00", EIGHTEEN)).rejected("not_a_minor", path="dependant", limit=18)
    office.when(confirm(LUIS)).rejected("not_a_minor", path="dependant", limit=18)


def test_a_guardian_is_18_when_declaring() -> None:
    of_eva = declare(LUIS, "CARE", guardian=EVA)
    FAMILY.when(of_eva, now=at("00:00", EIGHTEEN) - MOMENT).rejected("guardian_under_age", path="guardian", limit=18)
    FAMILY.when(of_eva, now=at("00:00", EIGHTEEN)).accepted()


def test_two_people_cannot_be_each_other_s_guardian() -> None:
    back, confirm_back = declare(ANA, "CARE", guardian=LUIS), confirm(ANA, "CARE", guardian=LUIS)
    office = FAMILY.after(declare(LUIS, "CARE"), confirm(LUIS, "CARE"))
    office.when(back).rejected("guardian_circle", path="dependant")
    office.after(end(LUIS)).when(back).accepted()
    both = FAMILY.after(declare(LUIS, "CARE"), back, confirm(LUIS, "CARE"))
    both.when(confirm_back).rejected("guardian_circle", path="dependant")
    both.after(end(LUIS)).when(confirm_back).accepted()


def test_an_unconfirmed_declaration_blocks_nobody() -> None:
    office = FAMILY.after(declare(LUIS, "CARE"), declare(ANA, "CARE", guardian=LUIS))
    office.when(confirm(ANA, "CARE", guardian=LUIS)).accepted()


def test_an_adult_child_can_be_the_parent_s_guardian() -> None:
    office = FAMILY.after(declare(), confirm())
    office.when(declare(ANA, "CARE", guardian=EVA), now=at("00:00", EIGHTEEN)).accepted()


def test_the_number_of_live_dependants_is_limited() -> None:
    wards = [opaque(f"w{chr(97 + n)}") for n in range(LIVE_DEPENDANTS_PER_GUARDIAN_MAX)]
    family = given(registered(ANA), *(registered(child, CHILD_BORN) for child in [EVA, *wards]), registered(LUIS))
    office = family.after(*map(declare, wards), *map(confirm, wards))
    limit = LIVE_DEPENDANTS_PER_GUARDIAN_MAX
    office.when(declare()).rejected("too_many_dependants", path="guardian", limit=limit)
    office.when(declare(wards[0])).nothing()
    office.after(end(wards[0])).when(declare()).accepted()
    office.when(declare(LUIS, "CARE"), now=at("00:00", EIGHTEEN)).accepted()  # all have grown up


def test_the_number_of_declarations_is_limited() -> None:
    limit = DECLARATIONS_PER_GUARDIAN_MAX
    before = [(ON_ANA, event) for event in (declared(), ENDED) * (limit - 1)]
    office = given(registered(ANA), registered(EVA, CHILD_BORN), *before)
    office.when(declare()).accepted()
    office = office.after(declare(), end())
    office.when(declare()).rejected("too_many_dependants", path="guardian", limit=limit)


def test_repeating_a_confirmation_changes_nothing() -> None:
    FAMILY.after(declare(), confirm()).when(confirm()).nothing()


def test_an_undeclared_dependency_is_not_confirmed() -> None:
    FAMILY.when(confirm()).rejected("dependency_unknown", path="dependant")


@pytest.mark.parametrize(("erased", "path"), [(ANA, "guardian"), (EVA, "dependant")])
def test_an_erased_person_is_not_confirmed(erased: str, path: str) -> None:
    office = FAMILY.after(declare(), ErasePerson(person=erased))
    office.when(confirm()).rejected("person_unknown", path=path)


def test_an_ended_dependency_is_not_confirmed() -> None:
    FAMILY.after(declare(), end()).when(confirm()).rejected("dependency_over", path="dependant")
    late = at("00:00", EIGHTEEN)
    FAMILY.after(declare(), confirm()).when(confirm(), now=late - MOMENT).nothing()
    FAMILY.after(declare(), confirm()).when(confirm(), now=late).rejected("dependency_over", path="dependant")


def test_a_dependency_is_ended_confirmed_or_not() -> None:
    FAMILY.after(declare()).when(end()).then((ON_ANA, ENDED))
    FAMILY.after(declare(), confirm()).when(end()).then((ON_ANA, ENDED))


def test_ending_a_dependency_again_changes_nothing() -> None:
    FAMILY.after(declare(), end()).when(end()).nothing()
    FAMILY.after(declare(), confirm()).when(end(), now=at("00:00", EIGHTEEN)).nothing()


def test_an_unconfirmed_dependency_ends_without_conditions() -> None:
    FAMILY.after(declare()).when(end(), now=at("00:00", EIGHTEEN)).then((ON_ANA, ENDED))


def test_ending_an_unknown_dependency_is_refused() -> None:
    FAMILY.when(end()).rejected("dependency_unknown", path="dependant")


def test_an_ended_dependency_can_be_declared_again() -> None:
    office = FAMILY.after(declare(), confirm(), end(), declare())
    assert not ana_acts(office)
    assert ana_acts(office.after(confirm()))


def test_a_guardian_acts_from_confirmation_to_the_end() -> None:
    office = FAMILY
    assert not ana_acts(office)
    office = office.after(declare())
    assert not ana_acts(office)
    office = office.after(confirm())
    assert ana_acts(office)
    assert not ana_acts(office, LUIS)
    assert not ana_acts(office.after(end()))


def test_a_minor_s_dependency_ends_at_the_18th_birthday() -> None:
    office = FAMILY.after(declare(), confirm())
    assert ana_acts(office, now=at("00:00", EIGHTEEN) - MOMENT)
    assert not ana_acts(office, now=at("00:00", EIGHTEEN))


def test_a_person_in_care_has_no_end_by_age() -> None:
    office = FAMILY.after(declare(EVA, "CARE"), confirm(EVA, "CARE"))
    assert ana_acts(office, now=at("00:00", EIGHTEEN + timedelta(days=10_000)))


@pytest.mark.parametrize("relation", ["MINOR", "CARE"])
def test_nobody_acts_for_an_erased_or_unknown_person(relation: Relation) -> None:
    office = FAMILY.after(declare(EVA, relation), confirm(EVA, relation))
    assert not ana_acts(office.after(ErasePerson(person=EVA)))
    assert not acts_for(office.state(ON_ANA), Person(), NOW)


def test_a_corrected_birth_date_counts_at_once() -> None:
    grown_up = CorrectPerson(person=EVA, birth_date=ADULT_BORN)
    assert not ana_acts(FAMILY.after(declare(), confirm(), grown_up))
    assert ana_acts(FAMILY.after(declare(EVA, "CARE"), confirm(EVA, "CARE"), grown_up))
    younger = FAMILY.after(declare(), confirm(), CorrectPerson(person=EVA, birth_date=date(2020, 1, 1)))
    assert not ana_acts(younger, now=at("00:00", EIGHTEEN))  # until somebody confirms it anew


def test_without_a_readable_birthday_nobody_acts_for_a_minor() -> None:
    """The log gives None after the erasure of the dependant. Care has no such date."""
    eva = FAMILY.state(stream(EVA))
    minor, care = redacted(confirmed()), redacted(confirmed(until=None))
    assert not acts_for(fold(ON_ANA, [declared(), minor]), eva, NOW)
    assert acts_for(fold(ON_ANA, [declared(EVA, "CARE"), care]), eva, NOW)
    unread = fold(stream(EVA), [redacted(registered(EVA, CHILD_BORN)[1])])
    assert not acts_for(fold(ON_ANA, [declared(), confirmed()]), unread, NOW)


def test_the_birthday_is_encrypted_under_the_dependant_s_key() -> None:
    assert (DependantConfirmed.personal_fields, DependantConfirmed.subject_field) == (("until",), "dependant")


@pytest.mark.parametrize(
    ("born", "adult_on"),
    [
        (date(2015, 3, 9), date(2033, 3, 9)),
        (date(2008, 2, 29), date(2026, 3, 1)),
        (date(2015, 12, 31), date(2033, 12, 31)),
    ],
)
def test_a_birthday_is_the_first_day_of_that_age(born: date, adult_on: date) -> None:
    assert birthday(born, 18) == adult_on


def test_a_29_february_birthday_stays_in_leap_years() -> None:
    assert birthday(date(2008, 2, 29), 60) == date(2068, 2, 29)
