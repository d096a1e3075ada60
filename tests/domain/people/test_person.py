"""Persons: registration, unique identity numbers, correction, erasure."""

from datetime import date

import msgspec
import pytest
from msgspec.structs import asdict, replace

from domain.decider import redacted
from domain.people import (
    CORRECTIONS_PER_PERSON_MAX,
    CorrectPerson,
    ErasePerson,
    Identity,
    IdentityClaimed,
    IdentityReleased,
    Person,
    PersonCorrected,
    PersonErased,
    PersonRegistered,
    RegisterPerson,
    RegisterPersonWithoutDocument,
    identity_stream,
    stream,
)
from tests.office import ANA, DAY, LUIS, MOMENT, at, given

DIGEST = "a1" * 32

REGISTER_ANA = RegisterPerson(
    person=ANA,
    identity="4820193-1A LP",
    identity_digest=DIGEST,
    given_names="Ana",
    family_names="Quispe Mamani",
    birth_date=date(1990, 5, 17),
    sex="F",
    phone="+59171234567",
)
REGISTERED = PersonRegistered(**asdict(REGISTER_ANA))
CLAIMED = IdentityClaimed(person=ANA)
ERASED = PersonErased(person=ANA)
RELEASED = IdentityReleased(person=ANA)
KNOWN = ((identity_stream(DIGEST), CLAIMED), (stream(ANA), REGISTERED))


def born(day: date) -> RegisterPerson:
    return replace(REGISTER_ANA, birth_date=day)


def test_a_registration_claims_the_identity_number() -> None:
    given().when(REGISTER_ANA).then(*KNOWN)


def test_registering_the_same_person_again_changes_nothing() -> None:
    given(*KNOWN).when(REGISTER_ANA).nothing()


def test_a_claimed_identity_number_is_refused() -> None:
    given(*KNOWN).when(replace(REGISTER_ANA, person=LUIS)).rejected("identity_taken", path="identity")


def test_a_different_identity_number_is_accepted() -> None:
    given(*KNOWN).when(replace(REGISTER_ANA, person=LUIS, identity_digest="b2" * 32)).accepted()


def test_a_child_may_be_born_today_and_not_tomorrow() -> None:
    given().when(born(DAY)).accepted()
    given().when(born(date(2027, 1, 16))).rejected("invalid_input", path="birth_date", hint="birth_date", limit=130)
    given().when(born(date(2028, 1, 1))).rejected("invalid_input", path="birth_date", hint="birth_date")


def test_today_is_the_date_in_la_paz() -> None:
    midnight = at("00:00", date(2027, 1, 16))
    given().when(born(date(2027, 1, 16)), now=midnight - MOMENT).rejected("invalid_input", path="birth_date")
    given().when(born(date(2027, 1, 16)), now=midnight).accepted()


def test_a_birth_date_before_the_limit_is_refused() -> None:
    given().when(born(date(1897, 1, 1))).accepted()
    given().when(born(date(1896, 12, 31))).rejected("invalid_input", path="birth_date", hint="birth_date", limit=130)


def test_a_person_is_erased_and_the_identity_number_released() -> None:
    given(*KNOWN).when(ErasePerson(person=ANA)).then((stream(ANA), ERASED), (identity_stream(DIGEST), RELEASED))


def test_erasing_again_changes_nothing() -> None:
    given(*KNOWN).after(ErasePerson(person=ANA)).when(ErasePerson(person=ANA)).nothing()


def test_an_unknown_person_cannot_be_erased() -> None:
    given().when(ErasePerson(person=ANA)).rejected("person_unknown", path="person")


def test_an_erasure_releases_the_number_for_others() -> None:
    office = given(*KNOWN).after(ErasePerson(person=ANA))
    office.when(replace(REGISTER_ANA, person=LUIS)).accepted()


def test_a_repeated_registration_does_not_restore_an_erased_person() -> None:
    given(*KNOWN).after(ErasePerson(person=ANA)).when(REGISTER_ANA).nothing()


def test_a_repeated_erasure_keeps_the_number_s_new_claim() -> None:
    office = given(*KNOWN).after(ErasePerson(person=ANA), replace(REGISTER_ANA, person=LUIS))
    office = office.after(ErasePerson(person=ANA))
    assert office.state(identity_stream(DIGEST)) == Identity(person=LUIS)


OTHER_DIGEST = "b2" * 32
RENUMBER = CorrectPerson(person=ANA, identity="4820194", identity_digest=OTHER_DIGEST)
RENUMBERED = PersonCorrected(**asdict(REGISTERED) | {"identity": "4820194", "identity_digest": OTHER_DIGEST})


def test_a_correction_changes_only_its_fields() -> None:
    marry = CorrectPerson(person=ANA, family_names="Quispe de Mamani", phone="")
    fields = PersonCorrected(**asdict(REGISTERED) | {"family_names": "Quispe de Mamani", "phone": ""})
    given(*KNOWN).when(marry).then((stream(ANA), fields))
    person: Person = given(*KNOWN).after(marry).state(stream(ANA))
    assert person.registered == PersonRegistered(**asdict(fields))
    assert person.known


def test_a_correction_without_a_change_writes_nothing() -> None:
    fields = {field: value for field, value in asdict(REGISTER_ANA).items() if field != "person"}
    given(*KNOWN).when(CorrectPerson(person=ANA, **fields)).nothing()
    given(*KNOWN).when(CorrectPerson(person=ANA)).nothing()
    given(*KNOWN).after(RENUMBER).when(RENUMBER).nothing()


def test_a_corrected_number_is_claimed_and_the_old_one_released() -> None:
    given(*KNOWN).when(RENUMBER).then(
        (identity_stream(OTHER_DIGEST), CLAIMED), (identity_stream(DIGEST), RELEASED), (stream(ANA), RENUMBERED)
    )
    office = given(*KNOWN).after(RENUMBER)
    office.when(replace(REGISTER_ANA, person=LUIS)).accepted()
    office.when(replace(REGISTER_ANA, person=LUIS, identity_digest=OTHER_DIGEST)).rejected(
        "identity_taken", path="identity"
    )


def test_another_department_keeps_the_claimed_number() -> None:
    fields = CorrectPerson(person=ANA, identity="4820193-1A CB", identity_digest=DIGEST)
    given(*KNOWN).when(fields).then(
        (stream(ANA), PersonCorrected(**asdict(REGISTERED) | {"identity": "4820193-1A CB"}))
    )


def test_a_correction_to_a_claimed_number_is_refused() -> None:
    others = (identity_stream(OTHER_DIGEST), IdentityClaimed(person=LUIS))
    given(*KNOWN, others).when(RENUMBER).rejected("identity_taken", path="identity")


def test_a_number_and_its_digest_are_corrected_together() -> None:
    for half in (replace(RENUMBER, identity=None), replace(RENUMBER, identity_digest=None)):
        given(*KNOWN).when(half).rejected("invalid_input", path="identity", hint="identity_number")


def test_a_correction_to_an_impossible_birth_date_is_refused() -> None:
    for born in (date(2027, 1, 16), date(1896, 12, 31)):
        wrong = CorrectPerson(person=ANA, birth_date=born)
        given(*KNOWN).when(wrong).rejected("invalid_input", path="birth_date", hint="birth_date", limit=130)
    given(*KNOWN).when(CorrectPerson(person=ANA, birth_date=DAY)).accepted()


def test_an_unknown_person_is_not_corrected() -> None:
    given().when(RENUMBER).rejected("person_unknown", path="person")
    given(*KNOWN).after(ErasePerson(person=ANA)).when(RENUMBER).rejected("person_unknown", path="person")


def test_the_number_of_corrections_is_limited() -> None:
    limit = CORRECTIONS_PER_PERSON_MAX
    before = [(stream(ANA), PersonCorrected(**asdict(REGISTERED)))] * (limit - 1)
    office = given(*KNOWN, *before)
    marry, wrong = CorrectPerson(person=ANA, family_names="Quispe"), CorrectPerson(person=ANA, family_names="Mamani")
    office.after(marry).when(wrong).rejected("too_many_corrections", path="person", limit=limit)
    office.after(marry).when(marry).nothing()


def test_an_erasure_releases_the_corrected_number() -> None:
    office = given(*KNOWN).after(RENUMBER)
    office.when(ErasePerson(person=ANA)).then((stream(ANA), ERASED), (identity_stream(OTHER_DIGEST), RELEASED))
    person: Person = office.after(ErasePerson(person=ANA)).state(stream(ANA))
    assert person.registered == redacted(PersonRegistered(**asdict(RENUMBERED)))


def test_an_erasure_leaves_nothing_personal_in_the_state() -> None:
    person: Person = given(*KNOWN).after(ErasePerson(person=ANA)).state(stream(ANA))
    assert not person.known
    assert person.registered
    fields = {name: value for name, value in asdict(person.registered).items() if value is not None}
    assert fields == {"person": ANA, "identity_digest": DIGEST}


def test_a_person_is_known_from_registration_to_erasure() -> None:
    assert not Person().known
    assert given(REGISTERED).state(stream(ANA)).known
    assert not given(REGISTERED, ERASED).state(stream(ANA)).known
    assert not given(ERASED).state(stream(ANA)).known


def test_a_registration_without_its_key_means_erased() -> None:
    """Without the key, folding the log gives the same state as the redaction in memory."""
    assert given(redacted(REGISTERED), ERASED).state(stream(ANA)) == given(REGISTERED, ERASED).state(stream(ANA))


PASSPORT = replace(REGISTER_ANA, document="PASSPORT", identity="AB123456", country="PE")
NEWBORN = RegisterPersonWithoutDocument(
    person=ANA, reason="NEWBORN", given_names="Ana", family_names="Quispe", birth_date=DAY, sex="F"
)
UNDOCUMENTED = PersonRegistered(
    person=ANA,
    identity="",
    identity_digest="",
    given_names="Ana",
    family_names="Quispe",
    birth_date=DAY,
    sex="F",
    phone="",
    email="",
    document="",
    without_document="NEWBORN",
)


def test_a_passport_has_a_country_and_other_documents_have_none() -> None:
    given().when(PASSPORT).then((identity_stream(DIGEST), CLAIMED), (stream(ANA), PersonRegistered(**asdict(PASSPORT))))
    for wrong in (replace(PASSPORT, country=""), replace(REGISTER_ANA, country="PE")):
        given().when(wrong).rejected("invalid_input", path="country", hint="country")


def test_a_person_without_a_document_claims_no_number() -> None:
    given().when(NEWBORN).then((stream(ANA), UNDOCUMENTED))
    given().after(NEWBORN).when(NEWBORN).nothing()
    given().after(NEWBORN).when(replace(NEWBORN, person=LUIS)).accepted()
    given().when(replace(NEWBORN, birth_date=date(2027, 1, 16))).rejected(
        "invalid_input", path="birth_date", hint="birth_date"
    )


def test_a_document_is_added_by_a_correction() -> None:
    fields = asdict(UNDOCUMENTED) | {
        "identity": "4820194", "identity_digest": OTHER_DIGEST, "document": "CI", "without_document": "",
    }  # fmt: skip
    office = given().after(NEWBORN)
    office.when(RENUMBER).then((identity_stream(OTHER_DIGEST), CLAIMED), (stream(ANA), PersonCorrected(**fields)))
    taken = office.after(replace(REGISTER_ANA, person=LUIS, identity_digest=OTHER_DIGEST))
    taken.when(RENUMBER).rejected("identity_taken", path="identity")


def test_a_correction_without_a_number_keeps_the_document() -> None:
    for register in (NEWBORN, PASSPORT):
        office = given().after(register, CorrectPerson(person=ANA, given_names="Ana María"))
        before, after = given().after(register).state(stream(ANA)), office.state(stream(ANA))
        assert after.registered == replace(before.registered, given_names="Ana María")


def test_a_new_number_is_an_identity_card_s_unless_a_document_is_named() -> None:
    person = given().after(PASSPORT, RENUMBER).state(stream(ANA)).registered
    assert (person.document, person.country, person.identity) == ("CI", "", "4820194")
    abroad = replace(RENUMBER, document="PASSPORT", country="AR")
    person = given().after(PASSPORT, abroad).state(stream(ANA)).registered
    assert (person.document, person.country) == ("PASSPORT", "AR")
    for wrong in (replace(abroad, country=None), replace(RENUMBER, country="AR")):
        given().after(PASSPORT).when(wrong).rejected("invalid_input", path="country", hint="country")


def test_a_document_is_not_corrected_without_its_number() -> None:
    for half in (CorrectPerson(person=ANA, document="FOREIGN_CI"), CorrectPerson(person=ANA, country="PE")):
        given().after(PASSPORT).when(half).rejected("invalid_input", path="identity", hint="identity_number")


def test_a_person_without_a_document_is_erased() -> None:
    office = given().after(NEWBORN)
    office.when(ErasePerson(person=ANA)).then((stream(ANA), ERASED))
    assert not office.after(ErasePerson(person=ANA)).state(stream(ANA)).known


def test_events_from_before_other_documents_are_about_identity_cards() -> None:
    """They were stored without the fields of a document, and an identity card is stored without them still."""
    stored = msgspec.to_builtins(REGISTERED)
    assert not {"document", "country", "without_document"} & set(stored)
    assert msgspec.convert(stored, PersonRegistered).document == "CI"


@pytest.mark.parametrize("field", ["document", "country", "without_document"])
def test_what_document_somebody_has_is_personal(field: str) -> None:
    for kind in (PersonRegistered, PersonCorrected):
        assert field in kind.personal_fields


@pytest.mark.parametrize("field", ["identity", "given_names", "family_names", "birth_date", "sex", "phone", "email"])
def test_identifying_fields_are_personal(field: str) -> None:
    assert field in PersonRegistered.personal_fields
    assert field in PersonCorrected.personal_fields
