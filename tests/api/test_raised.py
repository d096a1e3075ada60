"""The refusals that docs/refusals.md lists for a mutation."""

import pytest

from api.graphql.schema import FIELDS
from api.raised import raised_by
from domain.appointments.booking import SlotTaken
from domain.errors import OrganisationUnknown, PersonUnknown
from domain.people.dependants import GuardianUnderAge


@pytest.mark.parametrize("name", ["bookAppointment", "holdSlot", "takeTurn"])
def test_a_required_person_adds_person_unknown(name: str) -> None:
    assert PersonUnknown in raised_by(FIELDS[f"Mutation.{name}"])


def test_a_required_organisation_adds_organisation_unknown() -> None:
    assert OrganisationUnknown in raised_by(FIELDS["Mutation.requestRepresentation"])
    assert OrganisationUnknown not in raised_by(FIELDS["Mutation.bookAppointment"])


@pytest.mark.parametrize("name", ["cancelAppointment", "rescheduleAppointment", "callNext"])
def test_a_command_without_a_person_does_not_list_person_unknown(name: str) -> None:
    assert PersonUnknown not in raised_by(FIELDS[f"Mutation.{name}"])


def test_refusals_of_functions_that_a_decision_calls_are_listed() -> None:
    assert SlotTaken in raised_by(FIELDS["Mutation.rescheduleAppointment"])
    assert GuardianUnderAge in raised_by(FIELDS["Mutation.declareDependant"])
