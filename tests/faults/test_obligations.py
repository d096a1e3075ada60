"""Two processes record payments, amendments and objects at once: each counts once."""

import asyncio
from collections import Counter
from datetime import date
from typing import Any

import pytest

from domain.decider import Command, build
from domain.errors import Rejected
from domain.money import Money
from domain.obligations import obligation, taxable_object
from domain.obligations.amending import ApproveAmendment, ProposeAmendment, RejectAmendment
from domain.obligations.obligation import AssessTax, SettleObligation
from domain.obligations.taxable_object import RegisterTaxableObject
from infra.log.committer import Committer
from infra.log.core import Core
from tests.city import key, opaque, person
from tests.debts import HOUSE, OBLIGATION

pytestmark = pytest.mark.anyio

HOUSE_OF_ANA: dict[str, Any] = {"kind": "PROPERTY", "owner": opaque("Ana"), "since": date(2015, 3, 1)}


@pytest.fixture
async def assessed(core: Core) -> None:
    """Ana's house, and its tax of 2019."""
    for wanted in (
        person("Ana", core),
        build(RegisterTaxableObject, number="214775", **HOUSE_OF_ANA),
        build(AssessTax, object=HOUSE, year=2019, due=date(2019, 12, 31), norm="x", amount=Money(centavos=100_000)),
    ):
        await core.committer.submit(wanted, key(str(wanted)))


async def at_once(core: Core, other: Committer, *asked: Command) -> Counter[str]:
    """What the answers are if two processes are asked by turns, each command under a key of its own."""
    answers = await asyncio.gather(
        *((core.committer, other)[number % 2].submit(one, key(f"{number}")) for number, one in enumerate(asked)),
        return_exceptions=True,
    )
    return Counter(answer.code if isinstance(answer, Rejected) else type(answer).__name__ for answer in answers)


@pytest.mark.usefixtures("assessed")
async def test_a_receipt_that_two_cashiers_record_counts_once(core: Core, other_committer: Committer) -> None:
    paid = [
        build(
            SettleObligation, obligation=OBLIGATION, amount=Money(centavos=amount), paid_on=date(2019, 12, 1),
            reference="R-1",
        )
        for amount in (100, 200) * 10
    ]  # fmt: skip
    answers = await at_once(core, other_committer, *paid)
    assert answers == {"Outcome": 10, "reference_used": 10}
    assert len((await core.log.state(obligation.stream(OBLIGATION))).settlements) == 1


@pytest.mark.usefixtures("assessed")
async def test_an_amendment_is_approved_or_rejected_and_never_both(core: Core, other_committer: Committer) -> None:
    named = {"obligation": OBLIGATION, "amendment": opaque("fallo")}
    proposal = {"amount": Money(centavos=1), "norm": "x", "reason": "x", "proposed_by": opaque("a")}
    await core.committer.submit(build(ProposeAmendment, **named, **proposal), key("proposed"))
    approve = build(ApproveAmendment, **named, approved_by=opaque("b"))
    reject = build(RejectAmendment, **named, rejected_by=opaque("c"))
    answers = await at_once(core, other_committer, *(approve, reject, reject, approve) * 5)
    assert answers == {"Outcome": 10, "amendment_decided": 10}
    names = [entry.name for entry in await core.log.history(obligation.stream(OBLIGATION))]
    assert len([name for name in names if name.startswith("amendment_")]) == 2


@pytest.mark.usefixtures("assessed")
async def test_a_cadastral_code_is_given_to_one_property(core: Core, other_committer: Committer) -> None:
    code = "0320123"
    wanted = [
        build(RegisterTaxableObject, number=str(number), cadastral_code=code, **HOUSE_OF_ANA) for number in range(20)
    ]
    answers = await at_once(core, other_committer, *wanted)
    assert answers == {"Outcome": 1, "cadastral_code_in_use": 19}
    winner = (await core.log.state(taxable_object.cadastral_stream(code))).object
    assert (await core.log.state(taxable_object.stream(winner))).registered.cadastral_code == code
