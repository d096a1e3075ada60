"""The read models of obligations are what the log says, and equal to rebuilt ones."""

import random
from contextlib import suppress
from datetime import date, timedelta

import pytest

from domain.decider import Command, build
from domain.errors import Rejected
from domain.identifiers import obligation_id
from domain.money import Money
from domain.obligations import obligation, taxable_object
from domain.obligations.amending import ApproveAmendment, ProposeAmendment
from domain.obligations.obligation import AssessTax, ReverseSettlement, SettleObligation
from domain.obligations.taxable_object import RegisterTaxableObject, TransferOwnership
from infra.log.core import Core
from infra.postgres.views import Views
from projections.engine.generations import Places
from projections.engine.keyset import Range
from projections.engine.runner import verify
from projections.obligations.obligations import OBLIGATIONS, of_object, of_taxpayer
from projections.obligations.ownerships import OWNERSHIPS, objects_of
from tests.city import key, opaque, person
from tests.projecting import decode, projector
from tests.towns import Town

PEOPLE = ("Ana", "Luis", "Eva")
OBJECTS = [f"property-{number}" for number in range(1, 5)]
YEARS = range(2018, 2026)
ALL = Range(limit=100)


def wish(dice: random.Random, count: int) -> Command:
    """Something that an officer may ask, whether or not it is possible."""
    taxed, owner, year = dice.choice(OBJECTS), opaque(dice.choice(PEOPLE)), dice.choice(YEARS)
    owed, amount = obligation_id(taxed, year), Money(centavos=dice.randrange(1, 100_000))
    day = date(2019, 1, 1) + timedelta(days=dice.randrange(2_000))
    match dice.randrange(7):
        case 0:
            number = taxed.partition("-")[2]
            return build(RegisterTaxableObject, kind="PROPERTY", number=number, owner=owner, since=day)
        case 1:
            return build(TransferOwnership, object=taxed, owner=owner, since=day, deed="x")
        case 2 | 3:
            return build(AssessTax, object=taxed, year=year, due=date(year + 1, 12, 31), norm="x", amount=amount)
        case 4 | 5:
            receipt = {"obligation": owed, "reference": f"R-{count % 20}"}
            paid = dice.random() < 0.7
            return (
                build(SettleObligation, **receipt, amount=amount, paid_on=day)
                if paid
                else build(ReverseSettlement, **receipt, reason="x")
            )
        case _:
            named = {"obligation": owed, "amendment": opaque(f"{owed} {count // 10}")}
            proposal = {"amount": amount, "norm": "x", "reason": "x", "proposed_by": opaque("a")}
            approve = dice.random() < 0.5
            return (
                build(ApproveAmendment, **named, approved_by=opaque("b"))
                if approve
                else build(ProposeAmendment, **named, **proposal)
            )


@pytest.mark.anyio
@pytest.mark.parametrize("seed", range(3))
async def test_lists_agree_with_the_log(core: Core, town: Town, views: Views, seed: int) -> None:
    dice = random.Random(seed)
    for number, name in enumerate(PEOPLE):
        await core.committer.submit(person(name, core, ci=str(4_820_193 + number)), key(name))
    with projector(town, (OWNERSHIPS, OBLIGATIONS)) as projecting:
        for count in range(150):
            with suppress(Rejected):
                await core.committer.submit(wish(dice, count), key(f"{count}"))
            if count % 25 == 24:
                projecting.catch_up()
                await assert_equal(core, views)
    for projection in (OWNERSHIPS, OBLIGATIONS):
        found = verify(town.application, Places(town.schema), projection, decode)
        assert found.different == 0, str(found)
        assert found.rows > 0


async def assert_equal(core: Core, views: Views) -> None:
    owned = {taxed: await core.log.state(taxable_object.stream(taxed)) for taxed in OBJECTS}
    states = {
        name: await core.log.state(obligation.stream(name))
        for name in (obligation_id(taxed, year) for taxed in OBJECTS for year in YEARS)
    }
    owed = {name: state for name, state in states.items() if state.assessed}
    for taxed in OBJECTS:
        rows, _ = await views.ask(of_object(taxed, part=ALL))
        assert [row.obligation for row in rows] == [name for name in owed if name.startswith(f"{taxed}/")]
        for row in rows:
            state = owed[row.obligation]
            assert row.tax_centavos == state.tax.centavos
            assert row.receipts == {name: one.amount.centavos for name, one in state.settlements.items()}
            assert row.paid_centavos == sum(row.receipts.values())
    for name in PEOPLE:
        found, _ = await views.ask(objects_of(opaque(name), part=ALL))
        assert [row.object for row in found] == [
            taxed for taxed, state in owned.items() if state.owners and state.owners[-1].owner == opaque(name)
        ]
        listed, _ = await views.ask(of_taxpayer(opaque(name), part=ALL))
        assert {row.obligation for row in listed} == {
            named
            for named, state in owed.items()
            if taxable_object.taxpayer(owned[state.assessed.object], state.assessed.year) == opaque(name)
        }
