"""Two processes that change the same infractions at once: one order of events, in which each was decided."""

import asyncio
from collections import Counter
from collections.abc import Iterable
from typing import Any

import pytest

from domain.calendar import local_date
from domain.decider import Command, build
from domain.errors import Rejected
from domain.infractions.contesting import ContestInfraction, ResolveContest
from domain.infractions.debt import is_covered
from domain.infractions.infraction import Infraction, stream
from domain.infractions.settling import ReverseInfractionSettlement, SettleInfraction
from infra.log.committer import Committer
from infra.log.core import Core
from infra.log.submission import Outcome
from tests.city import key, opaque
from tests.conftest import Clock
from tests.infractions import OFFICER, catalogue, issue
from tests.towns import Town

pytestmark = pytest.mark.anyio

INFRACTIONS = [f"1234abc/{opaque(str(number))}" for number in range(20)]
WHOLE = 20_626  # centavos on the first days


@pytest.fixture
async def street(core: Core, clock: Clock) -> None:
    """Infractions of today."""
    for number, command in enumerate(catalogue()):
        await core.committer.submit(command, key(f"published {number}"))
    for name in INFRACTIONS:
        await core.committer.submit(issue(infraction=name, occurred_at=clock.now), key(f"issued {name}"))


def settle(infraction: str, clock: Clock, *, amount: int = WHOLE, reference: str = "R-1") -> Command:
    day = local_date(clock.now)
    return build(SettleInfraction, infraction=infraction, amount=amount, paid_on=day, reference=reference)


def contest(infraction: str) -> Command:
    return build(ContestInfraction, infraction=infraction, statement="memorial 7")


async def at_once(*wishes: tuple[Committer, Command]) -> Counter[str]:
    """What became of commands that two processes got at the same time."""
    answers: Iterable[Outcome | BaseException] = await asyncio.gather(
        *(committer.submit(command, key(f"{number}")) for number, (committer, command) in enumerate(wishes)),
        return_exceptions=True,
    )
    return Counter(one.code if isinstance(one, Rejected) else type(one).__name__ for one in answers)


async def states(core: Core) -> list[Infraction]:
    return [await core.log.state(stream(name)) for name in INFRACTIONS]


def events(town: Town, name: str) -> int:
    return len(town.execute(f"SELECT position FROM event_log WHERE event = '{name}.v1'"))


@pytest.mark.usefixtures("street")
async def test_a_receipt_of_two_desks_counts_once(
    core: Core, town: Town, other_committer: Committer, clock: Clock
) -> None:
    """Equal payments are one. Of different ones with one receipt, the second is refused."""
    equal, different = INFRACTIONS[:10], INFRACTIONS[10:]
    wishes: list[tuple[Committer, Command]] = []
    for name in equal:
        wishes += [(core.committer, settle(name, clock)), (other_committer, settle(name, clock))]
    for name in different:
        wishes += [(core.committer, settle(name, clock)), (other_committer, settle(name, clock, amount=100))]
    assert await at_once(*wishes) == {"Outcome": 30, "receipt_used": 10}
    assert events(town, "infraction_settled") == 20
    for state in await states(core):
        assert state.account
        assert list(state.account.payments) == ["R-1"]
        assert (state.account.status == "PAID") == is_covered(state.account)


@pytest.mark.usefixtures("street")
async def test_a_contest_beside_the_whole_payment_ends_paid_whichever_is_first(
    core: Core, town: Town, other_committer: Committer, clock: Clock
) -> None:
    wishes: list[tuple[Committer, Command]] = []
    for number, name in enumerate(INFRACTIONS):
        both = [(core.committer, contest(name)), (other_committer, settle(name, clock))]
        wishes += both if number % 2 else both[::-1]
    found = await at_once(*wishes)
    assert found["Outcome"] + found["infraction_status_forbids"] == 40
    assert events(town, "infraction_settled") == 20
    assert events(town, "infraction_contested") == found["Outcome"] - 20
    assert {state.account.status for state in await states(core) if state.account} == {"PAID"}


@pytest.mark.usefixtures("street")
async def test_two_part_payments_at_once_settle_and_are_not_lost(
    core: Core, other_committer: Committer, clock: Clock
) -> None:
    """The event of the one that comes second says that the debt is covered."""
    wishes: list[tuple[Committer, Command]] = []
    for name in INFRACTIONS:
        wishes.append((core.committer, settle(name, clock, amount=10_000, reference="R-1")))
        wishes.append((other_committer, settle(name, clock, amount=WHOLE - 10_000, reference="R-2")))
    assert await at_once(*wishes) == {"Outcome": 40}
    assert {state.account.status for state in await states(core) if state.account} == {"PAID"}


@pytest.mark.usefixtures("street")
async def test_two_resolutions_at_once_are_one(core: Core, town: Town, other_committer: Committer) -> None:
    for name in INFRACTIONS:
        await core.committer.submit(contest(name), key(f"contest {name}"))
    wishes: list[tuple[Committer, Command]] = []
    for name in INFRACTIONS:
        fields: dict[str, Any] = {"infraction": name, "norm": "LM 15", "resolved_by": OFFICER}
        wishes.append((core.committer, build(ResolveContest, outcome="UPHELD", resolution="RA 1", **fields)))
        wishes.append((other_committer, build(ResolveContest, outcome="ANNULLED", resolution="RA 2", **fields)))
    assert await at_once(*wishes) == {"Outcome": 20, "infraction_status_forbids": 20}
    assert events(town, "infraction_contest_resolved") == 20


@pytest.mark.usefixtures("street")
async def test_a_reversal_beside_another_payment_leaves_the_status_that_the_payments_have(
    core: Core, other_committer: Committer, clock: Clock
) -> None:
    for name in INFRACTIONS:
        await core.committer.submit(settle(name, clock), key(f"paid {name}"))
    wishes: list[tuple[Committer, Command]] = []
    for number, name in enumerate(INFRACTIONS):
        reversal = build(ReverseInfractionSettlement, infraction=name, reference="R-1", reason="cheque")
        both = [(core.committer, reversal), (other_committer, settle(name, clock, reference="R-2"))]
        wishes += both if number % 2 else both[::-1]
    assert await at_once(*wishes) == {"Outcome": 40}
    for state in await states(core):
        assert state.account
        assert (state.account.status, list(state.account.payments)) == ("PAID", ["R-2"])
