"""Identifiers: what is a right one, and the one way to write it."""

from datetime import date

import pytest

from domain.errors import Rejected
from domain.identifiers import agenda_id, agenda_of, ci_key, parse_ci


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
        "12345678901",
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
def test_a_wrong_identity_number_is_refused_with_what_a_right_one_looks_like(said: str) -> None:
    with pytest.raises(Rejected) as refused:
        parse_ci(said)
    assert (refused.value.code, refused.value.path) == ("invalid_input", "identity")
    assert refused.value.details == {"hint": "identity_number"}


def test_who_issued_a_number_does_not_make_it_another() -> None:
    assert ci_key(parse_ci("4820193-1A LP")) == ci_key(parse_ci("4820193-1A SC")) == "4820193-1A"


def test_a_complement_makes_it_another() -> None:
    assert ci_key(parse_ci("4820193-1A")) != ci_key(parse_ci("4820193"))


def test_an_appointments_name_says_in_which_agenda_it_is() -> None:
    agenda = agenda_id("la-merced", date(2027, 1, 5), "p-0012")
    assert agenda == "la-merced/2027-01-05/p-0012"
    assert agenda_of(f"{agenda}/{'a' * 26}") == agenda
