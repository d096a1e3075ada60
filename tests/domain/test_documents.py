"""Documents of persons: valid forms, the one spelling of each, and what is unique about it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.errors import Rejected
from domain.identifiers import Document, DocumentKind, parse_document, parse_identity_number
from domain.identifiers.documents import COUNTRIES


@pytest.mark.parametrize(
    ("kind", "said", "country", "written"),
    [
        ("CI", "4.820.193 - 1a lp", "", "4820193-1A LP"),
        ("FOREIGN_CI", "E-1234567", "", "E-1234567"),
        ("FOREIGN_CI", " e 0123 4567", "", "E-1234567"),
        ("FOREIGN_CI", "E1234567", "", "E-1234567"),
        ("PASSPORT", "ab-123 456", " pe ", "AB123456"),
        ("PASSPORT", "12345", "AR", "12345"),
        ("BIRTH_CERTIFICATE", "20101/15/17", "", "20101-15-17"),
        ("BIRTH_CERTIFICATE", " 20101-15-17 ", "", "20101-15-17"),
    ],
)
def test_a_number_has_one_spelling(kind: DocumentKind, said: str, country: str, written: str) -> None:
    found = parse_document(kind, said, country)
    assert found == Document(kind, written, country.strip().upper())
    assert parse_document(*found) == found


@pytest.mark.parametrize(
    ("kind", "said", "hint"),
    [
        ("CI", "E-1234567", "identity_number"),
        ("FOREIGN_CI", "1234567", "foreign_ci"),
        ("FOREIGN_CI", "E-123", "foreign_ci"),
        ("FOREIGN_CI", "E-12345678901", "foreign_ci"),
        ("FOREIGN_CI", "E-１２３４５６７", "foreign_ci"),
        ("FOREIGN_CI", "E-1234567" + " " * 40, "foreign_ci"),
        ("PASSPORT", "AB12", "passport"),
        ("PASSPORT", "A" * 21, "passport"),
        ("PASSPORT", "AB/123456", "passport"),
        ("PASSPORT", "ÑB123456", "passport"),
        ("BIRTH_CERTIFICATE", "123", "birth_certificate"),
        ("BIRTH_CERTIFICATE", "1" * 21, "birth_certificate"),
        ("BIRTH_CERTIFICATE", "partida", "birth_certificate"),
        ("BIRTH_CERTIFICATE", "20101--17", "birth_certificate"),
        ("BIRTH_CERTIFICATE", "20101-15-\0", "birth_certificate"),
    ],
)
def test_an_invalid_number_is_refused_with_a_hint(kind: DocumentKind, said: str, hint: str) -> None:
    with pytest.raises(Rejected) as refused:
        parse_document(kind, said, "PE" if kind == "PASSPORT" else "")
    assert (refused.value.code, refused.value.path, refused.value.details) == (
        "invalid_input",
        "identity",
        {"hint": hint},
    )


@pytest.mark.parametrize(
    ("kind", "number", "country"),
    [
        ("PASSPORT", "AB123456", ""),
        ("PASSPORT", "AB123456", "XX"),
        ("PASSPORT", "AB123456", "PER"),
        ("PASSPORT", "AB123456", "Perú"),
        ("CI", "4820193", "BO"),
        ("FOREIGN_CI", "E-1234567", "PE"),
        ("BIRTH_CERTIFICATE", "20101-15-17", "BO"),
    ],
)
def test_only_a_passport_has_a_country(kind: DocumentKind, number: str, country: str) -> None:
    with pytest.raises(Rejected) as refused:
        parse_document(kind, number, country)
    assert (refused.value.path, refused.value.details) == ("country", {"hint": "country"})


def test_the_countries_are_those_of_iso_3166() -> None:
    assert len(COUNTRIES) == 249
    assert {"BO", "PE", "AR", "BR", "CL", "PY", "VE", "CO", "CN", "ES", "HT", "US"} <= COUNTRIES


def test_a_login_is_an_identity_card_s_or_a_foreigner_s_number() -> None:
    assert parse_identity_number("4820193-1a lp") == Document("CI", "4820193-1A LP")
    assert parse_identity_number(" e-01234567") == Document("FOREIGN_CI", "E-1234567")
    with pytest.raises(Rejected):
        parse_identity_number("AB123456")


NUMBERS: dict[DocumentKind, st.SearchStrategy[str]] = {
    "CI": st.from_regex(r"[1-9][0-9]{3,9}", fullmatch=True),
    "FOREIGN_CI": st.from_regex(r"E-[1-9][0-9]{3,9}", fullmatch=True),
    "PASSPORT": st.from_regex(r"[0-9A-Z]{5,20}", fullmatch=True),
    "BIRTH_CERTIFICATE": st.from_regex(r"[0-9]{1,6}(-[0-9]{1,6}){2}", fullmatch=True).filter(lambda n: len(n) >= 4),
}
documents = st.sampled_from(list(NUMBERS)).flatmap(
    lambda kind: st.tuples(
        st.just(kind), NUMBERS[kind], st.sampled_from(sorted(COUNTRIES)) if kind == "PASSPORT" else st.just("")
    )
)


@given(documents, documents)
def test_different_documents_have_different_keys(
    one: tuple[DocumentKind, str, str], other: tuple[DocumentKind, str, str]
) -> None:
    assert (one == other) == (parse_document(*one).key == parse_document(*other).key)


@given(documents, st.sampled_from(["", " ", ".", "\t"]), st.booleans())
def test_all_spellings_of_a_number_are_one_document(
    document: tuple[DocumentKind, str, str],
    gap: str,
    lower: bool,
) -> None:
    kind, number, country = document
    spelt = gap.join(number)
    if len(spelt) <= 40:
        assert parse_document(kind, spelt.lower() if lower else spelt, country) == Document(kind, number, country)
