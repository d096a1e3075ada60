"""Organisations: registration, unique tax numbers, correction."""

from msgspec.structs import asdict, replace

from domain.people.organisation import (
    CORRECTIONS_PER_ORGANISATION_MAX,
    CorrectOrganisation,
    Nit,
    NitClaimed,
    NitReleased,
    Organisation,
    OrganisationCorrected,
    OrganisationRegistered,
    RegisterOrganisation,
    nit_stream,
    stream,
)
from tests.office import ILLIMANI, given, opaque

SAJAMA = f"org-{opaque('sajama')}"
DIGEST, OTHER_DIGEST = "a1" * 32, "b2" * 32

REGISTER = RegisterOrganisation(
    organisation=ILLIMANI, nit="1023467024", nit_digest=DIGEST, name="Cooperativa Illimani R. L."
)
REGISTERED = OrganisationRegistered(**asdict(REGISTER))
CLAIMED, RELEASED = NitClaimed(organisation=ILLIMANI), NitReleased(organisation=ILLIMANI)
KNOWN = ((nit_stream(DIGEST), CLAIMED), (stream(ILLIMANI), REGISTERED))
RENUMBER = CorrectOrganisation(organisation=ILLIMANI, nit="1023467025", nit_digest=OTHER_DIGEST)
RENUMBERED = OrganisationCorrected(**asdict(REGISTERED) | {"nit": "1023467025", "nit_digest": OTHER_DIGEST})
RENAME = CorrectOrganisation(organisation=ILLIMANI, name="Cooperativa Illimani")


def test_a_registration_claims_the_nit() -> None:
    given().when(REGISTER).then(*KNOWN)


def test_registering_the_same_organisation_again_changes_nothing() -> None:
    given(*KNOWN).when(REGISTER).nothing()


def test_a_nit_belongs_to_one_organisation() -> None:
    given(*KNOWN).when(replace(REGISTER, organisation=SAJAMA)).rejected("nit_taken", path="nit")
    given(*KNOWN).when(replace(REGISTER, organisation=SAJAMA, nit_digest=OTHER_DIGEST)).accepted()


def test_two_organisations_may_have_the_same_name() -> None:
    office = given(*KNOWN).after(replace(REGISTER, organisation=SAJAMA, nit_digest=OTHER_DIGEST))
    assert office.state(stream(SAJAMA)).registered.name == office.state(stream(ILLIMANI)).registered.name


def test_a_correction_changes_only_its_fields() -> None:
    fields = OrganisationCorrected(**asdict(REGISTERED) | {"name": "Cooperativa Illimani"})
    given(*KNOWN).when(RENAME).then((stream(ILLIMANI), fields))
    organisation: Organisation = given(*KNOWN).after(RENAME).state(stream(ILLIMANI))
    assert organisation.registered == OrganisationRegistered(**asdict(fields))
    assert organisation.known


def test_a_correction_without_a_change_writes_nothing() -> None:
    given(*KNOWN).when(CorrectOrganisation(**asdict(REGISTER))).nothing()
    given(*KNOWN).when(CorrectOrganisation(organisation=ILLIMANI)).nothing()
    given(*KNOWN).after(RENUMBER).when(RENUMBER).nothing()


def test_a_corrected_nit_is_claimed_and_the_old_one_released() -> None:
    given(*KNOWN).when(RENUMBER).then(
        (nit_stream(OTHER_DIGEST), CLAIMED), (nit_stream(DIGEST), RELEASED), (stream(ILLIMANI), RENUMBERED)
    )
    office = given(*KNOWN).after(RENUMBER)
    office.when(replace(REGISTER, organisation=SAJAMA)).accepted()
    office.when(replace(REGISTER, organisation=SAJAMA, nit_digest=OTHER_DIGEST)).rejected("nit_taken", path="nit")


def test_a_correction_to_a_claimed_nit_is_refused() -> None:
    others = (nit_stream(OTHER_DIGEST), NitClaimed(organisation=SAJAMA))
    office = given(*KNOWN, others)
    office.when(RENUMBER).rejected("nit_taken", path="nit")
    assert office.state(nit_stream(OTHER_DIGEST)) == Nit(organisation=SAJAMA)


def test_a_nit_and_its_digest_are_corrected_together() -> None:
    for half in (replace(RENUMBER, nit=None), replace(RENUMBER, nit_digest=None)):
        given(*KNOWN).when(half).rejected("invalid_input", path="nit", hint="nit")


def test_an_unknown_organisation_is_not_corrected() -> None:
    for correction in (RENAME, RENUMBER):
        given().when(correction).rejected("organisation_unknown", path="organisation")


def test_the_number_of_corrections_is_limited() -> None:
    limit = CORRECTIONS_PER_ORGANISATION_MAX
    before = [(stream(ILLIMANI), OrganisationCorrected(**asdict(REGISTERED)))] * (limit - 1)
    office = given(*KNOWN, *before).after(RENAME)
    back = replace(RENAME, name=REGISTER.name)
    office.when(back).rejected("too_many_organisation_corrections", path="organisation", limit=limit)
    office.when(RENAME).nothing()


def test_an_organisation_is_known_from_its_registration() -> None:
    assert not Organisation().known
    assert given(*KNOWN).state(stream(ILLIMANI)).known


def test_the_nit_is_encrypted_and_the_name_is_not() -> None:
    """The NIT of a sole trader, who may be registered here by mistake, begins with their identity number."""
    for kind in (OrganisationRegistered, OrganisationCorrected):
        assert (kind.personal_fields, kind.subject_field) == (("nit",), "organisation")
