"""Two processes at once: laws of people that span streams, of which each writes another one."""

import asyncio
from collections.abc import Iterable
from typing import Any

import pytest

from domain import people
from domain.decider import build
from domain.errors import Rejected
from domain.people import dependants
from infra.log.committer import Committer
from infra.log.core import Core
from tests.city import key, opaque, person

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
