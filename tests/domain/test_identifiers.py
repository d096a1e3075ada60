"""Identifiers: valid forms, and the one spelling of each."""

import re
import sys
import unicodedata
from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Meta

from domain.errors import Rejected
from domain.identifiers import (
    AGENDA_NAME,
    APPOINTMENT_NAME,
    HOSPITAL_CODE,
    NAME,
    OPAQUE,
    PARTY,
    SLUG,
    UNSEEN,
    agenda_id,
    agenda_of,
    agenda_parts,
    category_of,
    ci_key,
    fits,
    id_of,
    is_organisation,
    kind_of_id,
    line_id,
    line_parts,
    organisation_id,
    parse_ci,
    parse_nit,
    party_stream,
    position_of,
    representation_id,
    representation_parts,
    webhook_of,
)


def test_identifiers_are_composed_and_parsed() -> None:
    day = date(2027, 1, 4)
    assert agenda_parts(agenda_id("la-merced", day, "p-01")) == ("la-merced", day, "p-01")
    assert line_parts(line_id("sopocachi", "cadastre", day)) == ("sopocachi", "cadastre", day)
    assert (webhook_of("sms-gateway/12"), position_of("sms-gateway/12")) == ("sms-gateway", 12)
    assert (category_of("line/a/b/c"), id_of("line/a/b/c")) == ("line", "a/b/c")
    with pytest.raises(ValueError, match="day is out of range"):
        line_parts("sopocachi/cadastre/2027-02-30")


@pytest.mark.parametrize(
    ("said", "written"),
    [
        ("4820193", "4820193"),
        ("4820193-1A", "4820193-1A"),
        ("4820193-1A LP", "4820193-1A LP"),
        ("4820193 LP", "4820193 LP"),
        ("4820193lp", "4820193 LP"),
        ("4.820.193 - 1a  lp.", "4820193-1A LP"),
        ("48201931A", "4820193-1A"),
        ("\t4820193\n", "4820193"),
        ("1234", "1234"),
        ("04820193", "4820193"),
        ("0004820193 LP", "4820193 LP"),
        ("000.4.820.193-1a", "4820193-1A"),
        ("1234567890-9Z PD", "1234567890-9Z PD"),
    ],
)
def test_an_identity_number_has_one_spelling(said: str, written: str) -> None:
    assert parse_ci(said) == written
    assert parse_ci(written) == written


@pytest.mark.parametrize("department", ["LP", "CB", "SC", "OR", "PT", "TJ", "CH", "BE", "PD"])
def test_every_department_issues_identity_numbers(department: str) -> None:
    assert parse_ci(f"4820193{department}") == f"4820193 {department}"


@pytest.mark.parametrize(
    "said",
    [
        "",
        " ",
        "123",
        "0123",
        "0000",
        "12345678901",
        "012345678901",
        "LP",
        "4820193-",
        "4820193-A1",
        "4820193-1",
        "4820193 XX",
        "4820193-1A-LP",
        "-1A",
        "4820193/1A",
        "４８２０１９３",
        "٤٨٢٠١٩٣",
        "4820193\0",
        "4820193; DROP TABLE events",
        "4820193" + " " * 40,
    ],
)
def test_an_invalid_identity_number_is_refused_with_a_hint(said: str) -> None:
    with pytest.raises(Rejected) as refused:
        parse_ci(said)
    assert (refused.value.code, refused.value.path) == ("invalid_input", "identity")
    assert refused.value.details == {"hint": "identity_number"}


@pytest.mark.parametrize(
    ("said", "written"),
    [
        ("1023467024", "1023467024"),
        ("  1 023 467-024 ", "1023467024"),
        ("1.023.467.024", "1023467024"),
        ("0001023467024", "1023467024"),
        ("1234567", "1234567"),
        ("0" * 20 + "1234567890123", "1234567890123"),
    ],
)
def test_a_nit_has_one_spelling(said: str, written: str) -> None:
    assert parse_nit(said) == written
    assert parse_nit(written) == written


@pytest.mark.parametrize(
    "said",
    [
        "",
        " ",
        "99001",
        "123456",
        "0123456",
        "0" * 10,
        "12345678901234",
        "1023467024 LP",
        "NIT 1023467024",
        "1023467024\0",
        "１０２３４６７０２４",
        "1023467024; DROP TABLE events",
        "1023467024" + " " * 40,
    ],
)
def test_an_invalid_nit_is_refused_with_a_hint(said: str) -> None:
    with pytest.raises(Rejected) as refused:
        parse_nit(said)
    assert (refused.value.code, refused.value.path, refused.value.details) == ("invalid_input", "nit", {"hint": "nit"})


@given(number=st.integers(10**6, 10**13 - 1), zeros=st.integers(0, 9), gap=st.sampled_from(["", " ", "-", ".", "\t"]))
def test_all_spellings_of_a_nit_are_one_nit(number: int, zeros: int, gap: str) -> None:
    assert parse_nit("0" * zeros + gap.join(str(number))) == str(number)


@given(st.from_regex(PARTY.pattern or "", fullmatch=True))
def test_a_party_s_form_tells_a_person_from_an_organisation(party: str) -> None:
    kind = kind_of_id(party)
    assert kind in ("person", "organisation")
    assert is_organisation(party) == (kind == "organisation")
    assert party_stream(party) == f"{kind}/{party}"


def test_a_representation_s_id_has_both_parties() -> None:
    organisation, ana = organisation_id("b" * 26), "a" * 26
    assert representation_parts(representation_id(organisation, ana)) == (organisation, ana)
    assert kind_of_id(representation_id(organisation, ana)) == "representation"


def test_the_department_does_not_distinguish_numbers() -> None:
    assert ci_key(parse_ci("4820193-1A LP")) == ci_key(parse_ci("4820193-1A SC")) == "4820193-1A"


def test_a_complement_distinguishes_numbers() -> None:
    assert ci_key(parse_ci("4820193-1A")) != ci_key(parse_ci("4820193"))


def test_an_appointment_s_id_contains_its_agenda() -> None:
    agenda = agenda_id("la-merced", date(2027, 1, 5), "p-0012")
    assert agenda == "la-merced/2027-01-05/p-0012"
    assert agenda_of(f"{agenda}/{'a' * 26}") == agenda


@given(
    number=st.integers(1_000, 9_999_999_999),
    complement=st.from_regex(r"[0-9][A-Z]", fullmatch=True) | st.just(""),
    department=st.sampled_from(["", "LP", "PD"]),
    zeros=st.integers(0, 9),
    gap=st.sampled_from(["", " ", ".", "\t"]),
    lower=st.booleans(),
)
def test_all_spellings_of_a_number_are_one_number(
    number: int, complement: str, department: str, zeros: int, gap: str, *, lower: bool
) -> None:
    written = f"{number}" + (f"-{complement}" if complement else "") + (f" {department}" if department else "")
    spelt = "0" * zeros + gap.join(written)
    assert parse_ci(spelt.lower() if lower else spelt) == written
    assert parse_ci(written) == written
    assert ci_key(written) == f"{number}" + (f"-{complement}" if complement else "")


def test_names_have_no_invisible_characters() -> None:
    unseen = re.compile(f"[{UNSEEN}]")
    passed = [
        hex(code)
        for code in range(sys.maxunicode + 1)
        if unicodedata.category(chr(code)) in {"Cc", "Cf", "Zl", "Zp", "Cs"} and not unseen.match(chr(code))
    ]
    assert passed == []
    assert all(unseen.match(chr(plane << 16 | end)) for plane in range(17) for end in (0xFFFE, 0xFFFF))


@pytest.mark.parametrize("name", ["Ñusta Túpac-Amaru", "D'Orbigny", "Juan  Pérez", "李小龍", "José"])
def test_usual_names_are_accepted(name: str) -> None:
    assert fits(NAME, name)


@pytest.mark.parametrize(
    ("form", "right", "wrong"),
    [
        (SLUG, "la-merced", "la-merced/2026-11-26"),
        (AGENDA_NAME, "la-merced/2027-01-05/p-0012", "la-merced/2027-01-05"),
        (APPOINTMENT_NAME, f"la-merced/2027-01-05/p-0012/{'a' * 26}", "la-merced/2027-01-05/p-0012"),
    ],
)
def test_a_form_matches_the_whole_text(form: Meta, right: str, wrong: str) -> None:
    assert fits(form, right)
    assert not fits(form, wrong)
    assert not fits(form, f"{right}\n")


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("a" * 26, "person"),
        ("234567abcdefghijklmnopqrst", "person"),
        ("la-merced", None),
        ("a" * 25, None),
        ("a" * 27, None),
        ("a" * 25 + "1", None),  # no digit of base 32
        (f"{'a' * 26}/{'b' * 26}", "dependant"),
        (f"org-{'a' * 26}", "organisation"),
        (f"org-{'a' * 25}", None),
        (f"org-{'a' * 27}", None),
        (f"org_{'a' * 26}", None),
        (f"ORG-{'a' * 26}", None),
        (f"org-{'a' * 26}/{'b' * 26}", "representation"),
        (f"{'a' * 26}/org-{'b' * 26}", None),
        (f"org-{'a' * 26}/org-{'b' * 26}", None),
        (f"org-{'a' * 26}/17", "delivery"),
        (f"org-{'a' * 26}/2027-01-05/p-0012", "agenda"),
        ("sms-gateway/17", "delivery"),
        (f"{'a' * 26}/17", "delivery"),
        ("sopocachi/cadastre/2027-01-05", "line"),
        (f"sopocachi/cadastre/2027-01-05/{'a' * 26}", "turn"),
        ("la-merced/2027-01-05/p-0012", "agenda"),
        (f"la-merced/2027-01-05/{'a' * 26}", "agenda"),
        (f"{'a' * 26}/2027-01-05/p-0012", "agenda"),
        (f"la-merced/2027-01-05/p-0012/{'a' * 26}", "appointment"),
        ("la-merced/2027-01-05/p-0012/5", None),
        ("la-merced/2027-01-05", None),
        ("la-merced/", None),
        ("", None),
        ("La-Merced", None),
        ("a" * 41, None),
        ("a" * 26 + "\n", None),
        ("la-merced\0", None),
        ("\ud800", None),
        ("a" * 10_000, None),
        ("a-" * 5_000, None),
    ],
)
def test_an_id_s_form_tells_its_kind(name: str, kind: str | None) -> None:
    assert kind_of_id(name) == kind


@given(st.from_regex(HOSPITAL_CODE.pattern or "", fullmatch=True))
def test_no_hospital_has_the_id_of_a_person(code: str) -> None:
    assert kind_of_id(code) is None
    assert not fits(OPAQUE, code)
