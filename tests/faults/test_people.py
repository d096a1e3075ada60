"""Two processes at once: laws of people that span streams, of which each writes another one."""

import asyncio
from collections.abc import Iterable
from typing import Any

import pytest

from domain import people
from domain.decider import build
from domain.errors import Rejected
from domain.people import dependants, representatives
from domain.people import organisation as organisations
from infra.log.committer import Committer
from infra.log.core import Core
from infra.log.submission import Outcome
from tests.city import key, opaque, organisation, person

pytestmark = pytest.mark.anyio

PAIRS = 20


def codes(answers: Iterable[Any]) -> list[str]:
    return sorted(answer.code if isinstance(answer, Rejected) else type(answer).__name__ for answer in answers)


def about(kind: Any, guardian: str, dependant: str, **by: str) -> Any:
    return build(kind, guardian=opaque(guardian), dependant=opaque(dependant), relation="CARE", **by)


async def test_concurrent_confirmations_make_no_circle(core: Core, other_committer: Committer) -> None:
    """Each confirmation reads the other's stream, and writes its own alone."""
    declared, confirmed = {"declared_by": opaque("clerk")}, {"confirmed_by": opaque("officer")}
    for number in range(PAIRS):
        one, other = f"a{number}", f"b{number}"
        for place, name in enumerate((one, other)):
            await core.committer.submit(person(name, core, ci=str(5_000_000 + 2 * number + place)), key(name))
        for guardian, dependant in ((one, other), (other, one)):
            wanted = about(dependants.DeclareDependant, guardian, dependant, **declared)
            await core.committer.submit(wanted, key(f"declare {guardian}"))
        answers = await asyncio.gather(
            core.committer.submit(about(dependants.ConfirmDependant, one, other, **confirmed), key(f"confirm {one}")),
            other_committer.submit(
                about(dependants.ConfirmDependant, other, one, **confirmed), key(f"confirm {other}")
            ),
            return_exceptions=True,
        )
        assert codes(answers) == ["Outcome", "guardian_circle"]


async def test_concurrent_registrations_share_no_number(core: Core, other_committer: Committer) -> None:
    """One is registered with it while another one's is corrected to it."""
    for number in range(PAIRS):
        wanted = str(6_000_000 + number)
        await core.committer.submit(person(f"a{number}", core, ci=str(5_000_000 + number)), key(f"a{number}"))
        digest = core.secret.identity_digest(wanted)
        corrected = build(people.CorrectPerson, person=opaque(f"a{number}"), identity=wanted, identity_digest=digest)
        answers = await asyncio.gather(
            core.committer.submit(corrected, key(f"correct {number}")),
            other_committer.submit(person(f"b{number}", core, ci=wanted), key(f"b{number}")),
            return_exceptions=True,
        )
        assert codes(answers) == ["Outcome", "identity_taken"]


async def test_a_document_that_is_added_belongs_to_one_person(core: Core, other_committer: Committer) -> None:
    """A newborn gets a number while somebody else is registered with it."""
    for number in range(PAIRS):
        wanted = str(7_000_000 + number)
        newborn = build(
            people.RegisterPersonWithoutDocument,
            person=opaque(f"n{number}"), reason="NEWBORN", given_names="Sol", family_names="Mamani",
            birth_date="2027-01-03", sex="F",
        )  # fmt: skip
        await core.committer.submit(newborn, key(f"n{number}"))
        digest = core.secret.identity_digest(wanted)
        added = build(people.CorrectPerson, person=newborn.person, identity=wanted, identity_digest=digest)
        answers = await asyncio.gather(
            core.committer.submit(added, key(f"add {number}")),
            other_committer.submit(person(f"m{number}", core, ci=wanted), key(f"m{number}")),
            return_exceptions=True,
        )
        assert codes(answers) == ["Outcome", "identity_taken"]


async def test_concurrent_registrations_of_organisations_share_no_nit(core: Core, other_committer: Committer) -> None:
    for number in range(PAIRS):
        nit = str(1_000_000 + number)
        answers = await asyncio.gather(
            core.committer.submit(organisation(f"a{number}", core, nit=nit), key(f"a{number}")),
            other_committer.submit(organisation(f"b{number}", core, nit=nit), key(f"b{number}")),
            return_exceptions=True,
        )
        assert codes(answers) == ["Outcome", "nit_taken"]


async def requested(core: Core, number: int) -> dict[str, str]:
    """An organisation and a person who asks to represent it."""
    await core.committer.submit(person(f"a{number}", core, ci=str(5_000_000 + number)), key(f"person {number}"))
    registered = organisation(f"o{number}", core, nit=str(1_000_000 + number))
    await core.committer.submit(registered, key(f"organisation {number}"))
    pair = {"organisation": registered.organisation, "representative": opaque(f"a{number}")}
    asked = build(representatives.RequestRepresentation, **pair, requested_by=opaque("clerk"))
    await core.committer.submit(asked, key(f"request {number}"))
    return pair


async def test_a_request_is_confirmed_or_rejected_and_not_both(core: Core, other_committer: Committer) -> None:
    for number in range(PAIRS):
        pair = await requested(core, number)
        confirmed = build(representatives.ConfirmRepresentation, **pair, confirmed_by=opaque("officer"))
        answers = await asyncio.gather(
            core.committer.submit(confirmed, key(f"confirm {number}")),
            other_committer.submit(build(representatives.RejectRepresentation, **pair), key(f"reject {number}")),
            return_exceptions=True,
        )
        assert codes(answers) in (
            ["Outcome", "representation_confirmed_already"],
            ["Outcome", "representation_over"],
        )


async def test_two_officers_confirm_a_request_once(core: Core, other_committer: Committer) -> None:
    """Each has seen papers with another last day: the second is told, and nothing is overwritten."""
    for number in range(PAIRS):
        pair = await requested(core, number)
        one, other = (
            build(representatives.ConfirmRepresentation, **pair, confirmed_by=opaque(officer), last_day=day)
            for officer, day in (("Rosa", None), ("Saul", "2027-12-31"))
        )
        answers = await asyncio.gather(
            core.committer.submit(one, key(f"one {number}")),
            other_committer.submit(other, key(f"other {number}")),
            return_exceptions=True,
        )
        assert codes(answers) == ["Outcome", "confirmed_otherwise"]
        listed = await core.log.state(organisations.stream(pair["organisation"]))
        assert listed.representatives == [pair["representative"]]


async def test_an_erased_person_is_not_confirmed_at_the_same_time(core: Core, other_committer: Committer) -> None:
    """The confirmation reads the person's stream and does not write it: either order is right, but not both at once."""
    for number in range(PAIRS):
        pair = await requested(core, number)
        confirmed = build(representatives.ConfirmRepresentation, **pair, confirmed_by=opaque("officer"))
        answers = await asyncio.gather(
            core.committer.submit(confirmed, key(f"confirm {number}")),
            other_committer.submit(build(people.ErasePerson, person=pair["representative"]), key(f"erase {number}")),
            return_exceptions=True,
        )
        confirmation, erasure = answers
        assert isinstance(erasure, Outcome)
        if isinstance(confirmation, Outcome):
            assert confirmation.position < erasure.position
        else:
            assert codes([confirmation]) == ["person_unknown"]
