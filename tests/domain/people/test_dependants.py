"""Who acts for whom: declared by somebody, confirmed by an officer, over by a word or by a birthday."""

from datetime import date, timedelta

import pytest

from domain.decider import Recorded, fold, redacted
from domain.people import ErasePerson, PersonRegistered, stream
from domain.people.dependants import (
    DECLARATIONS_PER_GUARDIAN_MAX,
    LIVE_DEPENDANTS_PER_GUARDIAN_MAX,
    ConfirmDependant,
    DeclareDependant,
    DependantConfirmed,
    DependantDeclared,
    DependencyEnded,
    EndDependency,
    Guardian,
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
    said = PersonRegistered(
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
    return stream(person), said


def declare(dependant: str = EVA, relation: Relation = "MINOR", *, guardian: str = ANA) -> DeclareDependant:
    return DeclareDependant(guardian=guardian, dependant=dependant, relation=relation)


def confirm(dependant: str = EVA) -> ConfirmDependant:
    return ConfirmDependant(guardian=ANA, dependant=dependant)


def end(dependant: str = EVA) -> EndDependency:
    return EndDependency(guardian=ANA, dependant=dependant, reason="GUARDIAN")


def declared(dependant: str = EVA, relation: Relation = "MINOR", until: date | None = EIGHTEEN) -> DependantDeclared:
    return DependantDeclared(guardian=ANA, dependant=dependant, relation=relation, until=until)


def guardian(office: Office) -> Guardian:
    state: Guardian = office.state(guardian_stream(ANA))
    return state


FAMILY = given(registered(ANA), registered(LUIS), registered(EVA, CHILD_BORN))  # Ana and Luis are of age, Eva is not
ON_ANA = guardian_stream(ANA)
CONFIRMED = DependantConfirmed(guardian=ANA, dependant=EVA)
ENDED = DependencyEnded(guardian=ANA, dependant=EVA, reason="GUARDIAN")


def test_a_minor_is_declared_until_the_18th_birthday() -> None:
    FAMILY.when(declare()).then((ON_ANA, declared()))


def test_a_person_in_care_is_declared_without_an_end() -> None:
    FAMILY.when(declare(LUIS, "CARE")).then((ON_ANA, declared(LUIS, "CARE", None)))
    FAMILY.when(declare(EVA, "CARE")).then((ON_ANA, declared(EVA, "CARE", None)))


def test_declaring_the_same_again_is_nothing_confirmed_or_not() -> None:
    FAMILY.after(declare()).when(declare()).nothing()
    FAMILY.after(declare(), confirm()).when(declare()).nothing()


def test_a_dependant_has_one_relation_at_a_time() -> None:
    FAMILY.after(declare(), confirm()).when(declare(EVA, "CARE")).rejected("declared_otherwise", path="relation")
    FAMILY.after(declare(), end()).when(declare(EVA, "CARE")).accepted()
    FAMILY.after(declare()).when(declare(EVA, "CARE"), now=at("00:00", EIGHTEEN)).accepted()


@pytest.mark.parametrize("relation", ["MINOR", "CARE"])
def test_both_must_be_known(relation: Relation) -> None:
    without_ana, without_eva = given(registered(EVA, CHILD_BORN)), given(registered(ANA))
    without_ana.when(declare(EVA, relation)).rejected("person_unknown", path="guardian")
    without_eva.when(declare(EVA, relation)).rejected("person_unknown", path="dependant")
    for erased, path in ((ANA, "guardian"), (EVA, "dependant")):
        office = FAMILY.after(ErasePerson(person=erased))
        office.when(declare(EVA, relation)).rejected("person_unknown", path=path)


def test_a_birth_date_that_was_erased_while_it_was_read_is_that_of_nobody() -> None:
    """Events and keys are read one after the other; the append refuses what was decided on such a state."""
    on, said = registered(EVA, CHILD_BORN)
    given(registered(ANA), (on, redacted(said))).when(declare()).rejected("person_unknown", path="dependant")


def test_nobody_is_their_own_dependant() -> None:
    FAMILY.when(declare(ANA, "CARE")).rejected("guardian_of_oneself", path="dependant")


def test_a_minor_is_under_18_when_declared() -> None:
    FAMILY.when(declare(), now=at("00:00", EIGHTEEN) - MOMENT).accepted()
    FAMILY.when(declare(), now=at("00:00", EIGHTEEN)).rejected("not_a_minor", path="dependant", limit=18)
    FAMILY.when(declare(LUIS)).rejected("not_a_minor", path="dependant", limit=18)


def test_a_guardian_is_18_when_declaring() -> None:
    of_eva = declare(LUIS, "CARE", guardian=EVA)
    FAMILY.when(of_eva, now=at("00:00", EIGHTEEN) - MOMENT).rejected("guardian_under_age", path="guardian", limit=18)
    FAMILY.when(of_eva, now=at("00:00", EIGHTEEN)).accepted()


def test_two_people_are_not_each_the_other_s_guardian() -> None:
    back = declare(ANA, "CARE", guardian=LUIS)
    office = FAMILY.after(declare(LUIS, "CARE"))
    office.when(back).rejected("guardian_circle", path="dependant")
    office.after(confirm(LUIS)).when(back).rejected("guardian_circle", path="dependant")
    office.after(end(LUIS)).when(back).accepted()


def test_a_child_who_grew_up_may_take_care_of_the_parent() -> None:
    office = FAMILY.after(declare(), confirm())
    office.when(declare(ANA, "CARE", guardian=EVA), now=at("00:00", EIGHTEEN)).accepted()


def test_a_guardian_has_so_many_live_dependants_and_no_more() -> None:
    wards = [opaque(f"w{chr(97 + n)}") for n in range(LIVE_DEPENDANTS_PER_GUARDIAN_MAX)]
    family = given(registered(ANA), *(registered(child, CHILD_BORN) for child in [EVA, *wards]), registered(LUIS))
    office = family.after(*map(declare, wards))
    limit = LIVE_DEPENDANTS_PER_GUARDIAN_MAX
    office.when(declare()).rejected("too_many_dependants", path="guardian", limit=limit)
    office.when(declare(wards[0])).nothing()
    office.after(end(wards[0])).when(declare()).accepted()
    office.when(declare(LUIS, "CARE"), now=at("00:00", EIGHTEEN)).accepted()  # all have grown up


def test_a_guardian_declares_so_often_in_a_life_and_no_more() -> None:
    limit = DECLARATIONS_PER_GUARDIAN_MAX
    before = [(ON_ANA, event) for event in (declared(), ENDED) * (limit - 1)]
    office = given(registered(ANA), registered(EVA, CHILD_BORN), *before)
    office.when(declare()).accepted()
    office = office.after(declare(), end())
    office.when(declare()).rejected("too_many_dependants", path="guardian", limit=limit)


def test_what_was_declared_is_confirmed() -> None:
    FAMILY.after(declare()).when(confirm()).then((ON_ANA, CONFIRMED))


def test_confirming_twice_is_nothing() -> None:
    FAMILY.after(declare(), confirm()).when(confirm()).nothing()


def test_what_nobody_declared_is_not_confirmed() -> None:
    FAMILY.when(confirm()).rejected("dependency_unknown", path="dependant")


@pytest.mark.parametrize(("erased", "path"), [(ANA, "guardian"), (EVA, "dependant")])
def test_nobody_is_confirmed_who_was_erased(erased: str, path: str) -> None:
    office = FAMILY.after(declare(), ErasePerson(person=erased))
    office.when(confirm()).rejected("person_unknown", path=path)


def test_what_is_over_is_not_confirmed() -> None:
    FAMILY.after(declare(), end()).when(confirm()).rejected("dependency_over", path="dependant")
    late = at("00:00", EIGHTEEN)
    FAMILY.after(declare()).when(confirm(), now=late - MOMENT).accepted()
    FAMILY.after(declare()).when(confirm(), now=late).rejected("dependency_over", path="dependant")


def test_a_dependency_is_ended_confirmed_or_not() -> None:
    FAMILY.after(declare()).when(end()).then((ON_ANA, ENDED))
    FAMILY.after(declare(), confirm()).when(end()).then((ON_ANA, ENDED))


def test_ending_what_is_over_is_nothing() -> None:
    FAMILY.after(declare(), end()).when(end()).nothing()
    FAMILY.after(declare()).when(end(), now=at("00:00", EIGHTEEN)).nothing()


def test_ending_what_never_was_is_refused() -> None:
    FAMILY.when(end()).rejected("dependency_unknown", path="dependant")


def test_what_ended_is_declared_and_confirmed_anew() -> None:
    office = FAMILY.after(declare(), confirm(), end(), declare())
    assert not acts_for(guardian(office), EVA, NOW)
    assert acts_for(guardian(office.after(confirm())), EVA, NOW)


def test_a_guardian_acts_from_confirmation_to_the_end() -> None:
    office = FAMILY
    assert not acts_for(guardian(office), EVA, NOW)
    office = office.after(declare())
    assert not acts_for(guardian(office), EVA, NOW)
    office = office.after(confirm())
    assert acts_for(guardian(office), EVA, NOW)
    assert not acts_for(guardian(office), LUIS, NOW)
    assert not acts_for(guardian(office.after(end())), EVA, NOW)


def test_for_a_minor_that_ends_by_itself_when_the_18th_birthday_begins_in_la_paz() -> None:
    state = guardian(FAMILY.after(declare(), confirm()))
    assert acts_for(state, EVA, at("00:00", EIGHTEEN) - MOMENT)
    assert not acts_for(state, EVA, at("00:00", EIGHTEEN))


def test_for_a_person_in_care_it_does_not() -> None:
    state = guardian(FAMILY.after(declare(EVA, "CARE"), confirm()))
    assert acts_for(state, EVA, at("00:00", EIGHTEEN + timedelta(days=10_000)))


def test_without_the_birthday_of_a_minor_nobody_acts_for_them() -> None:
    """The log gives None once the dependant was erased; a person in care has no such day to lose."""
    minor, care = redacted(declared()), redacted(declared(EVA, "CARE", None))
    assert not acts_for(fold(ON_ANA, [minor, CONFIRMED]), EVA, NOW)
    assert acts_for(fold(ON_ANA, [care, CONFIRMED]), EVA, NOW)


def test_the_birthday_is_the_dependant_s_secret_and_not_the_guardian_s() -> None:
    assert (DependantDeclared.personal_fields, DependantDeclared.subject_field) == (("until",), "dependant")


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


def test_a_29_february_is_celebrated_on_its_day_where_there_is_one() -> None:
    assert birthday(date(2008, 2, 29), 60) == date(2068, 2, 29)
